/*
 * Waiting for answers, in C, so that signals, callbacks and deferred pthread
 * cancellation work meanwhile and a wait costs no Go thread.
 *
 * One waiter at a time, the leader, waits on the epoll set of the process's
 * connections, as the Go runtime's background reader always does. The kernel
 * wakes the one that came last, so the leader reads its own answer and one
 * wake-up suffices. Everybody else waits on a semaphore. A leader that goes
 * promotes a follower.
 *
 * If another thread handles the message that completes the leader's request, it
 * makes `kick` readable, and it stays readable until that leader has left: the
 * leader cannot miss it, whoever else sees it too. The background reader, which
 * does see it, sleeps until then.
 *
 * An answer may come before its caller waits for it; then the background reader would be
 * woken. While there are callers it stands aside, on an epoll set that has ours as a part.
 * That part is muted from before a request is sent until nobody waits any more.
 */
#include <errno.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "local.h"

#define EVENTS 8

static int epoll_fd = -1;
static int kick_fd = -1;

/* Guards everything below and the end of waiters' lives. Held for moments. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct waiter *leader;
static struct waiter *first, *last; /* followers */
static int aside_fd = -1;
static int aside;   /* the background reader waits on aside_fd */
static int waiting; /* callers that wait, or will when their request is sent */
uint64_t godlm_waits;

void godlm_set_epoll(int epfd, int aside_epfd)
{
	struct epoll_event e = {.events = EPOLLIN};
	kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	e.data.fd = -2; /* the loop leaves negative ones to others, but for its own -1 */
	if (kick_fd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, kick_fd, &e) == 0)
		godlm_fd_opened(kick_fd);
	aside_fd = aside_epfd;
	epoll_fd = epfd;
}

static void part(int operation)
{
	struct epoll_event e = {.events = waiting ? 0 : EPOLLIN};
	e.data.fd = -2;
	syscall(SYS_epoll_ctl, aside_fd, operation, epoll_fd, &e);
}

void godlm_aside(int yes)
{
	pthread_mutex_lock(&mutex);
	if (aside != yes)
		part(yes ? EPOLL_CTL_ADD : EPOLL_CTL_DEL);
	aside = yes;
	pthread_mutex_unlock(&mutex);
}

void godlm_reads(int yes)
{
	pthread_mutex_lock(&mutex);
	if (yes ? waiting++ == 0 : --waiting == 0)
		if (aside)
			part(EPOLL_CTL_MOD);
	pthread_mutex_unlock(&mutex);
}

/* The mutex is held. */
static void count(struct waiter *w)
{
	if (w->counted)
		return;
	w->counted = 1;
	__atomic_store_n(&godlm_waits, godlm_waits + 1, __ATOMIC_RELAXED);
	if (waiting++ == 0 && aside)
		part(EPOLL_CTL_MOD);
}

/* The mutex is held. */
static void uncount(struct waiter *w)
{
	if (!w->counted)
		return;
	w->counted = 0;
	if (--waiting == 0 && aside)
		part(EPOLL_CTL_MOD);
}

void godlm_expect(uint64_t token)
{
	pthread_mutex_lock(&mutex);
	count((struct waiter *)(uintptr_t)token);
	pthread_mutex_unlock(&mutex);
}

/* 1 while kick_fd is readable, more or less. */
static atomic_int kicked;

/* Raw system calls: not cancellation points, and safe in a signal handler. */
static void kick(void)
{
	uint64_t one = 1;
	atomic_store(&kicked, 1);
	syscall(SYS_write, kick_fd, &one, sizeof one);
}

static void unkick(void)
{
	uint64_t n;
	atomic_store(&kicked, 0);
	syscall(SYS_read, kick_fd, &n, sizeof n);
	/* Who waits last is woken first, and that should be the next leader. */
	if (syscall(SYS_futex, &kicked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) > 0)
		syscall(SYS_sched_yield);
}

