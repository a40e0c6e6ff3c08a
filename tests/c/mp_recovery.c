/*
 * Recovery domains (spec 4.18 to 4.21, 12; S-I3, S-I110 to S-I112): persistent
 * resources survive everybody who used them while their blocks are not valid;
 * collections; invalidation; with kills of holders, masters, collectors, the agent,
 * and of all at once.
 */
#include "puppet.h"

static dlm_status_t attach(struct puppet *p, int rd, const char *name)
{
	return order(p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = rd, .flags = DLM_RD_PROCESS), name));
}
static dlm_status_t detach(struct puppet *p, int rd, dlm_rd_flags_t f)
{
	return order(p, CMD(OP_RD_DETACH, NO_SLOT, .rd = rd, .flags = f));
}
static dlm_status_t collect(struct puppet *p, int rd) { return order(p, CMD(OP_RD_COLLECT, NO_SLOT, .rd = rd)); }
static dlm_status_t validate(struct puppet *p, int rd) { return order(p, CMD(OP_RD_VALIDATE, NO_SLOT, .rd = rd)); }

/* A lock on a persistent resource of a domain. */
static dlm_status_t plock(struct puppet *p, int slot, const char *name, int mode, dlm_flags_t f, int rd)
{
	return order(p, named(CMD(OP_LOCK, slot, .mode = mode, .flags = f | DLM_PERSIST, .rd = rd), name));
}

static void attached(struct puppet *p, int rd, const char *name) { ASSERT_ST(attach(p, rd, name), DLM_SUCCESS); }

#define READER 200 /* a slot */

/* p reads the block in a new lock, which it gives up again. */
static void reads(struct puppet *p, const char *name, int rd, dlm_status_t st, uint_t value)
{
	ASSERT_ST(plock(p, READER, name, DLM_PRMODE, DLM_VALB, rd), st);
	if (value)
		ASSERT(same_value(&p->last.valb, value));
	else
		for (int i = 0; i < DLM_VALBLKSIZE; i++)
			ASSERT_EQ(p->last.valb.valblk[i], 0);
	ASSERT_ST(unlock(p, READER, 0, 0), DLM_SUCCESS);
}

/* p takes EX, writes, and keeps EX. */
static void writes(struct puppet *p, int slot, const char *name, int rd, uint_t value)
{
	dlm_status_t st = plock(p, slot, name, DLM_EXMODE, 0, rd);
	ASSERT(st == DLM_SUCCESS);
	ASSERT_ST(cvt(p, slot, DLM_EXMODE, DLM_VALB, value), DLM_SUCCESS);
}

/* Whoever is told to leaves the block of `name` not valid, without a lock on it. */
static void spoil(const char *domain, const char *name, uint_t value)
{
	struct puppet p = puppet();
	attached(&p, 1, domain);
	writes(&p, 0, name, 1, value);
	kill_role(&p.r);
}

