/*
 * Notifications as spec §9 promises them: by polling, by signal, by sigwait() and
 * by the event descriptor; what a routine is told, when it runs, and what it may
 * call. A process is told of its own requests too, so one process can be both
 * sides; another one takes part where a wait must not depend on the waiter.
 */
#include "test.h"

static dlm_nsp_t nsp;

/* What the routines were called with, in order. */
static struct call {
	char kind; /* 'b' or 'c' */
	long notprm, hint;
	dlm_lkid_t id;
	dlm_lkmode_t mode;
	dlm_status_t status;
} calls[64];
static volatile int called;

static void on_block(callback_arg_t notprm, callback_arg_t hint, dlm_lkid_t *id, dlm_lkmode_t mode)
{
	calls[called] = (struct call){'b', (long)notprm, (long)hint, *id, mode, 0};
	called++;
}

static void on_end(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t status)
{
	calls[called] = (struct call){'c', (long)notprm, 0, *id, 0, status};
	called++;
}

static void expect(int i, char kind, long notprm, const dlm_lkid_t *id)
{
	ASSERT_EQ(calls[i].kind, kind);
	ASSERT_EQ(calls[i].notprm, notprm);
	ASSERT(memcmp(&calls[i].id, id, sizeof *id) == 0);
}

static dlm_status_t watched(const char *name, dlm_lkid_t *id, dlm_lkmode_t mode, blk_callback_t routine, long notprm)
{
	return dlm_lock(nsp, (uchar_t *)(size_t)name, (ushort_t)strlen(name), NULL, id, mode, NULL, 0,
	                (callback_arg_t)notprm, NULL, routine, 0);
}

static dlm_status_t ask(const char *name, dlm_lkid_t *id, dlm_lkmode_t mode, cpl_callback_t routine, long notprm,
                        long hint)
{
	return dlm_quelock(nsp, (uchar_t *)(size_t)name, (ushort_t)strlen(name), NULL, id, mode, NULL, 0,
	                   (callback_arg_t)notprm, (callback_arg_t)hint, NULL, 0, routine);
}

static void block(int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &s, NULL), 0);
}

static void unblock(int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	ASSERT_EQ(pthread_sigmask(SIG_UNBLOCK, &s, NULL), 0);
}

static void use_signal(int sig, int before)
{
	int old = -1;
	ASSERT_ST(dlm_set_signal(sig, &old), DLM_SUCCESS);
	ASSERT_EQ(old, before);
}

/* ---- by polling, at the start -------------------------------------------------- */

static void polling(void)
{
	dlm_lkid_t a, b;
	called = 0;
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_ST(watched("poll", &a, DLM_PRMODE, on_block, 11), DLM_SUCCESS);
	ASSERT_ST(ask("poll", &b, DLM_EXMODE, on_end, 12, 13), DLM_SUCCESS);
	ASSERT_EQ(called, 0);
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT_EQ(called, 1);
	expect(0, 'b', 11, &a);
	ASSERT_EQ(calls[0].hint, 13);
	ASSERT_EQ(calls[0].mode, DLM_EXMODE);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 1);
	ASSERT_EQ(dlm_notify(), 1);
	expect(1, 'c', 12, &b);
	ASSERT_ST(calls[1].status, DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
}

