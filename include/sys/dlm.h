/*
 * sys/dlm.h - the distributed lock manager, source compatible with Tru64 UNIX
 *
 * A resource is anything that programs agree to name. A lock is a claim on a
 * resource in one of six modes; claims that exclude each other wait for each
 * other in order. Every resource carries a value block of 32 bytes that moves
 * with the locks, and that is marked not valid when a holder that may have been
 * writing it dies.
 *
 * What is not in this header or in godlm.h is not part of the interface.
 *
 * Everywhere:
 *  - Functions return a dlm_status_t unless said otherwise; 0 to 5 are successes.
 *    Errors are found in this order: DLM_ENOSYS, DLM_BADPARAM, DLM_EFAULT,
 *    DLM_NOTATTACHED, DLM_IVBUFLEN, DLM_IVLOCKID, DLM_NOACCESS, state errors,
 *    lack of resources, and last the outcome of the request.
 *  - All functions may be called from several threads at once and from
 *    notification routines. "Process" means the whole process.
 *  - Locks belong to the process that took them and are not inherited by fork().
 *    A child of a process that has used the library gets DLM_NOTATTACHED from
 *    every call (DLM_ENOSYS from dlm_nsjoin); a child forked before the first
 *    call is a process like any other. exec() releases locks as death does.
 *  - Signal handlers of the program must be installed with SA_ONSTACK, or before
 *    the first call. Do not call these functions from other signal handlers than
 *    through notification routines.
 *  - GODLM_LOST (godlm.h) can come from every function that uses a lock.
 */
#ifndef _DLM_H
#define _DLM_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef GODLM_NO_BSD_TYPES /* names that Tru64's <sys/types.h> has */
typedef unsigned char uchar_t;
typedef unsigned short ushort_t;
typedef unsigned int uint_t;
typedef unsigned long ulong_t;
#endif

/* ---- limits ------------------------------------------------------------- */

#define DLM_RESNAMELEN 64 /* most bytes in a resource name; at least 1 */
#define DLM_VALBLKSIZE 8  /* 32-bit words in a value block */
#define DLM_NSPROCMAX 32  /* most namespaces of a process; highest handle */
#define DLM_RDNAMELEN 64  /* most characters in a recovery domain's name */

#ifndef SIGMAX
#define SIGMAX 64 /* highest signal number for dlm_set_signal() */
#endif

/* ---- types -------------------------------------------------------------- */

