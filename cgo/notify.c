/*
 * Notifications: one FIFO of completions and blocking notices per process, run
 * by the handler of the chosen signal or by dlm_notify(), never inside Go.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <godlm.h>

#include "_cgo_export.h"
#include "local.h"

__thread struct thread_state godlm_thread __attribute__((tls_model("initial-exec")));

#define ALTERNATE_STACK (256 * 1024)

struct entry {
	struct entry *next;
	uint64_t lock;
	uint64_t notprm, hint, routine, valb;
	int32_t status; /* of a completion */
	uint32_t mode;  /* of a blocking notice */
	int blocking, discarded, with_value, lost;
	uint8_t value[32];
};

/* Taken only with godlm_thread.inside > 0, so that no handler waits for its own thread. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct entry *first, *last, *spare;
static int event_fd = -1;
static atomic_int signal_number;
static atomic_int pending;  /* entries not delivered */
static atomic_int submits;  /* calls whose lock id is not stored yet */
static atomic_int deliverer; /* thread id of who delivers; 0: nobody */

int godlm_signal(void)
{
	return atomic_load(&signal_number);
}

/* ---- entering and leaving the library ------------------------------------ */

static pthread_key_t stack_key;
static pthread_once_t stack_once = PTHREAD_ONCE_INIT;

static void free_stack(void *p)
{
	stack_t off = {.ss_flags = SS_DISABLE};
	sigaltstack(&off, NULL);
	munmap(p, ALTERNATE_STACK);
}

static void make_key(void)
{
	pthread_key_create(&stack_key, free_stack);
}

/*
 * Callbacks run on the alternate signal stack; the runtime's own would be small
 * for them. Must come before the thread's first call into Go, which takes over
 * the stack that it finds.
 */
