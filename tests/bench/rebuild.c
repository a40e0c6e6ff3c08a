/*
 * How long processes wait for their locks after the process that mastered them was
 * killed, and how that grows with their number. The locks are those of two processes,
 * half each: on a root resource of its own for every lock, or all on resources of one
 * tree. Meanwhile a third process locks and unlocks resources that the dead one had
 * nothing to do with: how long one lookup of a new root takes at most shows whether
 * the rebuild stops others.
 *
 * rebuild [--json] [--runs N] [locks...]
 */
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/dlm.h>

#define USERS 2
#define MOST_RUNS 100

/* What the processes tell each other. */
static struct shared {
	double killed;            /* when the master was killed */
	double first[USERS], all[USERS];
	double lookup;            /* the longest that the bystander waited, ms */
	volatile int stop;
} *shared;

static int said[2], go[2]; /* pipes from and to the processes */

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

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
		dlm_perror((char *)what, st);
		exit(1);
	}
}

static void say(void) { must(write(said[1], "", 1) == 1, "write"); }

static void await(int fd)
{
	char c;
	must(read(fd, &c, 1) == 1, "a process ended before its time");
}

static dlm_nsp_t join(void)
{
	dlm_nsp_t nsp;
	granted(dlm_nsjoin(geteuid(), &nsp, DLM_USER), "join");
	return nsp;
}

/* Joins and locks resources from..to-1: roots, or below one root. */
static dlm_lkid_t *lock_all(long from, long to, int tree, int mode)
{
	dlm_nsp_t nsp = join();
	dlm_lkid_t root, *id = calloc(to - from, sizeof *id);
	char name[32];

	must(id != NULL, "calloc");
	if (tree)
		granted(dlm_lock(nsp, (uchar_t *)"tree", 4, NULL, &root, DLM_NLMODE, NULL, 0, 0, 0, 0, 0), "lock");
	for (long i = from; i < to; i++) {
		int len = snprintf(name, sizeof name, "r%ld", i);
		granted(dlm_lock(nsp, (uchar_t *)name, len, tree ? &root : NULL, &id[i - from], mode, NULL, 0, 0, 0, 0, 0), "lock");
	}
	return id;
}

static pid_t start(void (*f)(long, int, int), long n, int tree, int which)
{
	pid_t p = fork();
	must(p >= 0, "fork");
	if (p == 0) {
		f(n, tree, which);
		_exit(0);
	}
	/* The pipe does not end with the process: others have its end too. */
	for (struct pollfd f = {said[0], POLLIN, 0}; poll(&f, 1, 100) == 0;)
		if (waitpid(p, NULL, WNOHANG) == p)
			exit(1);
	await(said[0]);
	return p;
}

/* Has the agent's role, and nothing to do with the locks. */
static void agent(long n, int tree, int which)
{
	(void)n, (void)tree, (void)which;
	join();
	say();
	pause();
}

static void master(long n, int tree, int which)
{
	(void)which;
	free(lock_all(0, n, tree, DLM_NLMODE));
	say();
	pause();
}

#define STREWN 16

static dlm_lkid_t *strewn[STREWN];
static double strewn_at[STREWN];

static void *one(void *arg)
{
	long i = (long)arg;
	granted(dlm_cvt(strewn[i], DLM_PRMODE, NULL, 0, 0, 0, 0, 0), "convert");
	strewn_at[i] = now_ms();
	return NULL;
}

static void user(long n, int tree, int which)
{
	long from = n * which / USERS, to = n * (which + 1) / USERS;
	dlm_lkid_t *id = lock_all(from, to, tree, DLM_CRMODE);
	pthread_t thread[STREWN];

	say();
	await(go[0]);
	for (long i = 0; i < STREWN; i++) {
		strewn[i] = &id[(to - from) * i / STREWN];
		must(pthread_create(&thread[i], NULL, one, (void *)i) == 0, "pthread_create");
	}
	for (long i = 0; i < STREWN; i++) {
		must(pthread_join(thread[i], NULL) == 0, "pthread_join");
		if (i == 0 || strewn_at[i] < shared->first[which])
			shared->first[which] = strewn_at[i];
	}
	for (long i = 0; i < to - from; i++)
		granted(dlm_cvt(&id[i], DLM_PRMODE, NULL, 0, 0, 0, 0, 0), "convert");
	shared->all[which] = now_ms();
}

/* Asks for one new root after the other. */
static void bystander(long n, int tree, int which)
{
	dlm_nsp_t nsp = join();
	dlm_lkid_t id;
	char name[32];

	(void)n, (void)tree, (void)which;
	say();
	await(go[0]);
	for (long i = 0; !shared->stop; i++) {
		struct timespec pause = {0, 1000000};
		int len = snprintf(name, sizeof name, "other%ld", i);
		double t = now_ms();
		granted(dlm_lock(nsp, (uchar_t *)name, len, NULL, &id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0), "lock");
		t = now_ms() - t;
		if (t > shared->lookup)
			shared->lookup = t;
		granted(dlm_unlock(&id, NULL, 0), "unlock");
		nanosleep(&pause, NULL);
	}
}

