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
void godlm_prepare_thread(void); /* an alternate signal stack, if it has none */
void godlm_submit_begin(void); /* hold deliveries back until the lock id is stored */
void godlm_submit_end(void);
int godlm_signal(void);
dlm_status_t godlm_set_signal(int sig, int *old);
int godlm_deliver(int explicit_call);
void godlm_remind(void); /* a thread that should have delivered is gone */

/* api.c */
struct space {
	int used;
	int plain; /* joined with GODLM_JOIN_PLAIN */
	uint32_t kind, id;
};
int godlm_attached(void);
struct space *godlm_space(dlm_nsp_t nsp); /* NULL: no handle of a joined namespace */

/* recovery.c */
int godlm_domain(dlm_rd_id_t id, uint8_t digest[16], int *group); /* of a handle; 0 if there is none */
int godlm_group_domains(void); /* a domain is attached to for a group */
void godlm_leave_domains(void);

/* A thread waiting for an answer; its address is the request's token. */
struct waiter {
	atomic_uint state; /* bits below */
	pthread_t thread;
	struct waiter *next, *prev; /* among the followers */
	int leads;
	int kicked;
	int counted; /* in wait.c's count */
	void *sem; /* sem_t, for followers */
	int32_t status;
	int32_t read;
	uint64_t number; /* of a collection or container, or of a token, with epoch */
	uint64_t epoch;
	uint64_t lock;      /* new group lock */
	dlm_lkid_t *lkid_p; /* where to store its id, before anything can tell of it */
	struct godlm_lock_info *lock_info;
	uint8_t value[32]; /* this and what follows is not cleared at the start */
	struct godlm_info info;
};
uint64_t godlm_id_number(const dlm_lkid_t *id); /* 0 for NULL */
void godlm_store_id(dlm_lkid_t *id, uint64_t n);
void godlm_start_waiter(struct waiter *w, struct godlm_call *c);
/* Waits for the answer to a request that was handed in, and moves it into c. */
void godlm_finish(struct waiter *w, struct godlm_call *c, unsigned timeout);
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
