/*
 * The broadcast protocol of spec C.7, S-I60 to S-I75: a message travels in the
 * value block of "hello", and the sender knows when everybody has acted on it.
 * Four processes; one of them is killed after every step in turn.
 */
#include "puppet.h"

enum { HELLO, GOODBYE, SEND };
#define RECEIVERS 3
#define FLAGS (DLM_SYNCSTS | DLM_NODLCKBLK | DLM_NODLCKWT)

static const char *const names[] = {"channel.hello", "channel.goodbye", "channel.send"};

static struct puppet recv[RECEIVERS], sender;
static int alive[RECEIVERS];

/* ---- one kill, at a chosen step ------------------------------------------------ */

static int step, kill_at, victim; /* victim RECEIVERS: the sender */
static int sender_dead;

/* Counts a step; the sender's death ends the round. */
static int next_step(void)
{
	if (++step != kill_at)
		return 0;
	if (victim == RECEIVERS) {
		kill_role(&sender.r);
		sender_dead = 1;
		return 1;
	}
	kill_role(&recv[victim].r);
	alive[victim] = 0;
	return 0;
}

#define EACH(i) for (int i = 0; i < RECEIVERS; i++) if (alive[i])

/* The answer of an asynchronous request that nothing delays. */
static dlm_status_t at_once(struct puppet *p, int slot, dlm_status_t st)
{
	return st == DLM_SUCCESS ? completion(p, slot) : st;
}

static dlm_status_t convert(struct puppet *p, int slot, int mode, dlm_flags_t flags)
{
	return order(p, CMD(OP_QUECVT, slot, .mode = mode, .flags = FLAGS | flags, .watch = slot == HELLO));
}

static void granted(dlm_status_t st)
{
	ASSERT(st == DLM_SYNCH || st == DLM_SUCCESS);
}

static void join_channel(struct puppet *p) /* S-I60 */
{
	*p = puppet();
	granted(at_once(p, HELLO, order(p, named(CMD(OP_QUELOCK, HELLO, .mode = DLM_PRMODE, .flags = FLAGS, .watch = 1),
	                                         names[HELLO]))));
	memset(&p->last, 0, sizeof p->last);
}

/* A receiver that is told of a sender: S-I64 to S-I66. */
static void make_way(struct puppet *p, int first)
{
	ASSERT_EQ(blocked(p, HELLO), DLM_EXMODE);
	if (first)
		granted(at_once(p, GOODBYE, quelock(p, GOODBYE, names[GOODBYE], DLM_PRMODE, FLAGS)));
	granted(at_once(p, HELLO, convert(p, HELLO, DLM_NLMODE, 0)));
	/* Compatible with what the others hold, and behind the sender all the same. */
	ASSERT_ST(convert(p, HELLO, DLM_PRMODE, DLM_QUECVT | DLM_VALB), DLM_SUCCESS);
}

/* Sends n; returns 0 when the sender has died. */
static int broadcast(uint_t n, int first)
{
	granted(at_once(&sender, SEND, quelock(&sender, SEND, names[SEND], DLM_EXMODE, FLAGS))); /* S-I61 */
	if (next_step())
		return 0;
	granted(at_once(&sender, HELLO, quelock(&sender, HELLO, names[HELLO], DLM_NLMODE, FLAGS))); /* S-I62 */
	if (next_step())
		return 0;
	dlm_status_t st = order(&sender, CMD(OP_QUECVT, HELLO, .mode = DLM_EXMODE, .flags = FLAGS | DLM_QUECVT)); /* S-I63 */
	ASSERT_ST(st, DLM_SUCCESS);
	if (next_step())
		return 0;
	EACH(i) {
		make_way(&recv[i], first);
		if (next_step())
			return 0;
	}
	granted(completion(&sender, HELLO)); /* S-I67 */
	if (next_step())
		return 0;
	granted(at_once(&sender, GOODBYE, quelock(&sender, GOODBYE, names[GOODBYE], DLM_NLMODE, FLAGS))); /* S-I68 */
	st = order(&sender, CMD(OP_QUECVT, GOODBYE, .mode = DLM_EXMODE, .flags = FLAGS | DLM_QUECVT));
	ASSERT_ST(st, DLM_SUCCESS);
	if (next_step())
		return 0;
	ASSERT_ST(unlock(&sender, HELLO, DLM_VALB, n), DLM_SUCCESS); /* S-I69 */
	if (next_step())
		return 0;
	EACH(i) {
		ASSERT_ST(completion(&recv[i], HELLO), DLM_SUCCESS);
		ASSERT(same_value(&recv[i].last.valb, n));
		if (next_step())
			return 0;
		if (!alive[i])
			continue;
		granted(at_once(&recv[i], GOODBYE, convert(&recv[i], GOODBYE, DLM_NLMODE, 0))); /* S-I70 */
		st = order(&recv[i], CMD(OP_QUECVT, GOODBYE, .mode = DLM_PRMODE, .flags = FLAGS | DLM_QUECVT));
		/* Behind the sender, if that still waits for others. */
		ASSERT_ST(st, DLM_SUCCESS);
		if (next_step())
			return 0;
	}
	granted(completion(&sender, GOODBYE)); /* S-I71 */
	if (next_step())
		return 0;
	ASSERT_ST(unlock(&sender, GOODBYE, 0, 0), DLM_SUCCESS); /* S-I72 */
	ASSERT_ST(unlock(&sender, SEND, 0, 0), DLM_SUCCESS);
	EACH(i) granted(completion(&recv[i], GOODBYE));
	return 1;
}

