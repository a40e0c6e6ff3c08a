/*
 * godlm.h - what godlm has beyond the Tru64 interface of <sys/dlm.h>
 *
 * The general remarks at the top of <sys/dlm.h> hold here too.
 */
#ifndef GODLM_H
#define GODLM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/dlm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header: major * 10000 + minor * 100 + patch. */
#define GODLM_VERSION 10000

/* Version of the library in use, encoded the same way. Needs no joining. */
int godlm_version(void);

/*
 * Status of every call on locks after the lock manager has declared this process
 * gone although it still runs: the program has closed descriptors that are not its
 * own, or its host has lost the others of the cluster for longer than its lease
 * (godlm-cluster(7)). All its locks are lost; others may hold them.
 */
#define GODLM_LOST ((dlm_status_t)100)

/*
 * Have handler(arg) called once when the locks are lost in that way, after all
 * waiting requests have been answered with GODLM_LOST: stop what needs a lock.
 * It runs as notification routines do, by the signal of dlm_set_signal() or in
 * dlm_notify(). Null removes it. Needs no joining; there is one per process.
 *
 * With GODLM_ON_LOST=abort in the environment the process is ended by abort()
 * instead, at once.
 */
void godlm_set_lost_handler(void (*handler)(void *), void *arg);

/*
 * Flag for dlm_nsjoin(): requests under this handle never answer
 * DLM_SUCCVALNOTVALID or DLM_SYNCVALNOTVALID but DLM_SUCCESS and DLM_SYNCH, for
 * programs that do not know the others. Whether a value block is valid is then
 * told by dlm_get_rsbinfo() only. Sub-locks follow their parents.
 */
#define GODLM_JOIN_PLAIN 0x1000000u

/*
 * Fencing token: grows with every grant of PW or EX on one resource name, for
 * ever, whoever was granted and whatever died in between. Hand it to what the
 * lock protects, which refuses requests with a smaller token than it has seen:
 * so a program that lost its lock without noticing does no harm. Compare epoch
 * first, then number.
 */
typedef struct godlm_token {
	uint64_t epoch;
	uint64_t number;
} godlm_token_t;

/*
 * The token of the latest grant of a lock held in PW or EX.
 *
 * DLM_SUCCESS; DLM_BADPARAM (held in a lower mode); DLM_CVTUNGRANT (not granted);
 * DLM_EFAULT; DLM_NOTATTACHED; DLM_IVLOCKID.
 */
dlm_status_t godlm_get_token(dlm_lkid_t *lkid_p, godlm_token_t *token);

/*
 * Tell in words what a request is waiting for: a line for each lock in its way
 * and for each request ahead in the queue, with program and process id. The text
 * is empty when the lock does not wait (any more). At most size bytes are stored,
 * the final 0 included; *length, if not null, receives the length of the whole
 * text. The wording may change; it is for people.
 *
 * DLM_SUCCESS; DLM_EFAULT; DLM_NOTATTACHED; DLM_IVLOCKID.
 */
dlm_status_t godlm_get_blockers(dlm_lkid_t *lkid_p, char *text, size_t size, size_t *length);

/*
 * A descriptor for poll() and its like: readable while notifications are
 * pending. Then call dlm_notify(). Do not read from it or close it; it is closed
 * in forked children. Returns -1 before the first dlm_nsjoin(), and when no
 * descriptor can be had (errno).
 */
int godlm_event_fd(void);

#ifdef __cplusplus
}
#endif

#endif /* GODLM_H */
