/*
 * What a database server's cluster layer demands of process locks (spec C.2 to
 * C.5, C.8 to C.10): the call sequences and results of S-I2, S-I3, S-I6 to S-I10 and
 * S-I14, S-I20 to S-I34, S-I40 to S-I44, S-I80 to S-I83, S-I90, S-I102 and S-I103.
 * Most locks are persistent, in the domain of process locks. Slots: one for each lock.
 */
#include "puppet.h"

enum { CSP, CONFIG, DATA, WATCH };
#define NODLCK (DLM_NODLCKBLK | DLM_NODLCKWT)

static struct puppet first, second, third;

#define PROCESS 1 /* number of the domain */

/* S-I2, S-I3. */
static struct puppet server(void)
{
	struct puppet p = puppet();
	ASSERT_ST(order(&p, named(CMD(OP_RD_ATTACH, NO_SLOT, .rd = PROCESS, .flags = DLM_RD_PROCESS), "iiP")), DLM_SUCCESS);
	return p;
}

/* S-I102, S-I103 (the exit leaves the namespace). */
static void disconnect(struct puppet *p)
{
	ASSERT_ST(order(p, CMD(OP_RD_DETACH, NO_SLOT, .rd = PROCESS)), DLM_SUCCESS);
	leave(p);
}

/* Names are ints, with zero bytes among them. */
static struct command keyed(struct command c, int type, int node)
{
	snprintf(c.name, sizeof c.name, "%08x%04x", type, node);
	return c;
}

static dlm_status_t ask(struct puppet *p, int slot, int mode, dlm_flags_t flags, uint_t timeout)
{
	return order(p, keyed(CMD(OP_LOCK, slot, .mode = mode, .flags = flags | DLM_PERSIST, .timeout = timeout, .rd = PROCESS),
	                      slot, 1));
}

/* S-I6 to S-I8: whoever gets the lock publishes by EX->EX; the others poll with a time limit. */
static void one_per_node(void)
{
	dlm_status_t st = ask(&first, CSP, DLM_EXMODE, DLM_VALB | DLM_NOQUEUE, 1000);
	ASSERT(st == DLM_SUCCESS);
	ASSERT_ST(cvt(&first, CSP, DLM_EXMODE, DLM_VALB, 11), DLM_SUCCESS);
	ASSERT_ST(ask(&second, CSP, DLM_EXMODE, DLM_VALB | DLM_NOQUEUE, 1000), DLM_NOTQUEUED);
	ASSERT_ST(ask(&second, CSP, DLM_EXMODE, DLM_VALB, 10), DLM_TIMEOUT);
	ASSERT_ST(ask(&second, CSP, DLM_EXMODE, DLM_VALB, 10), DLM_TIMEOUT);
	begin(&second, keyed(CMD(OP_LOCK, CSP, .mode = DLM_EXMODE, .flags = DLM_VALB | DLM_PERSIST, .rd = PROCESS,
	                             .timeout = 1000), CSP, 1));
	EVENTUALLY(lock_count(&third, "000000000001") == 2);
	kill_role(&first.r);
	/* It held EX: the value is in doubt, and EX->EX cures it. */
	ASSERT_ST(end(&second), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&second.last.valb, 11));
	ASSERT_ST(cvt(&second, CSP, DLM_EXMODE, DLM_VALB, 12), DLM_SUCCESS);
	ASSERT_ST(cvt(&second, CSP, DLM_EXMODE, DLM_VALB | DLM_SYNCSTS, 13), DLM_SYNCH); /* S-I14 */
	ASSERT_ST(unlock(&second, CSP, DLM_VALB, 0), DLM_SUCCESS);
	first = server();
}