struct result {
	double first, all, lookup;
};

static struct result run(long n, int tree)
{
	pid_t a, m, b, u[USERS];
	struct result r = {0, 0, 0};
	int st;

	memset(shared, 0, sizeof *shared);
	must(pipe(said) == 0 && pipe(go) == 0, "pipe");
	a = start(agent, n, tree, 0);
	m = start(master, n, tree, 0);
	for (int i = 0; i < USERS; i++)
		u[i] = start(user, n, tree, i);
	b = start(bystander, n, tree, 0);
	kill(m, SIGKILL);
	waitpid(m, NULL, 0);
	shared->killed = now_ms();
	must(write(go[1], "   ", USERS + 1) == USERS + 1, "write");
	for (int i = 0; i < USERS; i++) {
		must(waitpid(u[i], &st, 0) == u[i], "waitpid");
		if (st != 0)
			exit(1);
		if (i == 0 || shared->first[i] < r.first)
			r.first = shared->first[i];
		if (shared->all[i] > r.all)
			r.all = shared->all[i];
	}
	shared->stop = 1;
	must(waitpid(b, &st, 0) == b && st == 0, "bystander");
	kill(a, SIGKILL);
	waitpid(a, NULL, 0);
	close(said[0]);
	close(said[1]);
	close(go[0]);
	close(go[1]);
	r.first -= shared->killed;
	r.all -= shared->killed;
	r.lookup = shared->lookup;
	return r;
}

static int ascending(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;
	return (a > b) - (a < b);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof *v, ascending);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* One object for each figure. The baseline is the time per lock with fewest locks. */
static void json(const char *name, const char *what, long n, int tree, double value, const char *unit, double baseline, double goal)
{
	printf("{\"name\":\"rebuild-%s-%s%ld\",\"what\":\"%s, %ld locks, %s\",\"value\":%.3f,\"unit\":\"%s\"", name,
	       tree ? "tree-" : "", n, what, n, tree ? "one tree" : "a tree each", value, unit);
	if (baseline > 0)
		printf(",\"baseline\":%.3f,\"ratio\":%.3f", baseline, value / baseline);
	else
		printf(",\"baseline\":null,\"ratio\":null");
	if (goal > 0)
		printf(",\"goal\":%g}\n", goal);
	else
		printf(",\"goal\":null}\n");
}

static void measure(long n, int tree, int runs, int as_json, double *base)
{
	double first[MOST_RUNS], all[MOST_RUNS], lookup[MOST_RUNS], f, a, l, each;

	for (int i = 0; i < runs; i++) {
		struct result r = run(n, tree);
		first[i] = r.first;
		all[i] = r.all;
		lookup[i] = r.lookup;
	}
	f = median(first, runs);
	a = median(all, runs);
	l = median(lookup, runs);
	each = a * 1e3 / n;
	if (as_json) {
		json("first", "death of the master until the first lock is granted", n, tree, f, "ms", 0, n == 100000 ? 500 : 0);
		json("all", "death of the master until all are", n, tree, a, "ms", 0, n == 100000 ? 1500 : 0);
		json("each", "for each lock, against the same with the fewest", n, tree, each, "us", *base, 0);
		json("others", "longest lookup of another root meanwhile", n, tree, l, "ms", 0, 0);
	} else {
		printf("  %8ld locks, %-12s first %8.1f ms   all %8.1f ms   %6.2f us for each   others waited %6.1f ms at most\n",
		       n, tree ? "one tree" : "a tree each", f, a, each, l);
	}
	fflush(stdout);
	if (*base == 0)
		*base = each;
}

int main(int argc, char **argv)
{
	long sizes[16] = {1000, 10000, 100000};
	int count = 3, given = 0, runs = 1, as_json = 0;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			as_json = 1;
		else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
			runs = atoi(argv[++i]);
		else if (given < 16)
			sizes[given++] = atol(argv[i]);
	if (given)
		count = given;
	if (runs < 1 || runs > MOST_RUNS) {
		fprintf(stderr, "rebuild: 1 to %d runs\n", MOST_RUNS);
		return 2;
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared != MAP_FAILED, "mmap");
	if (!as_json)
		printf("From the death of the master until its locks can be used again (median of %d)\n", runs);
	fflush(stdout);
	for (int tree = 0; tree < 2; tree++) {
		double base = 0;
		for (int i = 0; i < count; i++)
			measure(sizes[i], tree, runs, as_json, &base);
	}
	return 0;
}