static void statuses(void)
{
	struct puppet p = puppet(), q = puppet();
	attached(&p, 1, "s1");
	attached(&p, 2, "s2");
	attached(&q, 1, "s1");
	ASSERT_ST(attach(&p, 3, "s1"), DLM_ATTACHED);
	ASSERT_ST(order(&p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 3, .flags = DLM_RD_GROUP), "s3")), DLM_NO_GROUP);
	ASSERT_ST(order(&p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 3, .flags = 3), "s3")), DLM_BADPARAM);
	ASSERT_ST(order(&p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = 3, .flags = DLM_RD_PROCESS), "")), DLM_BADPARAM);
	ASSERT_ST(detach(&p, 3, 0), DLM_BADPARAM); /* no handle was ever stored */
	ASSERT_ST(detach(&p, 1, DLM_RD_GROUP), DLM_BADPARAM);

	ASSERT_ST(plock(&p, 0, "s.a", DLM_PRMODE, 0, 3), DLM_IVRDID);
	ASSERT_EQ(p.last.is_zero, 1);
	ASSERT_ST(plock(&p, 0, "s.a", DLM_PRMODE, 0, 1), DLM_SUCCESS);
	ASSERT_ST(plock(&p, 1, "s.a", DLM_PRMODE, 0, 2), DLM_PR_RD_MISMATCH);
	ASSERT_ST(lock(&p, 1, "s.a", DLM_PRMODE, 0), DLM_IS_PR);
	ASSERT_ST(lock(&q, 1, "s.a", DLM_PRMODE, DLM_NOQUEUE), DLM_IS_PR);
	ASSERT_ST(plock(&q, 1, "s.a", DLM_PRMODE, 0, 1), DLM_SUCCESS);
	ASSERT_ST(rsbinfo(&q, "s.a"), DLM_SUCCESS);
	ASSERT_EQ(q.last.rsb.lckcnt, 2);
	ASSERT_EQ(q.last.rsb.ggcnt, 2);
	ASSERT_ST(lock(&q, 2, "s.b", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(plock(&p, 1, "s.b", DLM_NLMODE, 0, 1), DLM_NOT_PR);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 1, .mode = DLM_NLMODE, .flags = DLM_GROUP_LOCK), "s.c")), DLM_NO_GROUP);

	/* Each resource on its own (D-41). */
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 2, .mode = DLM_PRMODE, .under = 1), "sub")), DLM_SUCCESS);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 3, .mode = DLM_PRMODE, .under = 1, .flags = DLM_PERSIST, .rd = 2), "per")),
	          DLM_SUCCESS);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 4, .mode = DLM_PRMODE, .under = 1), "per")), DLM_IS_PR);

	ASSERT_ST(detach(&p, 1, 0), DLM_HASLOCKS);
	ASSERT_ST(detach(&p, 2, 0), DLM_HASLOCKS);
	ASSERT_ST(order(&p, CMD(OP_UNLOCK, NO_SLOT, .flags = DLM_DEQALL)), DLM_SUCCESS);
	ASSERT_ST(validate(&p, 1), DLM_IVHNDL);
	ASSERT_ST(collect(&p, 1), DLM_SUCCESS);
	ASSERT_ST(collect(&p, 1), DLM_EALREADY);
	ASSERT_ST(collect(&p, 2), DLM_SUCCESS); /* S-I110 */
	ASSERT_ST(collect(&q, 1), DLM_EINPROGRESS);
	ASSERT_ST(validate(&q, 1), DLM_IVHNDL);
	ASSERT_ST(detach(&p, 1, 0), DLM_EINPROGRESS);
	ASSERT_ST(validate(&p, 1), DLM_SUCCESS);
	ASSERT_ST(validate(&p, 1), DLM_IVHNDL);
	ASSERT_ST(validate(&p, 2), DLM_SUCCESS);
	ASSERT_ST(detach(&p, 1, 0), DLM_SUCCESS);
	ASSERT_ST(detach(&p, 1, 0), DLM_IVRDID);
	ASSERT_ST(collect(&p, 1), DLM_IVRDID);
	ASSERT_ST(validate(&p, 1), DLM_IVRDID);
	ASSERT_ST(plock(&p, 0, "s.a", DLM_PRMODE, 0, 1), DLM_IVRDID);
	attached(&p, 1, "s1");
	ASSERT_ST(plock(&p, 0, "s.a", DLM_PRMODE, 0, 1), DLM_SUCCESS);
	leave(&p);
	leave(&q);
}

/* With valid contents it goes with its last lock, as any resource does (D-62). */
static void ends_like_others(void)
{
	struct puppet p = puppet(), q = puppet();
	attached(&p, 1, "e");
	attached(&q, 1, "e");
	writes(&p, 0, "e.a", 1, 5);
	ASSERT_ST(plock(&q, 0, "e.a", DLM_NLMODE, DLM_EXPEDITE, 1), DLM_SUCCESS);
	ASSERT_ST(unlock(&p, 0, 0, 0), DLM_SUCCESS);
	reads(&p, "e.a", 1, DLM_SUCCESS, 5);
	ASSERT_ST(unlock(&q, 0, 0, 0), DLM_SUCCESS);
	ASSERT_ST(rsbinfo(&q, "e.a"), DLM_ENOENT);
	reads(&p, "e.a", 1, DLM_SUCCESS, 0);
	ASSERT_ST(lock(&q, 0, "e.a", DLM_PRMODE, 0), DLM_SUCCESS); /* an ordinary one now */
	leave(&p);
	leave(&q);
}

