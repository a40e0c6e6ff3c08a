/*
 * Eight threads at once: every function from every thread, resources mastered here
 * and in another process, notifications delivered by whoever asks for them, and
 * threads that are cancelled while they wait.
 */
#include <stdatomic.h>

#include "test.h"

#define THREADS 8
#define ROUNDS 400
#define HOT 3 /* resources that all threads fight for; the last one is mastered elsewhere */

static dlm_nsp_t nsp;
static const char *const hot[HOT] = {"hot.a", "hot.b", "hot.remote"};

/* Written under EX only: inside[] shows two writers, sum[] lost updates. */
static volatile long sum[HOT];
static atomic_int inside[HOT];

static void critical(int r)
{
	ASSERT_EQ(atomic_fetch_add(&inside[r], 1), 0);
	sum[r] = sum[r] + 1;
	ASSERT_EQ(atomic_fetch_sub(&inside[r], 1), 1);
}

/* ---- asynchronous requests ------------------------------------------------------ */

struct pending {
	atomic_int completed;
	dlm_status_t status;
	dlm_valb_t valb;
	dlm_lkid_t id;
};

static void completed(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t st)
{
	struct pending *p = notprm;
	ASSERT(memcmp(id, &p->id, sizeof *id) == 0);
	p->status = st;
	ASSERT_EQ(atomic_fetch_add(&p->completed, 1), 0);
}

static void asynchronously(int r)
{
	struct pending p = {.status = DLM_UNEXPERR};
	dlm_status_t st = dlm_quelock(nsp, (uchar_t *)(size_t)hot[r], (ushort_t)strlen(hot[r]), NULL, &p.id, DLM_EXMODE,
	                              &p.valb, DLM_VALB | DLM_SYNCSTS, &p, NULL, NULL, 0, completed);
	if (st == DLM_SUCCESS) {
		long long end = now_ms() + DEADLINE_MS;
		while (!atomic_load(&p.completed)) { /* another thread may deliver it */
			if (dlm_notify() == 0)
				readable(godlm_event_fd(), 1);
			ASSERT(now_ms() < end);
		}
		st = p.status;
	}
	ASSERT(st == DLM_SUCCESS || st == DLM_SYNCH);
	ASSERT_EQ(p.valb.valblk[0], (uint_t)sum[r]);
	critical(r);
	p.valb.valblk[0]++;
	ASSERT_ST(dlm_unlock(&p.id, &p.valb, DLM_VALB), DLM_SUCCESS);
}

/* ---- synchronous ones ------------------------------------------------------------ */

