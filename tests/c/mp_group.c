/*
 * Group lock containers (spec 4.14 to 4.17, 13; S-I5, S-I11 to S-I13, S-I43, S-I90,
 * S-I100, S-I101): what members may do with whose locks, how a container ends, and
 * what the deaths of members, creators, agents and all but one leave behind.
 */
#include <sys/stat.h>

#include "puppet.h"

#define G DLM_GROUP_LOCK

static dlm_glc_id_t created(struct puppet *p, dlm_glc_flags_t flags)
{
	ASSERT_ST(order(p, CMD(OP_GLC_CREATE, NO_SLOT, .flags = flags)), DLM_SUCCESS);
	ASSERT(p->last.glc > 0);
	return p->last.glc;
}
static dlm_status_t attach(struct puppet *p, dlm_glc_id_t id) { return order(p, CMD(OP_GLC_ATTACH, NO_SLOT, .glc = id)); }
static dlm_status_t detach(struct puppet *p) { return order(p, CMD(OP_GLC_DETACH, NO_SLOT)); }
static dlm_status_t destroy(struct puppet *p, dlm_glc_id_t id, dlm_glc_flags_t flags)
{
	return order(p, CMD(OP_GLC_DESTROY, NO_SLOT, .glc = id, .flags = flags));
}

/* q uses p's lock in the same slot. */
static void share(struct puppet *p, struct puppet *q, int slot)
{
	lkinfo(p, slot);
	order(q, CMD(OP_TAKE, slot, .id = p->last.id));
}

static struct puppet member(dlm_glc_id_t id)
{
	struct puppet p = puppet();
	ASSERT_ST(attach(&p, id), DLM_SUCCESS);
	return p;
}

static dlm_status_t watched(struct puppet *p, enum op op, int slot, const char *name, int mode, dlm_flags_t f, uint_t v)
{
	struct command c = CMD(op, slot, .mode = mode, .flags = f, .watch = 1, .value = v);
	return order(p, name ? named(c, name) : c);
}

/* What the block of a resource says to a process that has nothing to do with it. */
static dlm_status_t read_by(struct puppet *p, const char *name, uint_t *value)
{
	dlm_status_t st = lock(p, SLOTS - 2, name, DLM_CRMODE, DLM_VALB);
	*value = ~0u;
	for (uint_t i = 0; i < 1000; i++)
		if (same_value(&p->last.valb, i))
			*value = i;
	ASSERT_ST(unlock(p, SLOTS - 2, 0, 0), DLM_SUCCESS);
	return st;
}