typedef enum {
	/* successes */
	DLM_SUCCESS = 0,          /* done; granted, perhaps after a wait */
	DLM_SYNCH = 1,            /* granted at once (with DLM_SYNCSTS only) */
	DLM_SUCCVALNOTVALID = 2,  /* as DLM_SUCCESS; the value block is not valid */
	DLM_SYNCVALNOTVALID = 3,  /* as DLM_SYNCH; the value block is not valid */
	DLM_MORE_TO_RECOVER = 4,
	DLM_MORE_TO_TRAVERSE = 5,
	/* errors */
	DLM_ABORT = 16,       /* the lock was unlocked while the request waited */
	DLM_ATTACHED = 17,    /* joined already */
	DLM_BADPARAM = 18,    /* a parameter or flag that does not fit */
	DLM_CANCEL = 19,      /* the conversion was cancelled */
	DLM_CANCELGRANT = 20, /* nothing to cancel: granted */
	DLM_CANCELWAIT = 21,  /* never granted, and DLM_CANCELWAITOK not given */
	DLM_CVTUNGRANT = 22,  /* conversion of a lock that is not granted */
	DLM_DEADLOCK = 23,    /* the request was refused to end a deadlock */
	DLM_EFAULT = 24,      /* a required pointer is null */
	DLM_ENOENT = 25,      /* no such resource */
	DLM_ENOSYS = 26,      /* the lock manager cannot be reached or started */
	DLM_HASLOCKS = 27,    /* the process still has locks or requests */
	DLM_INSFMEM = 28,     /* no memory, or no room in the runtime directory */
	DLM_INTR = 29,
	DLM_IVBUFLEN = 30,    /* resource name empty or too long */
	DLM_IVLOCKID = 31,    /* not the id of a lock of this process */
	DLM_LKBUSY = 32,
	DLM_NOACCESS = 33,    /* not permitted */
	DLM_NOLOCKID = 34,    /* the process has all the locks it can have */
	DLM_NOTATTACHED = 35, /* not joined */
	DLM_NOTQUEUED = 36,   /* DLM_NOQUEUE given and not grantable at once */
	DLM_PARNOTGRANT = 37, /* the parent lock is not granted */
	DLM_RETRY = 38,
	DLM_SUBLOCKS = 39,    /* the lock has sub-locks */
	DLM_TIMEOUT = 40,     /* not granted in time */
	DLM_TOOMANYNS = 41,   /* DLM_NSPROCMAX namespaces are joined */
	DLM_UNEXPERR = 42,    /* a defect in the library */
	DLM_HASPROCS = 43,
	DLM_KILLFAIL = 44,
	DLM_ATTACHEDGROUP = 45,
	DLM_NO_GROUP = 46,
	DLM_ENAMETOOLONG = 47,
	DLM_TOOMANYRD = 48,
	DLM_IS_PR = 49,
	DLM_NOT_PR = 50,
	DLM_IVRDID = 51,
	DLM_PR_RD_MISMATCH = 52,
	DLM_IVHNDL = 53,
	DLM_EALREADY = 54,
	DLM_EINPROGRESS = 55,
	DLM_PUBNS_DISALLOW = 56, /* the systemwide namespace is switched off */
	DLM_STATUS_RANGE = 0x7fff /* never returned: GODLM_LOST is in the type's range, which C++ wants */
} dlm_status_t;

typedef enum {
	DLM_NOMODE = 0, /* in returned information only */
	DLM_NLMODE = 1, /* null: keeps the resource and its value block alive */
	DLM_CRMODE = 2, /* concurrent read */
	DLM_CWMODE = 3, /* concurrent write */
	DLM_PRMODE = 4, /* protected read */
	DLM_PWMODE = 5, /* protected write */
	DLM_EXMODE = 6  /* exclusive */
} dlm_lkmode_t;

typedef dlm_lkmode_t dlm_lock_mode_t; /* the type's name in old sources */

typedef unsigned int dlm_flags_t;
typedef unsigned int dlm_nsid_t; /* a UID, a GID or 0 */
typedef int dlm_nsp_t;           /* namespace handle, 1 to DLM_NSPROCMAX */
typedef void *callback_arg_t;
typedef unsigned long dlm_trans_id_t; /* a number that the program gives meaning to */
typedef int dlm_rd_id_t;              /* recovery domain handle; 0 is none */
typedef unsigned int dlm_rd_flags_t;
typedef unsigned long dlm_rd_collection_hndl_t; /* of dlm_rd_collect(); 0 is none */
typedef int dlm_glc_id_t;             /* group lock container; 0 is none */
typedef unsigned int dlm_glc_flags_t;

/* Lock id, meaningful in its process only. All zero is no lock. */
typedef struct dlm_lkid {
	uint_t seqn;
	uint_t hndl;
} dlm_lkid_t;

/* Value block; the lock manager does not look into it. */
typedef struct dlm_valb {
	uint_t valblk[DLM_VALBLKSIZE];
} dlm_valb_t;

/*
 * Blocking routine: the lock *lkid_p, granted, stands in the way of a request
 * for `mode`. notprm is the lock's own, hint the blocked request's. The request
 * may be gone by now.
 */
typedef void (*blk_callback_t)(callback_arg_t notprm, callback_arg_t hint,
                               dlm_lkid_t *lkid_p, dlm_lkmode_t mode);

/* Completion routine: an asynchronous request on *lkid_p has ended. */
typedef void (*cpl_callback_t)(callback_arg_t notprm, dlm_lkid_t *lkid_p,
                               dlm_status_t status);

