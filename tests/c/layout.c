/* Numbers and layouts that compiled programs and bindings depend on. */
#include <stddef.h>

#include "test.h"

#define IS(x, n) _Static_assert((x) == (n), #x)
IS(sizeof(dlm_lkid_t), 8);
IS(offsetof(dlm_lkid_t, hndl), 4);
IS(_Alignof(dlm_lkid_t), 4);
IS(sizeof(dlm_valb_t), 32);
IS(sizeof(dlm_status_t), 4);
IS(sizeof(dlm_flags_t), 4);
IS(sizeof(dlm_nsid_t), 4);
IS(sizeof(dlm_nsp_t), 4);
IS(sizeof(dlm_rd_id_t), 4);
IS(sizeof(dlm_rd_flags_t), 4);
IS(sizeof(dlm_rd_collection_hndl_t), 8);
IS(sizeof(dlm_glc_id_t), 4);
IS(sizeof(dlm_glc_flags_t), 4);
IS(DLM_GLC_OWNED, 1);
IS(DLM_GLC_PERM, 2);
IS(DLM_GLC_LOCKS, 4);
IS(DLM_GLC_FORCE, 8);
IS(DLM_RD_PROCESS, 1);
IS(DLM_RD_GROUP, 2);
IS(DLM_RD_INVALIDATE, 4);
IS(sizeof(dlm_lock_mode_t), sizeof(dlm_lkmode_t));
IS(DLM_NOMODE, 0);
IS(DLM_NLMODE, 1);
IS(DLM_CRMODE, 2);
IS(DLM_CWMODE, 3);
IS(DLM_PRMODE, 4);
IS(DLM_PWMODE, 5);
IS(DLM_EXMODE, 6);
IS(DLM_USER, 1);
IS(DLM_GROUP, 2);
IS(DLM_JOIN_SAME_OK, 4);
IS(DLM_NOQUEUE, 8);
IS(DLM_SYNCSTS, 0x10);
IS(DLM_NODLCKWT, 0x20);
IS(DLM_NODLCKBLK, 0x40);
IS(DLM_EXPEDITE, 0x80);
IS(DLM_QUECVT, 0x100);
IS(DLM_DEQALL, 0x200);
IS(DLM_INVVALBLK, 0x400);
IS(DLM_CANCELWAITOK, 0x800);
IS(DLM_VALB, 0x1000);
IS(DLM_PERSIST, 0x2000);
IS(DLM_GROUP_LOCK, 0x4000);
IS(DLM_TXID_LOCAL, 0x8000);
IS(DLM_TXID_GLOBAL, 0x10000);
IS(INTRANSIT, 0);
IS(GRANTED, 1);
IS(CONVERTING, 2);
IS(WAITING, 3);
IS(DLM_RESNAMELEN, 64);
IS(DLM_RDNAMELEN, 64);
IS(DLM_NSPROCMAX, 32);
IS(DLM_VALBLKSIZE, 8);
IS(GODLM_LOST, 100);

#if defined(__LP64__)
IS(offsetof(dlm_lkinfo_t, resnlen), 64);
IS(offsetof(dlm_lkinfo_t, parlkid), 68);
IS(offsetof(dlm_lkinfo_t, rqmode), 76);
IS(offsetof(dlm_lkinfo_t, valb), 80);
IS(offsetof(dlm_lkinfo_t, flags), 88);
IS(offsetof(dlm_lkinfo_t, notprm), 96);
IS(offsetof(dlm_lkinfo_t, hint), 104);
IS(offsetof(dlm_lkinfo_t, blkrtn), 112);
IS(offsetof(dlm_lkinfo_t, timeout), 120);
IS(offsetof(dlm_lkinfo_t, cplrtn), 128);
IS(offsetof(dlm_lkinfo_t, sig), 136);
IS(offsetof(dlm_lkinfo_t, grmode), 140);
IS(offsetof(dlm_lkinfo_t, lkstate), 144);
IS(offsetof(dlm_lkinfo_t, lk_pid), 148);
IS(sizeof(dlm_lkinfo_t), 152);
#endif
IS(offsetof(dlm_rsbinfo_t, vbseqnum), 4);
IS(offsetof(dlm_rsbinfo_t, subrescnt), 8);
IS(offsetof(dlm_rsbinfo_t, lckcnt), 12);
IS(offsetof(dlm_rsbinfo_t, blkastcnt), 16);
IS(offsetof(dlm_rsbinfo_t, ggcnt), 20);
IS(offsetof(dlm_rsbinfo_t, ggmode), 24);
IS(offsetof(dlm_rsbinfo_t, cvtqmode), 28);
IS(offsetof(dlm_rsbinfo_t, wtqmode), 32);
IS(offsetof(dlm_rsbinfo_t, valb), 36);
IS(sizeof(dlm_rsbinfo_t), 68);

int main(void) { return 0; }
