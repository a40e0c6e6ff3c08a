/*
 * test.h - for the C tests. One program is one test; it exits with 0 (passed), 1
 * (failed) or 77 (skipped). tests/c/run.sh gives each a runtime directory.
 *
 * Programs of several processes: fork_role() makes a child before the library is
 * used, with a pipe in each direction. Both sides step on by bytes: tell() sends
 * one, hear() waits for one. Nothing sleeps for a guessed time.
 */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <godlm.h>

/* How long anything that must happen may take. */
#define DEADLINE_MS 20000

#define FAIL(...)                                                              \
	do {                                                                       \
		fprintf(stderr, "%s:%d: [%d] ", __FILE__, __LINE__, (int)getpid());    \
		fprintf(stderr, __VA_ARGS__);                                          \
		fputc('\n', stderr);                                                   \
		_exit(1);                                                              \
	} while (0)

#define SKIP(...)                                                              \
	do {                                                                       \
		fprintf(stderr, __VA_ARGS__);                                          \
		fputc('\n', stderr);                                                   \
		exit(77);                                                              \
	} while (0)

#define ASSERT(cond)                                                           \
	do {                                                                       \
		if (!(cond))                                                           \
			FAIL("not true: %s", #cond);                                       \
	} while (0)

#define ASSERT_EQ(got, want)                                                   \
	do {                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);          \
		if (got_ != want_)                                                     \
			FAIL("%s is %lld, not %s = %lld", #got, got_, #want, want_);       \
	} while (0)

/* The same for statuses, with names. */
#define ASSERT_ST(call, want)                                                  \
	do {                                                                       \
		dlm_status_t got_ = (call), want_ = (want);                            \
		if (got_ != want_)                                                     \
			FAIL("%s: %s, not %s", #call, dlm_sperrno(got_), dlm_sperrno(want_)); \
	} while (0)

#define ASSERT_STR(got, want)                                                  \
	do {                                                                       \
		const char *got_ = (got), *want_ = (want);                             \
		if (strcmp(got_, want_) != 0)                                          \
			FAIL("%s is \"%s\", not \"%s\"", #got, got_, want_);               \
	} while (0)

/* ---- time ------------------------------------------------------------------- */

static inline long long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits until cond holds, which another thread or process brings about. */
#define EVENTUALLY(cond)                                                       \
	do {                                                                       \
		long long end_ = now_ms() + DEADLINE_MS;                               \
		while (!(cond)) {                                                      \
			if (now_ms() > end_)                                               \
				FAIL("never true: %s", #cond);                                 \
			poll(NULL, 0, 1);                                                  \
		}                                                                      \
	} while (0)

/* Whether fd becomes readable (or closed) within ms. */
static inline int readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	long long end = now_ms() + ms;
	for (;;) {
		long long left = end - now_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);
		if (n >= 0 || errno != EINTR)
			return n > 0;
	}
}

/* ---- processes -------------------------------------------------------------- */

/* The other side of a pair of pipes. */
struct role {
	pid_t pid; /* of the child; in the child, of the parent */
	int in, out;
};

static inline void tell(struct role *r, char c)
{
	ssize_t n;
	do
		n = write(r->out, &c, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		FAIL("telling process %d '%c': %s", (int)r->pid, c, strerror(errno));
}

/* Fails when something else comes, the other side ends, or nothing comes. */
#define hear(r, want) hear_at(r, want, __FILE__, __LINE__)
static inline void hear_at(struct role *r, char want, const char *file, int line)
{
	char c = 0;
	ssize_t n;
	if (!readable(r->in, DEADLINE_MS)) {
		fprintf(stderr, "%s:%d: [%d] nothing heard from process %d, wanted '%c'\n", file, line,
		        (int)getpid(), (int)r->pid, want);
		_exit(1);
	}
	do
		n = read(r->in, &c, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1 && c == want)
		return;
	if (n == 1)
		fprintf(stderr, "%s:%d: [%d] process %d says '%c', not '%c'\n", file, line, (int)getpid(), (int)r->pid,
		        c, want);
	else
		fprintf(stderr, "%s:%d: [%d] process %d ended, wanted '%c'\n", file, line, (int)getpid(), (int)r->pid,
		        want);
	_exit(1);
}

/* Sends bytes of any meaning, fewer than a pipe takes. */
static inline void tell_data(struct role *r, const void *p, size_t n)
{
	if (write(r->out, p, n) != (ssize_t)n)
		FAIL("telling process %d: %s", (int)r->pid, strerror(errno));
}

static inline void hear_data(struct role *r, void *p, size_t n)
{
	size_t got = 0;
	while (got < n) {
		ssize_t k;
		if (!readable(r->in, DEADLINE_MS))
			FAIL("nothing heard from process %d", (int)r->pid);
		k = read(r->in, (char *)p + got, n - got);
		if (k == 0)
			FAIL("process %d ended", (int)r->pid);
		if (k > 0)
			got += (size_t)k;
		else if (errno != EINTR)
			FAIL("hearing process %d: %s", (int)r->pid, strerror(errno));
	}
}

/*
 * Starts a child that runs f(other side, arg) and exits with 0. Call it before
 * the library is used.
 */
static inline struct role fork_role(void (*f)(struct role *, void *), void *arg)
{
	int down[2], up[2];
	if (pipe(down) != 0 || pipe(up) != 0)
		FAIL("pipe: %s", strerror(errno));
	fflush(NULL);
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		FAIL("fork: %s", strerror(errno));
	if (pid == 0) {
		struct role r = {parent, down[0], up[1]};
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		if (getppid() != parent)
			_exit(1);
		close(down[1]);
		close(up[0]);
		f(&r, arg);
		exit(0);
	}
	close(down[0]);
	close(up[1]);
	return (struct role){pid, up[0], down[1]};
}

/* Waits for the end of a child and returns its status as waitpid() gives it. */
static inline int await_end(struct role *r)
{
	long long end = now_ms() + DEADLINE_MS;
	int status;
	for (;;) {
		pid_t p = waitpid(r->pid, &status, WNOHANG);
		if (p == r->pid)
			return status;
		if (p < 0 && errno != EINTR)
			FAIL("waitpid %d: %s", (int)r->pid, strerror(errno));
		if (now_ms() > end)
			FAIL("process %d does not end", (int)r->pid);
		poll(NULL, 0, 1);
	}
}

/* The child must end by itself with exit status 0. */
static inline void finish_role(struct role *r)
{
	int status = await_end(r);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		FAIL("process %d ended with status %#x", (int)r->pid, status);
	close(r->in);
	close(r->out);
}

/* kill -9, and the kernel has done it when this returns. */
static inline void kill_role(struct role *r)
{
	kill(r->pid, SIGKILL);
	int status = await_end(r);
	if (!WIFSIGNALED(status))
		FAIL("process %d ended by itself with status %#x", (int)r->pid, status);
	close(r->in);
	close(r->out);
}

/* Waits for a process that somebody else kills. */
static inline void finish_killed(struct role *r)
{
	int status = await_end(r);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		FAIL("process %d ended with status %#x, and was to be killed", (int)r->pid, status);
	close(r->in);
	close(r->out);
}

/* SIGSTOP, and the process stands still when this returns. */
static inline void stop_role(struct role *r)
{
	int status;
	kill(r->pid, SIGSTOP);
	if (waitpid(r->pid, &status, WUNTRACED) != r->pid || !WIFSTOPPED(status))
		FAIL("process %d does not stop", (int)r->pid);
}

static inline void continue_role(struct role *r) { kill(r->pid, SIGCONT); }

/* ---- locks ------------------------------------------------------------------ */

/* Joins the namespace of the caller's UID. */
static inline dlm_nsp_t join(void)
{
	dlm_nsp_t nsp = 0;
	ASSERT_ST(dlm_nsjoin(geteuid(), &nsp, DLM_USER), DLM_SUCCESS);
	ASSERT(nsp >= 1 && nsp <= DLM_NSPROCMAX);
	return nsp;
}

/* A new lock on a root resource, no notifications, no time limit. */
static inline dlm_status_t take(dlm_nsp_t nsp, const char *name, dlm_lkid_t *id, dlm_lkmode_t mode,
                                dlm_valb_t *valb, dlm_flags_t flags)
{
	return dlm_lock(nsp, (uchar_t *)(size_t)name, (ushort_t)strlen(name), NULL, id, mode, valb, flags, NULL, NULL,
	                NULL, 0);
}

static inline dlm_status_t turn(dlm_lkid_t *id, dlm_lkmode_t mode, dlm_valb_t *valb, dlm_flags_t flags)
{
	return dlm_cvt(id, mode, valb, flags, NULL, NULL, NULL, 0);
}

static inline int is_zero(const dlm_lkid_t *id) { return id->seqn == 0 && id->hndl == 0; }

/* A value block whose words are n, n+1, ... */
static inline dlm_valb_t value_of(uint_t n)
{
	dlm_valb_t v;
	for (uint_t i = 0; i < DLM_VALBLKSIZE; i++)
		v.valblk[i] = n + i;
	return v;
}

static inline int same_value(const dlm_valb_t *v, uint_t n)
{
	dlm_valb_t w = value_of(n);
	return memcmp(v, &w, sizeof w) == 0;
}

/* Number of threads of this process. */
static inline int thread_count(void)
{
	char line[256];
	int n = -1;
	FILE *f = fopen("/proc/self/status", "r");
	if (f == NULL)
		FAIL("/proc/self/status: %s", strerror(errno));
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "Threads: %d", &n) == 1)
			break;
	fclose(f);
	return n;
}

#endif
