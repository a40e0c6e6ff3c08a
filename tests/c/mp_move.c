/*
 * A tree in use moves to the process that uses it most (dlm(7)): queues, values, their
 * validity, notifications and tokens go along, and deaths mean what they always mean.
 */
#include "puppet.h"

/* p uses the resource of its slot 0, which it has in NL, as often as it takes. */
static void use(struct puppet *p, int times)
{
	while (times-- > 0) {
		ASSERT_ST(cvt(p, 0, DLM_CRMODE, 0, 0), DLM_SUCCESS);
		ASSERT_ST(cvt(p, 0, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	}
}

/* Whether p is answered while q stands still. If not, q goes on, and then it is. */
static int without(struct puppet *p, struct puppet *q)
{
	int answered;

	stop_role(&q->r);
	begin(p, CMD(OP_CVT, 0, .mode = DLM_CRMODE));
	answered = readable(p->r.in, 100);
	continue_role(&q->r);
	ASSERT_ST(end(p), DLM_SUCCESS);
	ASSERT_ST(cvt(p, 0, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	return answered;
}

static void move_to(struct puppet *p, struct puppet *from)
{
	for (int i = 0; i < 100; i++) {
		use(p, 100);
		if (without(p, from))
			return;
	}
	FAIL("the tree does not move");
}

static void everything_goes_along(void)
{
	struct puppet agent = puppet(), first = puppet(), p = puppet(), q = puppet();
	godlm_token_t before;

	ASSERT_ST(lock(&first, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	/* A writer that will be waited for, with a value, a sub-resource and a queue. */
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 0, .mode = DLM_PWMODE, .watch = 1), "tree")), DLM_SUCCESS);
	ASSERT_ST(cvt(&q, 0, DLM_PWMODE, DLM_VALB, 7), DLM_SUCCESS);
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE, .under = 1), "leaf")), DLM_SUCCESS);
	ASSERT_ST(order(&q, CMD(OP_TOKEN, 0)), DLM_SUCCESS);
	before = q.last.token;
	ASSERT_ST(quelock(&first, 1, "tree", DLM_PWMODE, DLM_VALB), DLM_SUCCESS);
	EVENTUALLY(state(&first, 1) == DLM_STATE_WAITING);
	move_to(&p, &first);

	ASSERT_EQ(lock_count(&p, "tree"), 4);
	ASSERT_EQ(state(&first, 1), DLM_STATE_WAITING);
	ASSERT_ST(lock(&p, 1, "tree", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(unlock(&q, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(&q, 0, DLM_VALB, 8), DLM_SUCCESS);
	ASSERT_ST(completion(&first, 1), DLM_SUCCESS);
	ASSERT(same_value(&first.last.valb, 8));
	ASSERT_ST(order(&first, CMD(OP_TOKEN, 1)), DLM_SUCCESS);
	ASSERT(first.last.token.epoch > before.epoch ||
	       (first.last.token.epoch == before.epoch && first.last.token.number > before.number));
	leave(&first);
	leave(&q);
	leave(&p);
	leave(&agent);
}

/* The new master dies, perhaps with the agent, while it writes or while another does. */
static void deaths(int agents_too, int writes)
{
	struct puppet agent = puppet(), first = puppet(), p = puppet(), q = puppet();

	ASSERT_ST(lock(&first, 0, "tree", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&first, 0, DLM_NLMODE, DLM_VALB, 1), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&q, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	move_to(&p, &first);
	ASSERT_ST(cvt(&p, 0, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, writes ? DLM_EXMODE : DLM_NLMODE, DLM_VALB, 2), DLM_SUCCESS);
	ASSERT_ST(quecvt(&q, 0, DLM_PRMODE, DLM_VALB), DLM_SUCCESS);
	if (!writes)
		ASSERT_ST(completion(&q, 0), DLM_SUCCESS);
	else
		EVENTUALLY(state(&q, 0) == DLM_STATE_CONVERTING);
	if (agents_too)
		kill(agent.r.pid, SIGKILL);
	kill_role(&p.r);
	if (agents_too)
		kill_role(&agent.r);
	if (writes)
		ASSERT_ST(completion(&q, 0), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&q.last.valb, 2));
	ASSERT_ST(cvt(&first, 0, DLM_PRMODE, DLM_VALB, 0), writes ? DLM_SUCCVALNOTVALID : DLM_SUCCESS);
	ASSERT(same_value(&first.last.valb, 2));
	leave(&first);
	leave(&q);
	if (!agents_too)
		leave(&agent);
}

/* It moves back and forth with who uses it. */
static void back_and_forth(void)
{
	struct puppet a = puppet(), b = puppet();

	ASSERT_ST(lock(&a, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&b, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	for (int i = 0; i < 3; i++) {
		move_to(&b, &a);
		move_to(&a, &b);
	}
	leave(&b);
	leave(&a);
}

int main(void)
{
	everything_goes_along();
	for (int i = 0; i < 4; i++)
		deaths(i & 1, i & 2);
	back_and_forth();
	return 0;
}
