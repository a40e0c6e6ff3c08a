/*
 * Death of a holder in each mode, before a survivor in each mode (granted, or
 * waiting where the modes exclude each other); the master one of the dead, the
 * survivor, or a third process; the holder of the agent's role dead or alive.
 *
 * A PW or EX holder's death leaves the value block not valid with the contents
 * last written; no other death does. A write makes it valid; with its last lock
 * the resource goes, and begins anew with zeros.
 */
#include "puppet.h"

enum who { SURVIVOR, HOLDER, THIRD };

struct scene {
	enum who master;
	int kill_holder, kill_third, kill_agent;
};

static char *resource(int h, int s)
{
	static char name[32];
	snprintf(name, sizeof name, "res.%d.%d", h, s);
	return name;
}

static int compatible(int a, int b)
{
	static const char table[7][8] = {"", ".111111", ".111110", ".111000", ".110100", ".110000", ".100000"};
	return table[a][b] == '1';
}

static uint_t first_value(int h, int s) { return (uint_t)(1000 + 10 * h + s); }
static uint_t pushed_value(int h, int s) { return (uint_t)(2000 + 10 * h + s); }
static uint_t repaired_value(int h, int s) { return (uint_t)(3000 + 10 * h + s); }

static int slot_of(int h, int s) { return h * 7 + s; }      /* the lock in question */
static int witness_of(int h, int s) { return 60 + slot_of(h, s); } /* the survivor's NL lock beside it */

#define EACH_PAIR                                   \
	for (int h = DLM_NLMODE; h <= DLM_EXMODE; h++)  \
		for (int s = DLM_NLMODE; s <= DLM_EXMODE; s++)

/* Everybody has NL on everything, the master first; then a first value is written. */
static void set_up(struct scene c, struct puppet *survivor, struct puppet *holder, struct puppet *third)
{
	struct puppet *all[] = {survivor, holder, third};
	EACH_PAIR {
		int n = slot_of(h, s);
		ASSERT_ST(lock(all[c.master], n, resource(h, s), DLM_NLMODE, 0), DLM_SUCCESS);
		for (int i = 0; i < 3; i++)
			if (i != (int)c.master)
				ASSERT_ST(lock(all[i], n, resource(h, s), DLM_NLMODE, 0), DLM_SUCCESS);
		ASSERT_ST(cvt(third, n, DLM_EXMODE, 0, 0), DLM_SUCCESS);
		ASSERT_ST(cvt(third, n, DLM_NLMODE, DLM_VALB, first_value(h, s)), DLM_SUCCESS);
	}
	EACH_PAIR {
		int n = slot_of(h, s);
		ASSERT_ST(cvt(holder, n, h, DLM_VALB, 0), DLM_SUCCESS);
		if (h > DLM_NLMODE)
			ASSERT(same_value(&holder->last.valb, first_value(h, s)));
		if (h >= DLM_PWMODE)
			ASSERT_ST(cvt(holder, n, h, DLM_VALB, pushed_value(h, s)), DLM_SUCCESS);
		ASSERT_ST(quecvt(survivor, n, s, DLM_VALB), DLM_SUCCESS);
		if (compatible(h, s))
			ASSERT_ST(completion(survivor, n), DLM_SUCCESS);
		else
			EVENTUALLY(state(survivor, n) == DLM_STATE_CONVERTING);
		ASSERT_ST(lock(survivor, witness_of(h, s), resource(h, s), DLM_NLMODE, DLM_EXPEDITE), DLM_SUCCESS);
	}
}

