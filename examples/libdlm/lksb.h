/*
 * For programs that were written for Linux's libdlm: its way to ask, on <sys/dlm.h>.
 * Names of flags and modes are as there, their numbers are not. What is not here has no
 * counterpart; docs/guide/libdlm.md says what to do instead.
 */
#ifndef LKSB_H
#define LKSB_H

#include <errno.h>
#include <string.h>
#include <sys/dlm.h>

#define LKM_NLMODE DLM_NLMODE
#define LKM_CRMODE DLM_CRMODE
#define LKM_CWMODE DLM_CWMODE
#define LKM_PRMODE DLM_PRMODE
#define LKM_PWMODE DLM_PWMODE
#define LKM_EXMODE DLM_EXMODE

#define LKF_NOQUEUE DLM_NOQUEUE
#define LKF_VALBLK DLM_VALB
#define LKF_QUECVT DLM_QUECVT
#define LKF_IVVALBLK DLM_INVVALBLK
#define LKF_NODLCKWT DLM_NODLCKWT
#define LKF_NODLCKBLK DLM_NODLCKBLK
#define LKF_EXPEDITE DLM_EXPEDITE
#define LKF_CONVERT 0x80000000u

#define ECANCEL 0x10001
#define EUNLOCK 0x10002
#define DLM_SBF_VALNOTVALID 2

struct lksb {
	int sb_status; /* 0, or an errno */
	dlm_lkid_t sb_lkid;
	char sb_flags;
	dlm_valb_t sb_lvb; /* inside, not a pointer: it is always 32 bytes */
};

static inline int lksb_result(struct lksb *l, dlm_status_t st)
{
	l->sb_flags = st == DLM_SUCCVALNOTVALID || st == DLM_SYNCVALNOTVALID ? DLM_SBF_VALNOTVALID : 0;
	switch (st) {
	case DLM_SUCCESS:
	case DLM_SYNCH:
	case DLM_SUCCVALNOTVALID:
	case DLM_SYNCVALNOTVALID: l->sb_status = 0; break;
	case DLM_NOTQUEUED: l->sb_status = EAGAIN; break;
	case DLM_DEADLOCK: l->sb_status = EDEADLK; break;
	case DLM_CANCEL: l->sb_status = ECANCEL; break;
	case DLM_ABORT: l->sb_status = EUNLOCK; break;
	case DLM_INSFMEM:
	case DLM_NOLOCKID: l->sb_status = ENOMEM; break;
	default: l->sb_status = EINVAL; /* also GODLM_LOST: the lock is gone */
	}
	errno = l->sb_status;
	return l->sb_status ? -1 : 0;
}

/* dlm_lock_wait() and dlm_ls_lock_wait(); nsp stands for the lockspace. */
static inline int lock_wait(dlm_nsp_t nsp, dlm_lkmode_t mode, struct lksb *l, unsigned flags, const char *name)
{
	if (flags & LKF_CONVERT)
		return lksb_result(l, dlm_cvt(&l->sb_lkid, mode, &l->sb_lvb, flags & ~LKF_CONVERT, 0, 0, 0, 0));
	return lksb_result(l, dlm_lock(nsp, (uchar_t *)name, strlen(name), NULL, &l->sb_lkid, mode, &l->sb_lvb, flags, 0, 0, 0, 0));
}

static inline int unlock_wait(struct lksb *l, unsigned flags)
{
	if (lksb_result(l, dlm_unlock(&l->sb_lkid, &l->sb_lvb, flags)) != 0)
		return -1;
	l->sb_status = EUNLOCK; /* that is how it says that the lock is gone */
	return 0;
}

#endif