/* S-I9, S-I10: the first server writes the configuration, the others read it. */
static void configuration(int first_dies)
{
	ASSERT_ST(ask(&first, CONFIG, DLM_EXMODE, DLM_VALB | DLM_NOQUEUE, 0), DLM_SUCCESS);
	ASSERT_ST(ask(&second, CONFIG, DLM_EXMODE, DLM_VALB | DLM_NOQUEUE, 0), DLM_NOTQUEUED);
	begin(&second, keyed(CMD(OP_LOCK, CONFIG, .mode = DLM_PRMODE, .flags = DLM_VALB | DLM_PERSIST, .rd = PROCESS), CONFIG, 1));
	EVENTUALLY(lock_count(&third, "000000010001") == 2);
	if (first_dies) {
		kill_role(&first.r);
		ASSERT_ST(end(&second), DLM_SUCCVALNOTVALID);
		ASSERT_ST(unlock(&second, CONFIG, 0, 0), DLM_SUCCESS);
		/* Start again: now it is the first. The doubt stays until it writes. */
		ASSERT_ST(ask(&second, CONFIG, DLM_EXMODE, DLM_VALB | DLM_NOQUEUE, 0), DLM_SUCCVALNOTVALID);
		ASSERT_ST(cvt(&second, CONFIG, DLM_EXMODE, DLM_VALB, 22), DLM_SUCCESS);
		ASSERT_ST(cvt(&second, CONFIG, DLM_PRMODE, DLM_VALB | DLM_SYNCSTS, 23), DLM_SYNCH);
		first = server();
	} else {
		ASSERT_ST(cvt(&first, CONFIG, DLM_EXMODE, DLM_VALB, 21), DLM_SUCCESS);
		ASSERT(!readable(second.r.in, 0));
		ASSERT_ST(cvt(&first, CONFIG, DLM_PRMODE, DLM_VALB | DLM_SYNCSTS, 23), DLM_SYNCH);
		ASSERT_ST(end(&second), DLM_SUCCESS);
		ASSERT(same_value(&second.last.valb, 23));
		ASSERT_ST(unlock(&first, CONFIG, DLM_VALB, 0), DLM_SUCCESS);
	}
	ASSERT_ST(ask(&third, CONFIG, DLM_PRMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT(same_value(&third.last.valb, 23));
	ASSERT_ST(unlock(&third, CONFIG, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(&second, CONFIG, DLM_VALB, 0), DLM_SUCCESS);
}

/* S-I21: done at once, or told by the completion routine. */
static void granted(struct puppet *p, int slot, dlm_status_t st)
{
	st = outcome(p, slot, st);
	ASSERT(st == DLM_SUCCESS || st == DLM_SYNCH);
}

/* S-I20 to S-I34: requests and conversions by transactions. */
static void requests(void)
{
	struct command c = keyed(CMD(OP_QUELOCK, DATA, .mode = DLM_PRMODE, .tid = 5, .watch = 1, .rd = PROCESS,
	                             .flags = DLM_SYNCSTS | DLM_TXID_LOCAL | DLM_PERSIST), DATA, 1);
	dlm_valb_t untouched;
	memset(&untouched, 0xee, sizeof untouched);
	granted(&first, DATA, order(&first, c));
	ASSERT(memcmp(&first.last.valb, &untouched, sizeof untouched) == 0); /* S-I22 */
	granted(&second, DATA, order(&second, c));
	/* S-I31: the same mode refreshes or writes. */
	ASSERT_ST(cvt(&first, DATA, DLM_PRMODE, DLM_VALB | DLM_SYNCSTS, 99), DLM_SYNCH);
	ASSERT_EQ(first.last.valb.valblk[0], 0);
	/* S-I30: queued up, a wait that ends; S-I32: down never waits. */
	ASSERT_ST(quecvt(&first, DATA, DLM_EXMODE, DLM_QUECVT | NODLCK | DLM_SYNCSTS), DLM_SUCCESS);
	ASSERT_EQ(blocked(&second, DATA), DLM_EXMODE);
	ASSERT_ST(cvt(&second, DATA, DLM_NLMODE, DLM_SYNCSTS, 0), DLM_SYNCH);
	ASSERT_ST(completion(&first, DATA), DLM_SUCCESS);
	/* S-I51: NL->NL reads what is there, even now. */
	ASSERT_ST(cvt(&second, DATA, DLM_NLMODE, DLM_VALB | DLM_SYNCSTS, 0), DLM_SYNCH);
	ASSERT_ST(cvt(&first, DATA, DLM_NLMODE, DLM_VALB | DLM_SYNCSTS, 31), DLM_SYNCH);
	ASSERT_ST(cvt(&second, DATA, DLM_NLMODE, DLM_VALB | DLM_SYNCSTS, 0), DLM_SYNCH);
	ASSERT(same_value(&second.last.valb, 31));
	/* S-I33: up, seen as invalid, and back without DLM_VALB: still invalid. */
	ASSERT_ST(cvt(&first, DATA, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&first, DATA, DLM_NLMODE, DLM_INVVALBLK, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&second, DATA, DLM_PWMODE, DLM_VALB | DLM_SYNCSTS, 0), DLM_SYNCVALNOTVALID);
	ASSERT_ST(cvt(&second, DATA, DLM_NLMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&first, DATA, DLM_NLMODE, DLM_VALB | DLM_SYNCSTS, 0), DLM_SYNCVALNOTVALID);
	ASSERT(same_value(&first.last.valb, 31));
	/* S-I34: a conversion of a lock that is being converted. */
	ASSERT_ST(cvt(&second, DATA, DLM_PRMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(quecvt(&first, DATA, DLM_EXMODE, NODLCK), DLM_SUCCESS);
	EVENTUALLY(state(&first, DATA) == DLM_STATE_CONVERTING);
	ASSERT_ST(cvt(&first, DATA, DLM_PRMODE, 0, 0), DLM_CVTUNGRANT);
	/* S-I41, S-I42: a cancelled conversion completes, once, with DLM_CANCEL. */
	ASSERT_ST(cancel(&first, DATA, DLM_CANCELWAITOK), DLM_SUCCESS);
	ASSERT_ST(completion(&first, DATA), DLM_CANCEL);
	ASSERT_ST(cancel(&first, DATA, DLM_CANCELWAITOK), DLM_CANCELGRANT);
	/* S-I40: unlock takes DLM_VALB in every mode; S-I44: dead ids do no harm. */
	ASSERT_ST(unlock(&first, DATA, DLM_VALB, 1), DLM_SUCCESS);
	ASSERT_ST(cancel(&first, DATA, DLM_CANCELWAITOK), DLM_IVLOCKID);
	ASSERT_ST(unlock(&second, DATA, DLM_VALB, 2), DLM_SUCCESS);
	ASSERT_ST(cancel(&second, DATA, DLM_CANCELWAITOK), DLM_IVLOCKID);
}

/*
 * S-I80 to S-I83: a lock that says that its owner lives. Watchers ask without
 * DLM_PERSIST, which GODLM_JOIN_PERSISTENT allows (D-65).
 */
static void dead_man(void)
{
	struct puppet owner = server();
	struct command watch = keyed(CMD(OP_QUELOCK, WATCH, .mode = DLM_PRMODE,
	                                 .flags = DLM_SYNCSTS | NODLCK | DLM_TXID_LOCAL, .tid = 9), WATCH, 2);
	ASSERT_ST(order(&owner, keyed(CMD(OP_LOCK, WATCH, .mode = DLM_EXMODE, .flags = DLM_PERSIST, .rd = PROCESS), WATCH, 2)), DLM_SUCCESS);
	struct puppet *w[] = {&first, &second, &third};
	for (int i = 0; i < 3; i++) {
		ASSERT_ST(order(w[i], watch), DLM_SUCCESS);
		EVENTUALLY(state(w[i], WATCH) == DLM_STATE_WAITING);
	}
	/* One goes in order. */
	ASSERT_ST(cancel(&third, WATCH, DLM_CANCELWAITOK), DLM_SUCCESS);
	ASSERT_ST(completion(&third, WATCH), DLM_ABORT);
	kill_role(&owner.r);
	ASSERT_ST(completion(&first, WATCH), DLM_SUCCESS);
	ASSERT_ST(completion(&second, WATCH), DLM_SUCCESS);
	/* Who comes later sees at once that the owner is gone. */
	granted(&third, WATCH, order(&third, watch));
	ASSERT_ST(cancel(&first, WATCH, DLM_CANCELWAITOK), DLM_CANCELGRANT);
	for (int i = 0; i < 3; i++)
		ASSERT_ST(unlock(w[i], WATCH, 0, 0), DLM_SUCCESS);
}

/* S-I90: polling whether a lock of one's own blocks somebody. */
static int blocks(struct puppet *p, int slot, const char *name)
{
	static const unsigned incompatible[] = {
	    [DLM_NLMODE] = 0,
	    [DLM_CRMODE] = 1u << DLM_EXMODE,
	    [DLM_CWMODE] = 1u << DLM_PRMODE | 1u << DLM_PWMODE | 1u << DLM_EXMODE,
	    [DLM_PRMODE] = 1u << DLM_CWMODE | 1u << DLM_PWMODE | 1u << DLM_EXMODE,
	    [DLM_PWMODE] = 1u << DLM_CWMODE | 1u << DLM_PRMODE | 1u << DLM_PWMODE | 1u << DLM_EXMODE,
	    [DLM_EXMODE] = 1u << DLM_CRMODE | 1u << DLM_CWMODE | 1u << DLM_PRMODE | 1u << DLM_PWMODE | 1u << DLM_EXMODE,
	};
	ASSERT_ST(lkinfo(p, slot), DLM_SUCCESS);
	ASSERT_EQ(p->last.lki.lkstate, DLM_STATE_GRANTED);
	dlm_lkmode_t held = p->last.lki.grmode;
	ASSERT_ST(rsbinfo(p, name), DLM_SUCCESS);
	return ((1u << p->last.rsb.cvtqmode | 1u << p->last.rsb.wtqmode) & incompatible[held]) != 0;
}

static void polling(void)
{
	ASSERT_ST(lock(&first, DATA, "poll", DLM_PRMODE, 0), DLM_SUCCESS);
	ASSERT(!blocks(&first, DATA, "poll"));
	ASSERT_EQ(first.last.rsb.cvtqmode, DLM_NOMODE);
	ASSERT_EQ(first.last.rsb.wtqmode, DLM_NOMODE);
	ASSERT_ST(quelock(&second, DATA, "poll", DLM_EXMODE, NODLCK), DLM_SUCCESS);
	EVENTUALLY(blocks(&first, DATA, "poll"));
	ASSERT_ST(cancel(&second, DATA, DLM_CANCELWAITOK), DLM_SUCCESS);
	ASSERT_ST(completion(&second, DATA), DLM_ABORT);
	ASSERT(!blocks(&first, DATA, "poll"));
	ASSERT_ST(lock(&second, DATA, "poll", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(quecvt(&second, DATA, DLM_CWMODE, NODLCK), DLM_SUCCESS);
	EVENTUALLY(blocks(&first, DATA, "poll"));
	ASSERT_ST(unlock(&first, DATA, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(&second, DATA), DLM_SUCCESS);
	ASSERT(!blocks(&second, DATA, "poll"));
	ASSERT_ST(unlock(&second, DATA, 0, 0), DLM_SUCCESS);
}

int main(void)
{
	setenv("GODLM_JOIN_PERSISTENT", "1", 1);
	struct puppet agent = puppet();
	first = server(), second = server(), third = server();
	one_per_node();
	configuration(0);
	configuration(1);
	requests();
	dead_man();
	polling();
	disconnect(&first);
	disconnect(&second);
	disconnect(&third);
	leave(&agent);
	return 0;
}