static void statuses(void)
{
	struct puppet p = puppet(), q = puppet();
	ASSERT_ST(order(&p, CMD(OP_GLC_CREATE, NO_SLOT, .flags = DLM_GLC_OWNED | DLM_GLC_PERM)), DLM_BADPARAM);
	ASSERT_ST(order(&p, CMD(OP_GLC_CREATE, NO_SLOT, .flags = DLM_GLC_FORCE)), DLM_BADPARAM);
	ASSERT_ST(lock(&p, 0, "a", DLM_EXMODE, G), DLM_NO_GROUP);
	ASSERT_ST(detach(&p), DLM_NOTATTACHED);
	ASSERT_ST(destroy(&p, 77, 0), DLM_ENOENT);
	ASSERT_ST(destroy(&p, 0, DLM_GLC_FORCE), DLM_ENOENT);
	ASSERT_ST(destroy(&p, -1, DLM_GLC_FORCE), DLM_ENOENT);
	ASSERT_ST(destroy(&p, 77, DLM_GLC_OWNED), DLM_BADPARAM);
	ASSERT_ST(attach(&p, 77), DLM_ENOENT);
	ASSERT_ST(order(&p, CMD(OP_GLC_ATTACH, NO_SLOT, .glc = 77, .flags = 1)), DLM_BADPARAM);

	dlm_glc_id_t id = created(&p, 0);
	ASSERT_ST(order(&p, CMD(OP_GLC_CREATE, NO_SLOT)), DLM_ATTACHED);
	ASSERT_ST(attach(&p, id), DLM_ATTACHED);
	ASSERT_ST(attach(&q, id), DLM_SUCCESS);
	ASSERT_ST(attach(&q, id), DLM_ATTACHED);
	ASSERT_ST(destroy(&q, id, 0), DLM_HASPROCS);
	ASSERT_ST(destroy(&q, id, DLM_GLC_LOCKS), DLM_HASPROCS);

	/* The order of leaving (spec 13). */
	ASSERT_ST(order(&p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 1, .flags = DLM_RD_GROUP), "gG")), DLM_SUCCESS);
	ASSERT_ST(order(&p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 2, .flags = DLM_RD_PROCESS), "gP")), DLM_SUCCESS);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 0, .mode = DLM_EXMODE, .flags = DLM_PERSIST | G, .rd = 2), "s.p")), DLM_BADPARAM);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 0, .mode = DLM_EXMODE, .flags = DLM_PERSIST, .rd = 1), "s.p")), DLM_BADPARAM);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 0, .mode = DLM_EXMODE, .flags = DLM_PERSIST | G, .rd = 1), "s.p")), DLM_SUCCESS);
	ASSERT_ST(detach(&p), DLM_ATTACHED);
	ASSERT_ST(destroy(&p, id, DLM_GLC_FORCE), DLM_ATTACHED);
	ASSERT_ST(order(&p, CMD(OP_NSLEAVE, NO_SLOT)), DLM_ATTACHEDGROUP);
	ASSERT_ST(order(&p, CMD(OP_DLM_DETACH, NO_SLOT)), DLM_ATTACHEDGROUP);
	ASSERT_ST(lock(&p, 1, "s.own", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(order(&p, CMD(OP_NSLEAVE, NO_SLOT)), DLM_HASLOCKS);
	ASSERT_ST(unlock(&p, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(order(&p, CMD(OP_RD_DETACH, NO_SLOT, .rd = 1)), DLM_SUCCESS);
	ASSERT_ST(detach(&p), DLM_SUCCESS);
	ASSERT_ST(order(&p, CMD(OP_RD_DETACH, NO_SLOT, .rd = 2)), DLM_SUCCESS);
	ASSERT_ST(order(&p, CMD(OP_NSLEAVE, NO_SLOT)), DLM_SUCCESS);

	ASSERT_ST(detach(&q), DLM_SUCCESS); /* the last */
	ASSERT_ST(attach(&q, id), DLM_ENOENT);
	ASSERT_ST(destroy(&q, id, DLM_GLC_FORCE), DLM_ENOENT);
	dlm_glc_id_t next = created(&q, 0);
	ASSERT(next != id);
	leave(&p);
	leave(&q);
}

/* One member's lock is every member's. */
static void sharing(void)
{
	struct puppet p = puppet(), out = puppet();
	dlm_glc_id_t id = created(&p, 0);
	struct puppet q = member(id);
	uint_t v;

	ASSERT_ST(lock(&p, 0, "b", DLM_EXMODE, G | DLM_SYNCSTS), DLM_SYNCH);
	ASSERT_ST(lock(&out, 0, "b", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	share(&p, &q, 0);
	ASSERT_ST(order(&q, CMD(OP_TOKEN, 0)), DLM_SUCCESS);
	ASSERT(q.last.token.epoch != 0);
	ASSERT_ST(lkinfo(&q, 0), DLM_SUCCESS);
	ASSERT_EQ(q.last.lki.lkstate, GRANTED);
	ASSERT_EQ(q.last.lki.grmode, DLM_EXMODE);
	ASSERT_EQ(q.last.lki.lk_pid, 0);
	ASSERT(q.last.lki.notprm == NULL);
	ASSERT_ST(lkinfo(&p, 0), DLM_SUCCESS);
	ASSERT(p.last.lki.notprm != NULL);
	ASSERT_EQ(p.last.lki.flags & G, G);
	/* It is no lock of anybody else. */
	order(&out, CMD(OP_TAKE, 1, .id = p.last.id));
	ASSERT_ST(lkinfo(&out, 1), DLM_IVLOCKID);
	ASSERT_ST(unlock(&out, 1, 0, 0), DLM_IVLOCKID);
	ASSERT_ST(cvt(&out, 1, DLM_NLMODE, 0, 0), DLM_IVLOCKID);

	ASSERT_ST(cvt(&q, 0, DLM_PRMODE, DLM_VALB, 11), DLM_SUCCESS);
	ASSERT_ST(read_by(&out, "b", &v), DLM_SUCCESS);
	ASSERT_EQ(v, 11);
	ASSERT_ST(lkinfo(&p, 0), DLM_SUCCESS);
	ASSERT(p.last.lki.notprm == NULL); /* q's now */

	/* Sub-locks, and all of them at once. */
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE, .flags = G, .under = 1), "sub")), DLM_SUCCESS);
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 2, .mode = DLM_EXMODE, .flags = G, .under = 1), "sub2")), DLM_SUCCESS);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 3, .mode = DLM_EXMODE, .under = 1), "sub3")), DLM_BADPARAM);
	ASSERT_ST(unlock(&q, 0, 0, 0), DLM_SUBLOCKS);
	ASSERT_ST(unlock(&q, 0, DLM_DEQALL, 0), DLM_SUCCESS);
	ASSERT_ST(lkinfo(&p, 1), DLM_IVLOCKID);
	ASSERT_ST(unlock(&q, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(lkinfo(&p, 0), DLM_IVLOCKID);
	ASSERT_ST(unlock(&p, 0, 0, 0), DLM_IVLOCKID);

	/* S-I43: a request is another member's to cancel, or to give up. */
	ASSERT_ST(lock(&out, 0, "c", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&p, 4, "c", DLM_PRMODE, G), DLM_SUCCESS);
	share(&p, &q, 4);
	EVENTUALLY(state(&q, 4) == WAITING);
	ASSERT_ST(order(&q, CMD(OP_BLOCKERS, 4)), DLM_SUCCESS);
	ASSERT(strstr(q.last.text, "holds EX") != NULL);
	ASSERT_ST(cvt(&q, 4, DLM_NLMODE, 0, 0), DLM_LKBUSY);
	ASSERT_ST(cvt(&p, 4, DLM_NLMODE, 0, 0), DLM_CVTUNGRANT);
	ASSERT_ST(cancel(&q, 4, 0), DLM_CANCELWAIT);
	ASSERT_ST(cancel(&q, 4, DLM_CANCELWAITOK), DLM_SUCCESS);
	ASSERT_ST(completion(&p, 4), DLM_ABORT);
	ASSERT_ST(quelock(&p, 4, "c", DLM_PRMODE, G), DLM_SUCCESS);
	share(&p, &q, 4);
	ASSERT_ST(unlock(&q, 4, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&p, 4), DLM_ABORT);
	/* A conversion. */
	ASSERT_ST(cvt(&out, 0, DLM_CRMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 4, "c", DLM_CRMODE, G), DLM_SUCCESS);
	share(&p, &q, 4);
	ASSERT_ST(quecvt(&q, 4, DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&p, 4) == CONVERTING);
	ASSERT_ST(cvt(&p, 4, DLM_NLMODE, 0, 0), DLM_LKBUSY);
	ASSERT_ST(cancel(&p, 4, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&q, 4), DLM_CANCEL);
	ASSERT_ST(cvt(&p, 4, DLM_PRMODE, 0, 0), DLM_SUCCESS);
	/* Timeouts, refusals, and what both forms of the call answer. */
	ASSERT_ST(cvt(&out, 0, DLM_PRMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 5, .mode = DLM_EXMODE, .flags = G, .timeout = 5), "c")), DLM_TIMEOUT);
	ASSERT_ST(order(&q, named(CMD(OP_QUELOCK, 5, .mode = DLM_EXMODE, .flags = G, .timeout = 5), "c")), DLM_SUCCESS);
	ASSERT_ST(completion(&q, 5), DLM_TIMEOUT);
	ASSERT_ST(lock(&q, 5, "c", DLM_EXMODE, G | DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(outcome(&q, 5, quelock(&q, 5, "c", DLM_EXMODE, G | DLM_NOQUEUE)), DLM_NOTQUEUED);
	ASSERT_ST(quelock(&q, 5, "c", DLM_CRMODE, G), DLM_SUCCESS);
	ASSERT_ST(completion(&q, 5), DLM_SUCCESS);
	leave(&p);
	leave(&q);
	leave(&out);
}

/* Who is told that a group lock is in the way (D-54). */
static void notifications(void)
{
	struct puppet p = puppet(), out = puppet();
	dlm_glc_id_t id = created(&p, 0);
	struct puppet q = member(id);

	ASSERT_ST(watched(&p, OP_LOCK, 0, "n", DLM_EXMODE, G, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&out, 0, "n", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_EQ(blocked(&p, 0), DLM_PRMODE);
	char who[100];
	snprintf(who, sizeof who, "a group lock container holds EX, manipulated last by process %d (", (int)p.r.pid);
	EVENTUALLY(order(&out, CMD(OP_BLOCKERS, 0)) == DLM_SUCCESS && strstr(out.last.text, who));
	/* The next manipulator is told as well: it still blocks. */
	share(&p, &q, 0);
	ASSERT_ST(watched(&q, OP_CVT, 0, NULL, DLM_PWMODE, 0, 0), DLM_SUCCESS);
	ASSERT_EQ(blocked(&q, 0), DLM_PRMODE);
	/* Nobody's: nobody is told; whoever takes it up is. */
	ASSERT_ST(detach(&q), DLM_SUCCESS);
	ASSERT_ST(quelock(&out, 1, "n", DLM_CWMODE, DLM_NODLCKWT), DLM_SUCCESS);
	ASSERT_ST(watched(&p, OP_CVT, 0, NULL, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	ASSERT_EQ(blocked(&p, 0), DLM_PRMODE);
	ASSERT_ST(order(&q, CMD(OP_NOTIFY, 0)), DLM_SUCCESS);
	ASSERT_EQ(q.last.calls, 1);
	ASSERT_ST(unlock(&p, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&out, 0), DLM_SUCCESS);
	leave(&out);
	leave(&p);
	leave(&q);
}

/* D-53 and spec 4.16: what members leave behind. */
static void leaving(int killed)
{
	struct puppet first = puppet(), out = puppet();
	dlm_glc_id_t id = created(&first, 0);
	struct puppet p = member(id);
	uint_t v;

	ASSERT_ST(lock(&p, 0, "l.held", DLM_EXMODE, G), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_EXMODE, DLM_VALB, 21), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 0, "l.busy", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 1, "l.busy", DLM_PRMODE, G), DLM_SUCCESS);
	ASSERT_ST(quecvt(&p, 1, DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 1, "l.wait", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&p, 2, "l.wait", DLM_EXMODE, G), DLM_SUCCESS);
	for (int i = 0; i < 3; i++)
		share(&p, &first, i);
	EVENTUALLY(state(&first, 2) == WAITING);

	if (killed) {
		kill_role(&p.r);
		EVENTUALLY(lkinfo(&first, 2) == DLM_IVLOCKID);
		EVENTUALLY(state(&first, 1) == GRANTED);
	} else {
		ASSERT_ST(detach(&p), DLM_SUCCESS);
		ASSERT_ST(completion(&p, 1), DLM_CANCEL);
		ASSERT_ST(lkinfo(&p, 0), DLM_IVLOCKID);
		/* What it waits for has gone back to it, and is nobody else's. */
		ASSERT_EQ(state(&p, 2), WAITING);
		ASSERT_ST(lkinfo(&first, 2), DLM_IVLOCKID);
		ASSERT_ST(order(&p, CMD(OP_NSLEAVE, NO_SLOT)), DLM_HASLOCKS);
		ASSERT_ST(cvt(&out, 1, DLM_NLMODE, DLM_VALB, 31), DLM_SUCCESS);
		ASSERT_ST(completion(&p, 2), DLM_SUCCESS);
		ASSERT_EQ(state(&p, 2), GRANTED);
	}
	ASSERT_EQ(state(&first, 1), GRANTED);
	ASSERT_EQ(first.last.lki.grmode, DLM_PRMODE);
	/* The lock that it held in EX is there and keeps others out. */
	ASSERT_ST(lock(&out, 2, "l.held", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(cvt(&first, 0, DLM_CRMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(read_by(&out, "l.held", &v), DLM_SUCCESS);
	ASSERT_EQ(v, 21);
	if (!killed) { /* a private lock ends with its process, not quite orderly */
		ASSERT_ST(cvt(&p, 2, DLM_EXMODE, DLM_VALB, 32), DLM_SUCCESS);
		ASSERT_ST(detach(&first), DLM_SUCCESS); /* the container ends; the lock does not */
		ASSERT_EQ(state(&p, 2), GRANTED);
		kill_role(&p.r);
		EVENTUALLY(lock_count(&out, "l.wait") == 1);
		ASSERT_ST(cvt(&out, 1, DLM_CRMODE, DLM_VALB, 0), DLM_SUCCVALNOTVALID);
		ASSERT(same_value(&out.last.valb, 32));
	}
	leave(&first);
	leave(&out);
}

/* The last end of a container marks what it was writing (D-38). */
static void ends(int how)
{
	struct puppet out = puppet(), p = puppet();
	dlm_glc_id_t id = created(&p, how == 3 ? DLM_GLC_PERM : 0);
	uint_t v;
	ASSERT_ST(lock(&p, 0, "e.w", DLM_EXMODE, G), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_PWMODE, DLM_VALB, 41), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 1, "e.r", DLM_PRMODE, G), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 0, "e.w", DLM_CRMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 1, "e.r", DLM_CRMODE, 0), DLM_SUCCESS);
	switch (how) {
	case 0:
		ASSERT_ST(detach(&p), DLM_SUCCESS);
		break;
	case 1:
		kill_role(&p.r);
		break;
	case 2:
		ASSERT_ST(destroy(&out, id, DLM_GLC_FORCE), DLM_SUCCESS);
		finish_killed(&p.r);
		break;
	case 3: /* it stays without members, until somebody says */
		kill_role(&p.r);
		p = puppet();
		EVENTUALLY(destroy(&out, id, 0) == DLM_HASLOCKS);
		ASSERT_ST(lock(&out, 2, "e.w", DLM_PWMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
		ASSERT_ST(attach(&p, id), DLM_SUCCESS);
		ASSERT_ST(detach(&p), DLM_SUCCESS);
		ASSERT_ST(destroy(&out, id, DLM_GLC_LOCKS), DLM_SUCCESS);
		ASSERT_ST(destroy(&out, id, DLM_GLC_LOCKS), DLM_ENOENT);
		break;
	}
	EVENTUALLY(lock_count(&out, "e.w") == 1);
	EVENTUALLY(lock_count(&out, "e.r") == 1);
	ASSERT_ST(read_by(&out, "e.w", &v), DLM_SUCCVALNOTVALID);
	ASSERT_EQ(v, 41);
	ASSERT_ST(read_by(&out, "e.r", &v), DLM_SUCCESS);
	leave(&out);
	if (how == 0 || how == 3)
		leave(&p);
}

/* An OWNED container takes its members along. */
static void owned(int how)
{
	struct puppet agent = puppet(), creator = puppet();
	dlm_glc_id_t id = created(&creator, DLM_GLC_OWNED);
	struct puppet p = member(id), q = member(id);
	if (how == 3)
		ASSERT_ST(attach(&agent, id), DLM_SUCCESS); /* it is to kill itself */
	ASSERT_ST(lock(&p, 0, "o.a", DLM_EXMODE, G), DLM_SUCCESS);
	ASSERT_ST(lock(&q, 0, "o.b", DLM_EXMODE, 0), DLM_SUCCESS);
	if (how == 0)
		ASSERT_ST(detach(&creator), DLM_SUCCESS);
	else if (how == 1)
		kill_role(&creator.r);
	else if (how == 2)
		leave(&creator);
	else
		ASSERT_ST(detach(&creator), DLM_SUCCESS);
	finish_killed(&p.r);
	finish_killed(&q.r);
	if (how == 3)
		finish_killed(&agent.r);
	struct puppet out = puppet();
	EVENTUALLY(lock_count(&out, "o.a") == 0);
	ASSERT_ST(lock(&out, 0, "o.b", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(attach(&out, id), DLM_ENOENT);
	leave(&out);
	if (how == 0 || how == 3)
		leave(&creator);
	if (how != 3)
		leave(&agent);
}

/* The agent dies, once or with everybody who is not needed: nothing changes. */
static void agents(int all)
{
	struct puppet agent = puppet(), p = puppet(), out = puppet();
	dlm_glc_id_t id = created(&p, 0);
	struct puppet q = member(id), r = member(id);
	uint_t v;

	ASSERT_ST(watched(&p, OP_LOCK, 0, "a.held", DLM_EXMODE, G, 0), DLM_SUCCESS);
	ASSERT_ST(watched(&p, OP_CVT, 0, NULL, DLM_EXMODE, DLM_VALB, 51), DLM_SUCCESS);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 3, .mode = DLM_EXMODE, .flags = G, .under = 1), "sub")), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 1, "a.wait", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&q, 1, "a.wait", DLM_PRMODE, G | DLM_VALB), DLM_SUCCESS);
	begin(&r, named(CMD(OP_LOCK, 1, .mode = DLM_PRMODE, .flags = G), "a.wait"));
	EVENTUALLY(lock_count(&out, "a.wait") == 3);
	kill_role(&agent.r);
	if (all) {
		/* The next agents follow at once; one is the manipulator of the lock. */
		kill_role(&p.r);
	} else {
		share(&p, &q, 0);
	}
	/* Mutual exclusion stands, also right after. */
	ASSERT_ST(lock(&out, 0, "a.held", DLM_PRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(quelock(&out, 0, "a.held", DLM_PRMODE, DLM_VALB), DLM_SUCCESS);
	if (!all) {
		ASSERT_EQ(blocked(&p, 0), DLM_PRMODE);
		ASSERT_ST(unlock(&p, 3, 0, 0), DLM_SUCCESS);
		ASSERT_ST(cvt(&q, 0, DLM_NLMODE, DLM_VALB, 52), DLM_SUCCESS);
		ASSERT_ST(completion(&out, 0), DLM_SUCCESS);
		ASSERT_ST(order(&out, CMD(OP_LKINFO, 0)), DLM_SUCCESS);
		ASSERT_ST(read_by(&out, "a.held", &v), DLM_SUCCESS);
		ASSERT_EQ(v, 52);
	}
	ASSERT_ST(cvt(&out, 1, DLM_NLMODE, DLM_VALB, 53), DLM_SUCCESS);
	ASSERT_ST(completion(&q, 1), DLM_SUCCESS);
	ASSERT_ST(end(&r), DLM_SUCCESS);
	ASSERT_ST(read_by(&out, "a.wait", &v), DLM_SUCCESS);
	ASSERT_EQ(v, 53);
	if (!all)
		leave(&p);
	leave(&q);
	leave(&r); /* the last member */
	if (all) {
		ASSERT_ST(completion(&out, 0), DLM_SUCCVALNOTVALID);
		ASSERT_ST(read_by(&out, "a.held", &v), DLM_SUCCVALNOTVALID);
		ASSERT_EQ(v, 51);
	}
	leave(&out);
}

/* S-I20, S-I100: persistent resources of a group; the container's end is to be recovered. */
static dlm_status_t group_domain(struct puppet *p, const char *name)
{
	return order(p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 1, .flags = DLM_RD_GROUP), name));
}

static void persistent(void)
{
	const dlm_flags_t f = G | DLM_PERSIST | DLM_VALB | DLM_SYNCSTS | DLM_TXID_LOCAL;
	struct puppet agent = puppet(), p = puppet();
	dlm_glc_id_t id = created(&p, DLM_GLC_OWNED);
	struct puppet q = member(id);

	ASSERT_ST(group_domain(&p, "pG"), DLM_SUCCESS);
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 1, .mode = DLM_NLMODE, .flags = f, .rd = 1, .tid = 5), "p.a")), DLM_IVRDID);
	ASSERT_ST(group_domain(&q, "pG"), DLM_SUCCESS); /* each for itself */
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 0, .mode = DLM_EXMODE, .flags = f, .rd = 1, .tid = 5), "p.a")), DLM_SYNCH);
	share(&q, &p, 0);
	ASSERT_ST(cvt(&q, 0, DLM_EXMODE, DLM_VALB | DLM_SYNCSTS, 61), DLM_SYNCH);
	ASSERT_ST(order(&q, CMD(OP_RD_DETACH, NO_SLOT, .rd = 1)), DLM_SUCCESS); /* with the group's locks there */
	kill_role(&q.r);
	/* A member's death marks nothing. */
	ASSERT_ST(cvt(&p, 0, DLM_NLMODE, DLM_SYNCSTS, 0), DLM_SYNCH);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 1, .mode = DLM_PRMODE, .flags = f, .rd = 1, .tid = 6), "p.a")), DLM_SYNCH);
	ASSERT(same_value(&p.last.valb, 61));
	ASSERT_ST(unlock(&p, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_PWMODE, 0, 0), DLM_SUCCESS);
	/* The end of the container does. */
	kill_role(&p.r);
	struct puppet out = puppet();
	EVENTUALLY(rsbinfo(&out, "p.a") == DLM_SUCCESS && out.last.rsb.vbstatus == 1);
	ASSERT_ST(order(&out, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 1, .flags = DLM_RD_PROCESS), "pG")), DLM_SUCCESS);
	ASSERT_ST(order(&out, CMD(OP_RD_COLLECT, NO_SLOT, .rd = 1)), DLM_SUCCESS);
	ASSERT_ST(order(&out, CMD(OP_RD_VALIDATE, NO_SLOT, .rd = 1)), DLM_SUCCESS);
	ASSERT_ST(rsbinfo(&out, "p.a"), DLM_ENOENT);
	leave(&out);
	leave(&agent);
}

