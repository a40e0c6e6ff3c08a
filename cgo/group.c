/*
 * Group lock containers (spec 4.14 to 4.17). They are with the agent; this file
 * checks arguments, asks and waits. Requests for their locks are api.c's.
 */
#include <string.h>
#include <unistd.h>

#include "_cgo_export.h"
#include "local.h"

/*
 * Asks and waits for the answer; *container receives a new one's number. Whoever
 * cancels the thread must wait: else nobody knew whether it is a member.
 */
static dlm_status_t ask(struct godlm_group_call *c, dlm_glc_id_t *container)
{
	struct waiter w;
	int cancel, ignored;

	memset(&w, 0, sizeof w);
	c->token = (uint64_t)(uintptr_t)&w;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	godlmgo_group(c);
	if (c->status == GODLM_PENDING) {
		godlm_wait(&w, 0, 0);
		c->status = w.status;
	}
	pthread_setcancelstate(cancel, &ignored);
	if (container)
		*container = (dlm_glc_id_t)w.number;
	return (dlm_status_t)c->status;
}

/* The namespaces that are joined, as pairs of kind and id. */
static uint32_t joined(uint32_t out[2 * DLM_NSPROCMAX])
{
	uint32_t n = 0;
	for (dlm_nsp_t i = 1; i <= DLM_NSPROCMAX; i++) {
		const struct space *s = godlm_space(i);
		if (s) {
			out[2 * n] = s->kind;
			out[2 * n++ + 1] = s->id;
		}
	}
	return n;
}

dlm_status_t dlm_glc_create(dlm_glc_id_t *idp, dlm_glc_flags_t flags, dlm_nsp_t *ns_listp, int ns_num)
{
	uint32_t spaces[2 * DLM_NSPROCMAX];
	struct godlm_group_call c = {.verb = GROUP_CREATE, .flags = flags, .spaces = spaces};
	dlm_glc_id_t id;
	dlm_status_t st;

	if (godlm_forked())
		return DLM_ENOSYS;
	if (flags & ~(DLM_GLC_OWNED | DLM_GLC_PERM) || flags == (DLM_GLC_OWNED | DLM_GLC_PERM) || ns_num < 1 ||
	    ns_num > DLM_NSPROCMAX)
		return DLM_BADPARAM;
	if (idp == NULL || ns_listp == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	for (int i = 0; i < ns_num; i++) {
		dlm_nsp_t nsp;
		memcpy(&nsp, ns_listp + i, sizeof nsp);
		const struct space *s = godlm_space(nsp);
		if (s == NULL)
			return DLM_NOTATTACHED;
		spaces[2 * i] = s->kind;
		spaces[2 * i + 1] = s->id;
	}
	c.count = (uint32_t)ns_num;
	godlm_enter();
	st = ask(&c, &id);
	godlm_leave();
	if (st == DLM_SUCCESS)
		memcpy(idp, &id, sizeof id);
	return st;
}

dlm_status_t dlm_glc_attach(dlm_glc_id_t id, dlm_glc_flags_t flags)
{
	uint32_t spaces[2 * DLM_NSPROCMAX];
	struct godlm_group_call c = {.verb = GROUP_ATTACH, .container = (uint32_t)id, .spaces = spaces};
	dlm_status_t st;

	if (godlm_forked())
		return DLM_ENOSYS;
	if (flags != 0)
		return DLM_BADPARAM;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	if (id < 1)
		return DLM_ENOENT;
	c.count = joined(spaces);
	godlm_enter();
	st = ask(&c, NULL);
	godlm_leave();
	return st;
}

dlm_status_t dlm_glc_detach(void)
{
	struct godlm_group_call c = {.verb = GROUP_DETACH};
	dlm_status_t st;

	if (godlm_forked())
		return DLM_ENOSYS;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	if (!godlmgo_in_group(0, 0, 0))
		st = DLM_NOTATTACHED;
	else if (godlm_group_domains())
		st = DLM_ATTACHED;
	else
		st = ask(&c, NULL);
	godlm_leave();
	return st;
}

dlm_status_t dlm_glc_destroy(dlm_glc_id_t id, dlm_glc_flags_t flags)
{
	uint32_t spaces[2 * DLM_NSPROCMAX];
	struct godlm_group_call c = {.verb = GROUP_DESTROY, .container = (uint32_t)id, .flags = flags, .spaces = spaces};
	dlm_status_t st;

	if (godlm_forked())
		return DLM_ENOSYS;
	if (flags & ~(DLM_GLC_LOCKS | DLM_GLC_FORCE))
		return DLM_BADPARAM;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	if (id < 1)
		return DLM_ENOENT;
	c.count = joined(spaces);
	c.root = geteuid() == 0;
	godlm_enter();
	if (flags & DLM_GLC_FORCE && godlmgo_in_group(0, 0, 0) == (uint32_t)id && godlm_group_domains())
		st = DLM_ATTACHED;
	else
		st = ask(&c, NULL);
	godlm_leave();
	return st;
}
