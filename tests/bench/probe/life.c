/* Beginning, idling and end of a process. */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

/* Stays, and has the agent's role if it is the first. */
struct resident {
	atomic_int joined;
	const char *resource;
	int mode;
};

static void reside(void *arg)
{
	struct resident *r = arg;
	dlm_nsp_t nsp = join();
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)r->resource, (ushort_t)strlen(r->resource), NULL, &id, r->mode, NULL, 0, 0, 0, 0, 0));
	atomic_store(&r->joined, 1);
	pause();
}

static pid_t start_resident(const char *resource, int mode)
{
	struct resident *r = shared_memory(sizeof *r);
	r->resource = resource;
	r->mode = mode;
	pid_t p = start(reside, r, -1);
	wait_for(&r->joined, 1, "a process that stays");
	return p;
}

/* ---- joining --------------------------------------------------------------------- */

void join_once(void)
{
	double t = now_us();
	dlm_nsp_t nsp = join();
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)"first", 5, NULL, &id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
	printf("%.3f\n", now_us() - t);
	fflush(stdout);
	_exit(0);
}

/* From before fork() until the program has ended; what it prints goes to *said. */
static double run_program(const char *path, const char *arg, double *said)
{
	int out[2];
	char b[64];
	ssize_t n = 0;
	double t, took;

	must(pipe(out) == 0, "pipe");
	t = now_us();
	pid_t p = vfork();
	must(p >= 0, "fork");
	if (p == 0) {
		dup2(out[1], 1);
		execl(path, path, arg, (char *)NULL);
		_exit(127);
	}
	finish(p);
	took = now_us() - t;
	close(out[1]);
	if (said) {
		n = read(out[0], b, sizeof b - 1);
		must(n > 0, path);
		b[n] = 0;
		*said = atof(b);
	}
	close(out[0]);
	return took;
}

void join_rows(const char *self)
{
	struct row in = {"join", "a process joins and has its first lock", "any CPU", "us", "fork+exec+wait of an empty C program", AT_MOST, 5, 0, runs, {0}, {0}};
	struct row all = {"join-whole", "fork+exec of a program that joins, has its first lock, and ends", "any CPU", "us", "fork+exec+wait of an empty C program", NO_GOAL, 0, 0, runs, {0}, {0}};
	enum { TURNS = 15 };
	char path[4096], empty[4128];
	pid_t p;

	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	must(n > 0, self);
	path[n] = 0;
	snprintf(empty, sizeof empty, "%s-empty", path);
	new_directory();
	p = start_resident("resident", DLM_NLMODE);
	run_program(path, "join-once", &in.value[0]);
	for (int r = 0; r < runs; r++) {
		double a[TURNS], b[TURNS], c[TURNS];
		for (int i = 0; i < TURNS; i++) {
			a[i] = run_program(empty, NULL, NULL);
			b[i] = run_program(path, "join-once", &c[i]);
		}
		in.baseline[r] = all.baseline[r] = median(a, TURNS);
		all.value[r] = median(b, TURNS);
		in.value[r] = median(c, TURNS);
	}
	stop(p);
	print_row(&in);
	print_row(&all);
}

/* ---- idling ----------------------------------------------------------------------- */

#define IDLE_SECONDS 10

/* The number behind a word of a file of /proc. */
static long number_in(const char *path, const char *word)
{
	char line[256];
	long v = -1;
	FILE *f = fopen(path, "r");
	if (f == NULL)
		return -1;
	while (v < 0 && fgets(line, sizeof line, f))
		if (strncmp(line, word, strlen(word)) == 0)
			v = atol(line + strlen(word));
	fclose(f);
	return v;
}

/* How often threads of a process have gone to sleep, which is how often they woke up. */
static long sleeps(pid_t p)
{
	char path[300];
	long sum = 0;
	struct dirent *e;
	snprintf(path, sizeof path, "/proc/%d/task", (int)p);
	DIR *d = opendir(path);
	must(d != NULL, path);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", (int)p, e->d_name);
		long n = number_in(path, "voluntary_ctxt_switches:");
		if (n > 0)
			sum += n;
	}
	closedir(d);
	return sum;
}

