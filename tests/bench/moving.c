/*
 * A resource whose busy user changes: two processes lock and unlock it in turns, each
 * as often as it can for a while, and a third one now and then. What the busy one gets
 * done is compared with what it does on a resource of its own, and with the same where
 * trees that are in use do not move (GODLM_MASTER=first). The third one tells how long
 * a request of a bystander takes at most.
 *
 * moving [--json] [--runs N] [--ms M]    M: how long one of them is busy, 1000
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/dlm.h>

enum { TURNS = 4, MOST_RUNS = 100 };

/* What the processes tell each other. */
static struct shared {
	atomic_int turn; /* whose turn it is: 0, 1; -1: nobody's; 2: the end */
	atomic_int ready;
	atomic_long pairs;
	double longest_ms; /* a request of the third process */
} *shared;

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void granted(dlm_status_t st, const char *what)
{
	if (st != DLM_SUCCESS) {
		dlm_perror((char *)(size_t)what, st);
		exit(1);
	}
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void rest(long us)
{
	struct timespec t = {0, us * 1000};
	nanosleep(&t, NULL);
}

/* Holds the resource in NL, so that it does not end, and asks for a second lock. */
static dlm_nsp_t join(const char *name)
{
	dlm_nsp_t nsp;
	dlm_lkid_t id;
	granted(dlm_nsjoin(geteuid(), &nsp, DLM_USER), "join");
	granted(dlm_lock(nsp, (uchar_t *)(size_t)name, strlen(name), NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0), "lock");
	atomic_fetch_add(&shared->ready, 1);
	return nsp;
}

static void pair(dlm_nsp_t nsp, const char *name, int mode)
{
	dlm_lkid_t id;
	granted(dlm_lock(nsp, (uchar_t *)(size_t)name, strlen(name), NULL, &id, mode, NULL, 0, 0, 0, 0, 0), "lock");
	granted(dlm_unlock(&id, NULL, 0), "unlock");
}

static void user(int me)
{
	dlm_nsp_t nsp = join("busy");
	for (;;) {
		int turn = atomic_load(&shared->turn);
		if (turn == 2)
			return;
		if (turn != me) {
			rest(200);
			continue;
		}
		for (int i = 0; i < 20; i++)
			pair(nsp, "busy", DLM_CRMODE);
		atomic_fetch_add(&shared->pairs, 20);
	}
}

static void bystander(void)
{
	dlm_nsp_t nsp = join("busy");
	while (atomic_load(&shared->turn) != 2) {
		double before = now_ms(), took;
		pair(nsp, "busy", DLM_CRMODE);
		took = now_ms() - before;
		if (took > shared->longest_ms)
			shared->longest_ms = took;
		rest(2000);
	}
}

/* Own pairs per second, on a resource that nobody else wants. */
static void alone(void)
{
	dlm_nsp_t nsp = join("own");
	double end;
	while (atomic_load(&shared->turn) == -1)
		rest(200);
	for (end = now_ms() + 200; now_ms() < end; atomic_fetch_add(&shared->pairs, 100))
		for (int i = 0; i < 100; i++)
			pair(nsp, "own", DLM_CRMODE);
}

static pid_t start(int which)
{
	pid_t p = fork();
	must(p >= 0, "fork");
	if (p == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (which == 3)
			alone();
		else if (which == 2)
			bystander();
		else
			user(which);
		exit(0);
	}
	return p;
}

static void finish(pid_t p)
{
	int status;
	must(waitpid(p, &status, 0) == p && status == 0, "a process of the benchmark");
}

/* Pairs per second of the busy user, over all turns. */
static double in_turns(int stay, long turn_ms, double *longest)
{
	pid_t p[3];
	double before, rate;

	setenv("GODLM_MASTER", stay ? "first" : "use", 1);
	memset(shared, 0, sizeof *shared);
	atomic_store(&shared->turn, -1);
	for (int i = 0; i < 3; i++)
		p[i] = start(i);
	while (atomic_load(&shared->ready) < 3)
		rest(1000);
	before = now_ms();
	for (int i = 0; i < TURNS; i++) {
		atomic_store(&shared->turn, i % 2);
		for (double end = now_ms() + turn_ms; now_ms() < end;)
			rest(1000);
	}
	rate = atomic_load(&shared->pairs) / (now_ms() - before) * 1e3;
	atomic_store(&shared->turn, 2);
	for (int i = 0; i < 3; i++)
		finish(p[i]);
	*longest = shared->longest_ms;
	return rate;
}

static double by_itself(void)
{
	memset(shared, 0, sizeof *shared);
	atomic_store(&shared->turn, -1);
	pid_t p = start(3);
	while (atomic_load(&shared->ready) < 1)
		rest(1000);
	atomic_store(&shared->turn, 0);
	finish(p);
	return atomic_load(&shared->pairs) / 0.2;
}

static int less(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof *v, less);
	return v[n / 2];
}

static void print(int json, const char *name, const char *what, const char *unit, const char *against, double *v, double *base, int n)
{
	double ratio[MOST_RUNS], middle, b;
	for (int i = 0; i < n; i++)
		ratio[i] = v[i] / base[i];
	middle = median(v, n);
	b = median(base, n);
	double r = median(ratio, n);
	if (json)
		printf("{\"name\":\"%s\",\"what\":\"%s\",\"placement\":\"any\",\"unit\":\"%s\",\"value\":%g,\"min\":%g,\"median\":%g,\"max\":%g,"
		       "\"runs\":%d,\"baseline\":%g,\"baseline_what\":\"%s\",\"ratio\":%g,\"ratio_min\":%g,\"ratio_max\":%g,"
		       "\"goal\":null,\"at_least\":false,\"goal_worst\":null,\"reached\":null}\n",
		       name, what, unit, middle, v[0], middle, v[n - 1], n, b, against, r, ratio[0], ratio[n - 1]);
	else
		printf("%-14s %s: %.0f %s, %.3g x %s\n", name, what, middle, unit, r, against);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int json = 0, runs = 5;
	long turn_ms = 1000;
	double moving[MOST_RUNS], staying[MOST_RUNS], own[MOST_RUNS], stall[MOST_RUNS], usual[MOST_RUNS], copy[MOST_RUNS];

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			json = 1;
		else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
			runs = atoi(argv[++i]);
		else if (strcmp(argv[i], "--ms") == 0 && i + 1 < argc)
			turn_ms = atol(argv[++i]);
		else {
			fprintf(stderr, "usage: %s [--json] [--runs N] [--ms M]\n", argv[0]);
			return 2;
		}
	}
	if (runs < 1 || runs > MOST_RUNS || turn_ms < 1) {
		fprintf(stderr, "%s: 1 to %d runs, of turns of 1 ms at least\n", argv[0], MOST_RUNS);
		return 2;
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED, "mmap");
	for (int i = 0; i < runs; i++) {
		moving[i] = in_turns(0, turn_ms, &stall[i]);
		staying[i] = in_turns(1, turn_ms, &usual[i]);
		own[i] = by_itself();
	}
	memcpy(copy, moving, sizeof copy);
	print(json, "moving", "pairs of a busy user that changes", "/s", "where trees stay", copy, staying, runs);
	print(json, "moving-own", "the same", "/s", "pairs on a resource of its own", moving, own, runs);
	print(json, "moving-stall", "longest request of a bystander meanwhile", "ms", "where trees stay", stall, usual, runs);
	return 0;
}