void godlm_yield(void)
{
	while (atomic_load(&kicked))
		syscall(SYS_futex, &kicked, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
}

static void done(struct waiter *w)
{
	pthread_mutex_lock(&mutex);
	atomic_fetch_or(&w->state, WAITER_DONE);
	if (w->leads) {
		if (!pthread_equal(w->thread, pthread_self()) && !w->kicked) {
			w->kicked = 1;
			kick();
		}
	} else if (w->sem) {
		sem_post(w->sem);
	}
	pthread_mutex_unlock(&mutex);
}

void godlm_complete(uint64_t token, int32_t status, int32_t read, const uint8_t *value,
                    const struct godlm_info *info, uint64_t number, uint64_t lock)
{
	struct waiter *w = (struct waiter *)(uintptr_t)token;
	if (w == NULL)
		return;
	w->status = status;
	w->read = read;
	if (read && value)
		memcpy(w->value, value, sizeof w->value);
	if (info)
		w->info = *info;
	w->number = number;
	w->lock = lock;
	if (w->lkid_p && status <= DLM_SYNCVALNOTVALID)
		godlm_store_id(w->lkid_p, lock);
	done(w);
}

void godlm_complete_lock_info(uint64_t token, int32_t status, const struct godlm_lock_info *info)
{
	struct waiter *w = (struct waiter *)(uintptr_t)token;
	if (w == NULL)
		return;
	w->status = status;
	if (w->lock_info)
		*w->lock_info = *info;
	done(w);
}

void godlm_complete_token(uint64_t token, int32_t status, uint64_t epoch, uint64_t number)
{
	struct waiter *w = (struct waiter *)(uintptr_t)token;
	if (w == NULL)
		return;
	w->status = status;
	w->epoch = epoch;
	w->number = number;
	done(w);
}

static void enlist(struct waiter *w)
{
	pthread_mutex_lock(&mutex);
	count(w);
	if (leader == NULL) {
		leader = w;
		w->leads = 1;
	} else {
		w->prev = last;
		w->next = NULL;
		if (last)
			last->next = w;
		else
			first = w;
		last = w;
	}
	pthread_mutex_unlock(&mutex);
}

static void unlink_follower(struct waiter *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		last = w->prev;
	w->next = w->prev = NULL;
}

/* After this no other thread touches w. */
static void delist(struct waiter *w)
{
	pthread_mutex_lock(&mutex);
	if (w->leads) {
		w->leads = 0;
		if (w->kicked)
			unkick();
		leader = NULL;
		for (struct waiter *f = first; f; f = f->next) {
			if (atomic_load(&f->state) & WAITER_DONE)
				continue;
			unlink_follower(f);
			f->leads = 1;
			leader = f;
			atomic_fetch_or(&f->state, WAITER_PROMOTED);
			sem_post(f->sem);
			break;
		}
	} else if (w == first || w->prev) {
		unlink_follower(w);
	}
	uncount(w);
	pthread_mutex_unlock(&mutex);
}

struct waiting {
	struct waiter *w;
	uint64_t lock;
	struct epoll_event *events;
};

/* Deferred cancellation of a waiting thread: nobody takes the answer any more. */
static void cancelled(void *arg)
{
	struct waiting *c = arg;
	/* The cancellation may have come when events were already taken. */
	if (c->w->leads)
		godlmgo_handle(c->events, EVENTS);
	godlmgo_detach(c->lock, (uint64_t)(uintptr_t)c->w);
	delist(c->w);
	if (godlm_thread.kicked) {
		godlm_thread.kicked = 0;
		unkick();
	}
	sem_destroy(c->w->sem);
	godlm_thread.sem = NULL;
	godlm_thread.leading = 0;
	godlm_thread.inside = 0;
	if (godlm_thread.deferred) {
		godlm_thread.deferred = 0;
		godlm_remind();
	}
}

static int64_t now_nanos(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Until `until` (0: for ever) or until something happens. */
static int sleep_leading(struct epoll_event *events, int64_t until)
{
	int ms = -1;
	if (until) {
		int64_t left = until - now_nanos();
		ms = left <= 0 ? 0 : left > 3600000000000 ? 3600000 : (int)((left + 999999) / 1000000);
	}
	return epoll_wait(epoll_fd, events, EVENTS, ms);
}

static void sleep_following(sem_t *sem, int64_t until)
{
	if (until) {
		struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
		sem_clockwait(sem, CLOCK_MONOTONIC, &t);
	} else {
		sem_wait(sem);
	}
}

/*
 * Runs callbacks that a signal has asked for. The waiter leaves the lists
 * meanwhile: a callback may take long, and somebody else can read.
 */
static void run_deferred(struct waiter *w)
{
	int depth = godlm_thread.inside;
	delist(w);
	godlm_thread.inside = 1;
	godlm_leave();
	godlm_thread.inside = depth;
	if (!godlm_forked())
		enlist(w);
}

void godlm_wait(struct waiter *w, uint64_t lock, unsigned timeout_centis)
{
	struct thread_state *t = &godlm_thread;
	struct epoll_event events[EVENTS];
	sem_t sem;
	struct waiting c = {w, lock, events};
	volatile int64_t until = timeout_centis ? now_nanos() + (int64_t)timeout_centis * 10000000 : 0;
	int cancel_state, ignored;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	sem_init(&sem, 0, 0);
	w->sem = &sem;
	w->thread = pthread_self();
	enlist(w);
	pthread_cleanup_push(cancelled, &c);
	while (!(atomic_load(&w->state) & WAITER_DONE)) {
		int n = 0;
		memset(events, 0xfe, sizeof events); /* nobody's events */
		/* From here on a signal ends the sleep, also one that comes before it. */
		t->leading = w->leads;
		t->sem = w->leads ? NULL : &sem;
		atomic_signal_fence(memory_order_seq_cst);
		if (!t->deferred) {
			pthread_setcancelstate(cancel_state, &ignored);
			if (t->leading)
				n = sleep_leading(events, until);
			else
				sleep_following(&sem, until);
			pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
		}
		t->leading = 0;
		t->sem = NULL;
		if (t->kicked) {
			t->kicked = 0;
			unkick();
		}
		if (n < 0 && errno != EINTR)
			for (;;) /* the process is in exit(), and its node is closed */
				pause();
		if (n > 0)
			godlmgo_handle(events, n);
		if (t->deferred && !t->delivering && !(atomic_load(&w->state) & WAITER_DONE)) {
			run_deferred(w);
			if (godlm_forked()) { /* a callback has forked, this is the child */
				w->status = DLM_NOTATTACHED;
				break;
			}
		} else if (t->deferred && t->delivering)
			t->deferred = 0; /* the delivery under way looks again before it ends */
		if (until && now_nanos() >= until && !(atomic_load(&w->state) & WAITER_DONE)) {
			until = 0;
			godlmgo_expire(lock, (uint64_t)(uintptr_t)w);
		}
	}
	pthread_cleanup_pop(0);
	if (!godlm_forked())
		delist(w);
	sem_destroy(&sem);
	pthread_setcancelstate(cancel_state, &ignored);
}

void godlm_interrupt_wait(void)
{
	struct thread_state *t = &godlm_thread;
	if (t->sem) {
		sem_post(t->sem);
	} else if (t->leading) {
		t->kicked = 1;
		kick();
	}
}
