/*
 * godlm.h - what godlm has beyond the Tru64 interface of <sys/dlm.h>
 *
 * The general remarks at the top of <sys/dlm.h> hold here too.
 */
#ifndef GODLM_H
#define GODLM_H

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
 * gone although it still runs, for example because the program closed
 * descriptors that are not its own. All its locks are lost; others may hold them.
 */
#define GODLM_LOST ((dlm_status_t)100)

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