static void check_after(struct scene c, struct puppet *survivor, struct puppet *holder, struct puppet *third)
{
	int locks = 4 - c.kill_holder - c.kill_third;
	EACH_PAIR {
		int n = slot_of(h, s), w = witness_of(h, s);
		int lost = c.kill_holder && h >= DLM_PWMODE;
		dlm_status_t want = lost ? DLM_SUCCVALNOTVALID : DLM_SUCCESS;
		uint_t contents = h >= DLM_PWMODE ? pushed_value(h, s) : first_value(h, s);

		EVENTUALLY(lock_count(survivor, resource(h, s)) == locks);
		if (!c.kill_holder) {
			ASSERT_ST(lkinfo(holder, n), DLM_SUCCESS);
			ASSERT_EQ(holder->last.lki.grmode, h);
			if (!compatible(h, s))
				ASSERT_EQ(state(survivor, n), DLM_STATE_CONVERTING);
			ASSERT_ST(unlock(holder, n, 0, 0), DLM_SUCCESS);
			locks--;
		}
		if (!compatible(h, s)) {
			ASSERT_ST(completion(survivor, n), want);
			ASSERT(same_value(&survivor->last.valb, contents));
		}
		ASSERT_EQ(state(survivor, n), DLM_STATE_GRANTED);
		/* The word goes on until somebody writes. */
		for (int i = 0; i < 2; i++) {
			ASSERT_ST(cvt(survivor, w, DLM_NLMODE, DLM_VALB, 0), want);
			ASSERT(same_value(&survivor->last.valb, contents));
		}
		ASSERT_ST(rsbinfo(survivor, resource(h, s)), DLM_SUCCESS);
		ASSERT_EQ(survivor->last.rsb.vbstatus, lost);
		ASSERT_EQ(survivor->last.rsb.lckcnt, locks);
		ASSERT(same_value(&survivor->last.rsb.valb, contents));

		ASSERT_ST(cvt(survivor, n, DLM_EXMODE, DLM_VALB | DLM_SYNCSTS, 7),
		          s == DLM_EXMODE ? DLM_SYNCH : lost ? DLM_SYNCVALNOTVALID : DLM_SYNCH);
		ASSERT_ST(cvt(survivor, n, DLM_NLMODE, DLM_VALB, repaired_value(h, s)), DLM_SUCCESS);
		ASSERT_ST(cvt(survivor, w, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
		ASSERT(same_value(&survivor->last.valb, repaired_value(h, s)));

		ASSERT_ST(unlock(survivor, n, 0, 0), DLM_SUCCESS);
		ASSERT_ST(unlock(survivor, w, 0, 0), DLM_SUCCESS);
		if (!c.kill_third)
			ASSERT_ST(unlock(third, n, 0, 0), DLM_SUCCESS);
		EVENTUALLY(rsbinfo(survivor, resource(h, s)) == DLM_ENOENT);
		ASSERT_ST(lock(survivor, n, resource(h, s), DLM_NLMODE, DLM_VALB), DLM_SUCCESS);
		for (int i = 0; i < DLM_VALBLKSIZE; i++)
			ASSERT_EQ(survivor->last.valb.valblk[i], 0);
		ASSERT_ST(unlock(survivor, n, 0, 0), DLM_SUCCESS);
		if (!c.kill_holder)
			locks++;
	}
}

static void play(struct scene c)
{
	static const char *const names[] = {"survivor", "holder", "third"};
	fprintf(stderr, "master %s, killed:%s%s%s\n", names[c.master], c.kill_holder ? " holder" : "",
	        c.kill_third ? " third" : "", c.kill_agent ? " agent" : "");
	struct puppet agent = puppet(), survivor = puppet(), holder = puppet(), third = puppet();
	set_up(c, &survivor, &holder, &third);
	/* All at once, then the bodies are looked for. */
	if (c.kill_holder)
		kill(holder.r.pid, SIGKILL);
	if (c.kill_third)
		kill(third.r.pid, SIGKILL);
	if (c.kill_agent)
		kill_role(&agent.r);
	if (c.kill_holder)
		kill_role(&holder.r);
	if (c.kill_third)
		kill_role(&third.r);
	check_after(c, &survivor, &holder, &third);
	if (!c.kill_third)
		leave(&third);
	if (!c.kill_holder)
		leave(&holder);
	leave(&survivor);
	if (!c.kill_agent)
		leave(&agent);
}

int main(void)
{
	for (int master = SURVIVOR; master <= THIRD; master++)
		for (int killed = 1; killed < 8; killed++)
			if (killed != 4 || master == THIRD)
				play((struct scene){(enum who)master, killed & 1, killed >> 1 & 1, killed >> 2 & 1});
	return 0;
}
