/* Names of statuses and what dlm_perrno() and dlm_perror() print (D-32). */
#include "test.h"

static void printed(const char *want, void (*f)(void))
{
	char buf[256];
	int p[2], saved = dup(2);
	ssize_t n;
	ASSERT(pipe(p) == 0);
	dup2(p[1], 2);
	f();
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	close(p[1]);
	n = read(p[0], buf, sizeof buf - 1);
	close(p[0]);
	ASSERT(n >= 0);
	buf[n] = 0;
	ASSERT_STR(buf, want);
}

static void perrno(void) { dlm_perrno(DLM_NOTQUEUED); }
static void perrno_bad(void) { dlm_perrno((dlm_status_t)57); }
static void perror_text(void) { dlm_perror((char *)(size_t)"lock", DLM_DEADLOCK); }
static void perror_null(void) { dlm_perror(NULL, DLM_SUCCESS); }
static void perror_empty(void) { dlm_perror((char *)(size_t)"", DLM_SUCCESS); }

int main(void)
{
	static const struct {
		int number;
		const char *name;
	} all[] = {
		{0, "DLM_SUCCESS"}, {1, "DLM_SYNCH"}, {2, "DLM_SUCCVALNOTVALID"}, {3, "DLM_SYNCVALNOTVALID"},
		{4, "DLM_MORE_TO_RECOVER"}, {5, "DLM_MORE_TO_TRAVERSE"}, {16, "DLM_ABORT"}, {17, "DLM_ATTACHED"},
		{18, "DLM_BADPARAM"}, {19, "DLM_CANCEL"}, {20, "DLM_CANCELGRANT"}, {21, "DLM_CANCELWAIT"},
		{22, "DLM_CVTUNGRANT"}, {23, "DLM_DEADLOCK"}, {24, "DLM_EFAULT"}, {25, "DLM_ENOENT"},
		{26, "DLM_ENOSYS"}, {27, "DLM_HASLOCKS"}, {28, "DLM_INSFMEM"}, {29, "DLM_INTR"},
		{30, "DLM_IVBUFLEN"}, {31, "DLM_IVLOCKID"}, {32, "DLM_LKBUSY"}, {33, "DLM_NOACCESS"},
		{34, "DLM_NOLOCKID"}, {35, "DLM_NOTATTACHED"}, {36, "DLM_NOTQUEUED"}, {37, "DLM_PARNOTGRANT"},
		{38, "DLM_RETRY"}, {39, "DLM_SUBLOCKS"}, {40, "DLM_TIMEOUT"}, {41, "DLM_TOOMANYNS"},
		{42, "DLM_UNEXPERR"}, {43, "DLM_HASPROCS"}, {44, "DLM_KILLFAIL"}, {45, "DLM_ATTACHEDGROUP"},
		{46, "DLM_NO_GROUP"}, {47, "DLM_ENAMETOOLONG"}, {48, "DLM_TOOMANYRD"}, {49, "DLM_IS_PR"},
		{50, "DLM_NOT_PR"}, {51, "DLM_IVRDID"}, {52, "DLM_PR_RD_MISMATCH"}, {53, "DLM_IVHNDL"},
		{54, "DLM_EALREADY"}, {55, "DLM_EINPROGRESS"}, {56, "DLM_PUBNS_DISALLOW"}, {100, "GODLM_LOST"},
	};
	unsigned next = 0;
	for (int i = -3; i < 300; i++) {
		const char *want = "DLM_ILLEGAL_EEROR";
		if (next < sizeof all / sizeof *all && all[next].number == i)
			want = all[next++].name;
		ASSERT_STR(dlm_sperrno((dlm_status_t)i), want);
	}
	ASSERT_EQ(next, sizeof all / sizeof *all);
	ASSERT_STR(dlm_sperrno((dlm_status_t)0x7fffffff), "DLM_ILLEGAL_EEROR");
	printed("DLM_NOTQUEUED\n", perrno);
	printed("DLM_ILLEGAL_EEROR\n", perrno_bad);
	printed("lock: DLM_DEADLOCK\n", perror_text);
	printed("DLM_SUCCESS\n", perror_null);
	printed("DLM_SUCCESS\n", perror_empty);
	ASSERT_EQ(thread_count(), 1);
	return 0;
}
