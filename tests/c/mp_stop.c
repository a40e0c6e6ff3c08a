/*
 * A process that stands still (SIGSTOP) keeps what it has, and delays nobody
 * who has nothing to do with it: neither their locks nor their rebuilds.
 */
#include "puppet.h"

static void bystander(int kill_agent)
{
	struct puppet agent = puppet(), stranger = puppet(), master = puppet(), p = puppet(), q = puppet();
	/* It knows the master, but has nothing on the tree that will be rebuilt. */
	ASSERT_ST(lock(&stranger, 0, "elsewhere", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&master, 0, "tree", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&master, 0, DLM_EXMODE, DLM_VALB, 3), DLM_SUCCESS);
	ASSERT_ST(quelock(&p, 0, "tree", DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
	EVENTUALLY(state(&p, 0) == DLM_STATE_WAITING);
	ASSERT_ST(quelock(&q, 0, "tree", DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
	EVENTUALLY(state(&q, 0) == DLM_STATE_WAITING);
	stop_role(&stranger.r);
	kill(master.r.pid, SIGKILL);
	if (kill_agent)
		kill_role(&agent.r);
	kill_role(&master.r);
	ASSERT_ST(completion(&p, 0), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&p.last.valb, 3));
	ASSERT_ST(unlock(&p, 0, DLM_VALB, 4), DLM_SUCCESS);
	ASSERT_ST(completion(&q, 0), DLM_SUCCESS);
	ASSERT(same_value(&q.last.valb, 4));
	/* Its lock is its own all the time. */
	continue_role(&stranger.r);
	ASSERT_ST(lock(&p, 1, "elsewhere", DLM_CRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(cvt(&stranger, 0, DLM_NLMODE, DLM_VALB, 5), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 1, "elsewhere", DLM_CRMODE, DLM_NOQUEUE | DLM_VALB), DLM_SUCCESS);
	ASSERT(same_value(&p.last.valb, 5));
	leave(&stranger);
	leave(&p);
	leave(&q);
	if (!kill_agent)
		leave(&agent);
}

/* The holder stands still while its lock's master, or the agent, dies around it. */
static void stopped_holder(int kill_agent)
{
	struct puppet agent = puppet(), master = puppet(), holder = puppet(), p = puppet();
	ASSERT_ST(lock(&master, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&holder, 0, "tree", DLM_EXMODE, 0), DLM_SUCCESS);
	stop_role(&holder.r);
	ASSERT_ST(lock(&p, 0, "tree", DLM_CRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(lock(&p, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(order(&p, CMD(OP_CVT, 0, .mode = DLM_CRMODE, .timeout = 5)), DLM_TIMEOUT);
	if (kill_agent) {
		kill_role(&agent.r);
		ASSERT_ST(cvt(&p, 0, DLM_CRMODE, DLM_NOQUEUE, 0), DLM_NOTQUEUED);
	}
	ASSERT_ST(quecvt(&p, 0, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p, 0) == DLM_STATE_CONVERTING);
	kill_role(&master.r);
	/* The rebuild needs the holder's word, and so it waits; nothing is granted before. */
	ASSERT_EQ(state(&p, 0), DLM_STATE_CONVERTING);
	continue_role(&holder.r);
	EVENTUALLY(lock_count(&holder, "tree") == 2);
	ASSERT_EQ(state(&p, 0), DLM_STATE_CONVERTING);
	ASSERT_ST(unlock(&holder, 0, DLM_VALB, 6), DLM_SUCCESS);
	ASSERT_ST(completion(&p, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT(same_value(&p.last.valb, 6));
	leave(&p);
	leave(&holder);
	if (!kill_agent)
		leave(&agent);
}

/* Those who know their masters do not need the agent. */
static void stopped_agent(void)
{
	struct puppet agent = puppet(), p = puppet(), q = puppet();
	ASSERT_ST(lock(&p, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&q, 0, "tree", DLM_NLMODE, 0), DLM_SUCCESS);
	stop_role(&agent.r);
	for (int i = 0; i < 20; i++) {
		struct puppet *a = i & 1 ? &p : &q, *b = i & 1 ? &q : &p;
		ASSERT_ST(cvt(a, 0, DLM_EXMODE, 0, 0), DLM_SUCCESS);
		ASSERT_ST(cvt(b, 0, DLM_EXMODE, DLM_NOQUEUE, 0), DLM_NOTQUEUED);
		ASSERT_ST(cvt(a, 0, DLM_NLMODE, DLM_VALB, (uint_t)i), DLM_SUCCESS);
		ASSERT_ST(cvt(b, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
		ASSERT(same_value(&b->last.valb, (uint_t)i));
	}
	/* What does need it waits, and goes on as soon as it can. */
	begin(&p, named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE), "new"));
	ASSERT_ST(cvt(&q, 0, DLM_PRMODE, 0, 0), DLM_SUCCESS);
	ASSERT(!readable(p.r.in, 0));
	continue_role(&agent.r);
	ASSERT_ST(end(&p), DLM_SUCCESS);
	leave(&p);
	leave(&q);
	leave(&agent);
}

int main(void)
{
	for (int i = 0; i < 2; i++) {
		bystander(i);
		stopped_holder(i);
	}
	stopped_agent();
	return 0;
}