/* In order of what happened; for one lock its grant comes before what it blocks. */
static void order_of_calls(void)
{
	dlm_lkid_t a, b, c;
	called = 0;
	ASSERT_ST(take(nsp, "order", &a, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	uchar_t name[] = "order";
	ASSERT_ST(dlm_quelock(nsp, name, 5, NULL, &b, DLM_EXMODE, NULL, 0, (callback_arg_t)2, NULL, on_block, 0, on_end),
	          DLM_SUCCESS);
	ASSERT_ST(ask("order", &c, DLM_PRMODE, on_end, 3, 33), DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 2);
	expect(0, 'c', 2, &b);
	expect(1, 'b', 2, &b);
	ASSERT_EQ(calls[1].hint, 33);
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 1);
	expect(2, 'c', 3, &c);
	ASSERT_ST(dlm_unlock(&c, NULL, 0), DLM_SUCCESS);
}

/* An unlocked lock is not told what it blocked; completions are told always. */
static void discarding(void)
{
	dlm_lkid_t a, b;
	called = 0;
	ASSERT_ST(watched("gone", &a, DLM_EXMODE, on_block, 1), DLM_SUCCESS);
	ASSERT_ST(ask("gone", &b, DLM_PRMODE, on_end, 2, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	dlm_lkid_t granted = b;
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 1);
	expect(0, 'c', 2, &granted);
	ASSERT_ST(calls[0].status, DLM_SUCCESS);
}

static void event_descriptor(void)
{
	dlm_lkid_t a, b;
	int fd = godlm_event_fd();
	ASSERT(fd >= 0);
	ASSERT_EQ(godlm_event_fd(), fd);
	ASSERT(!readable(fd, 0));
	called = 0;
	ASSERT_ST(watched("fd", &a, DLM_EXMODE, on_block, 1), DLM_SUCCESS);
	ASSERT_ST(ask("fd", &b, DLM_CRMODE, on_end, 2, 0), DLM_SUCCESS);
	ASSERT(readable(fd, 0));
	ASSERT(readable(fd, 0));
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT(!readable(fd, 0));
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT(readable(fd, 0));
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT(!readable(fd, 0));
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 2);
}

/* ---- by signal ------------------------------------------------------------------ */

static void by_signal(void)
{
	dlm_lkid_t a, b;
	called = 0;
	ASSERT_ST(dlm_set_signal(-1, NULL), DLM_BADPARAM);
	ASSERT_ST(dlm_set_signal(SIGMAX + 1, NULL), DLM_BADPARAM);
	ASSERT_ST(dlm_set_signal(SIGKILL, NULL), DLM_BADPARAM);
	ASSERT_ST(dlm_set_signal(SIGSTOP, NULL), DLM_BADPARAM);

	/* What was pending while the program polled comes at once. */
	ASSERT_ST(watched("sig", &a, DLM_EXMODE, on_block, 21), DLM_SUCCESS);
	ASSERT_ST(ask("sig", &b, DLM_PWMODE, on_end, 22, 23), DLM_SUCCESS);
	ASSERT_EQ(called, 0);
	use_signal(SIGIO, 0);
	EVENTUALLY(called == 1);
	expect(0, 'b', 21, &a);
	ASSERT_EQ(calls[0].hint, 23);
	ASSERT_EQ(calls[0].mode, DLM_PWMODE);

	/* On the thread that does the request it has run when the call returns. */
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	EVENTUALLY(called == 2);
	expect(1, 'c', 22, &b);
	ASSERT_EQ(dlm_notify(), 0);

	/* Another signal from now on, and back to polling. */
	use_signal(SIGUSR1, SIGIO);
	ASSERT_ST(ask("sig", &a, DLM_EXMODE, on_end, 24, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
	EVENTUALLY(called == 3);
	use_signal(0, SIGUSR1);
	ASSERT_ST(ask("sig", &b, DLM_EXMODE, on_end, 25, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 3);
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT_EQ(called, 4);
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
}

static void blocked_signal(void)
{
	dlm_lkid_t a, b[20];
	called = 0;
	use_signal(SIGUSR1, 0);
	block(SIGUSR1);
	ASSERT_ST(watched("blocked", &a, DLM_EXMODE, on_block, 31), DLM_SUCCESS);
	for (int i = 0; i < 20; i++)
		ASSERT_ST(ask("blocked", &b[i], DLM_CRMODE, on_end, 100 + i, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 0);
	unblock(SIGUSR1);
	ASSERT_EQ(called, 1); /* one notice for all of them (D-33) */
	block(SIGUSR1);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 1);
	unblock(SIGUSR1);
	ASSERT_EQ(called, 21);
	for (int i = 0; i < 20; i++) {
		expect(1 + i, 'c', 100 + i, &b[i]);
		ASSERT_ST(dlm_unlock(&b[i], NULL, 0), DLM_SUCCESS);
	}

	/* With the signal blocked the program can fetch them itself. */
	block(SIGUSR1);
	ASSERT_ST(take(nsp, "blocked", &a, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(ask("blocked", &b[0], DLM_EXMODE, on_end, 41, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT_EQ(called, 22);
	unblock(SIGUSR1); /* the signal is still there and finds nothing */
	ASSERT_EQ(called, 22);
	ASSERT_ST(dlm_unlock(&b[0], NULL, 0), DLM_SUCCESS);

	/* A thread that takes the signal with sigwait(). */
	sigset_t set;
	int sig = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	block(SIGUSR1);
	ASSERT_ST(take(nsp, "blocked", &a, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(ask("blocked", &b[0], DLM_EXMODE, on_end, 42, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(sigwait(&set, &sig), 0);
	ASSERT_EQ(sig, SIGUSR1);
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT_EQ(called, 23);
	unblock(SIGUSR1);
	ASSERT_ST(dlm_unlock(&b[0], NULL, 0), DLM_SUCCESS);
	use_signal(0, SIGUSR1);
}

/* ---- routines that call ----------------------------------------------------------- */

static dlm_lkid_t held, next_one, third;
static volatile int depth, deepest, done;

static void let_go(callback_arg_t notprm, callback_arg_t hint, dlm_lkid_t *id, dlm_lkmode_t mode)
{
	(void)notprm, (void)hint, (void)mode;
	ASSERT_ST(turn(id, DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	called++;
}

static void last_end(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t status)
{
	(void)notprm, (void)id;
	ASSERT_ST(status, DLM_SUCCESS);
	ASSERT_EQ(depth, notprm != NULL); /* 1 when a routine asked for it to run */
	done++;
}

/* Its own requests complete while it runs, but are told after it has returned. */
static void chain(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t status)
{
	(void)notprm;
	ASSERT_ST(status, DLM_SUCCESS);
	depth++;
	if (depth > deepest)
		deepest = depth;
	ASSERT_ST(ask("routines", &third, DLM_EXMODE, last_end, 0, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(id, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(done, 0);
	depth--;
}

static void asks_for_more(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t status)
{
	(void)notprm;
	ASSERT_ST(status, DLM_SUCCESS);
	depth++;
	ASSERT_ST(ask("routines", &third, DLM_EXMODE, last_end, 1, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(id, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT_EQ(done, 1);
	depth--;
}

static void routines_that_call(void)
{
	dlm_lkid_t b;
	called = 0;
	use_signal(SIGUSR1, 0);

	/* A synchronous wait runs routines, and one of them may end it. */
	ASSERT_ST(watched("yield", &held, DLM_EXMODE, let_go, 0), DLM_SUCCESS);
	ASSERT_ST(take(nsp, "yield", &b, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 1);
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&held, NULL, 0), DLM_SUCCESS);

	void (*firsts[])(callback_arg_t, dlm_lkid_t *, dlm_status_t) = {chain, asks_for_more};
	for (int i = 0; i < 2; i++) {
		done = depth = 0;
		ASSERT_ST(take(nsp, "routines", &held, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
		ASSERT_ST(ask("routines", &next_one, DLM_EXMODE, firsts[i], 0, 0), DLM_SUCCESS);
		ASSERT_ST(dlm_unlock(&held, NULL, 0), DLM_SUCCESS);
		EVENTUALLY(done == 1);
		ASSERT_ST(dlm_unlock(&third, NULL, 0), DLM_SUCCESS);
	}
	ASSERT_EQ(deepest, 1);
	use_signal(0, SIGUSR1);
}

/* ---- with another process ---------------------------------------------------------- */

static void other_main(struct role *r, void *arg)
{
	dlm_lkid_t id;
	(void)arg;
	nsp = join();
	for (int i = 0; i < 3; i++) {
		hear(r, 't');
		ASSERT_ST(take(nsp, "remote", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
		tell(r, 'h');
		hear(r, 'u');
		ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
		tell(r, 'g');
	}
}

static struct role other;

/* Waits inside a routine, for what another process holds. */
static void waiting_routine(callback_arg_t notprm, callback_arg_t hint, dlm_lkid_t *id, dlm_lkmode_t mode)
{
	dlm_lkid_t x;
	(void)notprm, (void)hint, (void)mode;
	tell(&other, 'u');
	ASSERT_ST(take(nsp, "remote", &x, DLM_PRMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&x, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(id, NULL, 0), DLM_SUCCESS);
	called++;
}

static volatile sig_atomic_t interruptions;
static void interruption(int sig)
{
	(void)sig;
	interruptions++;
}

static void *poke(void *arg)
{
	pthread_t target = *(pthread_t *)arg;
	for (int i = 0; i < 200; i++) {
		int before = interruptions;
		pthread_kill(target, SIGUSR2);
		EVENTUALLY(interruptions != before);
	}
	tell(&other, 'u');
	return NULL;
}

static void with_another_process(void)
{
	dlm_lkid_t a, b;

	called = 0;
	use_signal(SIGUSR1, 0);
	tell(&other, 't');
	hear(&other, 'h');
	ASSERT_ST(watched("waiting", &a, DLM_EXMODE, waiting_routine, 0), DLM_SUCCESS);
	ASSERT_ST(take(nsp, "waiting", &b, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(called, 1);
	ASSERT_ST(dlm_unlock(&b, NULL, 0), DLM_SUCCESS);
	hear(&other, 'g');

	/* Handlers of the program end no wait, with SA_RESTART or without. */
	struct sigaction act = {.sa_handler = interruption, .sa_flags = SA_ONSTACK};
	sigaction(SIGUSR2, &act, NULL);
	pthread_t self = pthread_self(), t;
	tell(&other, 't');
	hear(&other, 'h');
	ASSERT_EQ(pthread_create(&t, NULL, poke, &self), 0);
	ASSERT_ST(take(nsp, "remote", &a, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT(interruptions >= 200);
	pthread_join(t, NULL);
	hear(&other, 'g');
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);

	/* A completion from another process, while this one does something else. */
	tell(&other, 't');
	hear(&other, 'h');
	called = 0;
	ASSERT_ST(ask("remote", &a, DLM_EXMODE, on_end, 51, 0), DLM_SUCCESS);
	tell(&other, 'u');
	EVENTUALLY(called == 1);
	expect(0, 'c', 51, &a);
	hear(&other, 'g');
	ASSERT_ST(dlm_unlock(&a, NULL, 0), DLM_SUCCESS);
	use_signal(0, SIGUSR1);
}

int main(void)
{
	/* The process blocks itself all the time; on a slow machine that would be a deadlock (D-67). */
	setenv("GODLM_DEADLOCK_WAIT_MS", "60000", 1);
	other = fork_role(other_main, NULL);
	ASSERT_ST(dlm_set_signal(SIGIO, NULL), DLM_NOTATTACHED);
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_EQ(godlm_event_fd(), -1);
	nsp = join();
	polling();
	order_of_calls();
	discarding();
	event_descriptor();
	by_signal();
	blocked_signal();
	routines_that_call();
	with_another_process();
	finish_role(&other);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);
	return 0;
}