/* Lock states. Define GODLM_NO_STATE_NAMES to keep the short names away. */
typedef enum {
	DLM_STATE_INTRANSIT = 0, /* on its way to or from the master */
	DLM_STATE_GRANTED = 1,
	DLM_STATE_CONVERTING = 2,
	DLM_STATE_WAITING = 3
} usr_lk_states_t;
#ifndef GODLM_NO_STATE_NAMES
#define INTRANSIT DLM_STATE_INTRANSIT
#define GRANTED DLM_STATE_GRANTED
#define CONVERTING DLM_STATE_CONVERTING
#define WAITING DLM_STATE_WAITING
#endif

/* A lock, by dlm_get_lkinfo(). The first part is as given with the latest request. */
typedef struct dlm_lkinfo {
	char resnam[DLM_RESNAMELEN];
	ushort_t resnlen;
	dlm_lkid_t parlkid;
	dlm_lkmode_t rqmode;
	dlm_valb_t *valb;
	dlm_flags_t flags;
	callback_arg_t notprm;
	callback_arg_t hint;
	blk_callback_t blkrtn;
	uint_t timeout;
	cpl_callback_t cplrtn;
	int sig;             /* signal for notifications, 0 for none */
	dlm_lkmode_t grmode; /* DLM_NOMODE when not granted */
	usr_lk_states_t lkstate;
	pid_t lk_pid;
} dlm_lkinfo_t;

/* A resource, by dlm_get_rsbinfo(). */
typedef struct dlm_rsbinfo {
	short vbstatus;        /* 0: the value block is valid; 1: it is not */
	uint_t vbseqnum;       /* writes of the value block so far */
	uint_t subrescnt;      /* sub-resources */
	uint_t lckcnt;         /* locks and requests */
	uint_t blkastcnt;      /* locks with a blocking routine */
	uint_t ggcnt;          /* locks granted in ggmode */
	dlm_lkmode_t ggmode;   /* strongest granted mode */
	dlm_lkmode_t cvtqmode; /* wanted by the first conversion in the queue */
	dlm_lkmode_t wtqmode;  /* wanted by the first waiting request */
	dlm_valb_t valb;
} dlm_rsbinfo_t;

/* ---- flags -------------------------------------------------------------- */

#define DLM_USER 0x1u            /* nsjoin: namespace of a UID */
#define DLM_GROUP 0x2u           /* nsjoin: namespace of a GID */
#define DLM_JOIN_SAME_OK 0x4u    /* nsjoin: joining again is a success */
#define DLM_NOQUEUE 0x8u         /* refuse rather than wait */
#define DLM_SYNCSTS 0x10u        /* tell an immediate grant by DLM_SYNCH */
#define DLM_NODLCKWT 0x20u       /* never a victim of deadlock detection */
#define DLM_NODLCKBLK 0x40u      /* does not count as blocking in it */
#define DLM_EXPEDITE 0x80u       /* new NL lock: pass all queues */
#define DLM_QUECVT 0x100u        /* conversion: line up behind others */
#define DLM_DEQALL 0x200u        /* unlock: all locks, or all sub-locks */
#define DLM_INVVALBLK 0x400u     /* mark the value block not valid */
#define DLM_CANCELWAITOK 0x800u  /* cancel: also a lock never granted */
#define DLM_VALB 0x1000u         /* read or write the value block */
#define DLM_PERSIST 0x2000u      /* locktp: the resource is persistent */
#define DLM_GROUP_LOCK 0x4000u   /* locktp: the lock is the group's */
#define DLM_TXID_LOCAL 0x8000u   /* locktp: tid is known on this host */
#define DLM_TXID_GLOBAL 0x10000u /* locktp: tid is known on all hosts */

/* Flags of group lock containers. */
#define DLM_GLC_OWNED 0x1u
#define DLM_GLC_PERM 0x2u
#define DLM_GLC_LOCKS 0x4u
#define DLM_GLC_FORCE 0x8u

/* Flags of recovery domains. */
#define DLM_RD_PROCESS 0x1u
#define DLM_RD_GROUP 0x2u
#define DLM_RD_INVALIDATE 0x4u

/* ---- namespaces --------------------------------------------------------- */

