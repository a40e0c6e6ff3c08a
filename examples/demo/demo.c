/*
 * Four programs keep copies of a price list. Its version number is the value
 * block of one lock: a reader that sees the number it knows need not read the list
 * again. One program is killed in the middle of an update. The others are told.
 *
 * The list itself is a page of shared memory, so that the damage can be seen.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sys/dlm.h>

#define PRICES 4

struct shelf {
	int price[PRICES];
};

struct report {
	dlm_status_t st;
	unsigned version;
	int read_anew; /* the copy was out of date */
	int price[PRICES];
};

static struct shelf *shelf;
static int failures;

/* ---- one program ----------------------------------------------------------- */

struct program {
	const char *name;
	pid_t pid;
	int orders, reports;
};

static dlm_lkid_t lock;
static struct report mine;

static void say(int fd)
{
	if (write(fd, &mine, sizeof mine) != (ssize_t)sizeof mine)
		_exit(1);
}

/* Look at the version under a read lock; fetch the list only if it has changed. */
static void look(void)
{
	dlm_valb_t v;
	mine.st = dlm_cvt(&lock, DLM_PRMODE, &v, DLM_VALB, 0, 0, 0, 0);
	mine.read_anew = mine.version != v.valblk[0];
	mine.version = v.valblk[0];
	if (mine.read_anew || mine.st == DLM_SUCCVALNOTVALID) {
		memcpy(mine.price, shelf->price, sizeof mine.price);
		mine.read_anew = 1;
	}
	dlm_cvt(&lock, DLM_NLMODE, NULL, 0, 0, 0, 0, 0);
}

/* Change all prices under an exclusive lock and count the version up. */
static void update(int price, int stop_half_way, int fd)
{
	dlm_valb_t v;
	mine.st = dlm_cvt(&lock, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0);
	for (int i = 0; i < PRICES; i++) {
		if (stop_half_way && i == PRICES / 2) {
			say(fd);
			pause(); /* until the kill */
		}
		shelf->price[i] = price;
	}
	v.valblk[0]++;
	dlm_cvt(&lock, DLM_NLMODE, &v, DLM_VALB, 0, 0, 0, 0);
	mine.version = v.valblk[0];
	memcpy(mine.price, shelf->price, sizeof mine.price);
}

static void live(int orders, int reports)
{
	dlm_nsp_t nsp;
	char order;
	if (dlm_nsjoin(geteuid(), &nsp, DLM_USER) != DLM_SUCCESS ||
	    dlm_lock(nsp, (uchar_t *)"price list", 10, NULL, &lock, DLM_NLMODE, NULL, 0, 0, 0, 0, 0) != DLM_SUCCESS)
		_exit(1);
	say(reports);
	while (read(orders, &order, 1) == 1) {
		switch (order) {
		case 'l': look(); break;
		case 'u': update(100, 0, reports); break;
		case 'h': update(200, 1, reports); break;
		case 'r': update(250, 0, reports); break;
		case 'q': exit(0);
		}
		say(reports);
	}
	_exit(0);
}

/* ---- the stage manager: does not use the lock manager itself ----------------- */

