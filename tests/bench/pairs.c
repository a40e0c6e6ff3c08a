/*
 * Pairs of lock operations against what the same machine does without godlm, in
 * the same run and on the same CPUs. Each figure is the median of several rounds
 * in which the candidates take turns.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/dlm.h>

#define ROUNDS 7
#define LOCAL_PAIRS 20000
#define REMOTE_PAIRS 3000

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void ok(dlm_status_t st)
{
	if (st != DLM_SUCCESS) {
		dlm_perror("unexpected", st);
		exit(1);
	}
}

static void pin(int cpu)
{
	cpu_set_t s;
	CPU_ZERO(&s);
	CPU_SET(cpu, &s);
	must(sched_setaffinity(0, sizeof s, &s) == 0, "sched_setaffinity");
}

static dlm_nsp_t join(void)
{
	dlm_nsp_t nsp;
	ok(dlm_nsjoin(geteuid(), &nsp, DLM_USER));
	return nsp;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof *v, by_value);
	return v[ROUNDS / 2];
}

/* ---- on one process ---------------------------------------------------------- */

static int file;
static dlm_nsp_t nsp;
static dlm_lkid_t held;

static void flock_pair(void)
{
	flock(file, LOCK_EX);
	flock(file, LOCK_UN);
}

static void fcntl_pair(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	fcntl(file, F_SETLK, &l);
	l.l_type = F_UNLCK;
	fcntl(file, F_SETLK, &l);
}

static void lock_pair(void)
{
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)"local", 5, NULL, &id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_unlock(&id, NULL, 0));
}

static void convert_pair(void)
{
	dlm_valb_t v;
	ok(dlm_cvt(&held, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0));
	v.valblk[0]++;
	ok(dlm_cvt(&held, DLM_NLMODE, &v, DLM_VALB, 0, 0, 0, 0));
}

static double each(void (*f)(void), int n)
{
	double t = now_us();
	for (int i = 0; i < n; i++)
		f();
	return (now_us() - t) / n;
}

static void local(void)
{
	static void (*const f[])(void) = {flock_pair, fcntl_pair, lock_pair, convert_pair};
	static const char *const name[] = {"flock(2) pair", "fcntl record lock pair", "dlm_lock + dlm_unlock, own master",
	                                   "NL->EX->NL with value block, own master"};
	double v[4][ROUNDS], base = 0;
	char path[] = "/tmp/godlm-bench-file.XXXXXX";

	file = mkstemp(path);
	must(file >= 0, "temporary file");
	unlink(path);
	nsp = join();
	ok(dlm_lock(nsp, (uchar_t *)"convert", 7, NULL, &held, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	for (int r = 0; r < ROUNDS; r++)
		for (int k = 0; k < 4; k++)
			v[k][r] = each(f[k], LOCAL_PAIRS);
	printf("One process, median of %d rounds\n", ROUNDS);
	for (int k = 0; k < 4; k++) {
		double m = median(v[k]);
		if (k == 0)
			base = m;
		printf("  %-44s %8.3f us  %5.2f x flock\n", name[k], m, m / base);
	}
}

/* ---- between two processes ---------------------------------------------------- */

static int sock;

static void ping(void)
{
	char c = 0;
	must(write(sock, &c, 1) == 1 && read(sock, &c, 1) == 1, "ping");
}

static void remote_pair(void)
{
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)"remote", 6, NULL, &id, DLM_CRMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_unlock(&id, NULL, 0));
}

static pid_t child(void (*f)(int), int fd, int cpu)
{
	pid_t p;
	fflush(stdout);
	p = fork();
	must(p >= 0, "fork");
	if (p == 0) {
		pin(cpu);
		f(fd);
		_exit(0);
	}
	return p;
}

static void echo(int fd)
{
	char c;
	while (read(fd, &c, 1) == 1 && write(fd, &c, 1) == 1)
		;
}

/* Masters the resource and does nothing else. */
static void master(int fd)
{
	dlm_lkid_t id;
	char c = 0;
	nsp = join();
	ok(dlm_lock(nsp, (uchar_t *)"remote", 6, NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	must(write(fd, &c, 1) == 1, "ready");
	must(read(fd, &c, 1) >= 0, "wait");
}

static void measure_remote(int fd)
{
	double v[2];
	for (int r = 0; r < ROUNDS; r++) {
		v[0] = each(ping, REMOTE_PAIRS);
		v[1] = each(remote_pair, REMOTE_PAIRS);
		must(write(fd, v, sizeof v) == sizeof v, "report");
	}
}

static void remote(const char *what, int cpu_master, int cpu_user)
{
	int ready[2], echoed[2], report[2];
	double v[2][ROUNDS], one[2];
	char c;
	pid_t p[3];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ready) == 0, "socketpair");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, echoed) == 0, "socketpair");
	must(pipe(report) == 0, "pipe");
	p[0] = child(master, ready[1], cpu_master);
	must(read(ready[0], &c, 1) == 1, "master");
	p[1] = child(echo, echoed[1], cpu_master);
	fflush(stdout);
	p[2] = fork();
	must(p[2] >= 0, "fork");
	if (p[2] == 0) {
		pin(cpu_user);
		sock = echoed[0];
		nsp = join();
		measure_remote(report[1]);
		_exit(0);
	}
	for (int r = 0; r < ROUNDS; r++) {
		must(read(report[0], one, sizeof one) == sizeof one, "result");
		v[0][r] = one[0];
		v[1][r] = one[1];
	}
	for (int i = 0; i < 3; i++) {
		kill(p[i], SIGKILL);
		waitpid(p[i], NULL, 0);
	}
	double a = median(v[0]), b = median(v[1]);
	printf("Two processes on %s, median of %d rounds\n", what, ROUNDS);
	printf("  %-44s %8.3f us\n", "one-byte round trip, Unix socket", a);
	printf("  %-44s %8.3f us  %5.2f x two round trips\n", "dlm_lock + dlm_unlock, other's master", b, b / (2 * a));
	close(ready[0]);
	close(ready[1]);
	close(echoed[0]);
	close(echoed[1]);
	close(report[0]);
	close(report[1]);
}

int main(void)
{
	/* The library starts in children only: this process goes on forking. */
	remote("one CPU", 0, 0);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		remote("two CPUs", 0, 1);
	local();
	return 0;
}