/*
 * Join a namespace. With DLM_USER nsid is the process's effective UID (0 is the
 * systemwide namespace), with DLM_GROUP a GID it belongs to; without either nsid
 * must be 0, the systemwide namespace, which needs root. *nsp receives the handle.
 *
 * DLM_SUCCESS; DLM_ATTACHED (joined already, *nsp untouched; with
 * DLM_JOIN_SAME_OK this is a success and *nsp is stored); DLM_BADPARAM;
 * DLM_EFAULT; DLM_NOACCESS (id not held); DLM_TOOMANYNS; DLM_PUBNS_DISALLOW;
 * DLM_ENOSYS (the runtime directory cannot be used; godlm logs why).
 */
dlm_status_t dlm_nsjoin(dlm_nsid_t nsid, dlm_nsp_t *nsp, dlm_flags_t flags);

/*
 * Leave a namespace; flags must be 0. DLM_SUCCESS; DLM_BADPARAM; DLM_EFAULT;
 * DLM_HASLOCKS (locks or requests there); DLM_NOTATTACHED (no such handle).
 */
dlm_status_t dlm_nsleave(dlm_nsp_t *nsp, dlm_flags_t flags);

/* Leave all namespaces. DLM_SUCCESS; DLM_HASLOCKS; DLM_NOTATTACHED. */
dlm_status_t dlm_detach(void);

/* ---- notifications ------------------------------------------------------ */

/*
 * Choose the signal by which notifications are delivered; 0, as at the start,
 * means that the program polls with dlm_notify(). The library installs its own
 * handler, which runs the routines; while the program blocks the signal nothing
 * is delivered. *oldsig, if not null, receives the signal before (0 for none).
 * Join a namespace first.
 *
 * DLM_SUCCESS; DLM_BADPARAM (negative, above SIGMAX, or cannot be caught);
 * DLM_NOTATTACHED.
 */
dlm_status_t dlm_set_signal(int newsig, int *oldsig);

/* Run the routines of all pending notifications; returns how many. */
int dlm_notify(void);

/* ---- locks -------------------------------------------------------------- */

/*
 * Ask for a new lock and wait until it is granted or refused.
 *
 * nsp      namespace of a root resource; ignored with a parent
 * resnam   resnlen bytes, 1 to DLM_RESNAMELEN, any values
 * parid    a granted lock of this process under whose resource the name is
 *          looked up; null for a root resource
 * lkid_p   receives the id, as soon as the request is queued; all zero when no
 *          lock results; untouched on parameter errors
 * valb_p   receives the value block (with DLM_VALB); untouched on failure
 * notprm   handed to blkrtn
 * hint     handed to the blocking routines of locks that block this request
 * blkrtn   called when the lock, granted, blocks another request; may be null
 * timeout  hundredths of a second to wait at most; 0 for ever
 *
 * flags: DLM_NOQUEUE DLM_SYNCSTS DLM_NODLCKWT DLM_NODLCKBLK DLM_VALB, and
 * DLM_EXPEDITE with DLM_NLMODE.
 *
 * DLM_SUCCESS, DLM_SYNCH; with DLM_VALB also DLM_SUCCVALNOTVALID,
 * DLM_SYNCVALNOTVALID (the lock is held); DLM_NOTQUEUED; DLM_TIMEOUT;
 * DLM_DEADLOCK; DLM_ABORT (unlocked or cancelled while waiting); DLM_BADPARAM;
 * DLM_EFAULT; DLM_NOTATTACHED; DLM_IVBUFLEN; DLM_IVLOCKID (parid);
 * DLM_PARNOTGRANT; DLM_INSFMEM; DLM_NOLOCKID; DLM_ENOSYS.
 */
dlm_status_t dlm_lock(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen,
                      dlm_lkid_t *parid, dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode,
                      dlm_valb_t *valb_p, dlm_flags_t flags,
                      callback_arg_t notprm, callback_arg_t hint,
                      blk_callback_t blkrtn, uint_t timeout);