static void synchronously(int r)
{
	dlm_lkid_t id;
	dlm_valb_t v;
	ASSERT_ST(take(nsp, hot[r], &id, DLM_NLMODE, NULL, DLM_EXPEDITE), DLM_SUCCESS);
	ASSERT_ST(turn(&id, DLM_EXMODE, &v, DLM_VALB), DLM_SUCCESS);
	ASSERT_EQ(v.valblk[0], (uint_t)sum[r]);
	critical(r);
	v.valblk[0]++;
	ASSERT_ST(turn(&id, DLM_NLMODE, &v, DLM_VALB), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
}

static void on_its_own(int thread, int round)
{
	char name[32];
	dlm_lkid_t id, sub;
	dlm_lkinfo_t info;
	dlm_rsbinfo_t rsb;
	snprintf(name, sizeof name, "own.%d.%d", thread, round % 5);
	ASSERT_ST(take(nsp, name, &id, DLM_EXMODE, NULL, DLM_NOQUEUE), DLM_SUCCESS);
	ASSERT_ST(dlm_lock(nsp, (uchar_t *)name, 3, &id, &sub, DLM_PRMODE, NULL, 0, NULL, NULL, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUBLOCKS);
	ASSERT_ST(dlm_get_lkinfo(&sub, &info), DLM_SUCCESS);
	ASSERT(memcmp(&info.parlkid, &id, sizeof id) == 0);
	ASSERT_ST(dlm_get_rsbinfo(nsp, (uchar_t *)name, (ushort_t)strlen(name), &rsb, NULL), DLM_SUCCESS);
	ASSERT_EQ(rsb.lckcnt, 1);
	ASSERT_EQ(rsb.subrescnt, 1);
	ASSERT_ST(dlm_cancel(&sub, 0), DLM_CANCELGRANT);
	ASSERT_ST(dlm_unlock(&id, NULL, DLM_DEQALL), DLM_SUCCESS);
	ASSERT_ST(dlm_get_lkinfo(&sub, &info), DLM_IVLOCKID);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_IVLOCKID);
}

static pthread_barrier_t start;

static void *work(void *arg)
{
	int thread = (int)(long)arg;
	pthread_barrier_wait(&start);
	for (int i = 0; i < ROUNDS; i++) {
		int r = (i + thread) % HOT;
		if (i % 4 == 3)
			asynchronously(r);
		else
			synchronously(r);
		if (i % 8 == 0)
			on_its_own(thread, i);
	}
	return NULL;
}

/* ---- the first call, made by all at once ----------------------------------------- */

static atomic_int firsts;

static void *first_call(void *arg)
{
	dlm_nsp_t n = -1;
	(void)arg;
	pthread_barrier_wait(&start);
	dlm_status_t st = dlm_nsjoin(geteuid(), &n, DLM_USER);
	if (st == DLM_SUCCESS) {
		nsp = n;
		atomic_fetch_add(&firsts, 1);
	} else {
		ASSERT_ST(st, DLM_ATTACHED);
		ASSERT_EQ(n, -1);
	}
	return NULL;
}

/* ---- cancelled threads -------------------------------------------------------------- */

static const char *wanted;

static void *waits_for_it(void *arg)
{
	dlm_lkid_t id;
	(void)arg;
	take(nsp, wanted, &id, DLM_EXMODE, NULL, 0);
	return "not cancelled";
}

/* The request of a cancelled thread is withdrawn; those of others go on. */
static void cancellation(const char *name, struct role *holder)
{
	pthread_t t[4];
	void *end;
	dlm_lkid_t id;
	dlm_rsbinfo_t rsb;
	wanted = name;
	if (holder)
		tell(holder, 'l'), hear(holder, 'h');
	else
		ASSERT_ST(take(nsp, name, &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(pthread_create(&t[i], NULL, waits_for_it, NULL), 0);
	EVENTUALLY(dlm_get_rsbinfo(nsp, (uchar_t *)(size_t)name, (ushort_t)strlen(name), &rsb, NULL) == DLM_SUCCESS &&
	           rsb.lckcnt == 5);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(pthread_cancel(t[i]), 0);
		ASSERT_EQ(pthread_join(t[i], &end), 0);
		ASSERT(end == PTHREAD_CANCELED);
		EVENTUALLY(dlm_get_rsbinfo(nsp, (uchar_t *)(size_t)name, (ushort_t)strlen(name), &rsb, NULL) ==
		               DLM_SUCCESS && (int)rsb.lckcnt == 4 - i);
	}
	if (holder)
		tell(holder, 'u'), hear(holder, 'f');
	else
		ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(take(nsp, name, &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
}

/* ---- the other process ----------------------------------------------------------------- */

static void other_main(struct role *r, void *arg)
{
	dlm_lkid_t keep, id;
	(void)arg;
	hear(r, 'g');
	nsp = join();
	ASSERT_ST(take(nsp, hot[HOT - 1], &keep, DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	tell(r, 'm');
	hear(r, 'l');
	ASSERT_ST(take(nsp, "cancelled.remote", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	tell(r, 'h');
	hear(r, 'u');
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	tell(r, 'f');
	hear(r, 'q');
}

int main(void)
{
	struct role other = fork_role(other_main, NULL);
	pthread_t t[THREADS];
	dlm_rsbinfo_t rsb;
	dlm_lkid_t id;

	/* Threads of a process are one party: on a slow machine they would be a deadlock (D-67). */
	setenv("GODLM_DEADLOCK_WAIT_MS", "60000", 1);
	ASSERT_EQ(pthread_barrier_init(&start, NULL, THREADS), 0);
	for (long i = 0; i < THREADS; i++)
		ASSERT_EQ(pthread_create(&t[i], NULL, first_call, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ASSERT_EQ(firsts, 1);

	/* Somebody keeps each resource, or its value block would go with the last lock. */
	for (int i = 0; i < HOT - 1; i++)
		ASSERT_ST(take(nsp, hot[i], &id, DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	tell(&other, 'g');
	hear(&other, 'm');
	for (long i = 0; i < THREADS; i++)
		ASSERT_EQ(pthread_create(&t[i], NULL, work, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ASSERT_EQ(sum[0] + sum[1] + sum[2], THREADS * ROUNDS);
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_ST(dlm_get_rsbinfo(nsp, (uchar_t *)(size_t)hot[2], (ushort_t)strlen(hot[2]), &rsb, NULL), DLM_SUCCESS);
	ASSERT_EQ(rsb.lckcnt, 1);
	ASSERT_EQ(rsb.valb.valblk[0], (uint_t)sum[2]);

	cancellation("cancelled.local", NULL);
	cancellation("cancelled.remote", &other);
	tell(&other, 'q');
	finish_role(&other);

	/* Nothing is left behind. */
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
	ASSERT_ST(take(nsp, "last", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_HASLOCKS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_detach(), DLM_SUCCESS);
	return 0;
}
