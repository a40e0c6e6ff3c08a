/*
 * The public functions: arguments are checked in the order of D-43, requests are
 * handed to Go, and answers that take time are waited for.
 */
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <godlm.h>

#include "_cgo_export.h"
#include "lent.h"
#include "local.h"

#define LOCK_FLAGS (DLM_NOQUEUE | DLM_SYNCSTS | DLM_NODLCKWT | DLM_NODLCKBLK | DLM_EXPEDITE | DLM_VALB)
#define CVT_FLAGS \
	(DLM_NOQUEUE | DLM_SYNCSTS | DLM_NODLCKWT | DLM_NODLCKBLK | DLM_QUECVT | DLM_VALB | DLM_INVVALBLK)
#define TXID_FLAGS (DLM_TXID_LOCAL | DLM_TXID_GLOBAL)
#define TP_FLAGS (LOCK_FLAGS | TXID_FLAGS | DLM_PERSIST | DLM_GROUP_LOCK)
#define UNLOCK_FLAGS (DLM_VALB | DLM_INVVALBLK | DLM_DEQALL)

/* ---- namespaces ----------------------------------------------------------- */

enum { SYSTEMWIDE, PER_USER, PER_GROUP };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards writers of spaces */
static struct space spaces[DLM_NSPROCMAX + 1];            /* by handle */
static atomic_int joined;

int godlm_attached(void)
{
	return !godlm_forked() && atomic_load_explicit(&joined, memory_order_acquire) > 0;
}

struct space *godlm_space(dlm_nsp_t nsp)
{
	if (nsp < 1 || nsp > DLM_NSPROCMAX || !spaces[nsp].used)
		return NULL;
	return &spaces[nsp];
}

static int in_group(gid_t gid)
{
	gid_t *list;
	int n, found = 0;
	if (getegid() == gid)
		return 1;
	n = getgroups(0, NULL);
	if (n <= 0 || (list = malloc((size_t)n * sizeof *list)) == NULL)
		return 0;
	n = getgroups(n, list);
	for (int i = 0; i < n; i++)
		found |= list[i] == gid;
	free(list);
	return found;
}

/* D-24, D-25: which namespace the arguments mean and whether the process may. */
static dlm_status_t choose_space(dlm_nsid_t nsid, dlm_flags_t flags, struct space *s)
{
	s->used = 1;
	s->id = nsid;
	switch (flags & (DLM_USER | DLM_GROUP)) {
	case DLM_GROUP:
		s->kind = PER_GROUP;
		return in_group(nsid) ? DLM_SUCCESS : DLM_NOACCESS;
	case DLM_USER:
		if (nsid != 0) {
			s->kind = PER_USER;
			return geteuid() == nsid ? DLM_SUCCESS : DLM_NOACCESS;
		}
		break;
	case 0:
		if (nsid != 0)
			return DLM_BADPARAM;
		break;
	default:
		return DLM_BADPARAM;
	}
	s->kind = SYSTEMWIDE;
	if (geteuid() != 0)
		return DLM_NOACCESS;
	const char *off = getenv("GODLM_PUBLIC_NAMESPACE");
	if (off && strcmp(off, "off") == 0)
		return DLM_PUBNS_DISALLOW;
	return DLM_SUCCESS;
}

