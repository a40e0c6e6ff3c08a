/*
 * servant.h - processes that do what the test's main process tells them, one call
 * of the library at a time. The main process itself does not use the library, so
 * it may kill any of them.
 */
#ifndef SERVANT_H
#define SERVANT_H

#include <sys/stat.h>

#include "test.h"

#define SERVANT_LOCKS 4

enum servant_op { SERVANT_JOIN, SERVANT_LOCK, SERVANT_CVT, SERVANT_UNLOCK, SERVANT_RSB, SERVANT_EXIT };

struct servant_call {
	enum servant_op op;
	int slot; /* which of the servant's locks */
	dlm_lkmode_t mode;
	dlm_flags_t flags;
	uint_t timeout;
	dlm_valb_t valb;
	char name[DLM_RESNAMELEN];
};

struct servant_answer {
	dlm_status_t st;
	dlm_valb_t valb;
	dlm_rsbinfo_t rsb;
};

static inline void servant_main(struct role *r, void *arg)
{
	dlm_nsp_t nsp = 0;
	dlm_lkid_t ids[SERVANT_LOCKS];
	struct servant_call c;
	(void)arg;
	for (;;) {
		struct servant_answer a;
		ssize_t n = read(r->in, &c, sizeof c);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof c)
			_exit(0); /* the main process is gone */
		memset(&a, 0, sizeof a);
		a.valb = c.valb;
		switch (c.op) {
		case SERVANT_JOIN:
			a.st = dlm_nsjoin(geteuid(), &nsp, DLM_USER);
			break;
		case SERVANT_LOCK:
			a.st = dlm_lock(nsp, (uchar_t *)c.name, (ushort_t)strlen(c.name), NULL, &ids[c.slot], c.mode,
			                &a.valb, c.flags, NULL, NULL, NULL, c.timeout);
			break;
		case SERVANT_CVT:
			a.st = dlm_cvt(&ids[c.slot], c.mode, &a.valb, c.flags, NULL, NULL, NULL, c.timeout);
			break;
		case SERVANT_UNLOCK:
			a.st = dlm_unlock(&ids[c.slot], &a.valb, c.flags);
			break;
		case SERVANT_RSB:
			a.st = dlm_get_rsbinfo(nsp, (uchar_t *)c.name, (ushort_t)strlen(c.name), &a.rsb, NULL);
			break;
		case SERVANT_EXIT:
			exit(0);
		}
		tell_data(r, &a, sizeof a);
	}
}

static inline struct role servant(void) { return fork_role(servant_main, NULL); }

static inline void order(struct role *r, struct servant_call c) { tell_data(r, &c, sizeof c); }

static inline struct servant_answer outcome(struct role *r)
{
	struct servant_answer a;
	hear_data(r, &a, sizeof a);
	return a;
}

static inline struct servant_answer ask(struct role *r, struct servant_call c)
{
	order(r, c);
	return outcome(r);
}

static inline struct servant_call call_for(enum servant_op op, const char *name, int slot, dlm_lkmode_t mode,
                                           dlm_flags_t flags)
{
	struct servant_call c;
	memset(&c, 0, sizeof c);
	c.op = op;
	c.slot = slot;
	c.mode = mode;
	c.flags = flags;
	if (name)
		strcpy(c.name, name);
	return c;
}

/* One call and its status. */
static inline dlm_status_t does(struct role *r, enum servant_op op, const char *name, int slot,
                                dlm_lkmode_t mode, dlm_flags_t flags)
{
	return ask(r, call_for(op, name, slot, mode, flags)).st;
}

/* A conversion or an unlock that writes value_of(n). */
static inline dlm_status_t writes(struct role *r, enum servant_op op, int slot, dlm_lkmode_t mode, uint_t n)
{
	struct servant_call c = call_for(op, NULL, slot, mode, DLM_VALB);
	c.valb = value_of(n);
	return ask(r, c).st;
}

/* A servant that has joined. */
static inline struct role joined(void)
{
	struct role r = servant();
	ASSERT_ST(does(&r, SERVANT_JOIN, NULL, 0, 0, 0), DLM_SUCCESS);
	return r;
}

/* Waits until a request waits on the resource, as another process sees it. */
static inline void until_waiting(struct role *r, const char *name)
{
	long long end = now_ms() + DEADLINE_MS;
	for (;;) {
		struct servant_answer a = ask(r, call_for(SERVANT_RSB, name, 0, 0, 0));
		if (a.st == DLM_SUCCESS && (a.rsb.wtqmode != DLM_NOMODE || a.rsb.cvtqmode != DLM_NOMODE))
			return;
		if (now_ms() > end)
			FAIL("nothing waits on %s", name);
		poll(NULL, 0, 1);
	}
}

/*
 * Waits until so many locks and requests are on the resource, as another process
 * sees it. A death is known to others a moment after it, not before.
 */
static inline void until_locks(struct role *r, const char *name, uint_t n)
{
	long long end = now_ms() + DEADLINE_MS;
	for (;;) {
		struct servant_answer a = ask(r, call_for(SERVANT_RSB, name, 0, 0, 0));
		if (a.st == DLM_SUCCESS && a.rsb.lckcnt == n)
			return;
		if (now_ms() > end)
			FAIL("%s has %u locks, not %u (%s)", name, a.rsb.lckcnt, n, dlm_sperrno(a.st));
		poll(NULL, 0, 1);
	}
}

/* Further runtime directory for processes that start from here on. */
static inline void fresh_directory(void)
{
	static char base[200];
	static int n;
	char dir[256];
	if (base[0] == '\0')
		snprintf(base, sizeof base, "%s", getenv("GODLM_DIR") ? getenv("GODLM_DIR") : "/tmp");
	snprintf(dir, sizeof dir, "%s/%d", base, ++n);
	if (mkdir(dir, 0700) != 0)
		FAIL("%s: %s", dir, strerror(errno));
	setenv("GODLM_DIR", dir, 1);
}

#endif
