/*
 * Waits and how they end other than by a grant: time-out, cancel, unlock,
 * DLM_DEQALL, refusal, conversion deadlock. Each with the decision made in the
 * waiter's own process, in the holder's, and in a third.
 */
#include "puppet.h"

static const char *res;
static struct puppet *master; /* keeps NL on the resource in slot KEEP; null: the holder masters it */

#define KEEP 9

/* Nobody but the holder, and the master with its NL, has to do with the resource. */
static void only_the_holder(struct puppet *h)
{
	int kept = master && lkinfo(master, KEEP) == DLM_SUCCESS;
	EVENTUALLY(lock_count(h, res) == 1 + kept);
	ASSERT_EQ(state(h, 0), DLM_STATE_GRANTED);
}

static void timeouts(struct puppet *h, struct puppet *w)
{
	ASSERT_ST(lock(h, 0, res, DLM_EXMODE, 0), DLM_SUCCESS);
	long long start = now_ms();
	ASSERT_ST(order(w, named(CMD(OP_LOCK, 1, .mode = DLM_CRMODE, .flags = DLM_VALB, .timeout = 5), res)),
	          DLM_TIMEOUT);
	ASSERT(now_ms() - start >= 50);
	ASSERT(w->last.is_zero);
	ASSERT_EQ(w->last.valb.valblk[0], 0xeeeeeeeeu); /* untouched */
	only_the_holder(h);

	start = now_ms();
	ASSERT_ST(order(w, named(CMD(OP_QUELOCK, 1, .mode = DLM_PRMODE, .timeout = 5), res)), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_TIMEOUT);
	ASSERT(now_ms() - start >= 50);
	only_the_holder(h);

	ASSERT_ST(lock(w, 1, res, DLM_NLMODE, DLM_EXPEDITE), DLM_SUCCESS);
	ASSERT_ST(order(w, CMD(OP_CVT, 1, .mode = DLM_PWMODE, .timeout = 5)), DLM_TIMEOUT);
	ASSERT_EQ(state(w, 1), DLM_STATE_GRANTED);
	ASSERT_EQ(w->last.lki.grmode, DLM_NLMODE);
	ASSERT_ST(order(w, CMD(OP_QUECVT, 1, .mode = DLM_PWMODE, .timeout = 5)), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_TIMEOUT);
	ASSERT_EQ(state(w, 1), DLM_STATE_GRANTED);

	/* One that is granted in time hears nothing of the limit. */
	ASSERT_ST(order(w, CMD(OP_QUECVT, 1, .mode = DLM_PRMODE, .timeout = 100000)), DLM_SUCCESS);
	EVENTUALLY(state(w, 1) == DLM_STATE_CONVERTING);
	ASSERT_ST(unlock(h, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_SUCCESS);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
}

static void cancels(struct puppet *h, struct puppet *w)
{
	ASSERT_ST(lock(h, 0, res, DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cancel(h, 0, 0), DLM_CANCELGRANT);
	ASSERT_ST(quelock(w, 1, res, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 1) == DLM_STATE_WAITING);
	ASSERT_ST(cancel(w, 1, 0), DLM_CANCELWAIT);
	ASSERT_EQ(state(w, 1), DLM_STATE_WAITING);
	ASSERT_ST(cvt(w, 1, DLM_NLMODE, 0, 0), DLM_CVTUNGRANT);
	ASSERT_ST(cancel(w, 1, DLM_CANCELWAITOK), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_ABORT);
	only_the_holder(h);
	ASSERT_ST(cancel(w, 1, DLM_CANCELWAITOK), DLM_IVLOCKID);

	ASSERT_ST(lock(w, 1, res, DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quecvt(w, 1, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 1) == DLM_STATE_CONVERTING);
	ASSERT_EQ(w->last.lki.grmode, DLM_CRMODE);
	ASSERT_EQ(w->last.lki.rqmode, DLM_EXMODE);
	ASSERT_ST(cvt(w, 1, DLM_NLMODE, 0, 0), DLM_CVTUNGRANT);
	ASSERT_ST(cancel(w, 1, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_CANCEL);
	ASSERT_EQ(state(w, 1), DLM_STATE_GRANTED);
	ASSERT_EQ(w->last.lki.grmode, DLM_CRMODE);
	ASSERT_ST(cancel(w, 1, 0), DLM_CANCELGRANT);

	/* Cancelling the head lets those behind it pass. */
	ASSERT_ST(quecvt(w, 1, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 1) == DLM_STATE_CONVERTING);
	ASSERT_ST(quelock(w, 2, res, DLM_PRMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 2) == DLM_STATE_WAITING);
	ASSERT_ST(cancel(w, 1, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_CANCEL);
	ASSERT_ST(completion(w, 2), DLM_SUCCESS);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(w, 2, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(h, 0, 0, 0), DLM_SUCCESS);
}

static void unlocks(struct puppet *h, struct puppet *w)
{
	ASSERT_ST(lock(h, 0, res, DLM_PWMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(w, 1, res, DLM_PRMODE, DLM_VALB), DLM_SUCCESS);
	EVENTUALLY(state(w, 1) == DLM_STATE_WAITING);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_ABORT);
	ASSERT_ST(lkinfo(w, 1), DLM_IVLOCKID);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_IVLOCKID);
	only_the_holder(h);

	ASSERT_ST(lock(w, 1, res, DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quecvt(w, 1, DLM_CWMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 1) == DLM_STATE_CONVERTING);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 1), DLM_ABORT);
	only_the_holder(h);

	/* All of a process: granted, waiting, converting. */
	ASSERT_ST(lock(w, 1, "dequeue.all", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(w, 2, res, DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quecvt(w, 2, DLM_PRMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 2) == DLM_STATE_CONVERTING);
	ASSERT_ST(quelock(w, 3, res, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 3) == DLM_STATE_WAITING);
	ASSERT_ST(unlock(w, NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 2), DLM_ABORT);
	ASSERT_ST(completion(w, 3), DLM_ABORT);
	for (int i = 1; i <= 3; i++)
		ASSERT_ST(lkinfo(w, i), DLM_IVLOCKID);
	only_the_holder(h);
	EVENTUALLY(rsbinfo(h, "dequeue.all") == DLM_ENOENT);
	ASSERT_ST(unlock(h, 0, 0, 0), DLM_SUCCESS);
}

static void refusals(struct puppet *h, struct puppet *w)
{
	ASSERT_ST(lock(h, 0, res, DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(w, 1, res, DLM_CWMODE, DLM_NOQUEUE | DLM_VALB), DLM_NOTQUEUED);
	ASSERT(w->last.is_zero);
	ASSERT_EQ(w->last.valb.valblk[0], 0xeeeeeeeeu);
	ASSERT_ST(outcome(w, 1, quelock(w, 1, res, DLM_CWMODE, DLM_NOQUEUE)), DLM_NOTQUEUED);
	ASSERT_ST(lkinfo(w, 1), DLM_IVLOCKID);
	ASSERT_ST(lock(w, 1, res, DLM_PRMODE, DLM_NOQUEUE | DLM_SYNCSTS), DLM_SYNCH);
	ASSERT_ST(cvt(w, 1, DLM_PWMODE, DLM_NOQUEUE, 0), DLM_NOTQUEUED);
	ASSERT_ST(outcome(w, 1, quecvt(w, 1, DLM_PWMODE, DLM_NOQUEUE)), DLM_NOTQUEUED);
	ASSERT_EQ(state(w, 1), DLM_STATE_GRANTED);
	ASSERT_EQ(w->last.lki.grmode, DLM_PRMODE);

	/* NL waits behind a queue, unless it may pass it. */
	ASSERT_ST(quelock(w, 2, res, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(w, 2) == DLM_STATE_WAITING);
	ASSERT_ST(lock(w, 3, res, DLM_NLMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(lock(w, 3, res, DLM_NLMODE, DLM_EXPEDITE | DLM_SYNCSTS), DLM_SYNCH);
	/* A conversion passes new requests, with DLM_QUECVT too while none other is queued. */
	ASSERT_ST(cvt(w, 3, DLM_CRMODE, DLM_SYNCSTS | DLM_QUECVT, 0), DLM_SYNCH);
	ASSERT_ST(unlock(w, 3, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(w, 2, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(w, 2), DLM_ABORT);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(h, 0, 0, 0), DLM_SUCCESS);
}

/* Two PR holders that both want EX: the second hears of it at once. */
static void conversion_deadlock(struct puppet *h, struct puppet *w)
{
	ASSERT_ST(lock(h, 0, res, DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(w, 1, res, DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quecvt(h, 0, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(h, 0) == DLM_STATE_CONVERTING);
	ASSERT_ST(cvt(w, 1, DLM_EXMODE, 0, 0), DLM_DEADLOCK);
	ASSERT_EQ(state(w, 1), DLM_STATE_GRANTED);
	ASSERT_EQ(w->last.lki.grmode, DLM_PRMODE);
	ASSERT_ST(outcome(w, 1, quecvt(w, 1, DLM_PWMODE, 0)), DLM_DEADLOCK);
	ASSERT_ST(cvt(w, 1, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(h, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(h, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
}

/* A synchronous wait ends with its grant, and with its holder's death. */
static void ends_with_the_holder(struct puppet *w)
{
	struct puppet h = puppet();
	ASSERT_ST(lock(&h, 0, res, DLM_EXMODE, 0), DLM_SUCCESS);
	begin(w, named(CMD(OP_LOCK, 1, .mode = DLM_PRMODE, .flags = DLM_VALB), res));
	EVENTUALLY(lock_count(&h, res) >= 2);
	ASSERT(!readable(w->r.in, 0));
	kill_role(&h.r);
	ASSERT_ST(end(w), DLM_SUCCVALNOTVALID);
	ASSERT_ST(unlock(w, 1, 0, 0), DLM_SUCCESS);
}

int main(void)
{
	struct puppet agent = puppet(), third = puppet(), h = puppet(), w = puppet();
	struct {
		const char *name;
		struct puppet *master;
	} places[] = {{"by.holder", NULL}, {"by.waiter", &w}, {"by.third", &third}};

	for (int i = 0; i < 3; i++) {
		res = places[i].name;
		fprintf(stderr, "%s\n", res);
		for (int part = 0; part < 5; part++) {
			void (*parts[])(struct puppet *, struct puppet *) = {timeouts, cancels, unlocks, refusals,
			                                                     conversion_deadlock};
			/* The first to lock a resource masters it. */
			master = places[i].master;
			if (master)
				ASSERT_ST(lock(master, KEEP, res, DLM_NLMODE, 0), DLM_SUCCESS);
			parts[part](&h, &w);
			if (master) /* unless DLM_DEQALL took it */
				unlock(master, KEEP, 0, 0);
			EVENTUALLY(rsbinfo(&h, res) == DLM_ENOENT);
		}
	}
	res = "by.the.dead";
	ends_with_the_holder(&w);
	leave(&w);
	leave(&h);
	leave(&third);
	leave(&agent);
	return 0;
}