/*
 * The same without waiting. DLM_SUCCESS means accepted: cplrtn(notprm, lkid,
 * status) runs exactly once, and valb_p must stay valid until then. With
 * DLM_SYNCSTS an immediate grant is DLM_SYNCH or DLM_SYNCVALNOTVALID, and cplrtn
 * is not called. After an error cplrtn is not called either. It may be null.
 */
dlm_status_t dlm_quelock(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen,
                         dlm_lkid_t *parid, dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode,
                         dlm_valb_t *valb_p, dlm_flags_t flags,
                         callback_arg_t notprm, callback_arg_t hint,
                         blk_callback_t blkrtn, uint_t timeout,
                         cpl_callback_t cplrtn);

/*
 * The same for transactions: with DLM_TXID_LOCAL or DLM_TXID_GLOBAL the lock is
 * transaction tid's, not the process's, in the search for deadlocks. A local
 * number means the same to all processes of this host, a global one to all.
 * Conversions keep it. Without either flag tid is ignored. With DLM_PERSIST the
 * resource is a persistent one of recovery domain rdid, else rdid is ignored.
 *
 * Statuses of dlm_lock() and dlm_quelock(); DLM_BADPARAM for both DLM_TXID flags;
 * DLM_IVRDID; DLM_IS_PR and DLM_NOT_PR (the resource is persistent and DLM_PERSIST is
 * missing, or the reverse); DLM_PR_RD_MISMATCH (it is in another domain);
 * DLM_NO_GROUP (DLM_GROUP_LOCK, and this process is in no container).
 */
dlm_status_t dlm_locktp(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen,
                        dlm_lkid_t *parid, dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode,
                        dlm_valb_t *valb_p, dlm_flags_t flags,
                        callback_arg_t notprm, callback_arg_t hint,
                        blk_callback_t blkrtn, uint_t timeout,
                        dlm_trans_id_t tid, dlm_rd_id_t rdid);
dlm_status_t dlm_quelocktp(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen,
                           dlm_lkid_t *parid, dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode,
                           dlm_valb_t *valb_p, dlm_flags_t flags,
                           callback_arg_t notprm, callback_arg_t hint,
                           blk_callback_t blkrtn, uint_t timeout,
                           cpl_callback_t cplrtn,
                           dlm_trans_id_t tid, dlm_rd_id_t rdid);

/*
 * Convert a granted lock to another mode. With DLM_VALB the value block is read
 * into *valb_p or, down from and within PW and EX, written from it. On every
 * failure the lock stays as it was. notprm and blkrtn replace the lock's own.
 *
 * flags: those of dlm_lock() but DLM_EXPEDITE, and DLM_QUECVT (upward pairs
 * only) and DLM_INVVALBLK (where the block would be written: mark it not valid).
 *
 * Statuses of dlm_lock(), and DLM_CVTUNGRANT, DLM_CANCEL (cancelled while
 * waiting), DLM_ABORT (unlocked while waiting).
 */
dlm_status_t dlm_cvt(dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p,
                     dlm_flags_t flags, callback_arg_t notprm, callback_arg_t hint,
                     blk_callback_t blkrtn, uint_t timeout);

/* The same without waiting, as dlm_quelock() is to dlm_lock(). */
dlm_status_t dlm_quecvt(dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p,
                        dlm_flags_t flags, callback_arg_t notprm, callback_arg_t hint,
                        blk_callback_t blkrtn, uint_t timeout, cpl_callback_t cplrtn);

/*
 * Give up a lock, or withdraw a waiting request, which completes with DLM_ABORT.
 * A holder in PW or EX writes the value block with DLM_VALB and marks it not
 * valid with DLM_INVVALBLK; other holders' flags are ignored. With DLM_DEQALL:
 * all sub-locks of the lock, or with a null lkid_p all locks of the process.
 *
 * DLM_SUCCESS; DLM_BADPARAM; DLM_EFAULT; DLM_NOTATTACHED; DLM_IVLOCKID;
 * DLM_SUBLOCKS.
 */
dlm_status_t dlm_unlock(dlm_lkid_t *lkid_p, dlm_valb_t *valb_p, dlm_flags_t flags);

