/*
 * Gives out numbers, each once, to all programs: a libdlm program of the usual kind,
 * on godlm by lksb.h. The last number is in the value block; a file has it too, so that
 * it survives everybody.
 *
 *     number FILE      on each line of input: take the lock, and show the next number;
 *                      "yes" gives it out, anything else does not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "lksb.h"

static void need(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static unsigned from_file(const char *file)
{
	unsigned n = 0;
	FILE *f = fopen(file, "r");
	if (f) {
		need(fscanf(f, "%u", &n) == 1, file);
		fclose(f);
	}
	return n;
}

static void to_file(const char *file, unsigned n)
{
	char name[512];
	need(snprintf(name, sizeof name, "%s.new", file) < (int)sizeof name, file);
	FILE *f = fopen(name, "w");
	need(f && fprintf(f, "%u\n", n) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0, name);
	need(fclose(f) == 0 && rename(name, file) == 0, name);
}

int main(int argc, char **argv)
{
	dlm_nsp_t nsp;
	struct lksb l;
	char line[100];
	if (argc != 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* In place of dlm_create_lockspace() or dlm_open_lockspace(). */
	need(dlm_nsjoin(geteuid(), &nsp, DLM_USER) == DLM_SUCCESS, "dlm_nsjoin");
	need(lock_wait(nsp, LKM_NLMODE, &l, 0, "number") == 0, "lock");
	puts("ready");

	while (fgets(line, sizeof line, stdin)) {
		need(lock_wait(nsp, LKM_EXMODE, &l, LKF_CONVERT | LKF_VALBLK, "number") == 0, "convert");
		/* Word 1 says whether word 0 counts: a new value block is all zeros. */
		if (!l.sb_lvb.valblk[1] || l.sb_flags & DLM_SBF_VALNOTVALID) {
			l.sb_lvb.valblk[0] = from_file(argv[1]);
			l.sb_lvb.valblk[1] = 1;
			puts("counting from the file");
		}
		printf("number %u?\n", l.sb_lvb.valblk[0] + 1);
		if (!fgets(line, sizeof line, stdin))
			break; /* in EX: the others will be told */
		if (line[0] == 'y') {
			to_file(argv[1], l.sb_lvb.valblk[0] + 1);
			l.sb_lvb.valblk[0]++;
			printf("gave %u\n", l.sb_lvb.valblk[0]);
		}
		need(lock_wait(nsp, LKM_NLMODE, &l, LKF_CONVERT | LKF_VALBLK, "number") == 0, "convert"); /* writes */
	}
	need(unlock_wait(&l, 0) == 0, "unlock");
	return 0;
}