/* The holder of the only lock dies; the mark is there for whoever comes. */
static void outlives(int whole_host)
{
	struct puppet agent = puppet(), p = puppet();
	attached(&p, 1, "o");
	writes(&p, 0, "o.root", 1, 7);
	ASSERT_ST(order(&p, named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE, .under = 1, .flags = DLM_PERSIST, .rd = 1), "sub")),
	          DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 1, DLM_EXMODE, DLM_VALB, 8), DLM_SUCCESS);
	ASSERT_ST(lock(&p, 2, "o.plain", DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&p, 2, DLM_EXMODE, DLM_VALB, 9), DLM_SUCCESS);
	if (whole_host)
		kill_role(&agent.r);
	kill_role(&p.r);

	for (int generation = 0; generation < 2; generation++) {
		struct puppet q = puppet();
		attached(&q, 1, "o");
		ASSERT_ST(rsbinfo(&q, "o.root"), DLM_SUCCESS);
		ASSERT_EQ(q.last.rsb.vbstatus, 1);
		ASSERT_EQ(q.last.rsb.lckcnt, 0);
		ASSERT_ST(lock(&q, 0, "o.root", DLM_PRMODE, DLM_VALB), DLM_IS_PR);
		reads(&q, "o.root", 1, DLM_SUCCVALNOTVALID, 7);
		ASSERT_ST(plock(&q, 0, "o.root", DLM_NLMODE, 0, 1), DLM_SUCCESS);
		ASSERT_ST(order(&q, named(CMD(OP_LOCK, 1, .mode = DLM_PRMODE, .under = 1, .rd = 1,
		                              .flags = DLM_PERSIST | DLM_VALB), "sub")), DLM_SUCCVALNOTVALID);
		ASSERT(same_value(&q.last.valb, 8));
		ASSERT_ST(lock(&q, 2, "o.plain", DLM_PRMODE, DLM_VALB), DLM_SUCCESS);
		ASSERT_EQ(q.last.valb.valblk[0], 0);
		if (generation == 0) {
			leave(&q); /* a reader's end changes nothing */
			continue;
		}
		ASSERT_ST(collect(&q, 1), DLM_SUCCESS);
		ASSERT_ST(validate(&q, 1), DLM_SUCCESS);
		ASSERT_ST(cvt(&q, 1, DLM_PRMODE, DLM_VALB, 0), DLM_SUCCESS);
		ASSERT_EQ(q.last.valb.valblk[0], 0);
		reads(&q, "o.root", 1, DLM_SUCCESS, 0);
		leave(&q);
	}
	if (!whole_host)
		leave(&agent);
	struct puppet r = puppet();
	ASSERT_ST(rsbinfo(&r, "o.root"), DLM_ENOENT);
	leave(&r);
}

/* S-I111, S-I112: what became invalid later, what was written meanwhile. */
static void collections(void)
{
	struct puppet agent = puppet(), p = puppet(), w = puppet();
	attached(&p, 1, "c");
	attached(&w, 1, "c");
	spoil("c", "c.a", 1);
	spoil("c", "c.b", 2);
	ASSERT_ST(collect(&p, 1), DLM_SUCCESS);
	spoil("c", "c.late", 3);
	ASSERT_ST(plock(&w, 0, "c.b", DLM_EXMODE, DLM_VALB, 1), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&w.last.valb, 2));
	ASSERT_ST(cvt(&w, 0, DLM_NLMODE, DLM_VALB, 22), DLM_SUCCESS);
	ASSERT_ST(validate(&p, 1), DLM_MORE_TO_RECOVER);
	ASSERT_ST(rsbinfo(&p, "c.a"), DLM_ENOENT); /* recovered, and nobody's */
	reads(&p, "c.b", 1, DLM_SUCCESS, 22);
	reads(&p, "c.late", 1, DLM_SUCCVALNOTVALID, 3);
	ASSERT_ST(collect(&p, 1), DLM_SUCCESS);
	ASSERT_ST(validate(&p, 1), DLM_SUCCESS);
	reads(&p, "c.late", 1, DLM_SUCCESS, 0);

	/* Spoilt again after it was collected: not the collection's any more. */
	spoil("c", "c.a", 1);
	ASSERT_ST(collect(&p, 1), DLM_SUCCESS);
	struct puppet x = puppet();
	attached(&x, 1, "c");
	ASSERT_ST(plock(&x, 0, "c.a", DLM_EXMODE, DLM_VALB, 1), DLM_SUCCVALNOTVALID);
	kill_role(&x.r);
	EVENTUALLY(lock_count(&p, "c.a") == 0);
	ASSERT_ST(validate(&p, 1), DLM_MORE_TO_RECOVER);
	reads(&p, "c.a", 1, DLM_SUCCVALNOTVALID, 1);

	/* The collector dies: the next one may begin. */
	ASSERT_ST(collect(&p, 1), DLM_SUCCESS);
	ASSERT_ST(collect(&w, 1), DLM_EINPROGRESS);
	kill_role(&p.r);
	EVENTUALLY(collect(&w, 1) == DLM_SUCCESS);

	/* So does the agent: a collection goes on under the next, but not without doubt. */
	kill_role(&agent.r);
	ASSERT_ST(validate(&w, 1), DLM_MORE_TO_RECOVER);
	ASSERT_ST(collect(&w, 1), DLM_SUCCESS);
	ASSERT_ST(validate(&w, 1), DLM_SUCCESS);

	/* An attached process dies between, without a lock in the domain: collect again. */
	struct puppet y = puppet();
	attached(&y, 1, "c");
	ASSERT_ST(collect(&w, 1), DLM_SUCCESS);
	ASSERT_ST(lock(&y, 0, "sign.of.life", DLM_NLMODE, 0), DLM_SUCCESS);
	kill_role(&y.r);
	EVENTUALLY(lock_count(&w, "sign.of.life") == 0);
	ASSERT_ST(validate(&w, 1), DLM_MORE_TO_RECOVER);
	ASSERT_ST(collect(&w, 1), DLM_SUCCESS);
	ASSERT_ST(validate(&w, 1), DLM_SUCCESS);
	leave(&w);
}

