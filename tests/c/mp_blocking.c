/*
 * Blocking notices between processes (spec §9.4, D-33): who is told of whom and
 * when, with the resource mastered by the holder, by the one who waits, and by a
 * third process. Slots 0 to 4 are the holder's, 5 to 9 the waiter's.
 */
#include "puppet.h"

static const char *res;
static struct puppet *h, *w;

static dlm_status_t hold(int slot, int mode)
{
	return order(h, named(CMD(OP_LOCK, slot, .mode = mode, .watch = 1), res));
}

static void want(int slot, int mode, long hint)
{
	ASSERT_ST(order(w, named(CMD(OP_QUELOCK, slot, .mode = mode, .hint = hint), res)), DLM_SUCCESS);
	EVENTUALLY(state(w, slot) == DLM_STATE_WAITING);
}

static void want_conversion(struct puppet *p, int slot, int mode, long hint)
{
	ASSERT_ST(order(p, CMD(OP_QUECVT, slot, .mode = mode, .hint = hint, .watch = p == h)), DLM_SUCCESS);
	EVENTUALLY(state(p, slot) == DLM_STATE_CONVERTING);
}

static void told(int slot, int mode, long hint)
{
	ASSERT_ST(rsbinfo(h, res), DLM_SUCCESS); /* what the master sent before has arrived */
	ASSERT_EQ(blocked(h, slot), mode);
	ASSERT_EQ(h->last.hint, hint);
}

/*
 * silent() after count(): no notice is under way for the holder: what the
 * master sent before it answered this question has arrived, and dlm_notify()
 * finds nothing.
 */
static int silent_calls[5];
static void count(int slot)
{
	ASSERT_ST(order(h, CMD(OP_NOTIFY, slot)), DLM_SUCCESS);
	silent_calls[slot] = h->last.calls;
}

static void silent(int slot)
{
	ASSERT_ST(rsbinfo(h, res), DLM_SUCCESS);
	ASSERT_ST(order(h, CMD(OP_NOTIFY, slot)), DLM_SUCCESS);
	ASSERT_EQ(h->last.calls, silent_calls[slot]);
}

static void give_up(struct puppet *p, int slot) { ASSERT_ST(unlock(p, slot, 0, 0), DLM_SUCCESS); }

static void withdraw(int slot)
{
	give_up(w, slot);
	ASSERT_ST(completion(w, slot), DLM_ABORT);
}

/* One notice for the first request; the next only after it was delivered. */
static void repetition(void)
{
	ASSERT_ST(hold(0, DLM_EXMODE), DLM_SUCCESS);
	want(5, DLM_PRMODE, 105);
	want(6, DLM_EXMODE, 106);
	told(0, DLM_PRMODE, 105);
	count(0);
	silent(0);
	want(7, DLM_CRMODE, 107);
	told(0, DLM_CRMODE, 107);
	count(0);
	silent(0);

	/* Granted anew with something in the queue: told anew. */
	ASSERT_ST(order(h, CMD(OP_CVT, 0, .mode = DLM_PRMODE, .watch = 1)), DLM_SUCCESS);
	ASSERT_ST(completion(w, 5), DLM_SUCCESS);
	told(0, DLM_EXMODE, 106);
	give_up(h, 0);
	give_up(w, 5);
	ASSERT_ST(completion(w, 6), DLM_SUCCESS);
	give_up(w, 6);
	ASSERT_ST(completion(w, 7), DLM_SUCCESS);
	give_up(w, 7);
}

/* All who stand in the way are told, others are not. */
static void everyone_in_the_way(void)
{
	ASSERT_ST(hold(0, DLM_CRMODE), DLM_SUCCESS);
	ASSERT_ST(hold(1, DLM_PRMODE), DLM_SUCCESS);
	ASSERT_ST(hold(2, DLM_PRMODE), DLM_SUCCESS);
	ASSERT_ST(hold(3, DLM_NLMODE), DLM_SUCCESS);
	count(0);
	count(3);
	want(5, DLM_PWMODE, 9);
	told(1, DLM_PWMODE, 9);
	told(2, DLM_PWMODE, 9);
	silent(0);
	silent(3);
	for (int i = 0; i < 4; i++)
		give_up(h, i);
	ASSERT_ST(completion(w, 5), DLM_SUCCESS);
	give_up(w, 5);
}