/* Cycles go through the member that manipulates a lock, and through nobody else (D-21). */
static void deadlocks(void)
{
	setenv("GODLM_DEADLOCK_WAIT_MS", "100", 1);
	struct puppet agent = puppet(), p = puppet(), out = puppet(), x = puppet(), y = puppet();
	dlm_glc_id_t id = created(&p, 0);
	struct puppet q = member(id);

	/* p has A for the group, out has B; q, who does not manipulate A, waits for B. */
	ASSERT_ST(lock(&p, 0, "d.a", DLM_EXMODE, G), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 1, "d.b", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&q, 1, "d.b", DLM_EXMODE, G), DLM_SUCCESS);
	ASSERT_ST(quelock(&out, 0, "d.a", DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&q, 1) == WAITING && state(&out, 0) == WAITING);
	/* A real deadlock that began later is found, and that one is not. */
	ASSERT_ST(lock(&x, 0, "d.x", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&y, 1, "d.y", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&x, 1, "d.y", DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&x, 1) == WAITING);
	ASSERT_ST(quelock(&y, 0, "d.x", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&y, 0), DLM_DEADLOCK);
	ASSERT_EQ(state(&q, 1), WAITING);
	ASSERT_EQ(state(&out, 0), WAITING);
	/* q takes A over: now it waits for itself, and its wait is the older one. */
	share(&p, &q, 0);
	ASSERT_ST(cvt(&q, 0, DLM_PWMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&out, 0), DLM_DEADLOCK);
	ASSERT_EQ(state(&q, 1), WAITING);
	ASSERT_ST(unlock(&out, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&q, 1), DLM_SUCCESS);
	/* Through a lock of its own and one of the group. */
	ASSERT_ST(lock(&q, 2, "d.c", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(lock(&out, 3, "d.d", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quelock(&out, 2, "d.c", DLM_EXMODE, 0), DLM_SUCCESS);
	EVENTUALLY(state(&out, 2) == WAITING);
	ASSERT_ST(order(&q, named(CMD(OP_LOCK, 3, .mode = DLM_EXMODE, .flags = G), "d.d")), DLM_DEADLOCK);
	leave(&q);
	ASSERT_ST(completion(&out, 2), DLM_SUCCESS);
	leave(&p);
	leave(&out);
	leave(&x);
	leave(&y);
	leave(&agent);
	unsetenv("GODLM_DEADLOCK_WAIT_MS");
}

/* All but one die at once, the agent and the masters among them. */
static void all_but_one(void)
{
	struct puppet agent = puppet(), out = puppet(), p[4];
	uint_t v;
	p[0] = puppet();
	dlm_glc_id_t id = created(&p[0], 0);
	for (int i = 1; i < 4; i++)
		p[i] = member(id);
	for (int i = 0; i < 12; i++) {
		char name[16];
		snprintf(name, sizeof name, "n.%d", i);
		ASSERT_ST(lock(&out, i, name, DLM_NLMODE, DLM_EXPEDITE), DLM_SUCCESS);
		ASSERT_ST(lock(&p[i % 4], i, name, DLM_EXMODE, G), DLM_SUCCESS);
		ASSERT_ST(cvt(&p[i % 4], i, DLM_EXMODE, DLM_VALB, (uint_t)(70 + i)), DLM_SUCCESS);
		share(&p[i % 4], &p[3], i);
	}
	kill(agent.r.pid, SIGKILL);
	for (int i = 0; i < 3; i++)
		kill(p[i].r.pid, SIGKILL);
	finish_killed(&agent.r);
	for (int i = 0; i < 3; i++)
		finish_killed(&p[i].r);
	for (int i = 0; i < 12; i++) {
		char name[16];
		snprintf(name, sizeof name, "n.%d", i);
		ASSERT_ST(lock(&out, 20, name, DLM_CRMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
		ASSERT_ST(cvt(&p[3], i, i % 2 ? DLM_NLMODE : DLM_EXMODE, i % 2 ? DLM_VALB : 0, (uint_t)(90 + i)), DLM_SUCCESS);
		if (i % 2) {
			ASSERT_ST(read_by(&out, name, &v), DLM_SUCCESS);
			ASSERT_EQ(v, 90 + i);
		}
	}
	kill_role(&p[3].r); /* the last */
	for (int i = 0; i < 12; i++) {
		char name[16];
		snprintf(name, sizeof name, "n.%d", i);
		ASSERT_ST(read_by(&out, name, &v), i % 2 ? DLM_SUCCESS : DLM_SUCCVALNOTVALID);
		ASSERT_EQ(v, i % 2 ? 90 + i : 70 + i);
	}
	leave(&out);
}

/* No room for notes: calls are refused, and nothing is lost. */
static void full(void)
{
	struct puppet agent = puppet(), p = puppet();
	dlm_glc_id_t id = created(&p, 0);
	ASSERT_ST(lock(&p, 0, "f", DLM_EXMODE, G), DLM_SUCCESS);
	/* Not even what is reserved can be written: who has asked waits until it can. */
	order(&agent, CMD(OP_FILE_LIMIT, NO_SLOT, .value = 1));
	begin(&p, CMD(OP_CVT, 0, .mode = DLM_PWMODE));
	order(&agent, CMD(OP_FILE_LIMIT, NO_SLOT));
	ASSERT_ST(end(&p), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 0, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	/* As on a full disk: what is reserved is used up, and then calls are refused. */
	char path[300];
	struct stat st;
	snprintf(path, sizeof path, "%s/default/groups", getenv("GODLM_DIR"));
	ASSERT_EQ(stat(path, &st), 0);
	order(&agent, CMD(OP_FILE_LIMIT, NO_SLOT, .value = (uint_t)st.st_size));
	EVENTUALLY(lock(&p, 1, "f.more", DLM_NLMODE, G) == DLM_INSFMEM);
	ASSERT_ST(cvt(&p, 0, DLM_NLMODE, 0, 0), DLM_INSFMEM);
	ASSERT_ST(unlock(&p, 0, 0, 0), DLM_INSFMEM);
	ASSERT_ST(order(&agent, CMD(OP_GLC_CREATE, NO_SLOT)), DLM_INSFMEM);
	ASSERT_EQ(state(&p, 0), GRANTED);
	order(&agent, CMD(OP_FILE_LIMIT, NO_SLOT));
	ASSERT_ST(cvt(&p, 0, DLM_PWMODE, DLM_VALB, 81), DLM_SUCCESS);
	kill_role(&agent.r); /* and the notes are whole */
	ASSERT_EQ(state(&p, 0), GRANTED);
	ASSERT_EQ(p.last.lki.grmode, DLM_PWMODE);
	struct puppet q = member(id);
	leave(&p);
	leave(&q);
}

int main(void)
{
	statuses();
	sharing();
	notifications();
	leaving(0);
	leaving(1);
	for (int how = 0; how < 4; how++)
		ends(how);
	for (int how = 0; how < 4; how++)
		owned(how);
	agents(0);
	agents(1);
	full();
	persistent();
	deadlocks();
	all_but_one();
	return 0;
}