void idle_rows(void)
{
	static const char *const who[2] = {"a process with a lock", "a process with a lock, which is the agent"};
	static const char *const name[2][2] = {{"idle-wakeups", "idle-memory"}, {"idle-wakeups-agent", "idle-memory-agent"}};
	char path[64], what[2][2][128];
	long before[2];
	pid_t p[2];

	new_directory();
	p[1] = start_resident("agent's", DLM_EXMODE);
	p[0] = start_resident("other's", DLM_EXMODE);
	sleep(5); /* what the start has left to do is no idling */
	before[0] = sleeps(p[0]);
	before[1] = sleeps(p[1]);
	sleep(IDLE_SECONDS);
	for (int i = 0; i < 2; i++) {
		struct row wake = {name[i][0], what[i][0], "idle for 10 s", "1/s", NULL, AT_MOST, 1, 0, 1, {0}, {0}};
		struct row size = {name[i][1], what[i][1], "idle", "MB", NULL, AT_MOST, 15, 0, 1, {0}, {0}};
		snprintf(what[i][0], sizeof what[i][0], "wake-ups of all threads: %s", who[i]);
		snprintf(what[i][1], sizeof what[i][1], "resident memory: %s", who[i]);
		wake.value[0] = (double)(sleeps(p[i]) - before[i]) / IDLE_SECONDS;
		snprintf(path, sizeof path, "/proc/%d/status", (int)p[i]);
		size.value[0] = (double)number_in(path, "VmRSS:") / 1024;
		print_row(&wake);
		print_row(&size);
	}
	stop(p[0]);
	stop(p[1]);
}

/* ---- death -------------------------------------------------------------------------- */

#define DEATHS 100

struct death {
	atomic_int held, asked, granted, seen;
	double grant_us, end_us; /* when */
	int masters;             /* the holder does */
	int line[2];             /* the holder has one end */
};

static struct death *death;

static void hold(void *arg)
{
	dlm_nsp_t nsp;
	dlm_lkid_t id;
	(void)arg;
	close(death->line[0]);
	nsp = join();
	ok(dlm_lock(nsp, (uchar_t *)"death", 5, NULL, &id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
	atomic_store(&death->held, 1);
	pause();
}

static void wait_in_line(void *arg)
{
	dlm_nsp_t nsp;
	dlm_lkid_t id;
	dlm_valb_t v;
	(void)arg;
	close(death->line[0]);
	close(death->line[1]);
	nsp = join();
	atomic_store(&death->asked, 1);
	dlm_status_t st = dlm_lock(nsp, (uchar_t *)"death", 5, NULL, &id, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0);
	death->grant_us = now_us();
	if (st != DLM_SUCCVALNOTVALID)
		ok(st);
	atomic_store(&death->granted, 1);
	pause();
}

/* A C program that would notice the same death by the end of a connection. */
static void watch(void *arg)
{
	char c;
	(void)arg;
	close(death->line[1]);
	must(read(death->line[0], &c, 1) == 0, "watch");
	death->end_us = now_us();
	atomic_store(&death->seen, 1);
}

static void die(int masters, double *value, double *baseline)
{
	pid_t bystander, p[3];
	double t;

	memset(death, 0, sizeof *death);
	new_directory();
	bystander = start_resident(masters ? "other" : "death", DLM_NLMODE);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, death->line) == 0, "socketpair");
	p[0] = start(hold, NULL, -1);
	wait_for(&death->held, 1, "the holder");
	p[1] = start(wait_in_line, NULL, -1);
	wait_for(&death->asked, 1, "the waiter");
	p[2] = start(watch, NULL, -1);
	close(death->line[0]);
	close(death->line[1]);
	usleep(20000); /* until it stands in the queue */
	t = now_us();
	kill(p[0], SIGKILL);
	wait_for(&death->granted, 1, "the lock of the dead");
	wait_for(&death->seen, 1, "the end of the connection");
	*value = (death->grant_us - t) / 1e3;
	*baseline = (death->end_us - t) / 1e3;
	for (int i = 0; i < 3; i++)
		stop(p[i]);
	stop(bystander);
}

void death_rows(void)
{
	death = shared_memory(sizeof *death);
	for (int masters = 0; masters < 2; masters++) {
		struct row r = {masters ? "death-of-master" : "death",
		                masters ? "kill -9 of a holder that is also the master, until the next is granted" : "kill -9 of a holder until the next is granted",
		                "any CPU", "ms", NULL, AT_MOST, 2, 10, DEATHS, {0}, {0}};
		struct row e = {masters ? "death-of-master-seen" : "death-seen", "kill -9 of the same process until a C program sees the end of its socket",
		                "any CPU", "ms", NULL, NO_GOAL, 0, 0, DEATHS, {0}, {0}};
		for (int i = 0; i < DEATHS; i++)
			die(masters, &r.value[i], &e.value[i]);
		print_row(&r);
		print_row(&e);
	}
}
