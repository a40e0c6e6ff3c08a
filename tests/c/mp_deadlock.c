/*
 * Deadlocks across resources and processes: rings of 2 to 8, figure-eights,
 * conversions, transactions shared by two processes, requests that must not be
 * counted. Exactly one request of each cycle is refused; everybody else gets on.
 */
#include "puppet.h"

#define MOST 8

static struct puppet p[MOST];

static const char *res_of(int i)
{
	static const char *const names[MOST] = {"ring.0", "ring.1", "ring.2", "ring.3",
	                                        "ring.4", "ring.5", "ring.6", "ring.7"};
	return names[i];
}

static void start(int n)
{
	for (int i = 0; i < n; i++)
		p[i] = puppet();
}

static void stop(int n)
{
	for (int i = 0; i < n; i++)
		leave(&p[i]);
}

/* Which of the n puppets has its answer first. */
static int first_answer(int n)
{
	struct pollfd fds[MOST];
	for (int i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = p[i].r.in, .events = POLLIN};
	ASSERT(poll(fds, (nfds_t)n, DEADLINE_MS) > 0);
	for (int i = 0; i < n; i++)
		if (fds[i].revents)
			return i;
	return -1;
}

static struct command ask(int slot, const char *name, int mode, dlm_flags_t flags)
{
	return named(CMD(OP_LOCK, slot, .mode = mode, .flags = flags), name);
}

/* Everybody holds one and waits for the next one's. */
static void ring(int n)
{
	fprintf(stderr, "ring of %d\n", n);
	start(n);
	for (int i = 0; i < n; i++)
		ASSERT_ST(lock(&p[i], 0, res_of(i), DLM_EXMODE, 0), DLM_SUCCESS);
	for (int i = 0; i < n; i++)
		begin(&p[i], ask(1, res_of((i + 1) % n), DLM_PRMODE, 0));
	int victim = first_answer(n);
	ASSERT_ST(end(&p[victim]), DLM_DEADLOCK);
	ASSERT(p[victim].last.is_zero);
	/* Only the one is refused; with its lock gone the others go on, one by one. */
	ASSERT_ST(unlock(&p[victim], 0, 0, 0), DLM_SUCCESS);
	for (int k = 1; k < n; k++) {
		int i = (victim - k + n) % n;
		ASSERT_ST(end(&p[i]), DLM_SUCCESS);
		ASSERT_ST(unlock(&p[i], 1, 0, 0), DLM_SUCCESS);
		ASSERT_ST(unlock(&p[i], 0, 0, 0), DLM_SUCCESS);
	}
	stop(n);
}

