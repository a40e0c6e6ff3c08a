/*
 * A resource that another process masters. The server's side masters it and does
 * nothing else; beside it, on the same CPU, a C process answers the messages of the
 * baseline over a socket of the same kind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <godlm.h>

#include "probe.h"

#define PAIRS 2000
#define IN_FLIGHT 256
#define REQUESTS 20000
#define MESSAGE 128 /* bytes, of the one-way baseline */
#define STREAM "S"  /* first byte of a connection: one-way messages */
#define ECHO "E"    /* or a byte back for each */

/* ---- sockets ------------------------------------------------------------------- */

/* "/path" or "a.b.c.d:port" */
static socklen_t parse(const char *address, struct sockaddr_storage *to)
{
	memset(to, 0, sizeof *to);
	if (address[0] == '/') {
		struct sockaddr_un *u = (struct sockaddr_un *)to;
		u->sun_family = AF_UNIX;
		snprintf(u->sun_path, sizeof u->sun_path, "%s", address);
		return sizeof *u;
	}
	struct sockaddr_in *in = (struct sockaddr_in *)to;
	char host[32];
	int port = 0;
	in->sin_family = AF_INET;
	must(sscanf(address, "%31[0-9.]:%d", host, &port) == 2 && inet_pton(AF_INET, host, &in->sin_addr) == 1, address);
	in->sin_port = htons((uint16_t)port);
	return sizeof *in;
}

static int new_socket(const char *address)
{
	int one = 1, fd = socket(address[0] == '/' ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0, "socket");
	if (address[0] != '/') {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	}
	return fd;
}

static void answer(int fd)
{
	static char b[1 << 16];
	long got = 0, expected;
	char kind, c = 0;
	ssize_t n;

	if (read(fd, &kind, 1) != 1)
		return;
	if (kind == ECHO[0]) {
		while (read(fd, &c, 1) == 1 && write(fd, &c, 1) == 1)
			;
		return;
	}
	while (recv(fd, &expected, sizeof expected, MSG_WAITALL) == sizeof expected) {
		for (got = 0; got < expected && (n = read(fd, b, sizeof b)) > 0; got += n)
			;
		if (got < expected || write(fd, &c, 1) != 1)
			return;
	}
}

struct plain {
	const char *address;
	atomic_int *listening;
};

static void answer_plainly(void *arg)
{
	struct plain *p = arg;
	struct sockaddr_storage to;
	socklen_t n = parse(p->address, &to);
	int one = 1, fd, l = new_socket(p->address);

	signal(SIGCHLD, SIG_IGN);
	must(bind(l, (struct sockaddr *)&to, n) == 0 && listen(l, 8) == 0, p->address);
	atomic_store(p->listening, 1);
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			if (p->address[0] != '/')
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
			answer(fd);
			_exit(0);
		}
		close(fd);
	}
}

static int call(const char *address, const char *kind)
{
	struct sockaddr_storage to;
	socklen_t n = parse(address, &to);
	int fd = new_socket(address);
	must(connect(fd, (struct sockaddr *)&to, n) == 0 && write(fd, kind, 1) == 1, address);
	return fd;
}

/* ---- the two sides -------------------------------------------------------------- */

static dlm_nsp_t nsp;
static int echo_fd, stream_fd;

/* Else a tree that only one process uses moves there, and is remote no longer. */
static dlm_nsp_t join_and_stay(void)
{
	must(setenv("GODLM_MASTER", "first", 1) == 0, "setenv");
	return join();
}