/*
 * Cancel a waiting conversion, which completes with DLM_CANCEL; with
 * DLM_CANCELWAITOK also a new request, which completes with DLM_ABORT.
 *
 * DLM_SUCCESS; DLM_CANCELGRANT (granted already, or just now); DLM_CANCELWAIT;
 * DLM_BADPARAM; DLM_EFAULT; DLM_NOTATTACHED; DLM_IVLOCKID.
 */
dlm_status_t dlm_cancel(dlm_lkid_t *lkid_p, dlm_flags_t flags);

/* ---- information -------------------------------------------------------- */

/* Describe a lock of this process. DLM_SUCCESS; DLM_EFAULT; DLM_NOTATTACHED; DLM_IVLOCKID. */
dlm_status_t dlm_get_lkinfo(dlm_lkid_t *lkid_p, dlm_lkinfo_t *lkinfo);

/*
 * Describe a resource; par_lkid is null for a root resource, else a lock of this
 * process. DLM_SUCCESS; DLM_ENOENT (nobody has a lock on it); DLM_EFAULT;
 * DLM_NOTATTACHED; DLM_IVBUFLEN; DLM_IVLOCKID.
 */
dlm_status_t dlm_get_rsbinfo(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen,
                             dlm_rsbinfo_t *rsbinfo, dlm_lkid_t *par_lkid);

/* ---- recovery domains ---------------------------------------------------- */

/*
 * A recovery domain is a named set of persistent resources. Such a resource is made
 * by the first dlm_locktp() with DLM_PERSIST and the domain's handle. While its value
 * block is not valid, because a holder of PW or EX has died, it outlives its last
 * lock, so that the next who asks is told; dlm_rd_collect(), repair and
 * dlm_rd_validate() end that.
 *
 * Attach to the domain of that name, 1 to DLM_RDNAMELEN characters, which then
 * exists. *rd_id_p receives a handle that this process can use. attach_flag is
 * DLM_RD_PROCESS, or DLM_RD_GROUP for locks of a group.
 *
 * DLM_SUCCESS; DLM_ATTACHED (to this domain already); DLM_BADPARAM; DLM_EFAULT;
 * DLM_NOTATTACHED (no namespace is joined); DLM_ENAMETOOLONG; DLM_NO_GROUP (this
 * process is in no container); DLM_TOOMANYRD (64 for a process); GODLM_LOST.
 */
dlm_status_t dlm_rd_attach(char *name, dlm_rd_id_t *rd_id_p, dlm_rd_flags_t attach_flag);

/*
 * Detach. With DLM_RD_INVALIDATE all value blocks in the domain, and those of every
 * resource that is added before the next validation without rest, are not valid.
 *
 * DLM_SUCCESS; DLM_BADPARAM; DLM_NOTATTACHED; DLM_IVRDID (no handle of this
 * process); DLM_HASLOCKS (this process has locks or requests in the domain);
 * DLM_EINPROGRESS (it has a collection that it has yet to validate); DLM_INSFMEM;
 * GODLM_LOST.
 */
dlm_status_t dlm_rd_detach(dlm_rd_id_t rd_id, dlm_rd_flags_t detach_flag);

/*
 * Begin a recovery: gather the domain's resources whose blocks are not valid now, if
 * any, into a collection. flags must be 0. It ends with dlm_rd_validate() or the
 * death of this process.
 *
 * DLM_SUCCESS; DLM_BADPARAM; DLM_EFAULT; DLM_NOTATTACHED; DLM_IVRDID; DLM_EALREADY
 * (this process has not validated its last collection); DLM_EINPROGRESS (another
 * process is at it); GODLM_LOST.
 */
dlm_status_t dlm_rd_collect(dlm_rd_id_t rd_id, dlm_rd_collection_hndl_t *hndl_p, dlm_rd_flags_t flags);