/* A request that is refused at once bothers nobody. */
static void no_queue(void)
{
	ASSERT_ST(hold(0, DLM_EXMODE), DLM_SUCCESS);
	count(0);
	ASSERT_ST(lock(w, 5, res, DLM_CRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	silent(0);
	give_up(h, 0);
}

/* A lock that is being converted is not told; when that ends without a grant, it is. */
static void converting(void)
{
	ASSERT_ST(hold(0, DLM_PRMODE), DLM_SUCCESS);
	ASSERT_ST(lock(w, 5, res, DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(w, 6, res, DLM_PRMODE, 0), DLM_SUCCESS);
	count(0);
	want_conversion(h, 0, DLM_PWMODE, 0);
	want_conversion(w, 5, DLM_CWMODE, 55); /* behind it, and not compatible with its PR */
	silent(0);
	ASSERT_ST(cancel(h, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(h, 0), DLM_CANCEL);
	told(0, DLM_CWMODE, 55);
	give_up(h, 0);
	give_up(w, 6);
	ASSERT_ST(completion(w, 5), DLM_SUCCESS);
	give_up(w, 5);
}

/* A grant with others behind it: told of them with the grant. */
static void granted_in_the_way(void)
{
	ASSERT_ST(lock(w, 5, res, DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(order(h, named(CMD(OP_QUELOCK, 0, .mode = DLM_EXMODE, .watch = 1), res)), DLM_SUCCESS);
	EVENTUALLY(state(h, 0) == DLM_STATE_WAITING);
	want(6, DLM_PRMODE, 66);
	give_up(w, 5);
	ASSERT_ST(completion(h, 0), DLM_SUCCESS);
	told(0, DLM_PRMODE, 66);
	give_up(h, 0);
	ASSERT_ST(completion(w, 6), DLM_SUCCESS);
	give_up(w, 6);
}

/* dlm_cvt() with no routine ends the notices, with one brings them back (D-30). */
static void routine_replaced(void)
{
	ASSERT_ST(hold(0, DLM_EXMODE), DLM_SUCCESS);
	count(0);
	ASSERT_ST(cvt(h, 0, DLM_PWMODE, 0, 0), DLM_SUCCESS);
	want(5, DLM_PRMODE, 1);
	silent(0);
	ASSERT_ST(order(h, CMD(OP_CVT, 0, .mode = DLM_PWMODE, .watch = 1)), DLM_SUCCESS);
	told(0, DLM_PRMODE, 1);
	give_up(h, 0);
	ASSERT_ST(completion(w, 5), DLM_SUCCESS);
	give_up(w, 5);
}

/* A blocked process that dies is nobody's concern; one that comes after it is. */
static void death_of_the_blocked(void)
{
	struct puppet victim = puppet();
	ASSERT_ST(hold(0, DLM_EXMODE), DLM_SUCCESS);
	ASSERT_ST(order(&victim, named(CMD(OP_QUELOCK, 0, .mode = DLM_PRMODE, .hint = 3), res)), DLM_SUCCESS);
	EVENTUALLY(state(&victim, 0) == DLM_STATE_WAITING);
	told(0, DLM_PRMODE, 3);
	int before = lock_count(w, res);
	kill_role(&victim.r);
	EVENTUALLY(lock_count(w, res) == before - 1);
	want(5, DLM_CWMODE, 4);
	told(0, DLM_CWMODE, 4);
	withdraw(5);
	give_up(h, 0);
}

int main(void)
{
	struct puppet agent = puppet(), third = puppet(), holder = puppet(), waiter = puppet();
	struct {
		const char *name;
		struct puppet *master;
	} places[] = {{"by.holder", NULL}, {"by.waiter", &waiter}, {"by.third", &third}};
	void (*parts[])(void) = {repetition, everyone_in_the_way, no_queue, converting, granted_in_the_way,
	                         routine_replaced, death_of_the_blocked};

	h = &holder, w = &waiter;
	for (int i = 0; i < 3; i++) {
		res = places[i].name;
		for (size_t part = 0; part < sizeof parts / sizeof *parts; part++) {
			/* The first to lock a resource masters it. */
			struct puppet *first = places[i].master ? places[i].master : h;
			ASSERT_ST(lock(first, 20, res, DLM_NLMODE, 0), DLM_SUCCESS);
			parts[part]();
			ASSERT_ST(unlock(first, 20, 0, 0), DLM_SUCCESS);
			EVENTUALLY(rsbinfo(h, res) == DLM_ENOENT);
		}
	}
	leave(&waiter);
	leave(&holder);
	leave(&third);
	leave(&agent);
	return 0;
}
