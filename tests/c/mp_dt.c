/*
 * What the `dt` program does (spec C.1): one lock for its life, taken in NL,
 * converted up before each pass and down after it; nothing released at the end
 * but by exit.
 */
#include "test.h"

#include <sys/mman.h>

#define PASSES 200

struct shared {
	int writing, passes;
};

static struct shared *shared;

static void pass(int mode)
{
	if (mode == DLM_PWMODE) {
		ASSERT(__atomic_exchange_n(&shared->writing, 1, __ATOMIC_SEQ_CST) == 0);
		shared->passes++;
		ASSERT(__atomic_exchange_n(&shared->writing, 0, __ATOMIC_SEQ_CST) == 1);
	} else {
		ASSERT(__atomic_load_n(&shared->writing, __ATOMIC_SEQ_CST) == 0);
	}
}

static void dt(struct role *r, void *arg)
{
	static char name[] = "/dev/some/device";
	dlm_lkmode_t mode = *(dlm_lkmode_t *)arg;
	dlm_nsp_t nsp = 0, first;
	dlm_lkid_t lkid;
	dlm_status_t st;
	int i = -1;

	st = dlm_nsjoin(getuid(), &nsp, DLM_USER);
	ASSERT(st == DLM_SUCCESS || st == DLM_ATTACHED);
	first = nsp;
	ASSERT_ST(dlm_nsjoin(getuid(), &nsp, DLM_USER), DLM_ATTACHED);
	ASSERT_EQ(nsp, first);
	ASSERT_ST(dlm_set_signal(SIGIO, &i), DLM_SUCCESS);
	ASSERT_EQ(i, 0);
	ASSERT_ST(dlm_lock(nsp, (uchar_t *)name, (ushort_t)strlen(name), 0, &lkid, DLM_NLMODE, NULL, DLM_SYNCSTS, 0, 0,
	                   0, 0),
	          DLM_SYNCH);
	tell(r, 'r');
	hear(r, 'g');
	for (int n = 0; n < PASSES; n++) {
		ASSERT_ST(dlm_cvt(&lkid, mode, NULL, 0, 0, 0, NULL, 0), DLM_SUCCESS);
		pass((int)mode);
		ASSERT_ST(dlm_cvt(&lkid, DLM_NLMODE, NULL, 0, 0, 0, NULL, 0), DLM_SUCCESS);
	}
	ASSERT_ST(dlm_unlock(&lkid, NULL, 0), DLM_SUCCESS);
}

int main(void)
{
	static dlm_lkmode_t modes[] = {DLM_PWMODE, DLM_PWMODE, DLM_PRMODE, DLM_PRMODE};
	enum { N = sizeof modes / sizeof modes[0] };
	struct role r[N];

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(shared != MAP_FAILED);
	for (int i = 0; i < N; i++) {
		r[i] = fork_role(dt, &modes[i]);
		hear(&r[i], 'r');
	}
	for (int i = 0; i < N; i++)
		tell(&r[i], 'g');
	for (int i = 0; i < N; i++)
		finish_role(&r[i]);
	ASSERT_EQ(shared->passes, 2 * PASSES);
	return 0;
}