/* Two rings that share process 0, which waits in both (asynchronously). */
static void figure_eight(void)
{
	fprintf(stderr, "figure-eight\n");
	start(3);
	for (int i = 0; i < 3; i++)
		ASSERT_ST(lock(&p[i], 0, res_of(i), DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&p[0], 1, res_of(1), DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&p[0], 2, res_of(2), DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p[0], 1) == DLM_STATE_WAITING && state(&p[0], 2) == DLM_STATE_WAITING);
	begin(&p[1], ask(1, res_of(0), DLM_CRMODE, 0));
	begin(&p[2], ask(1, res_of(0), DLM_CRMODE, 0));
	/* The youngest of each ring goes. */
	ASSERT_ST(end(&p[1]), DLM_DEADLOCK);
	ASSERT_ST(end(&p[2]), DLM_DEADLOCK);
	ASSERT_ST(unlock(&p[1], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(&p[2], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&p[0], 1), DLM_SUCCESS);
	ASSERT_ST(completion(&p[0], 2), DLM_SUCCESS);
	ASSERT_ST(unlock(&p[0], NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	stop(3);
}

/* A conversion in the cycle: refused, it keeps its mode. */
static void conversions(void)
{
	fprintf(stderr, "conversions\n");
	start(2);
	ASSERT_ST(lock(&p[0], 0, "a", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[1], 0, "a", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[1], 1, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	begin(&p[0], ask(1, "b", DLM_CRMODE, 0));
	EVENTUALLY(lock_count(&p[1], "b") == 2);
	begin(&p[1], CMD(OP_CVT, 0, .mode = DLM_EXMODE));
	ASSERT_ST(end(&p[1]), DLM_DEADLOCK);
	ASSERT_EQ(state(&p[1], 0), DLM_STATE_GRANTED);
	ASSERT_EQ(p[1].last.lki.grmode, DLM_PRMODE);
	ASSERT_ST(unlock(&p[1], 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[0]), DLM_SUCCESS);
	stop(2);
}

/* A cycle through the order of a queue: nobody whom w waits for holds anything in its way. */
static void through_a_queue(void)
{
	fprintf(stderr, "through a queue\n");
	start(3);
	ASSERT_ST(lock(&p[0], 0, "a", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[2], 0, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	begin(&p[1], ask(0, "a", DLM_EXMODE, 0)); /* waits for 0 */
	EVENTUALLY(lock_count(&p[0], "a") == 2);
	begin(&p[2], ask(1, "a", DLM_PRMODE, 0)); /* compatible with 0's PR, but behind 1 */
	EVENTUALLY(lock_count(&p[0], "a") == 3);
	begin(&p[0], ask(1, "b", DLM_EXMODE, 0)); /* waits for 2 */
	int victim = first_answer(3);
	ASSERT(victim == 0);
	ASSERT_ST(end(&p[0]), DLM_DEADLOCK);
	ASSERT_ST(unlock(&p[0], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[1]), DLM_SUCCESS);
	ASSERT_ST(unlock(&p[1], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[2]), DLM_SUCCESS);
	stop(3);
}

/* One transaction in two processes: neither process alone waits in a circle. */
static void transactions(dlm_flags_t kind)
{
	fprintf(stderr, "transaction in two processes\n");
	start(3);
	struct command c = ask(0, "a", DLM_EXMODE, kind);
	c.tid = 77;
	ASSERT_ST(order(&p[0], c), DLM_SUCCESS);
	ASSERT_ST(lock(&p[2], 0, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	begin(&p[2], ask(1, "a", DLM_EXMODE, 0));
	EVENTUALLY(lock_count(&p[0], "a") == 2);
	c = ask(0, "b", DLM_EXMODE, kind);
	c.tid = 77;
	begin(&p[1], c);
	ASSERT_ST(end(&p[1]), DLM_DEADLOCK);
	ASSERT_ST(unlock(&p[0], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[2]), DLM_SUCCESS);
	stop(3);
}

/* Different transactions of one process are different parties. */
static void two_transactions(void)
{
	fprintf(stderr, "two transactions in one process\n");
	start(2);
	struct command c = ask(0, "a", DLM_EXMODE, DLM_TXID_LOCAL);
	c.tid = 1;
	ASSERT_ST(order(&p[0], c), DLM_SUCCESS);
	ASSERT_ST(lock(&p[1], 0, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	begin(&p[1], ask(1, "a", DLM_EXMODE, 0));
	EVENTUALLY(lock_count(&p[0], "a") == 2);
	c = ask(1, "b", DLM_EXMODE, DLM_TXID_LOCAL);
	c.tid = 2;
	c.timeout = 100; /* three searches and more */
	begin(&p[0], c);
	ASSERT_ST(end(&p[0]), DLM_TIMEOUT);
	ASSERT(!readable(p[1].r.in, 0));
	ASSERT_ST(unlock(&p[0], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[1]), DLM_SUCCESS);
	stop(2);
}

/* What asks not to be counted is not refused, and closes no cycle. */
static void not_counted(void)
{
	fprintf(stderr, "not counted\n");
	start(2);
	/* As a waiter: the other one of the cycle is not refused either. */
	ASSERT_ST(lock(&p[0], 0, "a", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[1], 0, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	begin(&p[0], ask(1, "b", DLM_EXMODE, DLM_NODLCKWT));
	EVENTUALLY(lock_count(&p[1], "b") == 2);
	ASSERT_ST(order(&p[1], named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE, .timeout = 100), "a")), DLM_TIMEOUT);
	ASSERT_ST(unlock(&p[1], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[0]), DLM_SUCCESS);
	ASSERT_ST(unlock(&p[0], NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	/* As a blocker. */
	ASSERT_ST(lock(&p[0], 0, "a", DLM_EXMODE, DLM_NODLCKBLK), DLM_SUCCESS);
	ASSERT_ST(lock(&p[1], 0, "b", DLM_EXMODE, 0), DLM_SUCCESS);
	begin(&p[0], ask(1, "b", DLM_EXMODE, 0));
	EVENTUALLY(lock_count(&p[1], "b") == 2);
	ASSERT_ST(order(&p[1], named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE, .timeout = 100), "a")), DLM_TIMEOUT);
	ASSERT_ST(unlock(&p[1], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[0]), DLM_SUCCESS);
	ASSERT_ST(unlock(&p[0], NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	/* Its own lock in its own way is a cycle of one (D-67). */
	ASSERT_ST(lock(&p[0], 0, "a", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[0], 1, "a", DLM_PRMODE, 0), DLM_DEADLOCK);
	ASSERT_ST(order(&p[0], named(CMD(OP_LOCK, 1, .mode = DLM_PRMODE, .flags = DLM_NODLCKWT, .timeout = 50), "a")),
	          DLM_TIMEOUT);
	stop(2);
}

/* One of a ring is killed: no cycle any more, nobody is refused. */
static void killed(int which, int n)
{
	fprintf(stderr, "process %d of a ring of %d is killed\n", which, n);
	start(n);
	for (int i = 0; i < n; i++)
		ASSERT_ST(lock(&p[i], 0, res_of(i), DLM_EXMODE, 0), DLM_SUCCESS);
	for (int i = 0; i < n; i++)
		begin(&p[i], ask(1, res_of((i + 1) % n), DLM_EXMODE, 0));
	kill_role(&p[which].r);
	int refused = 0;
	for (int k = 1; k < n; k++) {
		/* Whose wait ends next: by the kill, or as the one victim that was quicker. */
		int i = (which - k + n) % n;
		dlm_status_t st = end(&p[i]);
		ASSERT(st == DLM_SUCCESS || st == DLM_DEADLOCK);
		refused += st == DLM_DEADLOCK;
		ASSERT_ST(unlock(&p[i], NO_SLOT, DLM_DEQALL, 0), DLM_SUCCESS);
	}
	ASSERT(refused <= 1);
	for (int i = 0; i < n; i++)
		if (i != which)
			leave(&p[i]);
}

/* Two who wait for each other, with the log in a file: it names programs, modes and resources. */
static void logged(void)
{
	char path[] = "/tmp/godlm-test-log.XXXXXX", text[4096], who[2][64];
	int log = mkstemp(path), err = dup(2);
	ASSERT(log >= 0 && err >= 0);
	unlink(path);
	fflush(NULL);
	setenv("GODLM_LOG", "info", 1);
	ASSERT(dup2(log, 2) == 2);
	start(2);
	ASSERT(dup2(err, 2) == 2);
	unsetenv("GODLM_LOG");
	ASSERT_ST(lock(&p[0], 0, "money", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p[1], 0, "goods", DLM_PRMODE, 0), DLM_SUCCESS);
	begin(&p[0], ask(1, "goods", DLM_PWMODE, 0));
	EVENTUALLY(lock_count(&p[1], "goods") == 2);
	begin(&p[1], ask(1, "money", DLM_CRMODE, 0));
	ASSERT_ST(end(&p[1]), DLM_DEADLOCK);
	ssize_t n = 0;
	EVENTUALLY((n = pread(log, text, sizeof text - 1, 0)) > 0 && (text[n] = 0, strstr(text, "deadlock") != NULL));
	for (int i = 0; i < 2; i++) {
		snprintf(who[i], sizeof who[i], "process %d (mp_deadlock)", (int)p[i].r.pid);
		ASSERT(strstr(text, who[i]) != NULL);
	}
	ASSERT(strstr(text, "waits for PW on") != NULL && strstr(text, "goods") != NULL);
	ASSERT(strstr(text, "waits for CR on") != NULL && strstr(text, "money") != NULL);
	ASSERT(strstr(text, "has EX (refused)") != NULL);
	ASSERT_ST(unlock(&p[1], 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(end(&p[0]), DLM_SUCCESS);
	stop(2);
}

int main(void)
{
	setenv("GODLM_DEADLOCK_WAIT_MS", "100", 1);
	struct puppet agent = puppet();
	logged();
	for (int n = 2; n <= MOST; n++)
		ring(n);
	figure_eight();
	conversions();
	through_a_queue();
	transactions(DLM_TXID_LOCAL);
	transactions(DLM_TXID_GLOBAL);
	two_transactions();
	not_counted();
	for (int n = 2; n <= 5; n++)
		for (int which = 0; which < n; which++)
			killed(which, n);
	leave(&agent);
	return 0;
}
