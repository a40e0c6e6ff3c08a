/* dlm_nsjoin(), dlm_nsleave(), dlm_detach() and their statuses (D-05, D-24, D-25). */
#include <grp.h>

#include "test.h"

static void wrong_arguments(void)
{
	dlm_nsp_t nsp = 77;
	uid_t uid = geteuid();
	ASSERT_ST(dlm_nsjoin(uid, &nsp, DLM_USER | DLM_GROUP), DLM_BADPARAM);
	ASSERT_ST(dlm_nsjoin(uid, &nsp, DLM_USER | DLM_NOQUEUE), DLM_BADPARAM);
	ASSERT_ST(dlm_nsjoin(uid, &nsp, DLM_USER | 0x80000000u), DLM_BADPARAM);
	ASSERT_ST(dlm_nsjoin(4711, &nsp, 0), DLM_BADPARAM);
	ASSERT_ST(dlm_nsjoin(4711, NULL, 0), DLM_BADPARAM);
	ASSERT_ST(dlm_nsjoin(uid, NULL, DLM_USER), DLM_EFAULT);
	ASSERT_ST(dlm_nsjoin(uid + 1, NULL, DLM_USER), DLM_EFAULT);
	ASSERT_ST(dlm_nsjoin(uid + 1, &nsp, DLM_USER), DLM_NOACCESS);
	ASSERT_ST(dlm_nsjoin(54321, &nsp, DLM_GROUP), DLM_NOACCESS);
	if (uid != 0) {
		ASSERT_ST(dlm_nsjoin(0, &nsp, 0), DLM_NOACCESS);
		ASSERT_ST(dlm_nsjoin(0, &nsp, DLM_USER), DLM_NOACCESS);
	}
	ASSERT_EQ(nsp, 77);
	ASSERT_EQ(thread_count(), 1);
}

static void before_joining(void)
{
	dlm_nsp_t nsp = 1;
	int sig = 5;
	ASSERT_ST(dlm_nsleave(&nsp, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_detach(), DLM_NOTATTACHED);
	ASSERT_ST(dlm_set_signal(SIGUSR1, &sig), DLM_NOTATTACHED);
	ASSERT_EQ(sig, 5);
	ASSERT_EQ(dlm_notify(), 0);
}

static void joining_and_leaving(void)
{
	dlm_nsp_t a, b = 99, g;
	dlm_lkid_t id, gid;
	uid_t uid = geteuid();

	ASSERT_ST(dlm_nsjoin(uid, &a, DLM_USER), DLM_SUCCESS);
	ASSERT(a >= 1 && a <= DLM_NSPROCMAX);
	ASSERT_ST(dlm_nsjoin(uid, &b, DLM_USER), DLM_ATTACHED);
	ASSERT_EQ(b, 99);
	ASSERT_ST(dlm_nsjoin(uid, &b, DLM_USER | DLM_JOIN_SAME_OK), DLM_SUCCESS);
	ASSERT_EQ(b, a);
	ASSERT_ST(dlm_nsjoin(getegid(), &g, DLM_GROUP), DLM_SUCCESS);
	ASSERT(g != a);
	if (uid == 0) { /* the systemwide namespace has two names */
		ASSERT_ST(dlm_nsjoin(0, &b, 0), DLM_ATTACHED);
		ASSERT_ST(dlm_nsjoin(0, &b, DLM_JOIN_SAME_OK), DLM_SUCCESS);
		ASSERT_EQ(b, a);
	}

	/* Equal names in two namespaces are two resources. */
	ASSERT_ST(take(a, "same", &id, DLM_EXMODE, NULL, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(take(g, "same", &gid, DLM_EXMODE, NULL, DLM_NOQUEUE), DLM_SUCCESS);

	ASSERT_ST(dlm_nsleave(&a, 1), DLM_BADPARAM);
	ASSERT_ST(dlm_nsleave(NULL, 1), DLM_BADPARAM);
	ASSERT_ST(dlm_nsleave(NULL, 0), DLM_EFAULT);
	b = -1;
	ASSERT_ST(dlm_nsleave(&b, 0), DLM_NOTATTACHED);
	b = 0;
	ASSERT_ST(dlm_nsleave(&b, 0), DLM_NOTATTACHED);
	b = DLM_NSPROCMAX + 1;
	ASSERT_ST(dlm_nsleave(&b, 0), DLM_NOTATTACHED);
	b = DLM_NSPROCMAX;
	ASSERT_ST(dlm_nsleave(&b, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_nsleave(&a, 0), DLM_HASLOCKS);
	ASSERT_ST(dlm_detach(), DLM_HASLOCKS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_nsleave(&a, 0), DLM_SUCCESS); /* once, however often joined */
	ASSERT_ST(dlm_nsleave(&a, 0), DLM_NOTATTACHED);
	ASSERT_ST(take(a, "same", &id, DLM_EXMODE, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_nsleave(&g, 0), DLM_HASLOCKS);
	ASSERT_ST(dlm_unlock(&gid, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_NOTATTACHED);
	ASSERT_ST(dlm_nsleave(&g, 0), DLM_NOTATTACHED);

	/* A request that waits counts (D-26). */
	a = join();
	ASSERT_ST(take(a, "w", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_quelock(a, (uchar_t *)(size_t)"w", 1, NULL, &gid, DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0, NULL),
	          DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_HASLOCKS);
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);
}

/* Needs root, to be a member of many groups. */
static void too_many(void)
{
	gid_t groups[DLM_NSPROCMAX + 1];
	dlm_nsp_t nsp, seen[DLM_NSPROCMAX + 1] = {0};
	for (int i = 0; i <= DLM_NSPROCMAX; i++)
		groups[i] = (gid_t)(5000 + i);
	if (setgroups(DLM_NSPROCMAX + 1, groups) != 0)
		return;
	for (int i = 0; i < DLM_NSPROCMAX; i++) {
		ASSERT_ST(dlm_nsjoin(groups[i], &nsp, DLM_GROUP), DLM_SUCCESS);
		ASSERT(nsp >= 1 && nsp <= DLM_NSPROCMAX && !seen[nsp]);
		seen[nsp] = 1;
	}
	nsp = -5;
	ASSERT_ST(dlm_nsjoin(groups[DLM_NSPROCMAX], &nsp, DLM_GROUP), DLM_TOOMANYNS);
	ASSERT_ST(dlm_nsjoin(groups[3], &nsp, DLM_GROUP), DLM_ATTACHED);
	ASSERT_EQ(nsp, -5);
	nsp = 7;
	ASSERT_ST(dlm_nsleave(&nsp, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_nsjoin(groups[DLM_NSPROCMAX], &nsp, DLM_GROUP), DLM_SUCCESS);
	ASSERT_EQ(nsp, 7);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);

	setenv("GODLM_PUBLIC_NAMESPACE", "off", 1);
	ASSERT_ST(dlm_nsjoin(0, &nsp, 0), DLM_PUBNS_DISALLOW);
	ASSERT_ST(dlm_nsjoin(0, &nsp, DLM_USER), DLM_PUBNS_DISALLOW);
	ASSERT_ST(dlm_nsjoin(groups[0], &nsp, DLM_GROUP), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);
}

int main(void)
{
	wrong_arguments();
	before_joining();
	joining_and_leaving();
	too_many();
	return 0;
}