/*
 * What a receiver does when the sender has died somewhere: whatever of its two
 * conversions is under way ends, and it stands with PR on both again.
 */
static dlm_status_t tidy(struct puppet *p)
{
	dlm_status_t hello = DLM_UNEXPERR; /* had not begun, or had ended */
	if (lkinfo(p, HELLO) == DLM_SUCCESS && p->last.lki.grmode == DLM_NLMODE)
		hello = completion(p, HELLO);
	if (lkinfo(p, GOODBYE) == DLM_SUCCESS && p->last.lki.grmode == DLM_NLMODE)
		granted(completion(p, GOODBYE));
	return hello;
}

static void whole_channel(int kill_step, int who)
{
	step = 0, kill_at = kill_step, victim = who, sender_dead = 0;
	sender = puppet(); /* it masters "send" only */
	EACH(i) join_channel(&recv[i]);
	if (broadcast(7, 1)) {
		/* The channel is as good as new: once more, with the same processes. */
		kill_at = 0;
		ASSERT(broadcast(8, 0));
		leave(&sender);
	}
}

static void stop_all(void)
{
	EACH(i) leave(&recv[i]);
	for (int i = 0; i < RECEIVERS; i++)
		alive[i] = 1;
}

/* S-I75: one process is sender and receiver. */
static void to_itself(void)
{
	struct puppet p = puppet(), other = puppet();
	for (int slot = 10; slot < 12; slot++) { /* its receiver's side */
		ASSERT_ST(order(slot == 10 ? &p : &other, named(CMD(OP_LOCK, 10, .mode = DLM_PRMODE, .watch = 1, .flags = FLAGS),
		                                                names[HELLO])), DLM_SYNCH);
	}
	granted(at_once(&p, HELLO, quelock(&p, HELLO, names[HELLO], DLM_NLMODE, FLAGS)));
	ASSERT_ST(order(&p, CMD(OP_QUECVT, HELLO, .mode = DLM_EXMODE, .flags = FLAGS | DLM_QUECVT)), DLM_SUCCESS);
	struct puppet *both[] = {&p, &other};
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(blocked(both[i], 10), DLM_EXMODE);
		granted(at_once(both[i], 10, order(both[i], CMD(OP_QUECVT, 10, .mode = DLM_NLMODE, .flags = FLAGS, .watch = 1))));
		ASSERT_ST(order(both[i], CMD(OP_QUECVT, 10, .mode = DLM_PRMODE, .flags = FLAGS | DLM_QUECVT | DLM_VALB)),
		          DLM_SUCCESS);
	}
	granted(completion(&p, HELLO));
	ASSERT_ST(unlock(&p, HELLO, DLM_VALB, 3), DLM_SUCCESS);
	for (int i = 0; i < 2; i++) {
		ASSERT_ST(completion(both[i], 10), DLM_SUCCESS);
		ASSERT(same_value(&both[i]->last.valb, 3));
	}
	leave(&p);
	leave(&other);
}

int main(void)
{
	struct puppet agent = puppet();
	for (int i = 0; i < RECEIVERS; i++)
		alive[i] = 1;
	whole_channel(0, 0);
	int steps = step / 2; /* of one round: the second counted on */
	stop_all();
	fprintf(stderr, "%d steps\n", steps);

	/* A receiver dies at each step; receiver 0 masters hello. */
	for (int k = 1; k <= steps; k++)
		for (int who = 0; who < RECEIVERS; who += 2) {
			fprintf(stderr, "receiver %d dies after step %d\n", who, k);
			whole_channel(k, who);
			stop_all();
		}

	/* The sender dies at each step; S-I74: while it holds hello, the value is in doubt. */
	for (int k = 1; k <= steps; k++) {
		fprintf(stderr, "the sender dies after step %d\n", k);
		whole_channel(k, RECEIVERS);
		ASSERT(sender_dead);
		EACH(i) {
			dlm_status_t hello = tidy(&recv[i]);
			if (hello == DLM_UNEXPERR)
				continue;
			/* It has EX on hello from when the last receiver made way until it sent. */
			if (k >= 3 + RECEIVERS && k <= 5 + RECEIVERS)
				ASSERT_ST(hello, DLM_SUCCVALNOTVALID);
			else
				ASSERT_ST(hello, DLM_SUCCESS);
		}
		stop_all();
	}
	to_itself();
	leave(&agent);
	return 0;
}
