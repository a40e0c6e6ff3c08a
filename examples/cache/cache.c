/*
 * A text in a file that several programs read often and change seldom. Each keeps a
 * copy. The value block of one lock holds the version number, so that "is my copy good?"
 * is a conversion of a lock, and not a look at the file.
 *
 *     cache FILE       reads commands, a line each:
 *     get              print the text, and where it came from
 *     begin            lock everybody else out in order to change it
 *     set TEXT         change the file
 *     commit           let the others know
 *
 * A program that dies after "set" and before "commit" leaves a new file and an old
 * version number. Then the value block is not valid, and that is how the others notice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/dlm.h>

static const char *file;
static dlm_lkid_t lock;

static char copy[256];   /* the text as this program knows it */
static unsigned version; /* of the copy */
static int have_copy;

static void need(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

/*
 * Convert the lock; whatever is no success ends the program. Upward in line behind others
 * (DLM_QUECVT): readers that come and go all the time keep no writer waiting for ever.
 */
static dlm_status_t convert(dlm_lkmode_t mode, dlm_valb_t *v)
{
	dlm_flags_t flags = (v ? DLM_VALB : 0) | (mode != DLM_NLMODE ? DLM_QUECVT : 0);
	dlm_status_t st = dlm_cvt(&lock, mode, v, flags, 0, 0, 0, 0);
	if (st != DLM_SUCCESS && st != DLM_SUCCVALNOTVALID) {
		dlm_perror("cache", st); /* GODLM_LOST for example */
		exit(1);
	}
	return st;
}

static void read_file(void)
{
	FILE *f = fopen(file, "r");
	copy[0] = 0;
	if (f) {
		need(fgets(copy, sizeof copy, f) || !ferror(f), file);
		fclose(f);
		copy[strcspn(copy, "\n")] = 0;
	}
}

/* The file is replaced as a whole: whoever looks at it sees the old or the new text. */
static void write_file(const char *text)
{
	char name[512];
	need(snprintf(name, sizeof name, "%s.new", file) < (int)sizeof name, file);
	FILE *f = fopen(name, "w");
	need(f != NULL, name);
	need(fprintf(f, "%s\n", text) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0, name);
	need(fclose(f) == 0 && rename(name, file) == 0, name);
}

/*
 * Somebody died who may have been changing the text: perhaps he has, and the version is
 * still the old one. Read the file, and give it a version that nobody has seen. Data that
 * can be half written must be checked and mended here as well, before the write of the
 * value block says that all is well.
 */
static void repair(void)
{
	dlm_valb_t v;
	if (convert(DLM_EXMODE, &v) == DLM_SUCCVALNOTVALID) { /* else somebody was faster */
		v.valblk[0]++;
		convert(DLM_NLMODE, &v); /* down from EX: writes, and the block is valid */
	} else {
		convert(DLM_NLMODE, NULL);
	}
}

static void get(void)
{
	const char *how = "copy";
	dlm_valb_t v;
	while (convert(DLM_PRMODE, &v) == DLM_SUCCVALNOTVALID) {
		convert(DLM_NLMODE, NULL);
		repair();
		how = "read, after a death";
	}
	/* In PR: nobody changes the file now. */
	if (!have_copy || version != v.valblk[0]) {
		if (strcmp(how, "copy") == 0)
			how = "read";
		read_file();
		version = v.valblk[0];
		have_copy = 1;
	}
	convert(DLM_NLMODE, NULL);
	printf("%s (%s)\n", copy, how);
}

int main(int argc, char **argv)
{
	dlm_nsp_t nsp;
	char line[300];
	if (argc != 2) {
		fprintf(stderr, "usage: cache FILE\n");
		return 2;
	}
	file = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	need(dlm_nsjoin(geteuid(), &nsp, DLM_USER) == DLM_SUCCESS, "dlm_nsjoin");

	/* The NL lock keeps nobody out. It keeps the value block alive while no one reads. */
	need(dlm_lock(nsp, (uchar_t *)"cache", 5, NULL, &lock, DLM_NLMODE, NULL, 0, 0, 0, 0, 0) == DLM_SUCCESS, "dlm_lock");
	puts("ready");

	dlm_valb_t v;
	int in_change = 0;
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, "get") == 0 && !in_change) {
			get();
		} else if (strcmp(line, "begin") == 0 && !in_change) {
			convert(DLM_EXMODE, &v); /* valid or not: a new version follows */
			in_change = 1;
			puts("begun");
		} else if (strncmp(line, "set ", 4) == 0 && in_change) {
			write_file(line + 4);
			puts("set");
		} else if (strcmp(line, "commit") == 0 && in_change) {
			v.valblk[0]++;
			convert(DLM_NLMODE, &v);
			in_change = 0;
			puts("committed");
		} else {
			printf("what is \"%s\"?\n", line);
		}
	}
	/* An end in the middle of a change is a death to the others, also if it is a clean one. */
	return 0;
}