/*
 * End a recovery: every block of the collection that nobody has written since is
 * valid again, and zero. flags must be 0.
 *
 * DLM_SUCCESS (the domain is recovered); DLM_MORE_TO_RECOVER (done, but since the
 * collection other blocks became not valid, or an attached process died: collect
 * again); DLM_BADPARAM; DLM_EFAULT; DLM_NOTATTACHED; DLM_IVRDID; DLM_IVHNDL (not
 * this process's open collection); GODLM_LOST.
 */
dlm_status_t dlm_rd_validate(dlm_rd_id_t rd_id, dlm_rd_collection_hndl_t *hndl_p, dlm_rd_flags_t flags);

/* ---- group lock containers ----------------------------------------------- */

/*
 * A container holds locks that belong to no single process. Its members, processes
 * of one host, make them with dlm_locktp() or dlm_quelocktp() and DLM_GROUP_LOCK;
 * each member may convert, cancel and unlock any of them, one at a time
 * (DLM_LKBUSY). They outlive the death of any member: with the last one, the
 * container ends, and all that it held in PW or EX leaves value blocks that are not
 * valid.
 *
 * Create a container for locks in the ns_num namespaces of ns_listp, all joined, and
 * attach to it. *idp receives its id, which other processes of this host may use.
 * flags: DLM_GLC_OWNED, it ends with this process, and its members are killed;
 * DLM_GLC_PERM, it does not end with its last member; or 0.
 *
 * DLM_SUCCESS; DLM_BADPARAM; DLM_EFAULT; DLM_NOTATTACHED (to one of the namespaces);
 * DLM_ATTACHED (already in a container); DLM_INSFMEM; GODLM_LOST.
 */
dlm_status_t dlm_glc_create(dlm_glc_id_t *idp, dlm_glc_flags_t flags, dlm_nsp_t *ns_listp, int ns_num);

/*
 * Become a member. All of the container's namespaces must be joined; flags must be
 * 0. The process's own locks stay its own.
 *
 * DLM_SUCCESS; DLM_BADPARAM; DLM_NOTATTACHED (not to all of its namespaces);
 * DLM_ATTACHED (already in a container); DLM_ENOENT (no such container);
 * DLM_INSFMEM; GODLM_LOST.
 */
dlm_status_t dlm_glc_attach(dlm_glc_id_t id, dlm_glc_flags_t flags);

/*
 * Leave the container. Locks that the process manipulated are nobody's then, with
 * unanswered conversions undone (DLM_CANCEL); new locks that it waits for become its
 * own. Without members a container without DLM_GLC_PERM ends; if the process has
 * created it with DLM_GLC_OWNED it ends and the other members are killed.
 *
 * DLM_SUCCESS; DLM_NOTATTACHED (in no container); DLM_ATTACHED (to a recovery domain
 * for the group: dlm_rd_detach() first); DLM_KILLFAIL (not all members could be
 * killed; the container is as it was); DLM_INSFMEM; GODLM_LOST.
 */
dlm_status_t dlm_glc_detach(void);

/*
 * End a container without members and locks; with DLM_GLC_LOCKS whatever locks it
 * has; with DLM_GLC_FORCE also kill its members, except the caller. Root, its
 * creator and processes in one of its namespaces may.
 *
 * DLM_SUCCESS; DLM_BADPARAM; DLM_NOTATTACHED (no namespace is joined); DLM_ENOENT
 * (no such container); DLM_NOACCESS; DLM_HASPROCS; DLM_HASLOCKS; DLM_KILLFAIL (as
 * above); DLM_ATTACHED (as above, of the caller); DLM_INSFMEM; GODLM_LOST.
 */
dlm_status_t dlm_glc_destroy(dlm_glc_id_t id, dlm_glc_flags_t flags);

/* ---- messages ----------------------------------------------------------- */

/* The name of a status, "DLM_ILLEGAL_EEROR" for a number that is none. Static. */
char *dlm_sperrno(dlm_status_t stat);

/* Print the name of a status to standard error. */
void dlm_perrno(dlm_status_t stat);

/* The same after "s: ". */
void dlm_perror(char *s, dlm_status_t stat);

#ifdef __cplusplus
}
#endif

#endif /* _DLM_H */