static void start(struct program *p)
{
	int down[2], up[2];
	if (pipe(down) || pipe(up))
		exit(1);
	fflush(stdout);
	p->pid = fork();
	if (p->pid == 0) {
		close(down[1]);
		close(up[0]);
		live(down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	p->orders = down[1];
	p->reports = up[0];
}

static struct report hear(struct program *p)
{
	struct report r;
	if (read(p->reports, &r, sizeof r) != (ssize_t)sizeof r) {
		printf("  %s has ended unexpectedly\n", p->name);
		exit(1);
	}
	return r;
}

static struct report tell(struct program *p, char order)
{
	if (write(p->orders, &order, 1) != 1)
		exit(1);
	return hear(p);
}

static void expect(int true_, const char *what)
{
	if (!true_) {
		printf("  !! this is not as it must be: %s\n", what);
		failures++;
	}
}

static const char *prices(const int *p)
{
	static char s[80];
	snprintf(s, sizeof s, "%d %d %d %d", p[0], p[1], p[2], p[3]);
	return s;
}

static void show(struct program *p, struct report *r)
{
	printf("  %-6s is told %-20s version %u; %s: %s\n", p->name, dlm_sperrno(r->st), r->version,
	       r->read_anew ? "reads the list" : "keeps its copy", prices(r->price));
}

int main(void)
{
	struct program ada = {.name = "Ada"}, ben = {.name = "Ben"}, cleo = {.name = "Cleo"}, dan = {.name = "Dan"};
	struct program *readers[] = {&ada, &cleo, &dan};
	struct report r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	shelf = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shelf == MAP_FAILED)
		return 1;

	printf("\nFour programs share a price list. Its version number lives in a lock's value block.\n\n");
	struct program *all[] = {&ada, &ben, &cleo, &dan};
	for (int i = 0; i < 4; i++) {
		start(all[i]);
		hear(all[i]);
		printf("  %-6s joins (pid %d) and holds a null lock\n", all[i]->name, (int)all[i]->pid);
	}

	printf("\n1. Ben sets every price to 100.\n\n");
	r = tell(&ben, 'u');
	expect(r.st == DLM_SUCCESS && r.version == 1, "Ben's first update");
	for (int i = 0; i < 3; i++) {
		r = tell(readers[i], 'l');
		show(readers[i], &r);
		expect(r.st == DLM_SUCCESS && r.version == 1 && r.read_anew, "a reader sees version 1");
	}
	printf("\n   They look again. The number is the one they know, so nobody reads the list.\n\n");
	for (int i = 0; i < 3; i++) {
		r = tell(readers[i], 'l');
		show(readers[i], &r);
		expect(r.st == DLM_SUCCESS && !r.read_anew, "a copy stays good");
	}

	printf("\n2. Ben starts to set every price to 200 and is killed (kill -9) half way, holding EX.\n\n");
	r = tell(&ben, 'h');
	expect(r.st == DLM_SUCCESS, "Ben gets the exclusive lock");
	kill(ben.pid, SIGKILL);
	waitpid(ben.pid, NULL, 0);
	printf("  The list now reads: %s. The version still says 1.\n\n", prices(shelf->price));
	for (int i = 0; i < 3; i++) {
		r = tell(readers[i], 'l');
		show(readers[i], &r);
		expect(r.st == DLM_SUCCVALNOTVALID && r.version == 1, "a survivor is told that the value is not valid");
	}
	printf("\n   Each got its lock, and the newest contents, and the word that they cannot be trusted.\n"
	       "   An ordinary lock would have said: version 1, all is well.\n");

	printf("\n3. Cleo repairs: she writes the whole list and the version under EX.\n\n");
	r = tell(&cleo, 'r');
	expect(r.st == DLM_SUCCVALNOTVALID, "the repairer is told too");
	for (int i = 0; i < 3; i++) {
		r = tell(readers[i], 'l');
		show(readers[i], &r);
		expect(r.st == DLM_SUCCESS && r.version == 2 && r.price[0] == 250 && r.price[3] == 250,
		       "the value is valid again");
	}

	printf("\n4. Ada, who keeps the lock manager's books for this machine, is killed between updates.\n\n");
	kill(ada.pid, SIGKILL);
	waitpid(ada.pid, NULL, 0);
	for (int i = 1; i < 3; i++) {
		r = tell(readers[i], 'l');
		show(readers[i], &r);
		expect(r.st == DLM_SUCCESS && r.version == 2 && !r.read_anew, "a reader's death costs nothing");
	}
	printf("\n   She was not writing, so nothing is in doubt and no copy is lost.\n\n");

	for (int i = 1; i < 3; i++) {
		int status;
		if (write(readers[i]->orders, "q", 1) != 1)
			failures++;
		waitpid(readers[i]->pid, &status, 0);
		expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "an orderly end");
	}
	printf(failures ? "%d things were not as they must be.\n" : "All was as it must be.\n", failures);
	return failures != 0;
}