dlm_status_t dlm_nsjoin(dlm_nsid_t nsid, dlm_nsp_t *nsp, dlm_flags_t flags)
{
	struct space s = {0, 0, 0, 0};
	dlm_status_t st;
	int free_handle = 0;

	if (godlm_forked())
		return DLM_ENOSYS;
	if (flags & ~(DLM_USER | DLM_GROUP | DLM_JOIN_SAME_OK | GODLM_JOIN_PLAIN))
		return DLM_BADPARAM;
	s.plain = (flags & GODLM_JOIN_PLAIN) != 0;
	st = choose_space(nsid, flags, &s);
	if (st == DLM_BADPARAM)
		return st;
	if (nsp == NULL)
		return DLM_EFAULT;
	if (st != DLM_SUCCESS)
		return st;
	godlm_enter();
	if (godlm_boot() != 0) {
		godlm_leave();
		return DLM_ENOSYS;
	}
	pthread_mutex_lock(&mutex);
	for (int i = DLM_NSPROCMAX; i >= 1; i--) {
		if (!spaces[i].used) {
			free_handle = i;
		} else if (spaces[i].kind == s.kind && spaces[i].id == s.id) {
			st = flags & DLM_JOIN_SAME_OK ? DLM_SUCCESS : DLM_ATTACHED;
			if (st == DLM_SUCCESS)
				memcpy(nsp, &i, sizeof i);
			goto out;
		}
	}
	if (free_handle == 0) {
		st = DLM_TOOMANYNS;
		goto out;
	}
	st = (dlm_status_t)godlmgo_open();
	if (st != DLM_SUCCESS)
		goto out;
	spaces[free_handle] = s;
	atomic_fetch_add(&joined, 1);
	memcpy(nsp, &free_handle, sizeof free_handle);
out:
	pthread_mutex_unlock(&mutex);
	godlm_leave();
	return st;
}