/* Two domains: what happens to one is nothing to the other. */
static void two_domains(void)
{
	struct puppet agent = puppet(), p = puppet();
	attached(&p, 1, "t1");
	attached(&p, 2, "t2");
	spoil("t1", "t.a", 1);
	spoil("t2", "t.b", 2);
	ASSERT_ST(collect(&p, 1), DLM_SUCCESS);
	ASSERT_ST(collect(&p, 2), DLM_SUCCESS);
	ASSERT_ST(validate(&p, 1), DLM_SUCCESS);
	reads(&p, "t.b", 2, DLM_SUCCVALNOTVALID, 2);
	ASSERT_ST(validate(&p, 2), DLM_SUCCESS);
	reads(&p, "t.b", 2, DLM_SUCCESS, 0);
	leave(&p);
	leave(&agent);
}

static void invalidation(void)
{
	struct puppet agent = puppet(), p = puppet(), q = puppet();
	attached(&p, 1, "i");
	attached(&q, 1, "i");
	writes(&q, 0, "i.a", 1, 4);
	ASSERT_ST(cvt(&q, 0, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	writes(&q, 1, "i.b", 1, 5);
	ASSERT_ST(detach(&p, 1, DLM_RD_INVALIDATE), DLM_SUCCESS);
	attached(&p, 1, "i");
	reads(&p, "i.a", 1, DLM_SUCCVALNOTVALID, 4);
	reads(&p, "i.new", 1, DLM_SUCCVALNOTVALID, 0);
	ASSERT_ST(cvt(&q, 1, DLM_NLMODE, DLM_VALB, 55), DLM_SUCCESS); /* written since */
	reads(&p, "i.b", 1, DLM_SUCCESS, 55);
	ASSERT_ST(unlock(&q, 1, 0, 0), DLM_SUCCESS);
	reads(&p, "i.b", 1, DLM_SUCCESS, 55); /* kept: its domain is invalid */

	/* The domain stays so when the agent and all its users have gone. */
	leave(&p);
	leave(&q);
	kill_role(&agent.r);
	struct puppet r = puppet();
	attached(&r, 1, "i");
	reads(&r, "i.a", 1, DLM_SUCCVALNOTVALID, 4);
	reads(&r, "i.b", 1, DLM_SUCCESS, 55);
	reads(&r, "i.newer", 1, DLM_SUCCVALNOTVALID, 0);
	ASSERT_ST(collect(&r, 1), DLM_SUCCESS);
	ASSERT_ST(validate(&r, 1), DLM_SUCCESS);
	reads(&r, "i.a", 1, DLM_SUCCESS, 0);
	reads(&r, "i.newest", 1, DLM_SUCCESS, 0);
	ASSERT_ST(rsbinfo(&r, "i.b"), DLM_ENOENT);
	leave(&r);
}

/* Masters of marked resources die one after the other; the marks move on. */
static void chain(void)
{
	char name[32];
	struct puppet p[5];
	for (int i = 0; i < 5; i++) {
		p[i] = puppet();
		attached(&p[i], 1, "m");
	}
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "m.%d", i);
		writes(&p[i % 5], i, name, 1, (uint_t)(100 + i));
		ASSERT_ST(plock(&p[(i + 1) % 5], i, name, DLM_NLMODE, DLM_EXPEDITE, 1), DLM_SUCCESS);
	}
	for (int i = 0; i < 4; i++) /* the agent first */
		kill_role(&p[i].r);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "m.%d", i);
		if (i % 5 == 4)
			ASSERT_ST(cvt(&p[4], i, DLM_NLMODE, 0, 0), DLM_SUCCESS);
		reads(&p[4], name, 1, i % 5 == 4 ? DLM_SUCCESS : DLM_SUCCVALNOTVALID, (uint_t)(100 + i));
	}
	ASSERT_ST(collect(&p[4], 1), DLM_SUCCESS);
	ASSERT_ST(validate(&p[4], 1), DLM_SUCCESS);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "m.%d", i);
		reads(&p[4], name, 1, DLM_SUCCESS, i % 5 == 4 ? (uint_t)(100 + i) : 0);
	}
	leave(&p[4]);
}

int main(void)
{
	statuses();
	ends_like_others();
	outlives(0);
	outlives(1);
	collections();
	two_domains();
	invalidation();
	chain();
	return 0;
}