void godlm_prepare_thread(void)
{
	stack_t old;
	godlm_thread.prepared = 1;
	pthread_once(&stack_once, make_key);
	if (sigaltstack(NULL, &old) != 0 || !(old.ss_flags & SS_DISABLE))
		return;
	void *p = mmap(NULL, ALTERNATE_STACK, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (p == MAP_FAILED)
		return;
	stack_t new = {.ss_sp = p, .ss_size = ALTERNATE_STACK};
	if (sigaltstack(&new, NULL) == 0)
		pthread_setspecific(stack_key, p);
	else
		munmap(p, ALTERNATE_STACK);
}

void godlm_enter(void)
{
	godlm_thread.inside++;
	if (!godlm_thread.prepared)
		godlm_prepare_thread();
}

void godlm_leave(void)
{
	godlm_thread.inside--;
	if (godlm_thread.inside == 0 && godlm_thread.deferred) {
		godlm_thread.deferred = 0;
		godlm_deliver(0);
	}
}

/*
 * A notification may name a lock whose id the requesting thread has not stored
 * yet. Deliveries wait for the few instructions until it has.
 */
void godlm_submit_begin(void)
{
	atomic_fetch_add(&submits, 1);
}

void godlm_submit_end(void)
{
	atomic_fetch_sub(&submits, 1);
}

/* ---- the queue ----------------------------------------------------------- */

/* From a mapping, not malloc: a handler may have interrupted malloc. */
static struct entry *new_entry(void)
{
	if (spare == NULL) {
		enum { BATCH = 64 };
		struct entry *e = mmap(NULL, BATCH * sizeof *e, PROT_READ | PROT_WRITE,
		                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (e == MAP_FAILED)
			return NULL;
		for (int i = 0; i < BATCH; i++) {
			e[i].next = spare;
			spare = &e[i];
		}
	}
	struct entry *e = spare;
	spare = e->next;
	memset(e, 0, sizeof *e);
	return e;
}

static void append(struct entry *e)
{
	uint64_t one = 1;
	e->next = NULL;
	if (last)
		last->next = e;
	else
		first = e;
	last = e;
	atomic_fetch_add(&pending, 1);
	if (event_fd >= 0)
		syscall(SYS_write, event_fd, &one, sizeof one);
}

/*
 * The signal goes to the process; if its handler interrupts a thread inside the
 * library, that thread delivers when it leaves.
 */
static void announce(void)
{
	int sig = atomic_load(&signal_number);
	if (sig)
		kill(getpid(), sig);
}

void godlm_push_completion(uint64_t lock, int32_t status, uint64_t notprm, uint64_t cplrtn,
                           uint64_t valb, const uint8_t *value)
{
	godlm_thread.inside++;
	pthread_mutex_lock(&mutex);
	struct entry *e = new_entry();
	if (e) {
		e->lock = lock;
		e->status = status;
		e->notprm = notprm;
		e->routine = cplrtn;
		e->valb = valb;
		if (value) {
			e->with_value = 1;
			memcpy(e->value, value, sizeof e->value);
		}
		append(e);
	}
	pthread_mutex_unlock(&mutex);
	announce();
	godlm_thread.inside--;
}

void godlm_push_blocking(uint64_t lock, uint32_t mode, uint64_t notprm, uint64_t hint, uint64_t blkrtn)
{
	godlm_thread.inside++;
	pthread_mutex_lock(&mutex);
	struct entry *e = new_entry();
	if (e) {
		e->lock = lock;
		e->blocking = 1;
		e->mode = mode;
		e->notprm = notprm;
		e->hint = hint;
		e->routine = blkrtn;
		append(e);
	}
	pthread_mutex_unlock(&mutex);
	announce();
	godlm_thread.inside--;
}

static void (*volatile lost_handler)(void *);
static void *volatile lost_arg;

static atomic_int abort_on_lost;

void godlm_abort_on_lost(void)
{
	atomic_store(&abort_on_lost, 1);
}

void godlm_push_lost(void)
{
	if (atomic_load(&abort_on_lost))
		abort();
	godlm_thread.inside++;
	pthread_mutex_lock(&mutex);
	struct entry *e = new_entry();
	if (e) {
		e->lost = 1;
		append(e);
	}
	pthread_mutex_unlock(&mutex);
	announce();
	godlm_thread.inside--;
}

void godlm_set_lost_handler(void (*handler)(void *), void *arg)
{
	godlm_enter();
	pthread_mutex_lock(&mutex);
	lost_arg = arg;
	lost_handler = handler;
	pthread_mutex_unlock(&mutex);
	godlm_leave();
}

int godlm_discard_blocking(uint64_t lock)
{
	int found = 0;
	godlm_thread.inside++;
	pthread_mutex_lock(&mutex);
	for (struct entry *e = first; e; e = e->next)
		if (e->blocking && e->lock == lock && !e->discarded) {
			e->discarded = 1;
			found = 1;
		}
	pthread_mutex_unlock(&mutex);
	godlm_thread.inside--;
	return found;
}

/* Takes the oldest entry into *out; 0 when there is none. */
/*
 * Nothing is taken while a call has yet to store its lock id: whatever is in the
 * queue when no call is at that point is of locks whose ids are stored.
 */
static int pop(struct entry *out)
{
	int got = 0;
	godlm_thread.inside++;
	pthread_mutex_lock(&mutex);
	while (first && atomic_load(&submits) > 0) {
		pthread_mutex_unlock(&mutex);
		sched_yield();
		pthread_mutex_lock(&mutex);
	}
	while (!got && first) {
		struct entry *e = first;
		first = e->next;
		if (first == NULL)
			last = NULL;
		*out = *e;
		got = !e->discarded;
		e->next = spare;
		spare = e;
		atomic_fetch_sub(&pending, 1);
	}
	if (first == NULL && event_fd >= 0) {
		uint64_t n;
		syscall(SYS_read, event_fd, &n, sizeof n);
	}
	pthread_mutex_unlock(&mutex);
	godlm_thread.inside--;
	return got;
}

/* ---- delivery ------------------------------------------------------------ */

static void run(struct entry *e)
{
	dlm_lkid_t id = {.seqn = (uint32_t)(e->lock >> 32), .hndl = (uint32_t)e->lock};
	if (e->lost) {
		if (lost_handler)
			lost_handler(lost_arg);
		return;
	}
	if (e->blocking) {
		godlm_enter();
		godlmgo_delivered(e->lock);
		godlm_thread.inside--;
		((blk_callback_t)(uintptr_t)e->routine)((void *)(uintptr_t)e->notprm, (void *)(uintptr_t)e->hint,
		                                        &id, (dlm_lkmode_t)e->mode);
		return;
	}
	if (e->with_value && e->valb)
		memcpy((void *)(uintptr_t)e->valb, e->value, sizeof e->value);
	if (e->routine)
		((cpl_callback_t)(uintptr_t)e->routine)((void *)(uintptr_t)e->notprm, &id, (dlm_status_t)e->status);
}

/* The thread ends in a callback; somebody else must deliver the rest. */
static void abandoned(void *arg)
{
	if (*(int *)arg)
		return;
	godlm_thread.delivering = 0;
	atomic_store(&deliverer, 0);
	godlm_remind();
}

/*
 * Runs what is pending on this thread and returns how much. One thread delivers
 * at a time, so that the order holds; a delivery inside a callback happens only
 * when the program asks for it (D-45).
 */
int godlm_deliver(int explicit_call)
{
	struct entry e;
	volatile int count = 0;
	int me = (int)syscall(SYS_gettid);
	int saved = errno;
	int nested = godlm_thread.delivering;
	if (nested && !explicit_call)
		return 0;
	do {
		int nobody = 0;
		if (!nested && !atomic_compare_exchange_strong(&deliverer, &nobody, me))
			return count; /* who delivers looks again before it ends */
		godlm_thread.delivering = 1;
		pthread_cleanup_push(abandoned, &nested);
		while (!godlm_forked() && pop(&e)) { /* a callback may fork */
			run(&e);
			count++;
		}
		pthread_cleanup_pop(0);
		if (nested)
			break;
		godlm_thread.delivering = 0;
		atomic_store(&deliverer, 0);
	} while (atomic_load(&pending) > 0 && !godlm_forked());
	errno = saved;
	return count;
}

void godlm_remind(void)
{
	if (atomic_load(&pending) > 0)
		announce();
}

static void on_signal(int sig)
{
	(void)sig;
	if (godlm_forked())
		return;
	if (godlm_thread.inside > 0) {
		godlm_thread.deferred = 1;
		godlm_interrupt_wait();
	} else {
		godlm_deliver(0);
	}
}

dlm_status_t godlm_set_signal(int sig, int *old)
{
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
	sigemptyset(&a.sa_mask);
	if (sig != 0 && sigaction(sig, &a, NULL) != 0)
		return DLM_BADPARAM;
	int before = atomic_exchange(&signal_number, sig);
	if (old)
		*old = before;
	if (sig != 0 && atomic_load(&pending) > 0)
		announce();
	return DLM_SUCCESS;
}

int godlm_event_fd(void)
{
	int fd = -1;
	if (!godlm_ready() || !godlmgo_started())
		return -1;
	godlm_enter();
	pthread_mutex_lock(&mutex);
	if (event_fd < 0) {
		event_fd = eventfd(first != NULL, EFD_NONBLOCK | EFD_CLOEXEC);
		if (event_fd >= 0)
			godlm_fd_opened(event_fd);
	}
	fd = event_fd;
	pthread_mutex_unlock(&mutex);
	godlm_leave();
	return fd;
}