dlm_status_t dlm_nsleave(dlm_nsp_t *nsp, dlm_flags_t flags)
{
	dlm_status_t st = DLM_SUCCESS;
	struct space *s;
	dlm_nsp_t handle;

	if (flags != 0)
		return DLM_BADPARAM;
	if (nsp == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	pthread_mutex_lock(&mutex);
	memcpy(&handle, nsp, sizeof handle);
	s = godlm_space(handle);
	if (s == NULL) {
		st = DLM_NOTATTACHED;
	} else if (godlmgo_locks(1, s->kind, s->id, 0, NULL, 0) > 0 || godlmgo_private(1, s->kind, s->id) > 0) {
		st = DLM_HASLOCKS;
	} else if (godlmgo_in_group(1, s->kind, s->id)) {
		st = DLM_ATTACHEDGROUP;
	} else {
		s->used = 0;
		atomic_fetch_sub(&joined, 1);
	}
	pthread_mutex_unlock(&mutex);
	godlm_leave();
	return st;
}

dlm_status_t dlm_detach(void)
{
	dlm_status_t st = DLM_SUCCESS;

	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	pthread_mutex_lock(&mutex);
	if (godlmgo_locks(0, 0, 0, 0, NULL, 0) > 0 || godlmgo_private(0, 0, 0) > 0) {
		st = DLM_HASLOCKS;
	} else if (godlmgo_in_group(0, 0, 0)) { /* D-27 */
		st = DLM_ATTACHEDGROUP;
	} else {
		godlm_leave_domains();
		memset(spaces, 0, sizeof spaces);
		atomic_store(&joined, 0);
	}
	pthread_mutex_unlock(&mutex);
	godlm_leave();
	return st;
}

dlm_status_t dlm_set_signal(int newsig, int *oldsig)
{
	dlm_status_t st;
	if (newsig < 0 || newsig > SIGMAX || newsig == SIGKILL || newsig == SIGSTOP)
		return DLM_BADPARAM;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	st = godlm_set_signal(newsig, oldsig);
	godlm_leave();
	return st;
}

int dlm_notify(void)
{
	return godlm_attached() ? godlm_deliver(1) : 0;
}

/* ---- requests --------------------------------------------------------------- */

uint64_t godlm_id_number(const dlm_lkid_t *id)
{
	dlm_lkid_t v;
	if (id == NULL)
		return 0;
	memcpy(&v, id, sizeof v); /* it may stand at any address */
	return (uint64_t)v.seqn << 32 | v.hndl;
}

void godlm_store_id(dlm_lkid_t *id, uint64_t n)
{
	dlm_lkid_t v = {.seqn = (uint32_t)(n >> 32), .hndl = (uint32_t)n};
	memcpy(id, &v, sizeof v);
}

void godlm_start_waiter(struct waiter *w, struct godlm_call *c)
{
	memset(w, 0, offsetof(struct waiter, value));
	c->token = (uint64_t)(uintptr_t)w;
}

/* Waits for the answer to a request that was handed in, and moves it into c. */
void godlm_finish(struct waiter *w, struct godlm_call *c, unsigned timeout)
{
	godlm_wait(w, c->lock, timeout);
	c->status = w->status;
	c->read = w->read;
	if (w->read)
		memcpy(c->value, w->value, sizeof c->value);
}

/*
 * An asynchronous request on a tree that is being put together again after its
 * master's death returns when it is under way: else what the caller does next on
 * another tree, and others in answer to it, could overtake the request.
 */
static void await_master(struct waiter *w, const struct godlm_call *c)
{
	struct godlm_call q;

	if (!c->stalled)
		return;
	q.lock = c->lock;
	godlm_start_waiter(w, &q);
	godlmgo_await_master(&q);
	if (q.status == GODLM_PENDING) {
		q.lock = 0; /* a question, not the lock's request */
		godlm_finish(w, &q, 0);
		godlmgo_flush_all();
	}
}

/*
 * Waits for the agent's word on a request for a group lock: whether it has to wait
 * or is over. Nobody may be cancelled meanwhile, else nobody knew of the lock. The
 * id is stored when the word comes, before anything else can tell of the lock.
 */
static void await_word(struct waiter *word, struct godlm_call *c)
{
	int cancel, ignored;

	if (c->status != GODLM_PENDING)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	godlm_wait(word, 0, 0);
	pthread_setcancelstate(cancel, &ignored);
	c->status = word->status;
	if (word->lock)
		c->lock = word->lock;
	c->read = word->read;
	if (word->read)
		memcpy(c->value, word->value, sizeof c->value);
}

static void start_word(struct waiter *word, struct godlm_call *c, dlm_lkid_t *lkid_p)
{
	memset(word, 0, sizeof *word);
	word->lkid_p = lkid_p;
	c->accept = (uint64_t)(uintptr_t)word;
}

static int granted(int32_t status)
{
	return status >= DLM_SUCCESS && status <= DLM_SYNCVALNOTVALID;
}

/* Trees that nobody else uses: lent.h. */
struct godlm_lent godlm_lent;

/* The arguments of a new lock on a root resource as a request for a tree that is lent; 0 if it is none. */
static int lock_lent(const struct space *s, const uchar_t *resnam, ushort_t resnlen, dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode,
                     dlm_valb_t *valb_p, dlm_flags_t flags, callback_arg_t notprm, callback_arg_t hint,
                     blk_callback_t blkrtn, uint_t timeout, dlm_status_t *st)
{
	struct godlm_lent_request q = {
		.space_kind = s->kind, .space_id = s->id, .name = resnam, .name_len = resnlen, .mode = rqmode, .flags = flags,
		.plain = s->plain, .timeout = timeout, .notprm = (uint64_t)(uintptr_t)notprm, .hint = (uint64_t)(uintptr_t)hint,
		.blkrtn = (uint64_t)(uintptr_t)blkrtn, .valb = (uint64_t)(uintptr_t)valb_p,
	};
	struct godlm_lent_answer a = {.status = DLM_UNEXPERR};
	int done;

	godlm_enter();
	if (blkrtn != NULL)
		godlm_submit_begin();
	done = godlm_lent_lock(&godlm_lent, &q, &a);
	if (done)
		godlm_store_id(lkid_p, a.lock);
	if (blkrtn != NULL)
		godlm_submit_end();
	if (done && a.read)
		memcpy(valb_p, a.value, sizeof a.value);
	godlm_leave();
	*st = (dlm_status_t)a.status;
	return done;
}

static int convert_lent(uint64_t id, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags, callback_arg_t notprm,
                        callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout, dlm_status_t *st)
{
	struct godlm_lent_request q = {
		.lock = id, .mode = rqmode, .flags = flags, .timeout = timeout, .notprm = (uint64_t)(uintptr_t)notprm,
		.hint = (uint64_t)(uintptr_t)hint, .blkrtn = (uint64_t)(uintptr_t)blkrtn, .valb = (uint64_t)(uintptr_t)valb_p,
	};
	struct godlm_lent_answer a = {.status = DLM_UNEXPERR};
	uint8_t value[32];
	int done;

	if (flags & DLM_VALB) { /* not while at the cell: it may be no memory of the program's */
		memcpy(value, valb_p, sizeof value);
		q.value = value;
	}
	godlm_enter();
	done = godlm_lent_convert(&godlm_lent, &q, &a);
	if (done && a.read)
		memcpy(valb_p, a.value, sizeof a.value);
	godlm_leave();
	*st = (dlm_status_t)a.status;
	return done;
}

static int unlock_lent(uint64_t id, dlm_flags_t flags, dlm_status_t *st)
{
	struct godlm_lent_request q = {.lock = id, .flags = flags};
	struct godlm_lent_answer a;

	if (!godlm_lent_unlock(&godlm_lent, &q, &a))
		return 0;
	*st = (dlm_status_t)a.status;
	return 1;
}

static dlm_status_t lock(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen, dlm_lkid_t *parid,
                         dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                         callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout,
                         cpl_callback_t cplrtn, dlm_trans_id_t tid, dlm_rd_id_t rdid, dlm_flags_t known, int async)
{
	struct godlm_call c;
	struct waiter w, word;
	struct space *s;
	int guarded = async || blkrtn != NULL, group, of_group;
	dlm_status_t st;

	if (flags & ~known || (flags & TXID_FLAGS) == TXID_FLAGS || rqmode < DLM_NLMODE || rqmode > DLM_EXMODE ||
	    (flags & DLM_EXPEDITE && rqmode != DLM_NLMODE) || (flags & DLM_VALB && valb_p == NULL))
		return DLM_BADPARAM;
	if (resnam == NULL || lkid_p == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	s = godlm_space(nsp);
	if (s == NULL && (parid == NULL || nsp != 0))
		return DLM_NOTATTACHED;
	if (resnlen < 1 || resnlen > DLM_RESNAMELEN)
		return DLM_IVBUFLEN;
	if (parid == NULL && !async &&
	    lock_lent(s, resnam, resnlen, lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout, &st))
		return st;
	c.lock = 0;
	c.parent = godlm_id_number(parid);
	if (parid != NULL && c.parent == 0)
		return DLM_IVLOCKID;
	group = flags & DLM_GROUP_LOCK || c.parent & GROUP_BIT;
	c.flags = flags;
	c.mode = rqmode;
	c.space_kind = s ? s->kind : 0;
	c.space_id = s ? s->id : 0;
	c.plain = s ? s->plain : 0;
	c.name_len = resnlen;
	memcpy(c.name, resnam, resnlen);
	c.notprm = (uint64_t)(uintptr_t)notprm;
	c.hint = (uint64_t)(uintptr_t)hint;
	c.blkrtn = (uint64_t)(uintptr_t)blkrtn;
	c.cplrtn = (uint64_t)(uintptr_t)cplrtn;
	c.valb = (uint64_t)(uintptr_t)valb_p;
	c.tid = tid;
	memset(c.domain, 0, sizeof c.domain);
	/* A handle that is none is an error later; one of the other kind is D-63's. */
	if (flags & DLM_PERSIST && godlm_domain(rdid, c.domain, &of_group) && of_group != ((flags & DLM_GROUP_LOCK) != 0))
		return DLM_BADPARAM;
	c.timeout = timeout;
	c.async = async;
	if (flags & DLM_NOQUEUE)
		timeout = 0; /* it does not wait */
	godlm_enter();
	godlm_start_waiter(&w, &c);
	if (group) {
		start_word(&word, &c, lkid_p);
		godlmgo_lock(&c);
		await_word(&word, &c);
	} else {
		if (guarded)
			godlm_submit_begin();
		godlmgo_lock(&c);
		if (c.status == GODLM_PENDING || granted(c.status))
			godlm_store_id(lkid_p, c.lock);
		if (guarded)
			godlm_submit_end();
	}
	if (c.status == GODLM_PENDING) {
		if (async) {
			await_master(&w, &c);
			c.status = DLM_SUCCESS;
		} else {
			godlm_finish(&w, &c, timeout);
		}
	}
	if (!granted(c.status)) {
		if (c.status != DLM_BADPARAM && c.status != DLM_IVLOCKID) /* D-60 */
			godlm_store_id(lkid_p, 0);
	} else if (c.read && valb_p)
		memcpy(valb_p, c.value, sizeof c.value);
	godlm_leave();
	return (dlm_status_t)c.status;
}

dlm_status_t dlm_lock(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen, dlm_lkid_t *parid,
                      dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                      callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout)
{
	return lock(nsp, resnam, resnlen, parid, lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout,
	            NULL, 0, 0, LOCK_FLAGS, 0);
}

dlm_status_t dlm_locktp(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen, dlm_lkid_t *parid,
                        dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                        callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout,
                        dlm_trans_id_t tid, dlm_rd_id_t rdid)
{
	return lock(nsp, resnam, resnlen, parid, lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout,
	            NULL, tid, rdid, TP_FLAGS, 0);
}

dlm_status_t dlm_quelock(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen, dlm_lkid_t *parid,
                         dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                         callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout,
                         cpl_callback_t cplrtn)
{
	return lock(nsp, resnam, resnlen, parid, lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout,
	            cplrtn, 0, 0, LOCK_FLAGS, 1);
}

dlm_status_t dlm_quelocktp(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen, dlm_lkid_t *parid,
                           dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                           callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout,
                           cpl_callback_t cplrtn, dlm_trans_id_t tid, dlm_rd_id_t rdid)
{
	return lock(nsp, resnam, resnlen, parid, lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout,
	            cplrtn, tid, rdid, TP_FLAGS, 1);
}

static dlm_status_t convert(dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                            callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout,
                            cpl_callback_t cplrtn, int async)
{
	struct godlm_call c;
	struct waiter w, word;
	dlm_status_t st;

	if (flags & ~CVT_FLAGS || rqmode < DLM_NLMODE || rqmode > DLM_EXMODE ||
	    (flags & DLM_VALB && valb_p == NULL))
		return DLM_BADPARAM;
	if (lkid_p == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	c.lock = godlm_id_number(lkid_p);
	if (!async && convert_lent(c.lock, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout, &st))
		return st;
	c.flags = flags;
	c.mode = rqmode;
	if (flags & DLM_VALB)
		memcpy(c.value, valb_p, sizeof c.value);
	else
		memset(c.value, 0, sizeof c.value);
	c.notprm = (uint64_t)(uintptr_t)notprm;
	c.hint = (uint64_t)(uintptr_t)hint;
	c.blkrtn = (uint64_t)(uintptr_t)blkrtn;
	c.cplrtn = (uint64_t)(uintptr_t)cplrtn;
	c.valb = (uint64_t)(uintptr_t)valb_p;
	c.timeout = timeout;
	c.async = async;
	if (flags & DLM_NOQUEUE)
		timeout = 0; /* it does not wait */
	godlm_enter();
	godlm_start_waiter(&w, &c);
	if (c.lock & GROUP_BIT)
		start_word(&word, &c, NULL);
	godlmgo_convert(&c);
	if (c.lock & GROUP_BIT)
		await_word(&word, &c);
	if (c.status == GODLM_PENDING) {
		if (async) {
			await_master(&w, &c);
			c.status = DLM_SUCCESS;
		} else {
			godlm_finish(&w, &c, timeout);
		}
	}
	if (granted(c.status) && c.read && valb_p)
		memcpy(valb_p, c.value, sizeof c.value);
	godlm_leave();
	return (dlm_status_t)c.status;
}

dlm_status_t dlm_cvt(dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                     callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout)
{
	return convert(lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout, NULL, 0);
}

dlm_status_t dlm_quecvt(dlm_lkid_t *lkid_p, dlm_lkmode_t rqmode, dlm_valb_t *valb_p, dlm_flags_t flags,
                        callback_arg_t notprm, callback_arg_t hint, blk_callback_t blkrtn, uint_t timeout,
                        cpl_callback_t cplrtn)
{
	return convert(lkid_p, rqmode, valb_p, flags, notprm, hint, blkrtn, timeout, cplrtn, 1);
}

static dlm_status_t unlock_one(uint64_t id, const dlm_valb_t *valb_p, dlm_flags_t flags)
{
	struct godlm_call c;
	struct waiter w;

	c.lock = id;
	c.flags = flags;
	if (flags & DLM_VALB)
		memcpy(c.value, valb_p, sizeof c.value);
	else
		memset(c.value, 0, sizeof c.value);
	godlm_start_waiter(&w, &c);
	godlmgo_unlock(&c);
	if (c.status == GODLM_PENDING)
		godlm_finish(&w, &c, 0);
	return (dlm_status_t)c.status;
}

/* The sub-locks of a group lock, for the caller to free. */
static dlm_status_t ask_locks(uint64_t below, int *n, uint64_t **ids)
{
	struct godlm_call c;
	struct waiter w;

	*ids = NULL;
	*n = 0;
	c.lock = below;
	godlm_start_waiter(&w, &c);
	godlmgo_group_locks(&c);
	c.lock = 0; /* a question, not the lock's request */
	if (c.status == GODLM_PENDING)
		godlm_finish(&w, &c, 0);
	if (c.status != DLM_SUCCESS)
		return (dlm_status_t)c.status;
	*n = (int)w.number;
	*ids = malloc((size_t)(*n + 1) * sizeof **ids);
	*n = godlmgo_fetch_locks(c.token, *ids, *ids ? *n : 0);
	return *ids ? DLM_SUCCESS : DLM_INSFMEM;
}

/* Sub-locks come before their parents in the list. */
static dlm_status_t unlock_all(uint64_t below, dlm_flags_t flags)
{
	dlm_status_t st = DLM_SUCCESS;
	uint64_t *ids;
	int n;

	if (below & GROUP_BIT) {
		st = ask_locks(below, &n, &ids);
		if (st != DLM_SUCCESS)
			return st;
	} else {
		n = godlmgo_locks(0, 0, 0, below, NULL, 0);
		if (n < 0)
			return (dlm_status_t)-n;
		if (n == 0)
			return DLM_SUCCESS;
		ids = malloc((size_t)n * sizeof *ids);
		if (ids == NULL)
			return DLM_INSFMEM;
		n = godlmgo_locks(0, 0, 0, below, ids, n);
	}
	for (int i = 0; i < n; i++) {
		dlm_status_t one = unlock_one(ids[i], NULL, flags);
		if (one != DLM_SUCCESS && one != DLM_IVLOCKID && st == DLM_SUCCESS)
			st = one;
	}
	free(ids);
	return st;
}

dlm_status_t dlm_unlock(dlm_lkid_t *lkid_p, dlm_valb_t *valb_p, dlm_flags_t flags)
{
	dlm_status_t st;
	uint64_t id;

	if (flags & ~UNLOCK_FLAGS || (flags & DLM_VALB && (valb_p == NULL || flags & DLM_DEQALL)))
		return DLM_BADPARAM;
	if (lkid_p == NULL && !(flags & DLM_DEQALL))
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	id = godlm_id_number(lkid_p);
	if (lkid_p != NULL && id == 0)
		return DLM_IVLOCKID;
	godlm_enter();
	if (flags & DLM_DEQALL)
		st = unlock_all(id, flags & DLM_INVVALBLK);
	else if (!unlock_lent(id, flags, &st))
		st = unlock_one(id, valb_p, flags);
	godlm_leave();
	return st;
}

dlm_status_t dlm_cancel(dlm_lkid_t *lkid_p, dlm_flags_t flags)
{
	struct godlm_call c;
	struct waiter w;

	if (flags & ~DLM_CANCELWAITOK)
		return DLM_BADPARAM;
	if (lkid_p == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	c.lock = godlm_id_number(lkid_p);
	c.flags = flags;
	godlm_enter();
	godlm_start_waiter(&w, &c);
	godlmgo_cancel(&c);
	if (c.status == GODLM_PENDING)
		godlm_finish(&w, &c, 0);
	godlm_leave();
	return (dlm_status_t)c.status;
}
