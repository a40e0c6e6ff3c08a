/* What the files of the probe share. Each figure is one row, printed as a line of JSON. */
#ifndef PROBE_H
#define PROBE_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

#include <sys/dlm.h>

#define MOST_RUNS 101

enum direction { NO_GOAL, AT_MOST, AT_LEAST };

struct row {
	const char *name, *what, *placement, *unit;
	const char *baseline_what; /* NULL: none, and the goal is for the value itself */
	enum direction direction;
	double goal, goal_worst; /* the second: of the value in the worst run; 0: none */
	int runs;
	double value[MOST_RUNS], baseline[MOST_RUNS];
};

void print_row(const struct row *r);

extern int runs; /* of each row */
extern int two_cpus; /* there are at least two */

double now_us(void);
void must(int ok, const char *what);
void ok(dlm_status_t st);
void pin(int cpu); /* 0 or 1: the first or second that this process may use */
dlm_nsp_t join(void);
double each(void (*f)(void), int n); /* microseconds per call */
double median(const double *v, int n);

/* A process; f must not return before its work is done. It dies with its parent. */
pid_t start(void (*f)(void *), void *arg, int cpu);
void stop(pid_t p);
void finish(pid_t p); /* waits for it; it must have ended well */

/* Memory that all processes started later share. */
void *shared_memory(size_t n);
void wait_for(const atomic_int *flag, int value, const char *what);

/* A new runtime directory for what is started from here on. */
void new_directory(void);
const char *directory(void);

/* The rows. */
void local_rows(void);
void thread_row(void);
void remote_rows(void);
void hand_over_rows(void);
void join_rows(const char *self);
void idle_rows(void);
void death_rows(void);

/* remote.c: the two sides, also for programs on two hosts */
void serve(const char *address, void (*ready)(void));
void use(const char *address, const char *which, const char *placement, double sync_goal);
/* life.c: what a process does to join; prints how long it took, in microseconds */
void join_once(void);

#endif
