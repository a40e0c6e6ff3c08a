/* A resource that the process itself masters: one thread, and two on different trees. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

#define PAIRS 50000

/* Nothing here sleeps, so the thread's own time is what counts, whoever interrupts it. */
static double thread_us(void (*f)(void), int n)
{
	struct timespec a, b;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < n; i++)
		f();
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) / n;
}

static int file;
static dlm_nsp_t nsp;
static dlm_lkid_t held, other;

static void flock_pair(void)
{
	flock(file, LOCK_EX);
	flock(file, LOCK_UN);
}

static void lock_pair(void)
{
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)"local", 5, NULL, &id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_unlock(&id, NULL, 0));
}

static void shared_pair(void)
{
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)"shared", 6, NULL, &id, DLM_CRMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_unlock(&id, NULL, 0));
}

static void convert_pair(void)
{
	dlm_valb_t v;
	ok(dlm_cvt(&held, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0));
	v.valblk[0]++;
	ok(dlm_cvt(&held, DLM_NLMODE, &v, DLM_VALB, 0, 0, 0, 0));
}

static void local(void *arg)
{
	struct row pair = {"local-pair", "lock+unlock, own master", "one thread", "us", "flock(2) lock+unlock", AT_MOST, 0.5, 0, runs, {0}, {0}};
	struct row convert = {"local-convert", "NL->EX->NL with value block, own master", "one thread", "us", "flock(2) lock+unlock", AT_MOST, 0.5, 0, runs, {0}, {0}};
	struct row shared = {"local-shared", "lock+unlock, own master, beside another lock", "one thread", "us", "flock(2) lock+unlock", NO_GOAL, 0, 0, runs, {0}, {0}};
	char path[128];

	(void)arg;
	snprintf(path, sizeof path, "%s/file", directory());
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(file >= 0, path);
	nsp = join();
	ok(dlm_lock(nsp, (uchar_t *)"convert", 7, NULL, &held, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_lock(nsp, (uchar_t *)"shared", 6, NULL, &other, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	each(lock_pair, 1000);
	for (int r = 0; r < runs; r++) {
		double v[4] = {0, 0, 0, 0};
		for (int turn = 0; turn < 5; turn++) {
			v[0] += thread_us(flock_pair, PAIRS / 5);
			v[1] += thread_us(lock_pair, PAIRS / 5);
			v[2] += thread_us(convert_pair, PAIRS / 5);
			v[3] += thread_us(shared_pair, PAIRS / 5);
		}
		pair.baseline[r] = convert.baseline[r] = shared.baseline[r] = v[0] / 5;
		pair.value[r] = v[1] / 5;
		convert.value[r] = v[2] / 5;
		shared.value[r] = v[3] / 5;
	}
	print_row(&pair);
	print_row(&convert);
	print_row(&shared);
}

void local_rows(void)
{
	new_directory();
	finish(start(local, NULL, 0));
}

/* ---- two threads ---------------------------------------------------------------- */

#define SLICE_US 40000

struct worker {
	pthread_t thread;
	int cpu;
	char name[8];
	pthread_barrier_t *begin;
	double per_second;
};

static void pairs_for_a_while(struct worker *w)
{
	double begin = now_us(), end;
	long n = 0;
	do {
		for (int i = 0; i < 100; i++) {
			dlm_lkid_t id;
			ok(dlm_lock(nsp, (uchar_t *)w->name, 6, NULL, &id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
			ok(dlm_unlock(&id, NULL, 0));
		}
		n += 100;
		end = now_us();
	} while (end - begin < SLICE_US);
	w->per_second = (double)n / (end - begin) * 1e6;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	pin(w->cpu);
	pthread_barrier_wait(w->begin);
	pairs_for_a_while(w);
	return NULL;
}

/* Throughput of n threads. */
static double together(int n, int first_cpu)
{
	pthread_barrier_t begin;
	struct worker w[2];
	double sum = 0;

	pthread_barrier_init(&begin, NULL, (unsigned)n);
	for (int i = 0; i < n; i++) {
		w[i].cpu = (first_cpu + i) % 2;
		w[i].begin = &begin;
		snprintf(w[i].name, sizeof w[i].name, "tree-%d", i);
		must(pthread_create(&w[i].thread, NULL, work, &w[i]) == 0, "pthread_create");
	}
	for (int i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		sum += w[i].per_second;
	}
	pthread_barrier_destroy(&begin);
	return sum;
}

static void threads(void *arg)
{
	struct row r = {"two-threads", "lock+unlock per second, two threads on different trees", "two CPUs", "1/s", "one thread", AT_LEAST, 1.8, 0, runs, {0}, {0}};

	(void)arg;
	nsp = join();
	together(2, 0);
	for (int i = 0; i < runs; i++) {
		double one = 0, two = 0;
		for (int turn = 0; turn < 4; turn++) {
			one += together(1, turn);
			two += together(2, 0);
		}
		r.baseline[i] = one / 4;
		r.value[i] = two / 4;
	}
	print_row(&r);
}

void thread_row(void)
{
	if (!two_cpus) {
		fputs("probe: two threads: skipped, there is one CPU\n", stderr);
		return;
	}
	new_directory();
	finish(start(threads, NULL, -1));
}
