/*
 * puppet.h - processes that do as they are told. The parent of a test scripts
 * what several processes do on locks, step by step, and never uses the library
 * itself. Each puppet has numbered slots for locks.
 *
 * Notifications in a puppet are run by dlm_notify(), on demand: completion() and
 * blocked() wait for them.
 */
#ifndef PUPPET_H
#define PUPPET_H

#include <sys/resource.h>

#include "test.h"

#define SLOTS 256
#define NO_SLOT (-1)

enum op { OP_JOIN, OP_LOCK, OP_QUELOCK, OP_CVT, OP_QUECVT, OP_UNLOCK, OP_CANCEL, OP_COMPLETION, OP_BLOCKED,
          OP_LKINFO, OP_RSBINFO, OP_NOTIFY, OP_RD_ATTACH, OP_RD_DETACH, OP_RD_COLLECT, OP_RD_VALIDATE, OP_GLC_CREATE, OP_GLC_ATTACH,
          OP_GLC_DETACH, OP_GLC_DESTROY, OP_TAKE, OP_TOKEN, OP_BLOCKERS, OP_NSLEAVE, OP_DLM_DETACH, OP_FILE_LIMIT, OP_EXIT };

struct command {
	int op, slot, mode;
	int under; /* the slot of the parent lock, plus 1; 0 for a root resource */
	dlm_flags_t flags;
	uint_t timeout, value;
	dlm_trans_id_t tid;
	int rd; /* number of the recovery domain, from 1; 0 for none */
	int watch; /* with a blocking routine */
	long hint;
	dlm_glc_id_t glc;
	dlm_lkid_t id; /* to take over into the slot */
	char name[DLM_RESNAMELEN + 1];
};

struct reply {
	dlm_status_t status;
	dlm_valb_t valb;
	int calls;  /* completions (or blocking calls) of this slot so far */
	int mode;   /* in the blocking call */
	long hint;  /* in the blocking call */
	int is_zero; /* the lock id */
	dlm_lkid_t id;
	dlm_glc_id_t glc;
	godlm_token_t token;
	char text[300]; /* of OP_BLOCKERS */
	dlm_lkinfo_t lki;
	dlm_rsbinfo_t rsb;
};

struct puppet {
	struct role r;
	struct reply last; /* what the latest call answered */
};

/* ---- the puppet's side ------------------------------------------------------ */

static struct slot {
	dlm_lkid_t id;
	dlm_valb_t valb;
	int completions, blockings, seen_completions, seen_blockings;
	dlm_status_t status;
	dlm_lkmode_t mode;
	long hint;
} puppet_slots[SLOTS];

#define DOMAINS 4
static dlm_rd_id_t puppet_rd[DOMAINS];
static dlm_rd_collection_hndl_t puppet_collections[DOMAINS];

static void puppet_completed(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t status)
{
	struct slot *s = notprm;
	/* A request that failed has no lock any more, so its id may be zero here. */
	if (!is_zero(&s->id) && memcmp(id, &s->id, sizeof *id) != 0)
		FAIL("completion for another lock");
	s->status = status;
	s->completions++;
}

static void puppet_blocking(callback_arg_t notprm, callback_arg_t hint, dlm_lkid_t *id, dlm_lkmode_t mode)
{
	struct slot *s = notprm;
	if (memcmp(id, &s->id, sizeof *id) != 0)
		FAIL("blocking call for another lock");
	s->mode = mode;
	s->hint = (long)hint;
	s->blockings++;
}

/* Runs notifications until *count exceeds *seen, which then follows by one. */
static void puppet_await(int *count, int *seen)
{
	long long end = now_ms() + DEADLINE_MS;
	for (;;) {
		dlm_notify();
		if (*count > *seen)
			break;
		if (!readable(godlm_event_fd(), (int)(end - now_ms())) && now_ms() >= end)
			FAIL("no notification");
	}
	++*seen;
}

