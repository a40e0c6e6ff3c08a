/*
 * The order of the queues outlives the master: requests that waited in one order
 * are granted in that order by the next master.
 */
#include "puppet.h"

#define N 5

/* The i-th puppet's request in slot 0 is the only one granted of those from i on. */
static void served_in_order(struct puppet *p, int n, dlm_status_t want)
{
	for (int i = 0; i < n; i++) {
		ASSERT_ST(completion(&p[i], 0), want);
		for (int j = i + 1; j < n; j++)
			ASSERT(state(&p[j], 0) != DLM_STATE_GRANTED);
		ASSERT_ST(unlock(&p[i], 0, 0, 0), DLM_SUCCESS);
	}
}

/* `fallen` of the roles below die at once while N requests wait for EX. */
static void waiting(int kill_holder, int kill_agent, int converting)
{
	struct puppet agent = puppet(), master = puppet(), holder = puppet(), p[N];
	for (int i = 0; i < N; i++)
		p[i] = puppet();
	ASSERT_ST(lock(&master, 0, "q", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&holder, 0, "q", DLM_EXMODE, 0), DLM_SUCCESS);
	/* Neither in the order of birth nor of names: 3 1 4 0 2. */
	static const int turn_of[N] = {3, 1, 4, 0, 2};
	struct puppet sorted[N];
	if (converting)
		for (int i = 0; i < N; i++)
			ASSERT_ST(lock(&p[i], 0, "q", DLM_NLMODE, DLM_EXPEDITE), DLM_SUCCESS);
	for (int i = 0; i < N; i++) {
		sorted[i] = p[turn_of[i]];
		if (converting)
			ASSERT_ST(quecvt(&sorted[i], 0, DLM_EXMODE, DLM_QUECVT), DLM_SUCCESS);
		else
			ASSERT_ST(quelock(&sorted[i], 0, "q", DLM_EXMODE, 0), DLM_SUCCESS);
		EVENTUALLY(state(&sorted[i], 0) == (converting ? DLM_STATE_CONVERTING : DLM_STATE_WAITING));
	}
	kill(master.r.pid, SIGKILL);
	if (kill_holder)
		kill(holder.r.pid, SIGKILL);
	if (kill_agent)
		kill_role(&agent.r);
	kill_role(&master.r);
	if (kill_holder) {
		kill_role(&holder.r);
	} else {
		EVENTUALLY(lock_count(&holder, "q") == N + 1);
		for (int i = 0; i < N; i++)
			ASSERT(state(&sorted[i], 0) != DLM_STATE_GRANTED);
		ASSERT_ST(unlock(&holder, 0, 0, 0), DLM_SUCCESS);
		leave(&holder);
	}
	served_in_order(sorted, N, DLM_SUCCESS);
	for (int i = 0; i < N; i++)
		leave(&p[i]);
	if (!kill_agent)
		leave(&agent);
}

/* Conversions before new requests, readers together, nothing past the head. */
static void mixed(void)
{
	struct puppet master = puppet(), holder = puppet(), p[N];
	for (int i = 0; i < N; i++)
		p[i] = puppet();
	ASSERT_ST(lock(&master, 0, "m", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&holder, 0, "m", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[0], 0, "m", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&p[1], 0, "m", DLM_PRMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p[1], 0) == DLM_STATE_WAITING);
	ASSERT_ST(quelock(&p[2], 0, "m", DLM_PRMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p[2], 0) == DLM_STATE_WAITING);
	ASSERT_ST(quelock(&p[3], 0, "m", DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p[3], 0) == DLM_STATE_WAITING);
	ASSERT_ST(quelock(&p[4], 0, "m", DLM_PRMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p[4], 0) == DLM_STATE_WAITING);
	ASSERT_ST(quecvt(&p[0], 0, DLM_PWMODE, DLM_QUECVT), DLM_SUCCESS);
	EVENTUALLY(state(&p[0], 0) == DLM_STATE_CONVERTING);
	kill_role(&master.r);
	EVENTUALLY(lock_count(&holder, "m") == N + 1);
	ASSERT_ST(unlock(&holder, 0, 0, 0), DLM_SUCCESS);

	ASSERT_ST(completion(&p[0], 0), DLM_SUCCESS); /* PW keeps all others out */
	for (int i = 1; i < N; i++)
		ASSERT_EQ(state(&p[i], 0), DLM_STATE_WAITING);
	ASSERT_ST(unlock(&p[0], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&p[1], 0), DLM_SUCCESS);
	ASSERT_ST(completion(&p[2], 0), DLM_SUCCESS);
	ASSERT_EQ(state(&p[3], 0), DLM_STATE_WAITING);
	ASSERT_EQ(state(&p[4], 0), DLM_STATE_WAITING); /* compatible, but behind EX */
	ASSERT_ST(unlock(&p[1], 0, 0, 0), DLM_SUCCESS);
	ASSERT_EQ(state(&p[3], 0), DLM_STATE_WAITING);
	ASSERT_ST(unlock(&p[2], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&p[3], 0), DLM_SUCCESS);
	ASSERT_EQ(state(&p[4], 0), DLM_STATE_WAITING);
	ASSERT_ST(unlock(&p[3], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&p[4], 0), DLM_SUCCESS);
	for (int i = 0; i < N; i++)
		leave(&p[i]);
	leave(&holder);
}

int main(void)
{
	for (int how = 0; how < 8; how++)
		waiting(how & 1, how >> 1 & 1, how >> 2 & 1);
	mixed();
	return 0;
}
