/* What the C files share among themselves. */
#ifndef GODLM_LOCAL_H
#define GODLM_LOCAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/dlm.h>

#include "internal.h"

/*
 * What the library keeps for a thread. `inside` counts how deep the thread is in
 * the library where a signal handler must not run callbacks: in Go, or with one
 * of our mutexes. initial-exec: a signal handler may be the first to touch it.
 */
struct thread_state {
	volatile int inside;
	volatile int delivering; /* callbacks are running on this thread */
	volatile int deferred;   /* a signal came while inside */
	volatile int prepared;   /* has an alternate signal stack */
	volatile int leading;    /* asleep as the leader of waiters */
	volatile int kicked;     /* the handler has ended that sleep */
	void *volatile sem;      /* asleep on this semaphore */
};
extern __thread struct thread_state godlm_thread __attribute__((tls_model("initial-exec")));

/* notify.c */
void godlm_enter(void);
void godlm_leave(void); /* runs what a signal left to do */
void godlm_submit_begin(void); /* hold deliveries back until the lock id is stored */
void godlm_submit_end(void);
int godlm_signal(void);
dlm_status_t godlm_set_signal(int sig, int *old);
int godlm_deliver(int explicit_call);
void godlm_remind(void); /* a thread that should have delivered is gone */

/* api.c */
int godlm_attached(void);

/* recovery.c */
int godlm_domain(dlm_rd_id_t id, uint8_t digest[16]); /* of a handle; 0 if there is none */
void godlm_leave_domains(void);

/* A thread waiting for an answer; its address is the request's token. */
struct waiter {
	atomic_uint state; /* bits below */
	pthread_t thread;
	struct waiter *next, *prev; /* among the followers */
	int leads;
	int kicked;
	void *sem; /* sem_t, for followers */
	int32_t status;
	int32_t read;
	uint8_t value[32];
	struct godlm_info info;
	uint64_t number; /* of a collection */
};
#define WAITER_DONE 1u
#define WAITER_PROMOTED 2u

/*
 * Wait until w is done. timeout_centis > 0: after so long tell Go, and go on
 * waiting for its word. lock: of the request, 0 for a question.
 */
void godlm_wait(struct waiter *w, uint64_t lock, unsigned timeout_centis);

/* For the signal handler: the thread it runs on shall stop sleeping. */
void godlm_interrupt_wait(void);

#endif
