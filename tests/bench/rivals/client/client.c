/*
 * client - what takes part in the comparison and is written in C: a program that
 * locks with godlm, and the two ends of the plain TCP connection that everything is
 * compared with. It is driven as client.go is: commands on standard input, a line
 * each, and an answer for each on standard output. Times are CLOCK_MONOTONIC in
 * nanoseconds.
 *
 *   client godlm            a program that locks
 *   client ping ADDR PORT   a pair is a one-byte round trip
 *   client echo ADDR        the other end; says its port when it is ready
 *   client eof ADDR         the same, but "lock" waits for the end of the connection
 *
 *   pairs NAME N                      = ELAPSED
 *   hot NAME START FROM UNTIL FILE    = PAIRS LONGEST BROKEN
 *   lock NAME                         = TIME
 *   unlock                            = TIME
 *   keep NAME                         = TIME     an NL lock, for good
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sys/dlm.h>

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_until(int64_t t)
{
	struct timespec ts = {t / 1000000000, t % 1000000000};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void granted(dlm_status_t st)
{
	if (st != DLM_SUCCESS) {
		dlm_perror("client", st);
		exit(1);
	}
}

/* ---- what a pair is --------------------------------------------------------- */

static dlm_nsp_t nsp;
static dlm_lkid_t held;
static int conn = -1;

static void lock_ex(const char *name)
{
	granted(dlm_lock(nsp, (uchar_t *)name, (ushort_t)strlen(name), NULL, &held, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
}

static void unlock_ex(void) { granted(dlm_unlock(&held, NULL, 0)); }

static void keep(const char *name)
{
	dlm_lkid_t id;
	granted(dlm_lock(nsp, (uchar_t *)name, (ushort_t)strlen(name), NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
}

static void await_eof(const char *name)
{
	char c;
	(void)name;
	while (read(conn, &c, 1) > 0)
		;
}

static void ping(const char *name)
{
	char c = 0;
	(void)name;
	must(write(conn, &c, 1) == 1 && read(conn, &c, 1) == 1, "ping");
}

static void nothing(void) {}

static void cannot_keep(const char *name)
{
	fprintf(stderr, "nothing to keep %s with\n", name);
	exit(2);
}

/* ---- commands ---------------------------------------------------------------- */

static struct {
	void (*lock)(const char *name);
	void (*unlock)(void);
	void (*keep)(const char *name);
} use;

static int64_t pairs(const char *name, long n)
{
	int64_t t = now();
	while (n-- > 0) {
		use.lock(name);
		use.unlock();
	}
	return now() - t;
}

/* Locks and unlocks until a time and counts, from a time on. The file is a word that
 * has who holds the lock, so that two holders at once do not go unnoticed. */
static void hot(const char *name, int64_t start, int64_t from, int64_t until, const char *file)
{
	int fd = open(file, O_RDWR);
	int64_t count = 0, longest = 0, broken = 0, self = getpid();
	int64_t *holder;

	must(fd >= 0, file);
	holder = mmap(NULL, sizeof *holder, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(holder != MAP_FAILED, file);
	close(fd);
	sleep_until(start);
	for (;;) {
		int64_t asked = now(), free = 0, mine = self, got;
		if (asked >= until)
			break;
		use.lock(name);
		got = now();
		broken += !__atomic_compare_exchange_n(holder, &free, self, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		broken += !__atomic_compare_exchange_n(holder, &mine, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		use.unlock();
		/* What counts of a wait is the part within the time that counts. */
		if (got > until)
			got = until;
		if (asked < from)
			asked = from;
		if (got - asked > longest)
			longest = got - asked;
		got = now();
		count += got >= from && got < until;
	}
	munmap(holder, sizeof *holder);
	printf("= %" PRId64 " %" PRId64 " %" PRId64 "\n", count, longest, broken);
}

static int serve(void)
{
	char line[512], name[65], file[256];
	int64_t start, from, until;
	long n;

	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "pairs %64s %ld", name, &n) == 2) {
			printf("= %" PRId64 "\n", pairs(name, n));
		} else if (sscanf(line, "hot %64s %" SCNd64 " %" SCNd64 " %" SCNd64 " %255s", name, &start, &from, &until, file) == 5) {
			hot(name, start, from, until, file);
		} else if (sscanf(line, "lock %64s", name) == 1) {
			use.lock(name);
			printf("= %" PRId64 "\n", now());
		} else if (strcmp(line, "unlock\n") == 0) {
			use.unlock();
			printf("= %" PRId64 "\n", now());
		} else if (sscanf(line, "keep %64s", name) == 1) {
			use.keep(name);
			printf("= %" PRId64 "\n", now());
		} else {
			fprintf(stderr, "not understood: %s", line);
			return 2;
		}
		fflush(stdout);
	}
	return 0;
}

/* ---- TCP ----------------------------------------------------------------------- */

static struct sockaddr_in address(const char *ip, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	must(inet_pton(AF_INET, ip, &a.sin_addr) == 1, ip);
	return a;
}

static void no_delay(void)
{
	int on = 1;
	must(setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
}

static void ready(int port)
{
	printf("= %d\n", port);
	fflush(stdout);
}

static void accept_one(const char *ip)
{
	struct sockaddr_in a = address(ip, "0");
	socklen_t size = sizeof a;
	int s = socket(AF_INET, SOCK_STREAM, 0);
	must(s >= 0 && bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 1) == 0, "listen");
	must(getsockname(s, (struct sockaddr *)&a, &size) == 0, "getsockname");
	ready(ntohs(a.sin_port));
	conn = accept(s, NULL, NULL);
	must(conn >= 0, "accept");
	no_delay();
}

static int echo(void)
{
	char c;
	while (read(conn, &c, 1) == 1 && write(conn, &c, 1) == 1)
		;
	return 0;
}

static void dial(const char *ip, const char *port)
{
	struct sockaddr_in a = address(ip, port);
	conn = socket(AF_INET, SOCK_STREAM, 0);
	must(conn >= 0 && connect(conn, (struct sockaddr *)&a, sizeof a) == 0, "connect");
	no_delay();
}

int main(int argc, char **argv)
{
	use.unlock = nothing;
	use.keep = cannot_keep;
	if (argc == 2 && strcmp(argv[1], "godlm") == 0) {
		granted(dlm_nsjoin(geteuid(), &nsp, DLM_USER));
		use.lock = lock_ex;
		use.unlock = unlock_ex;
		use.keep = keep;
		ready(0);
		return serve();
	}
	if (argc == 4 && strcmp(argv[1], "ping") == 0) {
		dial(argv[2], argv[3]);
		use.lock = ping;
		ready(0);
		return serve();
	}
	if (argc == 3 && strcmp(argv[1], "echo") == 0) {
		accept_one(argv[2]);
		return echo();
	}
	if (argc == 3 && strcmp(argv[1], "eof") == 0) {
		accept_one(argv[2]);
		use.lock = await_eof;
		return serve();
	}
	fputs("usage: client godlm | ping ADDR PORT | echo ADDR | eof ADDR\n", stderr);
	return 2;
}
