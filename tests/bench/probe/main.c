/*
 * Measures what the library costs, through its C interface, each figure beside what
 * the same machine does without it, in turns within one run. Prints a line of JSON
 * for each row; `godlm bench` makes a table of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <ftw.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

int runs = 7;
int two_cpus;

double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

void must(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

void ok(dlm_status_t st)
{
	if (st != DLM_SUCCESS) {
		dlm_perror("probe: unexpected status", st);
		exit(1);
	}
}

static cpu_set_t allowed;

void pin(int cpu)
{
	cpu_set_t s;
	CPU_ZERO(&s);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &allowed) && cpu-- == 0)
			CPU_SET(i, &s);
	must(sched_setaffinity(0, sizeof s, &s) == 0, "sched_setaffinity");
}

dlm_nsp_t join(void)
{
	dlm_nsp_t nsp;
	ok(dlm_nsjoin(geteuid(), &nsp, DLM_USER));
	return nsp;
}

double each(void (*f)(void), int n)
{
	double t = now_us();
	for (int i = 0; i < n; i++)
		f();
	return (now_us() - t) / n;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double median(const double *v, int n)
{
	double s[MOST_RUNS];
	memcpy(s, v, (size_t)n * sizeof *s);
	qsort(s, (size_t)n, sizeof *s, ascending);
	return n % 2 ? s[n / 2] : (s[n / 2 - 1] + s[n / 2]) / 2;
}

static double least(const double *v, int n)
{
	double m = v[0];
	for (int i = 1; i < n; i++)
		m = v[i] < m ? v[i] : m;
	return m;
}

static double most(const double *v, int n)
{
	double m = v[0];
	for (int i = 1; i < n; i++)
		m = v[i] > m ? v[i] : m;
	return m;
}

/* The ratio is the median of the runs' ratios: what disturbs a run disturbs both. */
void print_row(const struct row *r)
{
	double ratio[MOST_RUNS], judged, worst = most(r->value, r->runs);
	int reached;

	printf("{\"name\":\"%s\",\"what\":\"%s\",\"placement\":\"%s\",\"unit\":\"%s\"", r->name, r->what, r->placement, r->unit);
	printf(",\"value\":%.4g,\"runs\":%d,\"min\":%.4g,\"median\":%.4g,\"max\":%.4g", median(r->value, r->runs), r->runs,
	       least(r->value, r->runs), median(r->value, r->runs), worst);
	judged = median(r->value, r->runs);
	if (r->baseline_what) {
		for (int i = 0; i < r->runs; i++)
			ratio[i] = r->value[i] / r->baseline[i];
		judged = median(ratio, r->runs);
		printf(",\"baseline\":%.4g,\"baseline_what\":\"%s\",\"ratio\":%.4g,\"ratio_min\":%.4g,\"ratio_max\":%.4g",
		       median(r->baseline, r->runs), r->baseline_what, judged, least(ratio, r->runs), most(ratio, r->runs));
	} else {
		printf(",\"baseline\":null,\"ratio\":null");
	}
	if (r->direction != NO_GOAL) {
		reached = r->direction == AT_MOST ? judged <= r->goal : judged >= r->goal;
		if (r->goal_worst > 0) {
			reached = reached && worst <= r->goal_worst;
			printf(",\"goal_worst\":%g", r->goal_worst);
		}
		printf(",\"goal\":%g,\"at_least\":%s,\"reached\":%s", r->goal, r->direction == AT_LEAST ? "true" : "false",
		       reached ? "true" : "false");
	}
	printf("}\n");
	fflush(stdout);
}

pid_t start(void (*f)(void *), void *arg, int cpu)
{
	fflush(stdout);
	pid_t parent = getpid(), p = fork();
	must(p >= 0, "fork");
	if (p == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		if (cpu >= 0)
			pin(cpu);
		f(arg);
		fflush(stdout);
		_exit(0);
	}
	return p;
}

void stop(pid_t p)
{
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
}

void finish(pid_t p)
{
	int st;
	must(waitpid(p, &st, 0) == p && WIFEXITED(st) && WEXITSTATUS(st) == 0, "a process of the probe has failed");
}

void *shared_memory(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap");
	return p;
}

/* Polls, with pauses: it is for the beginning of things, not for what is measured. */
void wait_for(const atomic_int *flag, int value, const char *what)
{
	double limit = now_us() + 30e6;
	while (atomic_load(flag) != value) {
		if (now_us() > limit) {
			fprintf(stderr, "probe: %s: nothing for 30 seconds\n", what);
			exit(1);
		}
		usleep(500);
	}
}

/* ---- the runtime directory ------------------------------------------------------- */

static char base[] = "/tmp/godlm-bench.XXXXXX", current[64];
static pid_t owner;

const char *directory(void) { return current; }

static int erase(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void erase_base(void)
{
	if (getpid() == owner)
		nftw(base, erase, 16, FTW_DEPTH | FTW_PHYS);
}

void new_directory(void)
{
	static int number;
	if (owner == 0) {
		must(mkdtemp(base) != NULL, "temporary directory");
		owner = getpid();
		atexit(erase_base);
	}
	snprintf(current, sizeof current, "%s/%d", base, ++number);
	must(mkdir(current, 0700) == 0 && setenv("GODLM_DIR", current, 1) == 0, "runtime directory");
}

/* ---- */

static int wanted(int argc, char **argv, const char *name)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return 1;
	return argc == 0;
}

static void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static int usage(void)
{
	fputs("usage: probe [--runs N] [local] [threads] [remote] [hand-over] [join] [idle] [death]\n"
	      "       probe serve CPU ADDRESS\n"
	      "       probe [--runs N] use CPU ADDRESS NAME PLACEMENT GOAL\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const char *self = argv[0];

	must(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
	two_cpus = CPU_COUNT(&allowed) > 1;
	argc--, argv++;
	if (argc >= 2 && strcmp(argv[0], "--runs") == 0) {
		runs = atoi(argv[1]);
		argc -= 2, argv += 2;
		if (runs < 1 || runs > MOST_RUNS)
			return usage();
	}
	if (argc == 1 && strcmp(argv[0], "join-once") == 0) {
		join_once();
		return 0;
	}
	if (argc == 3 && strcmp(argv[0], "serve") == 0) {
		pin(atoi(argv[1]));
		serve(argv[2], say_ready);
		return 0;
	}
	if (argc == 6 && strcmp(argv[0], "use") == 0) {
		pin(atoi(argv[1]));
		use(argv[2], argv[3], argv[4], atof(argv[5]));
		return 0;
	}
	for (int i = 0; i < argc; i++)
		if (strstr(" local threads remote hand-over join idle death ", argv[i]) == NULL)
			return usage();
	/* The library starts in children only: this process goes on forking. */
	if (wanted(argc, argv, "local"))
		local_rows();
	if (wanted(argc, argv, "threads"))
		thread_row();
	if (wanted(argc, argv, "remote"))
		remote_rows();
	if (wanted(argc, argv, "hand-over"))
		hand_over_rows();
	if (wanted(argc, argv, "join"))
		join_rows(self);
	if (wanted(argc, argv, "idle"))
		idle_rows();
	if (wanted(argc, argv, "death"))
		death_rows();
	return 0;
}
