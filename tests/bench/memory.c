/*
 * What a million locks on a million resources cost the process that masters them: resident
 * memory for each lock and its resource, all told, and a lock and unlock among them against
 * the same with an empty table. The process is alone, so that it has the agent's role too,
 * and its directory is counted with the rest.
 *
 * memory [--json] [locks]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/dlm.h>

/* Short runs: most of them are not disturbed by whoever else wants the processor. */
#define RUNS 401
#define PAIRS 500

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void granted(dlm_status_t st, const char *what)
{
	if (st != DLM_SUCCESS) {
		dlm_perror((char *)what, st);
		exit(1);
	}
}

/* The resident memory, all of it, in bytes. */
static double resident(void)
{
	long pages;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%*s %ld", &pages) != 1) {
		perror("/proc/self/statm");
		exit(1);
	}
	fclose(f);
	return (double)pages * sysconf(_SC_PAGESIZE);
}

static int ascending(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;
	return (a > b) - (a < b);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof *v, ascending);
	return v[n / 2];
}

static dlm_nsp_t nsp;

static void lock(dlm_lkid_t *id, const char *kind, long i, int mode)
{
	char name[32];
	int len = snprintf(name, sizeof name, "%s%ld", kind, i);
	granted(dlm_lock(nsp, (uchar_t *)name, len, NULL, id, mode, NULL, 0, 0, 0, 0, 0), "lock");
}

/* A lock and unlock of another resource, in ns. */
static double pair(void)
{
	double v[RUNS];
	dlm_lkid_t id;

	for (int r = 0; r < RUNS; r++) {
		double t = now_ns();
		for (long i = 0; i < PAIRS; i++) {
			lock(&id, "other", 0, DLM_EXMODE);
			granted(dlm_unlock(&id, NULL, 0), "unlock");
		}
		v[r] = (now_ns() - t) / PAIRS;
	}
	return median(v, RUNS);
}

/* The same of one of n resources after the other, in no order. */
static double strewn(const char *kind, long n, int mode)
{
	double v[RUNS];
	dlm_lkid_t id;
	unsigned long at = 1;

	for (int r = 0; r < RUNS; r++) {
		double t = now_ns();
		for (long i = 0; i < PAIRS; i++) {
			at = at * 6364136223846793005UL + 1442695040888963407UL;
			lock(&id, kind, (long)((at >> 33) % (unsigned long)n), mode);
			granted(dlm_unlock(&id, NULL, 0), "unlock");
		}
		v[r] = (now_ns() - t) / PAIRS;
	}
	return median(v, RUNS);
}

static int as_json;

static void tell(const char *name, const char *what, double value, const char *unit, double baseline, double goal)
{
	if (as_json) {
		printf("{\"name\":\"%s\",\"what\":\"%s\",\"value\":%.1f,\"unit\":\"%s\"", name, what, value, unit);
		if (baseline > 0)
			printf(",\"baseline\":%.1f,\"ratio\":%.3f", baseline, value / baseline);
		else
			printf(",\"baseline\":null,\"ratio\":null");
		if (goal > 0)
			printf(",\"goal\":%g}\n", goal);
		else
			printf(",\"goal\":null}\n");
	} else {
		printf("  %-60s %8.1f %s", what, value, unit);
		if (baseline > 0)
			printf("  (%.2f x %.1f)", value / baseline, baseline);
		printf("\n");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	long n = 1000000;
	double empty, few, before, after, begin;
	dlm_lkid_t *id;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			as_json = 1;
		else
			n = atol(argv[i]);
	granted(dlm_nsjoin(geteuid(), &nsp, DLM_USER), "join");
	if (n < 1 || (id = calloc(n, sizeof *id)) == NULL)
		return 2;
	memset(id, 1, n * sizeof *id); /* the program's own, not ours */
	if (!as_json)
		printf("%ld locks on as many root resources, held by the process that masters them\n", n);
	for (long i = 0; i < 1000; i++) {
		dlm_lkid_t x;
		lock(&x, "few", i, DLM_PRMODE);
	}
	empty = pair();
	few = strewn("few", 1000, DLM_PRMODE);
	before = resident();
	begin = now_ns();
	for (long i = 0; i < n; i++)
		lock(&id[i], "r", i, DLM_PRMODE);
	begin = (now_ns() - begin) / n;
	after = resident();
	tell("memory-lock", "resident memory for a lock and its resource", (after - before) / n, "bytes", 0, 350);
	tell("memory-pair", "lock+unlock of another resource among them", pair(), "ns", empty, 1.5);
	tell("memory-strewn", "lock+unlock of any of them, instead of one of 1000", strewn("r", n, DLM_PRMODE), "ns", few, 0);
	tell("memory-after", "resident memory after that", (resident() - before) / n, "bytes", 0, 350);
	tell("memory-first", "first lock of a resource", begin, "ns", 0, 0);
	begin = now_ns();
	for (long i = 0; i < n; i++)
		granted(dlm_unlock(&id[i], NULL, 0), "unlock");
	tell("memory-unlock", "unlock of all", (now_ns() - begin) / n, "ns", 0, 0);
	return 0;
}
