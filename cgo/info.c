/*
 * What a program asks about locks and resources without changing them.
 */
#include <string.h>
#include <unistd.h>

#include <godlm.h>

#include "_cgo_export.h"
#include "local.h"

static int group_of(const dlm_lkid_t *lkid_p)
{
	return (godlm_id_number(lkid_p) & GROUP_BIT) != 0;
}

/* Asks about a group lock and waits for the answer. */
static dlm_status_t ask(const dlm_lkid_t *lkid_p, struct waiter *w, void (*put)(struct godlm_call *))
{
	struct godlm_call c;

	c.lock = godlm_id_number(lkid_p);
	c.token = (uint64_t)(uintptr_t)w;
	put(&c);
	c.lock = 0; /* a question, not the lock's request */
	if (c.status == GODLM_PENDING)
		godlm_finish(w, &c, 0);
	return (dlm_status_t)c.status;
}

static dlm_status_t ask_lock_info(const dlm_lkid_t *lkid_p, struct godlm_lock_info *n)
{
	struct waiter w;
	memset(&w, 0, sizeof w);
	w.lock_info = n;
	return ask(lkid_p, &w, godlmgo_group_lock_info);
}

static dlm_status_t ask_token(const dlm_lkid_t *lkid_p, uint64_t *epoch, uint64_t *number)
{
	struct waiter w;
	memset(&w, 0, sizeof w);
	dlm_status_t st = ask(lkid_p, &w, godlmgo_group_token);
	*epoch = w.epoch;
	*number = w.number;
	return st;
}

dlm_status_t dlm_get_lkinfo(dlm_lkid_t *lkid_p, dlm_lkinfo_t *lkinfo)
{
	struct godlm_lock_info n;
	dlm_lkinfo_t out;
	dlm_status_t st;

	if (lkid_p == NULL || lkinfo == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	st = group_of(lkid_p) ? ask_lock_info(lkid_p, &n) : (dlm_status_t)godlmgo_lock_info(godlm_id_number(lkid_p), &n);
	godlm_leave();
	if (st != DLM_SUCCESS)
		return st;
	memset(&out, 0, sizeof out);
	memcpy(out.resnam, n.name, n.name_len);
	out.resnlen = (ushort_t)n.name_len;
	godlm_store_id(&out.parlkid, n.parent);
	out.rqmode = (dlm_lkmode_t)n.requested;
	out.valb = (dlm_valb_t *)(uintptr_t)n.valb;
	out.flags = n.flags;
	out.notprm = (callback_arg_t)(uintptr_t)n.notprm;
	out.hint = (callback_arg_t)(uintptr_t)n.hint;
	out.blkrtn = (blk_callback_t)(uintptr_t)n.blkrtn;
	out.timeout = n.timeout;
	out.cplrtn = (cpl_callback_t)(uintptr_t)n.cplrtn;
	out.sig = godlm_signal();
	out.grmode = (dlm_lkmode_t)n.granted;
	out.lkstate = (usr_lk_states_t)n.state;
	/* What a member of a group manipulates has its own addresses; else they are 0. */
	out.lk_pid = group_of(lkid_p) && !n.mine ? 0 : getpid();
	memcpy(lkinfo, &out, sizeof out);
	return DLM_SUCCESS;
}

dlm_status_t dlm_get_rsbinfo(dlm_nsp_t nsp, uchar_t *resnam, ushort_t resnlen, dlm_rsbinfo_t *rsbinfo,
                             dlm_lkid_t *par_lkid)
{
	struct godlm_call c;
	struct waiter w;
	struct space *s;
	dlm_rsbinfo_t out;

	if (resnam == NULL || rsbinfo == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	s = godlm_space(nsp);
	if (s == NULL && (par_lkid == NULL || nsp != 0))
		return DLM_NOTATTACHED;
	if (resnlen < 1 || resnlen > DLM_RESNAMELEN)
		return DLM_IVBUFLEN;
	c.parent = godlm_id_number(par_lkid);
	if (par_lkid != NULL && c.parent == 0)
		return DLM_IVLOCKID;
	c.lock = 0;
	c.space_kind = s ? s->kind : 0;
	c.space_id = s ? s->id : 0;
	c.name_len = resnlen;
	memcpy(c.name, resnam, resnlen);
	godlm_enter();
	godlm_start_waiter(&w, &c);
	godlmgo_resource_info(&c, &w.info);
	if (c.status == GODLM_PENDING)
		godlm_finish(&w, &c, 0);
	godlm_leave();
	if (c.status != DLM_SUCCESS)
		return (dlm_status_t)c.status;
	memset(&out, 0, sizeof out);
	out.vbstatus = (short)w.info.invalid;
	out.vbseqnum = w.info.writes;
	out.subrescnt = w.info.sub_resources;
	out.lckcnt = w.info.locks;
	out.blkastcnt = w.info.blocking;
	out.ggcnt = w.info.at_group_mode;
	out.ggmode = (dlm_lkmode_t)w.info.group_mode;
	out.cvtqmode = (dlm_lkmode_t)w.info.convert_mode;
	out.wtqmode = (dlm_lkmode_t)w.info.wait_mode;
	memcpy(&out.valb, w.info.value, sizeof out.valb);
	memcpy(rsbinfo, &out, sizeof out);
	return DLM_SUCCESS;
}

dlm_status_t godlm_get_token(dlm_lkid_t *lkid_p, godlm_token_t *token)
{
	uint64_t epoch, number;
	dlm_status_t st;

	if (lkid_p == NULL || token == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	st = group_of(lkid_p) ? ask_token(lkid_p, &epoch, &number)
	                      : (dlm_status_t)godlmgo_token(godlm_id_number(lkid_p), &epoch, &number);
	godlm_leave();
	if (st == DLM_SUCCESS) {
		godlm_token_t t = {.epoch = epoch, .number = number};
		memcpy(token, &t, sizeof t);
	}
	return st;
}

dlm_status_t godlm_get_blockers(dlm_lkid_t *lkid_p, char *text, size_t size, size_t *length)
{
	struct godlm_call c;
	struct waiter w;
	size_t n;

	if (lkid_p == NULL || (text == NULL && size > 0))
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	c.lock = godlm_id_number(lkid_p);
	godlm_enter();
	godlm_start_waiter(&w, &c);
	godlmgo_blockers(&c);
	if (c.status == GODLM_PENDING) {
		c.lock = 0; /* a question, not the lock's request */
		godlm_finish(&w, &c, 0);
	}
	if (c.status == DLM_SUCCESS) {
		n = godlmgo_describe(c.token, text, size);
		if (length)
			*length = n;
	}
	godlm_leave();
	return (dlm_status_t)c.status;
}