static void puppet_do(dlm_nsp_t nsp, const struct command *c, struct reply *a)
{
	struct slot *s = &puppet_slots[c->slot < 0 ? SLOTS - 1 : c->slot];
	dlm_lkid_t *parent = c->under ? &puppet_slots[c->under - 1].id : NULL;
	uchar_t *name = (uchar_t *)(size_t)c->name;
	ushort_t len = (ushort_t)strlen(c->name);
	blk_callback_t blk = c->watch ? puppet_blocking : NULL;
	callback_arg_t hint = (callback_arg_t)c->hint;

	if (c->op == OP_LOCK || c->op == OP_QUELOCK)
		memset(&s->valb, 0xee, sizeof s->valb);
	else if (c->op == OP_CVT || c->op == OP_QUECVT || c->op == OP_UNLOCK)
		s->valb = value_of(c->value);
	switch (c->op) {
	case OP_LOCK:
		a->status = dlm_locktp(nsp, name, len, parent, &s->id, (dlm_lkmode_t)c->mode, &s->valb, c->flags, s, hint,
		                       blk, c->timeout, c->tid, puppet_rd[c->rd]);
		break;
	case OP_QUELOCK:
		a->status = dlm_quelocktp(nsp, name, len, parent, &s->id, (dlm_lkmode_t)c->mode, &s->valb, c->flags, s,
		                          hint, blk, c->timeout, puppet_completed, c->tid, puppet_rd[c->rd]);
		break;
	case OP_CVT:
		a->status = dlm_cvt(&s->id, (dlm_lkmode_t)c->mode, &s->valb, c->flags, s, hint, blk, c->timeout);
		break;
	case OP_QUECVT:
		a->status = dlm_quecvt(&s->id, (dlm_lkmode_t)c->mode, &s->valb, c->flags, s, hint, blk, c->timeout,
		                       puppet_completed);
		break;
	case OP_UNLOCK:
		a->status = dlm_unlock(c->slot < 0 ? NULL : &s->id,
		                       (c->flags & (DLM_VALB | DLM_INVVALBLK)) ? &s->valb : NULL, c->flags);
		break;
	case OP_CANCEL:
		a->status = dlm_cancel(&s->id, c->flags);
		break;
	case OP_COMPLETION:
		puppet_await(&s->completions, &s->seen_completions);
		a->status = s->status;
		a->calls = s->completions;
		break;
	case OP_BLOCKED:
		puppet_await(&s->blockings, &s->seen_blockings);
		a->calls = s->blockings;
		a->mode = s->mode;
		a->hint = s->hint;
		break;
	case OP_LKINFO:
		dlm_notify();
		a->status = dlm_get_lkinfo(&s->id, &a->lki);
		a->calls = s->completions;
		break;
	case OP_NOTIFY: /* runs what is pending and counts */
		dlm_notify();
		a->calls = s->blockings;
		break;
	case OP_RD_ATTACH:
		a->status = dlm_rd_attach((char *)(size_t)c->name, &puppet_rd[c->rd], c->flags);
		break;
	case OP_RD_DETACH:
		a->status = dlm_rd_detach(puppet_rd[c->rd], c->flags);
		break;
	case OP_RD_COLLECT:
		a->status = dlm_rd_collect(puppet_rd[c->rd], &puppet_collections[c->rd], 0);
		break;
	case OP_RD_VALIDATE:
		a->status = dlm_rd_validate(puppet_rd[c->rd], &puppet_collections[c->rd], 0);
		break;
	case OP_GLC_CREATE:
		a->status = dlm_glc_create(&a->glc, c->flags, &nsp, 1);
		break;
	case OP_GLC_ATTACH:
		a->status = dlm_glc_attach(c->glc, c->flags);
		break;
	case OP_GLC_DETACH:
		a->status = dlm_glc_detach();
		break;
	case OP_GLC_DESTROY:
		a->status = dlm_glc_destroy(c->glc, c->flags);
		break;
	case OP_TAKE:
		s->id = c->id;
		break;
	case OP_TOKEN:
		a->status = godlm_get_token(&s->id, &a->token);
		break;
	case OP_BLOCKERS:
		a->status = godlm_get_blockers(&s->id, a->text, sizeof a->text, NULL);
		break;
	case OP_NSLEAVE:
		a->status = dlm_nsleave(&nsp, 0);
		break;
	case OP_FILE_LIMIT: { /* no file may grow beyond so many bytes; 0: as far as it likes */
		struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};
		if (c->value)
			l.rlim_cur = c->value;
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &l);
		break;
	}
	case OP_DLM_DETACH:
		a->status = dlm_detach();
		break;
	case OP_RSBINFO:
		a->status = dlm_get_rsbinfo(nsp, name, len, &a->rsb, parent);
		break;
	}
	a->valb = s->valb;
	a->is_zero = is_zero(&s->id);
	a->id = s->id;
}

