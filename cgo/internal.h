/*
 * What the C files and the Go file of the boundary share. Public functions are C
 * (api.c); they check arguments, call Go functions named godlmgo_*, which never
 * wait, and do the waiting themselves (wait.c).
 */
#ifndef GODLM_INTERNAL_H
#define GODLM_INTERNAL_H

#include <stdint.h>
#include <sys/epoll.h>

/* One request, on the C caller's stack: what Go needs and what it answers. */
struct godlm_call {
	uint64_t lock;   /* the lock; out: the new one */
	uint64_t parent;
	uint64_t token;  /* address of the waiter, 0 for asynchronous requests */
	uint64_t accept; /* group locks: of the waiter for the word whether it has to wait */
	uint32_t flags;
	uint32_t mode;
	uint32_t space_kind, space_id;
	uint32_t name_len;
	uint8_t name[64];
	uint8_t value[32];
	uint64_t notprm, hint, blkrtn, cplrtn, valb;
	uint64_t tid;
	uint8_t domain[16]; /* recovery domain, with DLM_PERSIST; all zero: none */
	uint32_t timeout;
	int32_t async;
	int32_t plain;   /* never say that the value block is not valid */
	int32_t status; /* out; GODLM_PENDING: wait */
	int32_t stalled; /* out: not even under way */
	int32_t read;   /* out: value is the resource's */
};

#define GODLM_PENDING (-1)

/* The same for a recovery domain. */
struct godlm_domain_call {
	uint64_t token;
	uint64_t number;    /* of a collection; in or out */
	uint32_t what;      /* DOMAIN_* */
	int32_t status;     /* out */
	uint8_t digest[16]; /* out */
	char name[65];
};

/* The same for a group lock container. */
struct godlm_group_call {
	uint64_t token;
	uint32_t verb; /* GROUP_* */
	uint32_t container, flags;
	int32_t root;   /* the caller is root */
	int32_t status; /* out */
	uint32_t count; /* of spaces: kind, id, kind, id ... */
	const uint32_t *spaces;
};
enum { GROUP_CREATE = 1, GROUP_ATTACH, GROUP_DETACH, GROUP_DESTROY };

/* In the low half of a lock's id: it is a container's (proto.GroupBit). */
#define GROUP_BIT 0x80000000u

enum { DOMAIN_ATTACH = 1, DOMAIN_DETACH, DOMAIN_INVALIDATE, DOMAIN_COLLECT, DOMAIN_VALIDATE, DOMAIN_LEAVE };

/* dlm_rsbinfo_t and dlm_lkinfo_t in plain numbers. */
struct godlm_info {
	uint32_t invalid, writes, sub_resources, locks, blocking, at_group_mode;
	uint32_t group_mode, convert_mode, wait_mode;
	uint8_t value[32];
};

struct godlm_lock_info {
	uint64_t parent, notprm, hint, blkrtn, cplrtn, valb;
	uint32_t name_len, requested, granted, state, flags, timeout;
	uint32_t mine; /* of a group lock: the asker manipulates it */
	uint8_t name[64];
};

/* boot.c */
int64_t godlm_boottime(void); /* CLOCK_BOOTTIME in nanoseconds */
int godlm_boot(void);        /* start the runtime; 0, or -1 in a forked child */
int godlm_ready(void);       /* the runtime is up, and this is its process */
int godlm_forked(void);      /* in a child of a process that used the library */
void godlm_fd_opened(int fd); /* close it in forked children */
void godlm_fd_closed(int fd);
void godlm_forks_held(void); /* no fork until as many calls of the next */
void godlm_forks_go(void);

/* wait.c, called by Go */
void godlm_set_epoll(int epfd, int aside);
void godlm_aside(int yes);           /* link.Callers, as the next */
void godlm_reads(int yes);
extern uint64_t godlm_waits;         /* the same; read atomically */
void godlm_expect(uint64_t token);   /* a request for which that waiter will wait is about to be sent */
void godlm_yield(void); /* waits while the leader is to wake up */
void godlm_complete(uint64_t token, int32_t status, int32_t read, const uint8_t *value,
                    const struct godlm_info *info, uint64_t number, uint64_t lock);
void godlm_complete_lock_info(uint64_t token, int32_t status, const struct godlm_lock_info *info);
void godlm_complete_token(uint64_t token, int32_t status, uint64_t epoch, uint64_t number);

/* notify.c, called by Go with a shard's mutex held */
void godlm_push_completion(uint64_t lock, int32_t status, uint64_t notprm, uint64_t cplrtn,
                           uint64_t valb, const uint8_t *value /* null: none */);
void godlm_push_blocking(uint64_t lock, uint32_t mode, uint64_t notprm, uint64_t hint, uint64_t blkrtn);
int godlm_discard_blocking(uint64_t lock);
void godlm_push_lost(void);
void godlm_abort_on_lost(void); /* from here on push_lost ends the program */

#endif
