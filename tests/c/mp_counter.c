/*
 * Counters kept in value blocks (spec C.6): NL to EX, add, EX to NL. So many
 * processes times so many steps are what the counter shows in the end, readers
 * never wait, and a writer that dies leaves a doubtful value that the next
 * writer mends.
 */
#include "puppet.h"

#define WRITERS 4
#define STEPS 300

static uint_t get(const dlm_valb_t *v) { return v->valblk[0]; }

static void count(struct role *r, void *arg)
{
	dlm_nsp_t nsp = join();
	dlm_lkid_t id;
	dlm_valb_t v;
	const dlm_flags_t base = DLM_SYNCSTS | DLM_VALB | DLM_NODLCKBLK | DLM_NODLCKWT;
	dlm_status_t st;
	(void)arg;
	st = take(nsp, "counter1", &id, DLM_NLMODE, &v, base | DLM_EXPEDITE);
	ASSERT(st == DLM_SYNCH || st == DLM_SUCCESS);
	tell(r, 'r');
	hear(r, 'g');
	for (int i = 0; i < STEPS; i++) {
		st = turn(&id, DLM_EXMODE, &v, base | DLM_QUECVT);
		ASSERT(st == DLM_SYNCH || st == DLM_SUCCESS);
		v.valblk[0]++;
		st = turn(&id, DLM_NLMODE, &v, base);
		ASSERT(st == DLM_SYNCH || st == DLM_SUCCESS);
	}
	tell(r, 'd');
	hear(r, 'e');
}

static void sums_up(void)
{
	struct role r[WRITERS];
	struct puppet reader;
	for (int i = 0; i < WRITERS; i++) {
		r[i] = fork_role(count, NULL);
		hear(&r[i], 'r');
	}
	reader = puppet();
	ASSERT_ST(lock(&reader, 0, "counter1", DLM_NLMODE, DLM_VALB), DLM_SUCCESS);
	ASSERT_EQ(get(&reader.last.valb), 0);
	for (int i = 0; i < WRITERS; i++)
		tell(&r[i], 'g');
	uint_t last = 0;
	for (int i = 0; i < 200; i++) { /* reads see it grow */
		ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
		ASSERT(get(&reader.last.valb) >= last);
		last = get(&reader.last.valb);
	}
	for (int i = 0; i < WRITERS; i++)
		hear(&r[i], 'd');
	ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT_EQ(get(&reader.last.valb), WRITERS * STEPS);
	for (int i = 0; i < WRITERS; i++) {
		tell(&r[i], 'e');
		finish_role(&r[i]);
	}
	EVENTUALLY(lock_count(&reader, "counter1") == 1);
	ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT_EQ(get(&reader.last.valb), WRITERS * STEPS);
	leave(&reader);
}

static void doubtful(void)
{
	struct puppet reader = puppet(), writer = puppet(), next = puppet();
	ASSERT_ST(lock(&reader, 0, "counter2", DLM_NLMODE, DLM_SYNCSTS | DLM_VALB), DLM_SYNCH);
	ASSERT_ST(lock(&writer, 0, "counter2", DLM_EXMODE, DLM_SYNCSTS | DLM_VALB), DLM_SYNCH);
	ASSERT_ST(cvt(&writer, 0, DLM_NLMODE, DLM_VALB, 70), DLM_SUCCESS);
	ASSERT_ST(lock(&next, 0, "counter2", DLM_NLMODE, 0), DLM_SUCCESS);
	ASSERT_ST(cvt(&writer, 0, DLM_EXMODE, DLM_QUECVT | DLM_VALB, 0), DLM_SUCCESS);
	/* A reader does not wait for it. */
	ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_SYNCSTS | DLM_VALB, 0), DLM_SYNCH);
	ASSERT_EQ(get(&reader.last.valb), 70);
	ASSERT_ST(quecvt(&next, 0, DLM_EXMODE, DLM_QUECVT | DLM_VALB), DLM_SUCCESS);
	EVENTUALLY(state(&next, 0) == DLM_STATE_CONVERTING);
	kill_role(&writer.r);
	ASSERT_ST(completion(&next, 0), DLM_SUCCVALNOTVALID);
	ASSERT_EQ(get(&next.last.valb), 70);
	ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCVALNOTVALID);
	ASSERT_ST(cvt(&next, 0, DLM_NLMODE, DLM_VALB, 71), DLM_SUCCESS);
	ASSERT_ST(cvt(&reader, 0, DLM_NLMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT_EQ(get(&reader.last.valb), 71);
	leave(&next);
	leave(&reader);
}

int main(void)
{
	sums_up();
	doubtful();
	return 0;
}
