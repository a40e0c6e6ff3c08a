/*
 * player - a program of a test's host. It reads commands, a line each, makes one
 * call for each and answers with a line: the status, when the call began and
 * ended (CLOCK_BOOTTIME, which hosts on one machine share), and what it gave.
 *
 *   join
 *   lock SLOT MODE FLAGS VERSION DATA NAME    FLAGS are the numbers of <sys/dlm.h>
 *   cvt SLOT MODE FLAGS VERSION DATA
 *   unlock SLOT FLAGS VERSION DATA
 *   use SLOT                                  is the lock still this program's?
 *
 *   = STATUS BEGIN END VERSION DATA EPOCH NUMBER
 *   lost TIME                                 from the handler, at any moment
 *
 * A lock that comes in EX or PW comes with its fencing token, and is not reported
 * as granted if it is lost by the time the token is asked for. A value block is
 * two numbers and a sum over them; one that is no program's work ends the player.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <godlm.h>

#define SLOTS 64

static dlm_nsp_t nsp;
static dlm_lkid_t locks[SLOTS];

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Runs in a signal handler, whatever the program is doing. */
static void on_lost(void *arg)
{
	char line[40], digits[24];
	int n = 0, d = 0;
	(void)arg;
	for (int64_t t = now(); t > 0; t /= 10)
		digits[d++] = (char)('0' + t % 10);
	memcpy(line, "lost ", 5);
	for (n = 5; d > 0;)
		line[n++] = digits[--d];
	line[n++] = '\n';
	if (write(1, line, (size_t)n) != n)
		_exit(1);
}

static void seal(const uint64_t in[2], uint64_t sum[2])
{
	sum[0] = in[0] * 0x9e3779b97f4a7c15u + in[1];
	sum[1] = (in[1] ^ sum[0]) * 0xbf58476d1ce4e5b9u;
}

static dlm_valb_t pack(uint64_t version, uint64_t data)
{
	uint64_t w[4] = {version, data};
	dlm_valb_t v;
	seal(w, w + 2);
	memcpy(&v, w, sizeof v);
	return v;
}

static void unpack(const dlm_valb_t *v, uint64_t *version, uint64_t *data)
{
	uint64_t w[4], sum[2];
	memcpy(w, v, sizeof w);
	seal(w, sum);
	if ((sum[0] != w[2] || sum[1] != w[3]) && (w[0] | w[1] | w[2] | w[3]) != 0) {
		fprintf(stderr, "a value block that nobody has written: %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", w[0],
		        w[1], w[2], w[3]);
		exit(3);
	}
	*version = w[0];
	*data = w[1];
}

static int granted(dlm_status_t st) { return st <= DLM_SYNCVALNOTVALID; }

int main(void)
{
	char line[256];

	while (fgets(line, sizeof line, stdin)) {
		char op[8] = "", name[DLM_RESNAMELEN + 1] = "";
		unsigned slot = 0, flags = 0;
		int mode = 0;
		uint64_t version = 0, data = 0;
		dlm_valb_t v;
		godlm_token_t token = {0, 0};
		dlm_status_t st = DLM_BADPARAM;
		int64_t begin;

		if (sscanf(line, "lock %u %d %u %" SCNu64 " %" SCNu64 " %64s", &slot, &mode, &flags, &version, &data, name) == 6)
			strcpy(op, "lock");
		else if (sscanf(line, "cvt %u %d %u %" SCNu64 " %" SCNu64, &slot, &mode, &flags, &version, &data) == 5)
			strcpy(op, "cvt");
		else if (sscanf(line, "unlock %u %u %" SCNu64 " %" SCNu64, &slot, &flags, &version, &data) == 4)
			strcpy(op, "unlock");
		else if (sscanf(line, "use %u", &slot) == 1)
			strcpy(op, "use");
		else if (strcmp(line, "join\n") == 0)
			strcpy(op, "join");
		if (op[0] == '\0' || slot >= SLOTS) {
			fprintf(stderr, "not understood: %s", line);
			return 2;
		}
		v = pack(version, data);
		begin = now();
		switch (op[0]) {
		case 'j':
			st = dlm_nsjoin(geteuid(), &nsp, DLM_USER);
			if (st == DLM_SUCCESS) {
				godlm_set_lost_handler(on_lost, NULL);
				st = dlm_set_signal(SIGUSR1, NULL);
			}
			break;
		case 'l':
			st = dlm_lock(nsp, (uchar_t *)name, (ushort_t)strlen(name), NULL, &locks[slot], (dlm_lkmode_t)mode, &v, flags,
			              NULL, NULL, NULL, 0);
			break;
		case 'c':
			st = dlm_cvt(&locks[slot], (dlm_lkmode_t)mode, &v, flags, NULL, NULL, NULL, 0);
			break;
		case 'u':
			if (op[1] == 'n')
				st = dlm_unlock(&locks[slot], &v, flags);
			else
				st = godlm_get_token(&locks[slot], &token);
			break;
		}
		if (granted(st) && (op[0] == 'l' || op[0] == 'c')) {
			if (flags & DLM_VALB)
				unpack(&v, &version, &data);
			if (mode >= DLM_PWMODE) {
				dlm_status_t t = godlm_get_token(&locks[slot], &token);
				if (t != DLM_SUCCESS)
					st = t;
			}
		}
		/* One write, as the handler's line is: the two do not mix. */
		if (dprintf(1, "= %d %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (int)st, begin,
		            now(), version, data, token.epoch, token.number) < 0)
			return 1;
	}
	return 0;
}
