/*
 * Value blocks between processes: what is read and written by every conversion
 * (spec 7.2), DLM_INVVALBLK, and the latest value for one that re-reads under NL.
 */
#include "puppet.h"

/* By held and requested mode; the first line is for a new lock. */
static const char table[7][7] = {".RRRRRR", ".RRRRRR", ".-RRRRR", ".--RRRR", ".---RRR", ".WWWWWR", ".WWWWWW"};

static uint_t next_value = 100;

static uint_t writes(struct puppet *p, const char *name)
{
	ASSERT_ST(rsbinfo(p, name), DLM_SUCCESS);
	return p->last.rsb.vbseqnum;
}

/* The witness sees `value`, now or never. */
static void shows(struct puppet *witness, dlm_status_t st, uint_t value)
{
	ASSERT_ST(cvt(witness, 0, DLM_NLMODE, DLM_VALB, 0), st);
	ASSERT(same_value(&witness->last.valb, value));
}

static void conversions(const char *name, struct puppet *actor, struct puppet *witness, int flags)
{
	for (int from = 0; from <= DLM_EXMODE; from++)
		for (int to = DLM_NLMODE; to <= DLM_EXMODE; to++) {
			uint_t old = next_value += 100, new = next_value += 100;
			ASSERT_ST(lock(actor, 1, name, DLM_EXMODE, 0), DLM_SUCCESS);
			ASSERT_ST(unlock(actor, 1, DLM_VALB, old), DLM_SUCCESS);
			shows(witness, DLM_SUCCESS, old);
			if (from == 0) {
				ASSERT_ST(lock(actor, 1, name, to, DLM_VALB), DLM_SUCCESS);
				ASSERT(same_value(&actor->last.valb, old));
			} else {
				ASSERT_ST(lock(actor, 1, name, from, 0), DLM_SUCCESS);
				uint_t count = writes(witness, name);
				ASSERT_ST(cvt(actor, 1, to, (dlm_flags_t)flags, new), DLM_SUCCESS);
				char what = table[from][to];
				ASSERT(same_value(&actor->last.valb, what == 'R' && flags & DLM_VALB ? old : new));
				int wrote = what == 'W' && flags & DLM_VALB;
				shows(witness, DLM_SUCCESS, wrote ? new : old);
				ASSERT_EQ(writes(witness, name), count + (uint_t)wrote);
			}
			ASSERT_ST(unlock(actor, 1, 0, 0), DLM_SUCCESS);
		}
}

static void unlocks(const char *name, struct puppet *actor, struct puppet *witness)
{
	for (int held = DLM_NLMODE; held <= DLM_EXMODE; held++) {
		uint_t old = next_value += 100, new = next_value += 100;
		ASSERT_ST(lock(actor, 1, name, DLM_EXMODE, 0), DLM_SUCCESS);
		ASSERT_ST(unlock(actor, 1, DLM_VALB, old), DLM_SUCCESS);
		ASSERT_ST(lock(actor, 1, name, held, 0), DLM_SUCCESS);
		ASSERT_ST(unlock(actor, 1, DLM_VALB, new), DLM_SUCCESS);
		shows(witness, DLM_SUCCESS, held >= DLM_PWMODE ? new : old);
	}
}

/* Marked not valid by a writer: so for everybody until a write. */
static void invalid(const char *name, struct puppet *actor, struct puppet *witness)
{
	for (int held = DLM_NLMODE; held <= DLM_EXMODE; held++)
		for (int by_cvt = 0; by_cvt < 2; by_cvt++) {
			uint_t old = next_value += 100;
			int lost = held >= DLM_PWMODE;
			dlm_status_t want = lost ? DLM_SUCCVALNOTVALID : DLM_SUCCESS;
			ASSERT_ST(lock(actor, 1, name, DLM_EXMODE, 0), DLM_SUCCESS);
			ASSERT_ST(cvt(actor, 1, DLM_NLMODE, DLM_VALB, old), DLM_SUCCESS);
			ASSERT_ST(cvt(actor, 1, held, 0, 0), DLM_SUCCESS);
			if (by_cvt) /* whether or not it also says DLM_VALB */
				ASSERT_ST(cvt(actor, 1, DLM_NLMODE, DLM_INVVALBLK | DLM_VALB, 1), want);
			else
				ASSERT_ST(unlock(actor, 1, DLM_INVVALBLK, 1), DLM_SUCCESS);
			shows(witness, want, old);
			ASSERT_ST(rsbinfo(actor, name), DLM_SUCCESS);
			ASSERT_EQ(actor->last.rsb.vbstatus, lost);
			if (by_cvt)
				ASSERT_ST(unlock(actor, 1, 0, 0), DLM_SUCCESS);
			/* Without DLM_VALB nobody is bothered. */
			ASSERT_ST(lock(actor, 1, name, DLM_PRMODE, DLM_SYNCSTS), DLM_SYNCH);
			ASSERT_ST(unlock(actor, 1, 0, 0), DLM_SUCCESS);
			ASSERT_ST(lock(actor, 1, name, DLM_PWMODE, DLM_SYNCSTS | DLM_VALB),
			          lost ? DLM_SYNCVALNOTVALID : DLM_SYNCH);
			ASSERT_ST(cvt(actor, 1, DLM_EXMODE, DLM_VALB, 0), want);
			ASSERT_ST(cvt(actor, 1, DLM_EXMODE, DLM_VALB, old + 50), DLM_SUCCESS);
			shows(witness, DLM_SUCCESS, old + 50);
			ASSERT_ST(unlock(actor, 1, 0, 0), DLM_SUCCESS);
		}
}

/* A new one under NL keeps up with a writer that only ever has EX. */
static void re_read(const char *name, struct puppet *writer, struct puppet *reader)
{
	ASSERT_ST(lock(writer, 1, name, DLM_EXMODE, 0), DLM_SUCCESS);
	for (uint_t i = 0; i < 50; i++) {
		uint_t v = next_value += 100;
		ASSERT_ST(cvt(writer, 1, DLM_EXMODE, DLM_VALB, v), DLM_SUCCESS);
		shows(reader, DLM_SUCCESS, v);
	}
	ASSERT_ST(unlock(writer, 1, 0, 0), DLM_SUCCESS);
}

int main(void)
{
	struct puppet a = puppet(), b = puppet();
	struct puppet *pairs[2][2] = {{&a, &b}, {&b, &a}}; /* actor, witness; the witness masters */
	for (int i = 0; i < 2; i++) {
		struct puppet *actor = pairs[i][0], *witness = pairs[i][1];
		for (int master_is_actor = 0; master_is_actor < 2; master_is_actor++) {
			char name[32];
			snprintf(name, sizeof name, "value.%d.%d", i, master_is_actor);
			if (master_is_actor)
				ASSERT_ST(lock(actor, 2, name, DLM_NLMODE, 0), DLM_SUCCESS);
			ASSERT_ST(lock(witness, 0, name, DLM_NLMODE, 0), DLM_SUCCESS);
			conversions(name, actor, witness, DLM_VALB);
			conversions(name, actor, witness, 0);
			unlocks(name, actor, witness);
			invalid(name, actor, witness);
			re_read(name, actor, witness);
			if (master_is_actor)
				ASSERT_ST(unlock(actor, 2, 0, 0), DLM_SUCCESS);
			ASSERT_ST(unlock(witness, 0, 0, 0), DLM_SUCCESS);
		}
	}
	leave(&a);
	leave(&b);
	return 0;
}
