/*
 * first: how long the first lock of a fresh process takes, from the call that joins to
 * the lock, in a new directory, where the process becomes the agent, and in one that is in
 * use, where another one is.
 *
 * first [--json] [runs]
 */
#define _GNU_SOURCE
#include <godlm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/dlm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 1000

static void fail(const char *what, int status)
{
	fprintf(stderr, "first: %s: %d\n", what, status);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* first_lock joins and locks, and gives the time. */
static double first_lock(void)
{
	dlm_nsp_t nsp;
	dlm_lkid_t id;
	double begin = now_us();
	dlm_status_t st = dlm_nsjoin(geteuid(), &nsp, DLM_USER);
	if (st != DLM_SUCCESS)
		fail("join", st);
	st = dlm_lock(nsp, (uchar_t *)"first", 5, NULL, &id, DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0);
	if (st != DLM_SUCCESS)
		fail("lock", st);
	double end = now_us();
	dlm_unlock(&id, NULL, 0);
	return end - begin;
}

/* fresh is first_lock in a process of its own. */
static double fresh(void)
{
	int p[2], status;
	double us = 0;
	if (pipe(p) != 0)
		fail("pipe", 0);
	pid_t pid = fork();
	if (pid < 0)
		fail("fork", 0);
	if (pid == 0) {
		us = first_lock();
		_exit(write(p[1], &us, sizeof us) != sizeof us);
	}
	if (read(p[0], &us, sizeof us) != sizeof us || waitpid(pid, &status, 0) != pid || status != 0)
		fail("the process has ended", status);
	close(p[0]);
	close(p[1]);
	return us;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void report(int json, const char *name, const char *what, double *v, int n)
{
	qsort(v, (size_t)n, sizeof *v, by_size);
	if (json)
		printf("{\"name\":\"%s\",\"what\":\"%s\",\"unit\":\"us\",\"value\":%.1f,\"min\":%.1f,\"median\":%.1f,\"max\":%.1f,\"runs\":%d,\"goal\":20000}\n",
		       name, what, v[n / 2], v[0], v[n / 2], v[n - 1], n);
	else
		printf("%-44s %9.1f us (%.1f to %.1f, %d processes)\n", what, v[n / 2], v[0], v[n - 1], n);
}

/* keep_agent has a process stay in the directory until the pipe is closed. */
static pid_t keep_agent(int *end)
{
	int up[2], down[2];
	char c;
	if (pipe(up) != 0 || pipe(down) != 0)
		fail("pipe", 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(down[1]);
		first_lock();
		_exit(write(up[1], "", 1) != 1 || read(down[0], &c, 1) != 0);
	}
	if (pid < 0 || read(up[0], &c, 1) != 1)
		fail("agent", 0);
	*end = down[1];
	return pid;
}

int main(int argc, char **argv)
{
	static double v[MOST];
	int json = 0, runs = 20, end;
	char top[] = "/tmp/godlm-first.XXXXXX", dir[64], command[96];
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			json = 1;
		else
			runs = atoi(argv[i]);
	if (runs < 1 || runs > MOST || mkdtemp(top) == NULL)
		fail("usage: first [--json] [runs]", runs);
	for (int i = 0; i < runs; i++) {
		snprintf(dir, sizeof dir, "%s/%d", top, i);
		setenv("GODLM_DIR", dir, 1);
		v[i] = fresh();
	}
	report(json, "first-lock-new-directory", "first lock of a fresh process, new directory", v, runs);
	pid_t agent = keep_agent(&end);
	for (int i = 0; i < runs; i++)
		v[i] = fresh();
	report(json, "first-lock-used-directory", "first lock of a fresh process, used directory", v, runs);
	close(end);
	waitpid(agent, NULL, 0);
	snprintf(command, sizeof command, "rm -rf '%s'", top);
	return system(command) != 0;
}
