/*
 * How long a process waits for its locks after the process that mastered them was
 * killed, and how that grows with their number. One row has every lock on a root
 * resource of its own, one all locks on resources of one tree.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sys/dlm.h>

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

static void say(void) { must(write(said[1], "", 1) == 1, "write"); }

static void await(int fd)
{
	char c;
	must(read(fd, &c, 1) == 1, "a process ended before its time");
}

/* Joins and locks n resources: roots, or below one root. */
static dlm_lkid_t *lock_all(long n, int tree, int mode)
{
	dlm_nsp_t nsp;
	dlm_lkid_t root, *id = calloc(n, sizeof *id);
	char name[32];

	must(id != NULL, "calloc");
	if (dlm_nsjoin(geteuid(), &nsp, DLM_USER) != DLM_SUCCESS ||
	    dlm_lock(nsp, (uchar_t *)"tree", 4, NULL, &root, DLM_NLMODE, NULL, 0, 0, 0, 0, 0) != DLM_SUCCESS)
		exit(1);
	for (long i = 0; i < n; i++) {
		int len = snprintf(name, sizeof name, "r%ld", i);
		dlm_status_t st = dlm_lock(nsp, (uchar_t *)name, len, tree ? &root : NULL, &id[i], mode, NULL, 0, 0, 0, 0, 0);
		if (st != DLM_SUCCESS) {
			dlm_perror("lock", st);
			exit(1);
		}
	}
	return id;
}

static pid_t start(void (*f)(long, int), long n, int tree)
{
	pid_t p = fork();
	must(p >= 0, "fork");
	if (p == 0) {
		f(n, tree);
		_exit(0);
	}
	await(said[0]);
	return p;
}

/* Has the agent's role, and nothing to do with the locks. */
static void agent(long n, int tree)
{
	(void)n, (void)tree;
	free(lock_all(0, 0, DLM_NLMODE));
	say();
	pause();
}

static void master(long n, int tree)
{
	free(lock_all(n, tree, DLM_NLMODE));
	say();
	pause();
}

static void user(long n, int tree)
{
	dlm_lkid_t *id = lock_all(n, tree, DLM_CRMODE);
	double begin, first = 0;

	say();
	await(go[0]);
	begin = now_ms();
	for (long i = 0; i < n; i++) {
		dlm_status_t st = dlm_cvt(&id[i], DLM_PRMODE, NULL, 0, 0, 0, 0, 0);
		if (st != DLM_SUCCESS) {
			dlm_perror("convert", st);
			exit(1);
		}
		if (i == 0)
			first = now_ms() - begin;
	}
	begin = now_ms() - begin;
	printf("  %8ld locks, %-24s first %8.1f ms   all %8.1f ms   %6.1f us for each\n", n,
	       tree ? "one tree" : "a tree each", first, begin, begin * 1e3 / n);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	long most = argc > 1 ? atol(argv[1]) : 100000;

	printf("From the death of the master until its locks can be used again\n");
	fflush(stdout);
	for (int tree = 0; tree < 2; tree++)
		for (long n = 1000; n <= most; n *= 10) {
			pid_t a, m, u;
			int st;

			must(pipe(said) == 0 && pipe(go) == 0, "pipe");
			a = start(agent, 0, 0);
			m = start(master, n, tree);
			u = start(user, n, tree);
			kill(m, SIGKILL);
			waitpid(m, NULL, 0);
			must(write(go[1], "", 1) == 1, "write");
			must(waitpid(u, &st, 0) == u, "waitpid");
			kill(a, SIGKILL);
			waitpid(a, NULL, 0);
			if (st != 0)
				return 1;
			close(said[0]);
			close(said[1]);
			close(go[0]);
			close(go[1]);
		}
	return 0;
}
