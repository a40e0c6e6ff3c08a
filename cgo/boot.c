/*
 * Starts the Go runtime in the first call that needs it, and makes forked
 * children of a process that has started it answer at once.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "local.h"

typedef void (*init_fn)(int, char **, char **);
/* From late.ld. Weak, since cgo links a trial program without the script. */
extern init_fn __go_late_init_start[] __attribute__((weak, visibility("hidden")));
extern init_fn __go_late_init_end[] __attribute__((weak, visibility("hidden")));

enum { NOT_STARTED, READY, FORKED };
static atomic_int state = NOT_STARTED;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int start_argc;
static char **start_argv, **start_envp;

/* glibc hands these to constructors; the runtime wants them later. */
__attribute__((constructor)) static void keep_arguments(int argc, char **argv, char **envp)
{
	start_argc = argc;
	start_argv = argv;
	start_envp = envp;
}

/*
 * Descriptors to close in forked children: a child that lives on would otherwise
 * keep connections open, and peers would not see the parent's death. A slot is 0
 * when free, else descriptor + 1.
 */
#define MAX_FDS 4096
static atomic_int fds[MAX_FDS];

void godlm_fd_opened(int fd)
{
	for (int i = 0; i < MAX_FDS; i++) {
		int empty = 0;
		if (atomic_load_explicit(&fds[i], memory_order_relaxed) == 0 &&
		    atomic_compare_exchange_strong(&fds[i], &empty, fd + 1))
			return;
	}
}

void godlm_fd_closed(int fd)
{
	for (int i = 0; i < MAX_FDS; i++) {
		int mine = fd + 1;
		if (atomic_load_explicit(&fds[i], memory_order_relaxed) == mine &&
		    atomic_compare_exchange_strong(&fds[i], &mine, 0))
			return;
	}
}

/*
 * A fork waits while Go makes or closes descriptors: between a system call and the
 * entry above nobody knows whose the descriptor is. What is waited for never waits
 * itself, nor runs code of the program.
 */
static pthread_mutex_t fork_mutex = PTHREAD_MUTEX_INITIALIZER; /* held through a fork */
static int holders;

void godlm_forks_held(void)
{
	pthread_mutex_lock(&fork_mutex);
	holders++;
	pthread_mutex_unlock(&fork_mutex);
}

void godlm_forks_go(void)
{
	pthread_mutex_lock(&fork_mutex);
	holders--;
	pthread_mutex_unlock(&fork_mutex);
}

static void before_fork(void)
{
	pthread_mutex_lock(&fork_mutex);
	while (holders > 0) {
		pthread_mutex_unlock(&fork_mutex);
		sched_yield();
		pthread_mutex_lock(&fork_mutex);
	}
}

static void after_fork(void)
{
	pthread_mutex_unlock(&fork_mutex);
}

static void after_fork_in_child(void)
{
	pthread_mutex_unlock(&fork_mutex);
	atomic_store(&state, FORKED);
	for (int i = 0; i < MAX_FDS; i++) {
		int v = atomic_load(&fds[i]);
		if (v != 0)
			close(v - 1);
	}
}

static void *nothing(void *arg)
{
	return arg;
}

/*
 * glibc installs its handlers for thread cancellation and for setuid() when they
 * are first needed, without SA_ONSTACK. The Go runtime adds it, to handlers that
 * are there when it starts; later ones would run on the small stacks of
 * goroutines.
 */
static void install_libc_handlers(void)
{
	pthread_t t;
	if (pthread_create(&t, NULL, nothing, NULL) != 0)
		return;
	pthread_cancel(t);
	pthread_join(t, NULL);
}

/*
 * Go's threads inherit a mask that blocks everything the runtime does not need,
 * so that they do not take the program's signals. The caller's mask comes back
 * before anything is waited for.
 */
static void start(void)
{
	static const int needed[] = {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
	sigset_t block, old;
	sigfillset(&block);
	for (unsigned i = 0; i < sizeof needed / sizeof *needed; i++)
		sigdelset(&block, needed[i]);
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
	install_libc_handlers();
	pthread_sigmask(SIG_BLOCK, &block, &old);
	for (init_fn *f = __go_late_init_start; f < __go_late_init_end; f++)
		(*f)(start_argc, start_argv, start_envp);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	godlmgo_ping(); /* returns when the runtime is up */
	int expected = NOT_STARTED;
	atomic_compare_exchange_strong(&state, &expected, READY);
}

int godlm_boot(void)
{
	if (atomic_load_explicit(&state, memory_order_acquire) == READY)
		return 0;
	if (godlm_forked())
		return -1;
	pthread_once(&once, start);
	return godlm_forked() ? -1 : 0;
}

int godlm_ready(void)
{
	return atomic_load_explicit(&state, memory_order_acquire) == READY;
}

int godlm_forked(void)
{
	return atomic_load_explicit(&state, memory_order_relaxed) == FORKED;
}

/* Every message is preceded by a look at the lease; here that is no system call. */
int64_t godlm_boottime(void)
{
	struct timespec t;
	if (clock_gettime(CLOCK_BOOTTIME, &t) != 0)
		return INT64_MAX; /* no lease is proven */
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/*
 * exit(): leave before the process is gone, within bounded time. The program may have
 * taken away the signal stack that it had before its first call, as Python's
 * faulthandler does; without one the runtime aborts when it preempts this thread.
 */
__attribute__((destructor)) static void leave_at_exit(void)
{
	if (atomic_load(&state) == READY) {
		godlm_prepare_thread();
		godlmgo_close();
	}
}
