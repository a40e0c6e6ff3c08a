/*
 * Recovery domains: handles, and what is asked of the agent (spec 4.18 to 4.21).
 */
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"
#include "local.h"

/* A handle is this many times a count of its place's uses, plus the place, plus 1. */
#define PLACES 64
#define USES (1 << 24)

enum { FREE, CHANGING, OPEN }; /* CHANGING: a call is attaching or detaching it */

struct domain {
	int state;
	int uses;
	int group; /* attached to with DLM_RD_GROUP */
	char name[DLM_RDNAMELEN + 1];
	uint8_t digest[16];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct domain domains[PLACES];

static dlm_rd_id_t handle_of(const struct domain *d)
{
	return (dlm_rd_id_t)(d->uses * PLACES + (d - domains) + 1);
}

/* The domain of a handle, NULL if it is not, or no longer, one. */
static struct domain *domain_of(dlm_rd_id_t id)
{
	if (id < 1)
		return NULL;
	struct domain *d = &domains[(id - 1) % PLACES];
	return d->state == OPEN && handle_of(d) == id ? d : NULL;
}

int godlm_domain(dlm_rd_id_t id, uint8_t digest[16], int *group)
{
	int found = 0;
	pthread_mutex_lock(&mutex);
	struct domain *d = domain_of(id);
	if (d) {
		memcpy(digest, d->digest, sizeof d->digest);
		*group = d->group;
		found = 1;
	}
	pthread_mutex_unlock(&mutex);
	return found;
}

int godlm_group_domains(void)
{
	int found = 0;
	pthread_mutex_lock(&mutex);
	for (struct domain *d = domains; d < domains + PLACES; d++)
		found |= d->state != FREE && d->group;
	pthread_mutex_unlock(&mutex);
	return found;
}

/*
 * Asks and waits for the answer; *number is a collection's, in or out. Whoever
 * cancels the thread must wait: else nobody knew whether it is attached.
 */
static dlm_status_t ask(uint32_t what, const char *name, uint64_t *number, uint8_t *digest)
{
	struct godlm_domain_call c;
	struct waiter w;
	int cancel, ignored;

	memset(&c, 0, sizeof c);
	memset(&w, 0, sizeof w);
	strcpy(c.name, name);
	c.what = what;
	c.number = number ? *number : 0;
	c.token = (uint64_t)(uintptr_t)&w;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	godlmgo_domain(&c);
	if (c.status == GODLM_PENDING) {
		godlm_wait(&w, 0, 0);
		c.status = w.status;
		c.number = w.number;
	}
	pthread_setcancelstate(cancel, &ignored);
	if (number && (c.status == DLM_SUCCESS || c.status == DLM_MORE_TO_RECOVER))
		*number = c.number;
	if (digest)
		memcpy(digest, c.digest, sizeof c.digest);
	return (dlm_status_t)c.status;
}

/* Takes a free place; DLM_ATTACHED if the name has one. */
static dlm_status_t reserve(const char *name, struct domain **out)
{
	*out = NULL;
	for (struct domain *d = domains; d < domains + PLACES; d++) {
		if (d->state != FREE && strcmp(d->name, name) == 0)
			return DLM_ATTACHED;
		if (d->state == FREE && (*out == NULL || d->uses < (*out)->uses))
			*out = d;
	}
	if (*out == NULL)
		return DLM_TOOMANYRD;
	(*out)->state = CHANGING;
	strcpy((*out)->name, name);
	return DLM_SUCCESS;
}

static void set_state(struct domain *d, int state)
{
	pthread_mutex_lock(&mutex);
	d->state = state;
	if (state == FREE)
	{
		d->uses = (d->uses + 1) % USES;
		d->group = 0;
	}
	pthread_mutex_unlock(&mutex);
}

dlm_status_t dlm_rd_attach(char *name, dlm_rd_id_t *rd_id_p, dlm_rd_flags_t attach_flag)
{
	struct domain *d;
	dlm_status_t st;

	if (godlm_forked())
		return DLM_ENOSYS;
	if (attach_flag != DLM_RD_PROCESS && attach_flag != DLM_RD_GROUP)
		return DLM_BADPARAM;
	if (name == NULL || rd_id_p == NULL)
		return DLM_EFAULT;
	if (name[0] == '\0')
		return DLM_BADPARAM;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	if (strnlen(name, DLM_RDNAMELEN + 1) > DLM_RDNAMELEN)
		return DLM_ENAMETOOLONG;
	godlm_enter();
	if (attach_flag == DLM_RD_GROUP && !godlmgo_in_group(0, 0, 0)) {
		godlm_leave();
		return DLM_NO_GROUP;
	}
	pthread_mutex_lock(&mutex);
	st = reserve(name, &d);
	if (st == DLM_SUCCESS)
		d->group = attach_flag == DLM_RD_GROUP;
	pthread_mutex_unlock(&mutex);
	if (st == DLM_SUCCESS) {
		st = ask(DOMAIN_ATTACH, name, NULL, d->digest);
		set_state(d, st == DLM_SUCCESS ? OPEN : FREE);
		if (st == DLM_SUCCESS) {
			dlm_rd_id_t id = handle_of(d);
			memcpy(rd_id_p, &id, sizeof id);
		}
	}
	godlm_leave();
	return st;
}

/* The arguments that detach, collect and validate have in common. */
static dlm_status_t check(dlm_rd_id_t id, dlm_rd_flags_t flags, dlm_rd_flags_t known)
{
	if (godlm_forked())
		return DLM_ENOSYS;
	if (flags & ~known || id < 1)
		return DLM_BADPARAM;
	return DLM_SUCCESS;
}

dlm_status_t dlm_rd_detach(dlm_rd_id_t rd_id, dlm_rd_flags_t detach_flag)
{
	dlm_status_t st = check(rd_id, detach_flag, DLM_RD_INVALIDATE);
	struct domain *d;

	if (st != DLM_SUCCESS)
		return st;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	pthread_mutex_lock(&mutex);
	d = domain_of(rd_id);
	if (d)
		d->state = CHANGING; /* nobody requests a lock in it from here on */
	pthread_mutex_unlock(&mutex);
	if (d == NULL) {
		st = DLM_IVRDID;
	} else {
		st = ask(detach_flag & DLM_RD_INVALIDATE ? DOMAIN_INVALIDATE : DOMAIN_DETACH, d->name, NULL, NULL);
		set_state(d, st == DLM_SUCCESS ? FREE : OPEN);
	}
	godlm_leave();
	return st;
}

/* dlm_detach() detaches from all (D-27). */
void godlm_leave_domains(void)
{
	for (struct domain *d = domains; d < domains + PLACES; d++) {
		int mine;
		pthread_mutex_lock(&mutex);
		mine = d->state == OPEN;
		if (mine)
			d->state = CHANGING;
		pthread_mutex_unlock(&mutex);
		if (mine) {
			ask(DOMAIN_LEAVE, d->name, NULL, NULL);
			set_state(d, FREE);
		}
	}
}

static dlm_status_t collection(uint32_t what, dlm_rd_id_t rd_id, dlm_rd_collection_hndl_t *hndl_p,
                               dlm_rd_flags_t flags)
{
	dlm_status_t st = check(rd_id, flags, 0);
	char name[DLM_RDNAMELEN + 1];
	uint64_t number = 0;
	struct domain *d;

	if (st != DLM_SUCCESS)
		return st;
	if (hndl_p == NULL)
		return DLM_EFAULT;
	if (!godlm_attached())
		return DLM_NOTATTACHED;
	godlm_enter();
	pthread_mutex_lock(&mutex);
	d = domain_of(rd_id);
	if (d)
		strcpy(name, d->name);
	pthread_mutex_unlock(&mutex);
	if (what == DOMAIN_VALIDATE) {
		dlm_rd_collection_hndl_t h;
		memcpy(&h, hndl_p, sizeof h);
		number = h;
	}
	if (d == NULL)
		st = DLM_IVRDID;
	else if (what == DOMAIN_VALIDATE && number == 0)
		st = DLM_IVHNDL;
	else
		st = ask(what, name, &number, NULL);
	if (st == DLM_SUCCESS && what == DOMAIN_COLLECT) {
		dlm_rd_collection_hndl_t h = number;
		memcpy(hndl_p, &h, sizeof h);
	}
	godlm_leave();
	return st;
}

dlm_status_t dlm_rd_collect(dlm_rd_id_t rd_id, dlm_rd_collection_hndl_t *hndl_p, dlm_rd_flags_t flags)
{
	return collection(DOMAIN_COLLECT, rd_id, hndl_p, flags);
}

dlm_status_t dlm_rd_validate(dlm_rd_id_t rd_id, dlm_rd_collection_hndl_t *hndl_p, dlm_rd_flags_t flags)
{
	return collection(DOMAIN_VALIDATE, rd_id, hndl_p, flags);
}
