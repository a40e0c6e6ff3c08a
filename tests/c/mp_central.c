/*
 * GODLM_MASTER=agent (design 5): the agent masters all trees, so that other processes
 * may be stopped without keeping anybody from asking, and they move to the next agent.
 */
#include "puppet.h"

/* Who masters a resource answers questions about it: these are answered at once. */
static void answered(struct puppet *p, const char *name, uint_t locks)
{
	ASSERT_ST(rsbinfo(p, name), DLM_SUCCESS);
	ASSERT_EQ(p->last.rsb.lckcnt, locks);
}

int main(void)
{
	setenv("GODLM_MASTER", "agent", 1);
	struct puppet agent = puppet(), p = puppet(), q = puppet();

	/* p is the first to ask, and q asks for what nobody uses any more. */
	ASSERT_ST(lock(&p, 0, "a", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_EXMODE, DLM_VALB, 3), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 1, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(&p, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&q, 1, "b", DLM_PRMODE, 0), DLM_SUCCESS);
	struct puppet r = puppet();
	stop_role(&p.r);
	stop_role(&q.r);
	answered(&r, "a", 1);
	answered(&r, "b", 1);
	ASSERT_ST(lock(&r, 1, "b", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&r, 0, "a", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);

	/* r is the next agent, the only one that runs. */
	kill_role(&agent.r);
	begin(&r, named(CMD(OP_LOCK, 2, .mode = DLM_NLMODE, .flags = DLM_EXPEDITE), "a"));
	kill(p.r.pid, SIGCONT); /* its report is needed, since the agent was its master */
	kill(q.r.pid, SIGCONT);
	ASSERT_ST(end(&r), DLM_SUCCESS);
	EVENTUALLY(lock_count(&r, "b") == 2);
	ASSERT_ST(lock(&q, 0, "a", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	kill_role(&p.r);
	EVENTUALLY(lock_count(&r, "a") == 1);
	ASSERT_ST(lock(&q, 0, "a", DLM_PRMODE, DLM_VALB), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&q.last.valb, 3));
	leave(&r);
	leave(&q);
	return 0;
}
