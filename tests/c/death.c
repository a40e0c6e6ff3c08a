/*
 * Every kind of death: a holder in each mode beside a survivor in each mode, with
 * the resource's master, the agent, or both dying together with the holder. A
 * block is not valid exactly if a holder in PW or EX died; it keeps what was
 * written last; a write cures it, and so does the end of the resource.
 */
#include "servant.h"

enum { VICTIM_IS_MASTER = 1, MASTER_DIES = 2, AGENT_DIES = 4 };

static const unsigned excludes[7] = {0, 0, 1 << 6, 7 << 4, 1 << 3 | 3 << 5, 15 << 3, 31 << 2};
static const char *names[7] = {"-", "NL", "CR", "CW", "PR", "PW", "EX"};

static int compatible(int a, int b) { return !(excludes[a] >> b & 1); }
static int writer(int m) { return m >= DLM_PWMODE; }

static void check_case(int held, int other, int deaths)
{
	struct role agent, master, victim, survivor, probe;
	struct servant_answer a;
	struct servant_call c;
	int waits = !compatible(held, other);
	dlm_status_t told = writer(held) ? DLM_SUCCVALNOTVALID : DLM_SUCCESS;
	uint_t last = writer(held) ? 200 : 100;

	fresh_directory();
	agent = joined();
	master = joined();
	victim = deaths & VICTIM_IS_MASTER ? master : joined();
	survivor = joined();
	probe = joined();

	ASSERT_ST(does(&master, SERVANT_LOCK, "R", 0, DLM_EXMODE, 0), DLM_SUCCESS);
	ASSERT_ST(writes(&master, SERVANT_CVT, 0, DLM_NLMODE, 100), DLM_SUCCESS);
	ASSERT_ST(does(&probe, SERVANT_LOCK, "R", 0, DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(does(&victim, SERVANT_LOCK, "R", 1, held, 0), DLM_SUCCESS);
	if (writer(held))
		ASSERT_ST(writes(&victim, SERVANT_CVT, 1, held, 200), DLM_SUCCESS);
	c = call_for(SERVANT_LOCK, "R", 1, other, DLM_VALB);
	order(&survivor, c);
	if (waits)
		until_waiting(&probe, "R");
	else
		ASSERT_ST(outcome(&survivor).st, DLM_SUCCESS);

	kill_role(&victim);
	if (deaths & MASTER_DIES)
		kill_role(&master);
	if (deaths & AGENT_DIES)
		kill_role(&agent);

	if (waits) {
		a = outcome(&survivor);
		ASSERT_ST(a.st, told);
		ASSERT(same_value(&a.valb, last));
	}
	until_locks(&probe, "R", deaths & (MASTER_DIES | VICTIM_IS_MASTER) ? 2 : 3);
	/* Whoever reads is told, until somebody writes. */
	for (int i = 0; i < 2; i++) {
		a = ask(&probe, call_for(SERVANT_CVT, NULL, 0, DLM_NLMODE, DLM_VALB));
		ASSERT_ST(a.st, told);
		ASSERT(same_value(&a.valb, last));
	}
	ASSERT_ST(does(&survivor, SERVANT_UNLOCK, NULL, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(does(&probe, SERVANT_CVT, NULL, 0, DLM_EXMODE, DLM_VALB), told);
	ASSERT_ST(writes(&probe, SERVANT_CVT, 0, DLM_NLMODE, 300), DLM_SUCCESS);
	a = ask(&survivor, call_for(SERVANT_LOCK, "R", 1, DLM_PRMODE, DLM_VALB));
	ASSERT_ST(a.st, DLM_SUCCESS);
	ASSERT(same_value(&a.valb, 300));

	/* The last lock gone, the resource begins anew. */
	ASSERT_ST(does(&survivor, SERVANT_UNLOCK, NULL, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(does(&probe, SERVANT_UNLOCK, NULL, 0, 0, 0), DLM_SUCCESS);
	if (!(deaths & (MASTER_DIES | VICTIM_IS_MASTER)))
		ASSERT_ST(does(&master, SERVANT_UNLOCK, NULL, 0, 0, 0), DLM_SUCCESS);
	a = ask(&survivor, call_for(SERVANT_LOCK, "R", 1, DLM_PRMODE, DLM_VALB));
	ASSERT_ST(a.st, DLM_SUCCESS);
	for (int i = 0; i < DLM_VALBLKSIZE; i++)
		ASSERT_EQ(a.valb.valblk[i], 0);

	if (!(deaths & AGENT_DIES))
		kill_role(&agent);
	if (!(deaths & (MASTER_DIES | VICTIM_IS_MASTER)))
		kill_role(&master);
	kill_role(&survivor);
	kill_role(&probe);
}

int main(void)
{
	static const int kinds[] = {0, VICTIM_IS_MASTER, MASTER_DIES, VICTIM_IS_MASTER | AGENT_DIES,
	                            MASTER_DIES | AGENT_DIES};
	int cases = 0;
	for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
		for (int held = DLM_NLMODE; held <= DLM_EXMODE; held++)
			for (int other = DLM_NLMODE; other <= DLM_EXMODE; other++) {
				fprintf(stderr, "held %s, survivor %s, deaths %d\n", names[held], names[other], kinds[k]);
				check_case(held, other, kinds[k]);
				cases++;
			}
	fprintf(stderr, "%d cases\n", cases);
	return 0;
}
