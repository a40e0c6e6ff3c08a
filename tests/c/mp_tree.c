/*
 * Lock trees between processes: sub-resources are shared by what their parents
 * stand on, go away with their locks, and outlive the tree's master.
 */
#include "puppet.h"

#define LEVELS 127

static dlm_status_t sub(struct puppet *p, int slot, int parent, const char *name, int mode, dlm_flags_t flags)
{
	return order(p, named(CMD(OP_LOCK, slot, .under = parent + 1, .mode = mode, .flags = flags), name));
}

static dlm_status_t sub_info(struct puppet *p, int parent, const char *name)
{
	return order(p, named(CMD(OP_RSBINFO, NO_SLOT, .under = parent + 1), name));
}

static void parents(struct puppet *p, struct puppet *q)
{
	ASSERT_ST(lock(p, 0, "root", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(q, 0, "root", DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(sub(p, 1, 0, "leaf", DLM_EXMODE, DLM_SYNCSTS), DLM_SYNCH);
	/* The same under a parent of another mode, not the same as the root "leaf" or another's. */
	ASSERT_ST(sub(q, 1, 0, "leaf", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(lock(q, 2, "leaf", DLM_EXMODE, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(sub(q, 3, 2, "leaf", DLM_EXMODE, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(sub(q, 4, 0, "other", DLM_EXMODE, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(sub(q, 5, 0, "root", DLM_EXMODE, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(rsbinfo(p, "root"), DLM_SUCCESS);
	ASSERT_EQ(p->last.rsb.subrescnt, 3);
	ASSERT_EQ(p->last.rsb.lckcnt, 2);
	ASSERT_ST(sub_info(p, 0, "other"), DLM_SUCCESS);
	ASSERT_EQ(p->last.rsb.ggmode, DLM_EXMODE);
	ASSERT_ST(sub_info(p, 0, "none"), DLM_ENOENT);
	ASSERT_ST(lkinfo(q, 4), DLM_SUCCESS);
	ASSERT(q->last.lki.parlkid.seqn != 0 || q->last.lki.parlkid.hndl != 0);

	ASSERT_ST(unlock(p, 0, 0, 0), DLM_SUBLOCKS);
	ASSERT_EQ(state(p, 0), DLM_STATE_GRANTED);
	ASSERT_ST(cvt(p, 0, DLM_CRMODE, 0, 0), DLM_SUCCESS); /* parents convert as they like */
	ASSERT_ST(cvt(p, 0, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	/* A wait on a sub-resource. */
	ASSERT_ST(order(q, named(CMD(OP_QUELOCK, 6, .under = 1, .mode = DLM_PRMODE), "leaf")), DLM_SUCCESS);
	EVENTUALLY(state(q, 6) == DLM_STATE_WAITING);
	ASSERT_ST(unlock(q, 0, 0, 0), DLM_SUBLOCKS); /* a waiting one counts */
	ASSERT_ST(unlock(p, 1, DLM_VALB, 5), DLM_SUCCESS);
	ASSERT_ST(completion(q, 6), DLM_SUCCESS);
	ASSERT_ST(cvt(q, 6, DLM_PRMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT(same_value(&q->last.valb, 5));
	ASSERT_ST(unlock(p, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(q, NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	EVENTUALLY(rsbinfo(p, "root") == DLM_ENOENT);
	EVENTUALLY(rsbinfo(p, "leaf") == DLM_ENOENT);
}

static void not_granted(struct puppet *p, struct puppet *q)
{
	ASSERT_ST(lock(p, 0, "root", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(q, 0, "root", DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(q, 0) == DLM_STATE_WAITING);
	ASSERT_ST(sub(q, 1, 0, "leaf", DLM_NLMODE, 0), DLM_PARNOTGRANT);
	ASSERT_ST(unlock(q, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(q, 0), DLM_ABORT);
	ASSERT_ST(sub(q, 1, 0, "leaf", DLM_NLMODE, 0), DLM_IVLOCKID);
	ASSERT_ST(unlock(p, 0, 0, 0), DLM_SUCCESS);
}

static void dequeue_all(struct puppet *p, struct puppet *q)
{
	ASSERT_ST(lock(q, 0, "root", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(p, 0, "root", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(sub(q, 1, 0, "b", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(sub(p, 1, 0, "a", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(sub(p, 2, 1, "aa", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(sub(p, 3, 2, "aaa", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(sub(p, 4, 0, "b", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(p, 5, "root", DLM_NLMODE, 0), DLM_SUCCESS); /* beside, not below */
	ASSERT_ST(unlock(p, 1, DLM_DEQALL | DLM_VALB, 0), DLM_BADPARAM);
	ASSERT_ST(unlock(p, 1, DLM_DEQALL, 0), DLM_SUCCESS);
	ASSERT_ST(lkinfo(p, 2), DLM_IVLOCKID);
	ASSERT_ST(lkinfo(p, 3), DLM_IVLOCKID);
	ASSERT_EQ(state(p, 1), DLM_STATE_GRANTED);
	ASSERT_EQ(state(p, 4), DLM_STATE_GRANTED);
	ASSERT_ST(unlock(p, 0, DLM_DEQALL, 0), DLM_SUCCESS);
	ASSERT_ST(lkinfo(p, 1), DLM_IVLOCKID);
	ASSERT_ST(lkinfo(p, 4), DLM_IVLOCKID);
	ASSERT_EQ(state(p, 5), DLM_STATE_GRANTED);
	ASSERT_ST(unlock(p, 0, 0, 0), DLM_SUCCESS);
	ASSERT_EQ(state(q, 1), DLM_STATE_GRANTED); /* others' are their own */
	ASSERT_ST(unlock(q, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(q, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(p, 5, 0, 0), DLM_SUCCESS);
}

static void deep(struct puppet *p, struct puppet *q)
{
	ASSERT_ST(lock(q, 0, "root", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(p, 0, "root", DLM_NLMODE, 0), DLM_SUCCESS);
	for (int i = 1; i < LEVELS; i++) {
		ASSERT_ST(sub(p, i, i - 1, "x", i == LEVELS - 1 ? DLM_EXMODE : DLM_NLMODE, 0), DLM_SUCCESS);
		if (i < LEVELS - 1)
			ASSERT_ST(sub(q, i, i - 1, "x", DLM_NLMODE, 0), DLM_SUCCESS);
	}
	ASSERT_ST(sub(p, LEVELS, LEVELS - 1, "x", DLM_NLMODE, 0), DLM_BADPARAM);
	ASSERT_ST(sub(q, LEVELS - 1, LEVELS - 2, "x", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(unlock(p, NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	ASSERT_ST(sub(q, LEVELS - 1, LEVELS - 2, "x", DLM_PRMODE, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(unlock(q, NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
}

/* The master dies with an EX lock three levels down; below it a reader waits. */
static void rebuilt(struct puppet *p, struct puppet *q)
{
	struct puppet m = puppet();
	ASSERT_ST(lock(&m, 0, "forest", DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(p, 0, "forest", DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(q, 0, "forest", DLM_CRMODE, 0), DLM_SUCCESS);
	struct puppet *all[] = {&m, p, q};
	for (int i = 0; i < 3; i++) {
		ASSERT_ST(sub(all[i], 1, 0, "tree", DLM_CRMODE, 0), DLM_SUCCESS);
		ASSERT_ST(sub(all[i], 2, 1, "branch", DLM_NLMODE, 0), DLM_SUCCESS);
		ASSERT_ST(sub(all[i], 3, 1, "twig", DLM_NLMODE, 0), DLM_SUCCESS);
	}
	ASSERT_ST(cvt(p, 3, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(p, 3, DLM_PRMODE, DLM_VALB, 300), DLM_SUCCESS);
	ASSERT_ST(cvt(&m, 2, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&m, 2, DLM_EXMODE, DLM_VALB, 200), DLM_SUCCESS);
	ASSERT_ST(quecvt(p, 2, DLM_PRMODE, DLM_VALB), DLM_SUCCESS);
	EVENTUALLY(state(p, 2) == DLM_STATE_CONVERTING);
	ASSERT_ST(quecvt(q, 2, DLM_PRMODE, DLM_VALB | DLM_QUECVT), DLM_SUCCESS);
	EVENTUALLY(state(q, 2) == DLM_STATE_CONVERTING);
	kill_role(&m.r);
	ASSERT_ST(completion(p, 2), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&p->last.valb, 200));
	ASSERT_ST(completion(q, 2), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&q->last.valb, 200));
	ASSERT_ST(cvt(q, 3, DLM_CRMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT(same_value(&q->last.valb, 300));
	ASSERT_ST(cvt(q, 3, DLM_CWMODE, DLM_NOQUEUE, 0), DLM_NOTQUEUED); /* p has PR */
	ASSERT_ST(rsbinfo(q, "forest"), DLM_SUCCESS);
	ASSERT_EQ(q->last.rsb.subrescnt, 1);
	ASSERT_EQ(q->last.rsb.lckcnt, 2);
	ASSERT_ST(sub_info(q, 0, "tree"), DLM_SUCCESS);
	ASSERT_EQ(q->last.rsb.subrescnt, 2);
	ASSERT_ST(unlock(p, 1, 0, 0), DLM_SUBLOCKS);
	ASSERT_ST(unlock(p, NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(q, NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
}

int main(void)
{
	struct puppet agent = puppet(), p = puppet(), q = puppet();
	for (int i = 0; i < 2; i++) {
		struct puppet *a = i ? &q : &p, *b = i ? &p : &q;
		parents(a, b);
		not_granted(a, b);
		dequeue_all(a, b);
		deep(a, b);
		rebuilt(a, b);
	}
	leave(&p);
	leave(&q);
	leave(&agent);
	return 0;
}