static void puppet_main(struct role *r, void *arg)
{
	dlm_nsp_t nsp = 0;
	struct command c;
	struct reply a;
	(void)arg;
	for (;;) {
		ssize_t n = read(r->in, &c, sizeof c);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof c || c.op == OP_EXIT)
			exit(0);
		memset(&a, 0, sizeof a);
		if (c.op == OP_JOIN)
			a.status = dlm_nsjoin(geteuid(), &nsp, DLM_USER);
		else
			puppet_do(nsp, &c, &a);
		tell_data(r, &a, sizeof a);
	}
}

/* ---- the parent's side ------------------------------------------------------ */

/* Tells without waiting for the answer: for calls that wait for a lock. */
static inline void begin(struct puppet *p, struct command c) { tell_data(&p->r, &c, sizeof c); }

/* The answer to begin(). */
static inline dlm_status_t end(struct puppet *p)
{
	hear_data(&p->r, &p->last, sizeof p->last);
	return p->last.status;
}

static inline dlm_status_t order(struct puppet *p, struct command c)
{
	begin(p, c);
	return end(p);
}

#define CMD(o, ...) ((struct command){.op = (o), .slot = __VA_ARGS__})

/* A puppet that has joined the namespace of the user. */
static inline struct puppet puppet(void)
{
	struct puppet p = {.r = fork_role(puppet_main, NULL)};
	ASSERT_ST(order(&p, CMD(OP_JOIN, NO_SLOT)), DLM_SUCCESS);
	return p;
}

static inline struct command named(struct command c, const char *name)
{
	snprintf(c.name, sizeof c.name, "%s", name);
	return c;
}

/* Root locks. `flags` may contain DLM_VALB; what was read is p->last.valb. */
static inline dlm_status_t lock(struct puppet *p, int slot, const char *name, int mode, dlm_flags_t flags)
{
	return order(p, named(CMD(OP_LOCK, slot, .mode = mode, .flags = flags), name));
}

static inline dlm_status_t quelock(struct puppet *p, int slot, const char *name, int mode, dlm_flags_t flags)
{
	return order(p, named(CMD(OP_QUELOCK, slot, .mode = mode, .flags = flags), name));
}

/* `value` is what a conversion that writes writes. */
static inline dlm_status_t cvt(struct puppet *p, int slot, int mode, dlm_flags_t flags, uint_t value)
{
	return order(p, CMD(OP_CVT, slot, .mode = mode, .flags = flags, .value = value));
}

static inline dlm_status_t quecvt(struct puppet *p, int slot, int mode, dlm_flags_t flags)
{
	return order(p, CMD(OP_QUECVT, slot, .mode = mode, .flags = flags));
}

static inline dlm_status_t unlock(struct puppet *p, int slot, dlm_flags_t flags, uint_t value)
{
	return order(p, CMD(OP_UNLOCK, slot, .flags = flags, .value = value));
}

static inline dlm_status_t cancel(struct puppet *p, int slot, dlm_flags_t flags)
{
	return order(p, CMD(OP_CANCEL, slot, .flags = flags));
}

/* Waits for the next completion of the slot. */
static inline dlm_status_t completion(struct puppet *p, int slot) { return order(p, CMD(OP_COMPLETION, slot)); }

/*
 * How an asynchronous request ended that does not wait for others: st is what the
 * call answered. A refusal that comes from another process comes by completion.
 */
static inline dlm_status_t outcome(struct puppet *p, int slot, dlm_status_t st)
{
	return st == DLM_SUCCESS ? completion(p, slot) : st;
}

/* Waits for the next blocking call of the slot and returns the mode it tells. */
static inline int blocked(struct puppet *p, int slot)
{
	order(p, CMD(OP_BLOCKED, slot));
	return p->last.mode;
}

static inline dlm_status_t lkinfo(struct puppet *p, int slot) { return order(p, CMD(OP_LKINFO, slot)); }

static inline dlm_status_t rsbinfo(struct puppet *p, const char *name)
{
	return order(p, named(CMD(OP_RSBINFO, NO_SLOT), name));
}

static inline int state(struct puppet *p, int slot)
{
	ASSERT_ST(lkinfo(p, slot), DLM_SUCCESS);
	return (int)p->last.lki.lkstate;
}

/* Number of locks and requests on a resource as p sees it. */
static inline int lock_count(struct puppet *p, const char *name)
{
	dlm_status_t st = rsbinfo(p, name);
	if (st == DLM_ENOENT)
		return 0;
	ASSERT_ST(st, DLM_SUCCESS);
	return (int)p->last.rsb.lckcnt;
}

/* An exit() without any call to the library. */
static inline void leave(struct puppet *p)
{
	begin(p, CMD(OP_EXIT, NO_SLOT));
	finish_role(&p->r);
}

#endif
