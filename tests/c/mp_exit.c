/*
 * exit() without a call to the library: trees go to those who stay, waiters are
 * served, and value blocks stay valid unless the one that left could have been
 * writing. An idle tree moves to whoever asks next.
 */
#include "puppet.h"

/* The master goes, holding `mode`; a reader's value and a waiter remain. */
static void master_exits(int mode)
{
	struct puppet agent = puppet(), m = puppet(), reader = puppet(), waiter = puppet();
	int writing = mode >= DLM_PWMODE;
	dlm_status_t want = writing ? DLM_SUCCVALNOTVALID : DLM_SUCCESS;

	ASSERT_ST(lock(&m, 0, "tree", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&m, 0, DLM_EXMODE, DLM_VALB, 40), DLM_SUCCESS);
	ASSERT_ST(cvt(&m, 0, mode, 0, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&reader, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&waiter, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	if (mode > DLM_NLMODE) {
		ASSERT_ST(quecvt(&waiter, 0, DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
		EVENTUALLY(state(&waiter, 0) == DLM_STATE_CONVERTING);
	}
	leave(&m);
	if (mode > DLM_NLMODE) {
		ASSERT_ST(completion(&waiter, 0), want);
		ASSERT(same_value(&waiter.last.valb, 40));
	}
	EVENTUALLY(lock_count(&reader, "tree") == 2);
	ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_VALB, 0), want);
	ASSERT(same_value(&reader.last.valb, 40));
	leave(&waiter);
	leave(&reader);
	leave(&agent);
}

/* All go one after the other, the agent first; the last has all there is. */
static void one_after_the_other(void)
{
	enum { N = 4 };
	struct puppet p[N];
	for (int i = 0; i < N; i++) {
		p[i] = puppet();
		char own[16];
		snprintf(own, sizeof own, "own.%d", i);
		ASSERT_ST(lock(&p[i], 0, own, DLM_EXMODE, 0), DLM_SUCCESS);
		ASSERT_ST(lock(&p[i], 1, "common", DLM_CRMODE, 0), DLM_SUCCESS);
	}
	ASSERT_ST(cvt(&p[N - 1], 1, DLM_PWMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p[N - 1], 1, DLM_CRMODE, DLM_VALB, 9), DLM_SUCCESS);
	for (int i = 0; i < N - 1; i++) {
		char own[16];
		leave(&p[i]);
		snprintf(own, sizeof own, "own.%d", i);
		/* Nobody shared it: gone with its holder, so valid. */
		ASSERT_ST(lock(&p[N - 1], 2, own, DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
		ASSERT_EQ(p[N - 1].last.valb.valblk[0], 0);
		ASSERT_ST(unlock(&p[N - 1], 2, 0, 0), DLM_SUCCESS);
		EVENTUALLY(lock_count(&p[N - 1], "common") == N - 1 - i);
		ASSERT_ST(cvt(&p[N - 1], 1, DLM_CRMODE, DLM_VALB, 0), DLM_SUCCESS);
		ASSERT(same_value(&p[N - 1].last.valb, 9));
	}
	leave(&p[N - 1]);
}

/* A tree that nobody uses is not tied to its last master: that one may stand still. */
static void idle_tree_moves(void)
{
	struct puppet agent = puppet(), first = puppet(), next = puppet();
	ASSERT_ST(lock(&first, 0, "idle", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(&first, 0, DLM_VALB, 1), DLM_SUCCESS);
	ASSERT_ST(lock(&next, 0, "idle", DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
	ASSERT_EQ(next.last.valb.valblk[0], 0); /* a new resource */
	stop_role(&first.r);
	ASSERT_ST(cvt(&next, 0, DLM_NLMODE, DLM_VALB, 2), DLM_SUCCESS);
	ASSERT_ST(cvt(&next, 0, DLM_PRMODE, DLM_SYNCSTS | DLM_VALB, 0), DLM_SYNCH);
	ASSERT(same_value(&next.last.valb, 2));
	ASSERT_ST(unlock(&next, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&next, 0, "idle", DLM_EXMODE, 0), DLM_SUCCESS);
	continue_role(&first.r);
	ASSERT_ST(lock(&first, 0, "idle", DLM_CRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	leave(&next);
	ASSERT_ST(lock(&first, 0, "idle", DLM_CRMODE, 0), DLM_SUCCESS);
	leave(&first);
	leave(&agent);
}

int main(void)
{
	for (int mode = DLM_NLMODE; mode <= DLM_EXMODE; mode++)
		master_exits(mode);
	one_after_the_other();
	idle_tree_moves();
	return 0;
}