/* Masters the resource until it is killed. */
void serve(const char *address, void (*ready)(void))
{
	struct plain p = {address, shared_memory(sizeof(atomic_int))};
	dlm_lkid_t id;

	start(answer_plainly, &p, -1);
	wait_for(p.listening, 1, "the baseline's server");
	nsp = join_and_stay();
	ok(dlm_lock(nsp, (uchar_t *)"remote", 6, NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_lock(nsp, (uchar_t *)"flood", 5, NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	ready();
	pause();
}

static void ping(void)
{
	char c = 0;
	must(write(echo_fd, &c, 1) == 1 && read(echo_fd, &c, 1) == 1, "ping");
}

static void pair(void)
{
	dlm_lkid_t id;
	ok(dlm_lock(nsp, (uchar_t *)"remote", 6, NULL, &id, DLM_CRMODE, NULL, 0, 0, 0, 0, 0));
	ok(dlm_unlock(&id, NULL, 0));
}

static dlm_lkid_t other;

static void convert_pair(void)
{
	dlm_valb_t v;
	ok(dlm_cvt(&other, DLM_EXMODE, &v, DLM_VALB, 0, 0, 0, 0));
	v.valblk[0]++;
	ok(dlm_cvt(&other, DLM_NLMODE, &v, DLM_VALB, 0, 0, 0, 0));
}

/* One-way messages per microsecond, each written by itself. */
static double stream(int n)
{
	char b[MESSAGE] = {0}, c;
	long expected = (long)n * MESSAGE;
	double t = now_us();
	must(write(stream_fd, &expected, sizeof expected) == sizeof expected, "stream");
	for (int i = 0; i < n; i++)
		must(write(stream_fd, b, sizeof b) == sizeof b, "stream");
	must(read(stream_fd, &c, 1) == 1, "stream");
	return n / (now_us() - t);
}

/* Locks of which each is converted to CR and back to NL again and again, asynchronously. */
static struct {
	dlm_lkid_t id[IN_FLIGHT];
	int up[IN_FLIGHT];
	int begun, done, wanted;
	int event;
} flight;

static void converted(callback_arg_t arg, dlm_lkid_t *id, dlm_status_t st);

static void ask(int slot)
{
	flight.begun++;
	flight.up[slot] = !flight.up[slot];
	ok(dlm_quecvt(&flight.id[slot], flight.up[slot] ? DLM_CRMODE : DLM_NLMODE, NULL, 0, (callback_arg_t)(size_t)slot, 0, 0, 0, converted));
}

static void converted(callback_arg_t arg, dlm_lkid_t *id, dlm_status_t st)
{
	(void)id;
	ok(st);
	flight.done++;
	if (flight.begun < flight.wanted)
		ask((int)(size_t)arg);
}

/* Requests per microsecond, with so many under way at once. */
static double flood(int n)
{
	double t = now_us();
	flight.begun = flight.done = 0;
	flight.wanted = n;
	for (int i = 0; i < IN_FLIGHT && i < n; i++)
		ask(i);
	while (flight.done < n) {
		struct pollfd p = {.fd = flight.event, .events = POLLIN};
		if (dlm_notify() == 0)
			must(poll(&p, 1, 30000) == 1, "no answers");
	}
	return n / (now_us() - t);
}

void use(const char *address, const char *name, const char *placement, double sync_goal)
{
	char names[3][64], what[2][128];
	struct row sync = {names[0], "lock+unlock, master in another process", placement, "us", what[0], AT_MOST, sync_goal, 0, runs, {0}, {0}};
	struct row convert = {names[1], "NL->EX->NL with value block, master in another process", placement, "us", what[0], NO_GOAL, 0, 0, runs, {0}, {0}};
	struct row async = {names[2], "NL->CR->NL, 256 requests in flight, master in another process", placement, "1/s", what[1], AT_LEAST, 0.4, 0, runs, {0}, {0}};
	const char *kind = address[0] == '/' ? "Unix" : "TCP";

	snprintf(names[0], sizeof names[0], "%s-sync", name);
	snprintf(names[1], sizeof names[1], "%s-convert", name);
	snprintf(names[2], sizeof names[2], "%s-async", name);
	snprintf(what[0], sizeof what[0], "two ping-pongs of one byte in C, %s socket", kind);
	snprintf(what[1], sizeof what[1], "one-way messages of %d bytes in C, %s socket", MESSAGE, kind);
	echo_fd = call(address, ECHO);
	stream_fd = call(address, STREAM);
	nsp = join_and_stay();
	ok(dlm_lock(nsp, (uchar_t *)"remote", 6, NULL, &other, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	for (int i = 0; i < IN_FLIGHT; i++)
		ok(dlm_lock(nsp, (uchar_t *)"flood", 5, NULL, &flight.id[i], DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	flight.event = godlm_event_fd();
	must(flight.event >= 0, "event descriptor");
	each(pair, 100);
	for (int r = 0; r < runs; r++) {
		double v[3] = {0, 0, 0};
		for (int turn = 0; turn < 4; turn++) {
			v[0] += each(ping, PAIRS / 2) / 4;
			v[1] += each(pair, PAIRS / 4) / 4;
			v[2] += each(convert_pair, PAIRS / 4) / 4;
		}
		sync.baseline[r] = convert.baseline[r] = 2 * v[0];
		sync.value[r] = v[1];
		convert.value[r] = v[2];
	}
	for (int r = 0; r < runs; r++) {
		async.baseline[r] = 1e6 * stream(2 * REQUESTS);
		async.value[r] = 1e6 * flood(REQUESTS);
	}
	print_row(&sync);
	print_row(&convert);
	print_row(&async);
}

struct sides {
	char address[128];
	const char *placement;
	atomic_int ready;
};

static struct sides *sides;

static void ready(void) { atomic_store(&sides->ready, 1); }

static void server(void *arg) { serve(((struct sides *)arg)->address, ready); }

static void client(void *arg)
{
	struct sides *s = arg;
	use(s->address, "remote", s->placement, 1.4);
}

void remote_rows(void)
{
	for (int cpus = 1; cpus <= 1 + two_cpus; cpus++) {
		pid_t p;
		new_directory();
		sides = shared_memory(sizeof *sides);
		snprintf(sides->address, sizeof sides->address, "%s/echo", directory());
		sides->placement = cpus == 1 ? "one CPU" : "two CPUs";
		p = start(server, sides, 0);
		wait_for(&sides->ready, 1, "the master");
		finish(start(client, sides, cpus - 1));
		stop(p);
	}
}

/* ---- a hot lock ------------------------------------------------------------------ */

#define HAND_OVERS 4000

struct hot {
	atomic_int joined, begin, over[2];
	int cpu[2];
	int last;     /* who held the lock last; guarded by the lock, as is changes */
	long changes;
	double us[MOST_RUNS], ping[MOST_RUNS];
};

static struct hot *hot;

static void compete(void *arg)
{
	int me = arg != NULL;
	dlm_lkid_t id;

	nsp = join();
	ok(dlm_lock(nsp, (uchar_t *)"hot", 3, NULL, &id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
	atomic_fetch_add(&hot->joined, 1);
	for (int r = 0; r < runs; r++) {
		double t;
		wait_for(&hot->begin, r + 1, "the other process");
		t = now_us();
		for (long before = -1; before < HAND_OVERS;) {
			ok(dlm_cvt(&id, DLM_EXMODE, NULL, 0, 0, 0, 0, 0));
			before = hot->changes;
			if (hot->last != me) {
				hot->last = me;
				hot->changes++;
			}
			ok(dlm_cvt(&id, DLM_NLMODE, NULL, 0, 0, 0, 0, 0));
		}
		if (me == 0)
			hot->us[r] = (now_us() - t) / HAND_OVERS;
		atomic_store(&hot->over[me], r + 1);
	}
}

static int pair_of[2];

static void echo(void *arg)
{
	char c;
	(void)arg;
	while (read(pair_of[1], &c, 1) == 1 && write(pair_of[1], &c, 1) == 1)
		;
}

static void ping_in_turns(void *arg)
{
	(void)arg;
	echo_fd = pair_of[0];
	for (int r = 0; r < runs; r++) {
		wait_for(&hot->over[0], r + 1, "the competitors");
		wait_for(&hot->over[1], r + 1, "the competitors");
		hot->ping[r] = each(ping, HAND_OVERS);
		hot->changes = 0;
		atomic_store(&hot->begin, r + 2);
	}
}

void hand_over_rows(void)
{
	for (int cpus = 1; cpus <= 1 + two_cpus; cpus++) {
		struct row r = {"hand-over", "a hot lock goes from one process to the other", cpus == 1 ? "one CPU" : "two CPUs", "us",
		                "one ping-pong of one byte in C, Unix socket", AT_MOST, 2, 0, runs, {0}, {0}};
		pid_t p[4];
		new_directory();
		hot = shared_memory(sizeof *hot);
		must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_of) == 0, "socketpair");
		p[0] = start(compete, NULL, 0);
		wait_for(&hot->joined, 1, "the first competitor");
		p[1] = start(compete, hot, cpus - 1);
		wait_for(&hot->joined, 2, "the second competitor");
		p[2] = start(echo, NULL, 0);
		atomic_store(&hot->begin, 1);
		p[3] = start(ping_in_turns, NULL, cpus - 1);
		finish(p[3]);
		finish(p[1]);
		finish(p[0]);
		stop(p[2]);
		close(pair_of[0]);
		close(pair_of[1]);
		memcpy(r.value, hot->us, sizeof r.value);
		memcpy(r.baseline, hot->ping, sizeof r.baseline);
		print_row(&r);
	}
}
