/*
 * Resources that one process uses alone and often, so that it locks them without a
 * call of the lock manager: what it does there others see as soon as they come, and
 * its death is the death of a holder.
 */
#include "puppet.h"

#define OFTEN 20 /* more than it takes */

static int unwritten(const dlm_valb_t *v)
{
	static const dlm_valb_t zero;
	return memcmp(v, &zero, sizeof zero) == 0;
}

/* p uses the resource until its tree is lent, and keeps the lock in `mode`, with `value` written. */
static void use_alone(struct puppet *p, int slot, const char *name, int mode, uint_t value)
{
	for (int i = 0; i < OFTEN; i++) {
		ASSERT_ST(lock(p, slot, name, DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
		ASSERT(unwritten(&p->last.valb)); /* it went with the last lock */
		ASSERT_ST(unlock(p, slot, DLM_VALB, value + 1000), DLM_SUCCESS);
	}
	ASSERT_ST(lock(p, slot, name, DLM_EXMODE, 0), DLM_SUCCESS);
	for (int i = 0; i < OFTEN; i++) {
		ASSERT_ST(cvt(p, slot, DLM_NLMODE, DLM_VALB, value + 2000 + (uint_t)i), DLM_SUCCESS);
		ASSERT_ST(cvt(p, slot, DLM_EXMODE, DLM_VALB | DLM_QUECVT, 0), DLM_SUCCESS);
		ASSERT(same_value(&p->last.valb, value + 2000 + (uint_t)i));
	}
	ASSERT_ST(cvt(p, slot, DLM_EXMODE, DLM_VALB, value), DLM_SUCCESS);
	if (mode != DLM_EXMODE)
		ASSERT_ST(cvt(p, slot, mode, 0, 0), DLM_SUCCESS);
}

static void others_see_it(struct puppet *a, struct puppet *b)
{
	use_alone(a, 0, "seen", DLM_PWMODE, 70);
	ASSERT_ST(lock(b, 0, "seen", DLM_EXMODE, DLM_NOQUEUE), DLM_NOTQUEUED);
	ASSERT_ST(lock(b, 0, "seen", DLM_CRMODE, DLM_VALB), DLM_SUCCESS);
	ASSERT(same_value(&b->last.valb, 70));
	ASSERT_ST(rsbinfo(b, "seen"), DLM_SUCCESS);
	ASSERT_EQ(b->last.rsb.vbseqnum, OFTEN + 1);
	ASSERT_EQ(b->last.rsb.lckcnt, 2);
	ASSERT_EQ(b->last.rsb.ggmode, DLM_PWMODE);
	ASSERT_ST(unlock(a, 0, DLM_VALB, 71), DLM_SUCCESS);
	ASSERT_ST(cvt(b, 0, DLM_EXMODE, DLM_VALB, 0), DLM_SUCCESS);
	ASSERT(same_value(&b->last.valb, 71));
	ASSERT_ST(unlock(b, 0, 0, 0), DLM_SUCCESS);
}

/* The blocking routine is that of the latest request. */
static void holders_are_told(struct puppet *a, struct puppet *b)
{
	for (int i = 0; i < OFTEN; i++) {
		ASSERT_ST(order(a, named(CMD(OP_LOCK, 1, .mode = DLM_EXMODE, .watch = 1), "told")), DLM_SUCCESS);
		if (i < OFTEN - 1)
			ASSERT_ST(unlock(a, 1, 0, 0), DLM_SUCCESS);
	}
	ASSERT_ST(order(b, named(CMD(OP_QUELOCK, 1, .mode = DLM_PRMODE, .hint = 5), "told")), DLM_SUCCESS);
	ASSERT_EQ(blocked(a, 1), DLM_PRMODE);
	ASSERT_EQ(a->last.hint, 5);
	ASSERT_ST(unlock(a, 1, 0, 0), DLM_SUCCESS);
	ASSERT_ST(completion(b, 1), DLM_SUCCESS);
	ASSERT_ST(unlock(b, 1, 0, 0), DLM_SUCCESS);
}

static void it_is_a_lock(struct puppet *a)
{
	use_alone(a, 2, "lock", DLM_PWMODE, 90);
	ASSERT_ST(lkinfo(a, 2), DLM_SUCCESS);
	ASSERT_EQ(a->last.lki.grmode, DLM_PWMODE);
	ASSERT_EQ(a->last.lki.lkstate, DLM_STATE_GRANTED);
	ASSERT_ST(order(a, CMD(OP_TOKEN, 2)), DLM_SUCCESS);
	uint64_t before = a->last.token.number;
	ASSERT_ST(cvt(a, 2, DLM_EXMODE, 0, 0), DLM_SUCCESS);
	ASSERT_ST(order(a, CMD(OP_TOKEN, 2)), DLM_SUCCESS);
	ASSERT(a->last.token.number > before);
	ASSERT_ST(order(a, named(CMD(OP_LOCK, 3, .mode = DLM_EXMODE, .under = 3), "below")), DLM_SUCCESS);
	ASSERT_ST(unlock(a, 2, 0, 0), DLM_SUBLOCKS);
	ASSERT_ST(unlock(a, 3, 0, 0), DLM_SUCCESS);
	ASSERT_ST(cancel(a, 2, 0), DLM_CANCELGRANT);
	ASSERT_ST(lock(a, 3, "lock", DLM_NLMODE, DLM_VALB), DLM_SUCCESS);
	ASSERT(same_value(&a->last.valb, 90));
	ASSERT_ST(unlock(a, 3, 0, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(a, 2, DLM_INVVALBLK, 0), DLM_SUCCESS);
	ASSERT_ST(unlock(a, 2, 0, 0), DLM_IVLOCKID);
	ASSERT_ST(cvt(a, 2, DLM_NLMODE, 0, 0), DLM_IVLOCKID);
}

/* Alone: nothing is left. With another lock: the value it wrote, not valid if it could write. */
static void death(struct puppet *b)
{
	static const int modes[] = {DLM_NLMODE, DLM_PRMODE, DLM_PWMODE, DLM_EXMODE};
	for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
		int writer = modes[i] >= DLM_PWMODE;
		struct puppet alone = puppet(), seen = puppet();
		use_alone(&alone, 0, "alone", modes[i], 30);
		use_alone(&seen, 0, "shared", modes[i], 40);
		ASSERT_ST(lock(b, 0, "shared", DLM_NLMODE, DLM_VALB), DLM_SUCCESS);
		ASSERT(same_value(&b->last.valb, 40));
		kill_role(&alone.r);
		kill_role(&seen.r);
		EVENTUALLY(lock_count(b, "shared") == 1);
		ASSERT_ST(cvt(b, 0, DLM_NLMODE, DLM_VALB, 0), writer ? DLM_SUCCVALNOTVALID : DLM_SUCCESS);
		ASSERT(same_value(&b->last.valb, 40));
		ASSERT_ST(lock(b, 1, "alone", DLM_EXMODE, DLM_VALB), DLM_SUCCESS);
		ASSERT(unwritten(&b->last.valb));
		ASSERT_ST(unlock(b, 1, 0, 0), DLM_SUCCESS);
		ASSERT_ST(unlock(b, 0, 0, 0), DLM_SUCCESS);
	}
}

/* ---- threads, and another process that looks in ------------------------------------- */

#define THREADS 4
#define NAMES 3
#define STEPS 30000
#define VISITS 300

static dlm_nsp_t nsp;
static volatile long sum[NAMES]; /* written under EX */

static void adds(int n, long steps)
{
	char name[16];
	dlm_lkid_t id;
	dlm_valb_t v;
	int len = snprintf(name, sizeof name, "hot.%d", n);
	for (long i = 0; i < steps; i++) {
		ASSERT_ST(dlm_lock(nsp, (uchar_t *)name, (ushort_t)len, NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0), DLM_SUCCESS);
		ASSERT_ST(dlm_cvt(&id, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0), DLM_SUCCESS);
		sum[n]++;
		v.valblk[0]++;
		ASSERT_ST(dlm_cvt(&id, DLM_NLMODE, &v, DLM_VALB, 0, 0, 0, 0), DLM_SUCCESS);
		ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	}
}

/* Mostly on a resource of its own, and again and again on that of the next thread. */
static void *work(void *arg)
{
	int me = (int)(size_t)arg;
	for (int i = 0; i < 100; i++) {
		adds(me % NAMES, STEPS / 100 - 20);
		adds((me + 1) % NAMES, 20);
	}
	return NULL;
}

static void visitor(struct role *r, void *arg)
{
	char name[16];
	dlm_lkid_t id;
	dlm_valb_t v;
	(void)arg;
	nsp = join();
	tell(r, 'r');
	hear(r, 'g');
	for (int i = 0; i < VISITS; i++) {
		int len = snprintf(name, sizeof name, "hot.%d", i % NAMES);
		ASSERT_ST(dlm_lock(nsp, (uchar_t *)name, (ushort_t)len, NULL, &id, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0), DLM_SUCCESS);
		v.valblk[0]++;
		ASSERT_ST(dlm_unlock(&id, &v, DLM_VALB), DLM_SUCCESS);
	}
	tell(r, 'd');
}

static void threads(struct role *r)
{
	pthread_t t[THREADS];
	dlm_lkid_t keep[NAMES];
	dlm_valb_t v;
	long total = 0, read = 0;

	nsp = join();
	for (int pass = 0; pass < 2; pass++) {
		/* In the second pass somebody keeps the resources, and so their value blocks. */
		for (int n = 0; n < NAMES && pass == 1; n++) {
			char name[16];
			int len = snprintf(name, sizeof name, "hot.%d", n);
			sum[n] = 0;
			ASSERT_ST(dlm_lock(nsp, (uchar_t *)name, (ushort_t)len, NULL, &keep[n], DLM_NLMODE, NULL, 0, 0, 0, 0, 0), DLM_SUCCESS);
		}
		if (pass == 1) {
			hear(r, 'r');
			tell(r, 'g');
		}
		for (int i = 0; i < THREADS; i++)
			ASSERT(pthread_create(&t[i], NULL, work, (void *)(size_t)i) == 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
		total = 0;
		for (int n = 0; n < NAMES; n++)
			total += sum[n];
		ASSERT_EQ(total, THREADS * STEPS);
	}
	hear(r, 'd');
	for (int n = 0; n < NAMES; n++) {
		ASSERT_ST(dlm_cvt(&keep[n], DLM_PRMODE, &v, DLM_VALB, 0, 0, 0, 0), DLM_SUCCESS);
		read += v.valblk[0];
	}
	ASSERT_EQ(read, THREADS * STEPS + VISITS);
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
	ASSERT_ST(dlm_nsleave(&nsp, 0), DLM_SUCCESS);
}

int main(void)
{
	struct role r = fork_role(visitor, NULL);
	struct puppet a = puppet(), b = puppet();
	others_see_it(&a, &b);
	holders_are_told(&a, &b);
	it_is_a_lock(&a);
	leave(&a);
	death(&b);
	leave(&b);
	threads(&r);
	finish_role(&r);
	return 0;
}
