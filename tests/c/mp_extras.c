/*
 * What godlm.h adds: fencing tokens that only grow, whoever dies and whoever is
 * master; joining without the not-valid statuses; blockers in words.
 */
#include "test.h"

enum { TAKE, BLOCKERS, GIVE, QUIT };

struct told {
	int what;
	dlm_lkmode_t mode;
	char name[16];
};

struct answer {
	dlm_status_t st, blockers_st;
	godlm_token_t token;
	char text[512];
	size_t length;
};

/* Holds one lock at a time. */
static void worker(struct role *r, void *arg)
{
	dlm_nsp_t nsp = 0;
	dlm_lkid_t id = {0, 0};
	dlm_valb_t v;
	dlm_flags_t plain = arg ? GODLM_JOIN_PLAIN : 0;
	ASSERT_ST(dlm_nsjoin(geteuid(), &nsp, DLM_USER | plain), DLM_SUCCESS);
	for (;;) {
		struct told t;
		struct answer a = {.st = DLM_SUCCESS};
		hear_data(r, &t, sizeof t);
		switch (t.what) {
		case TAKE:
			a.st = take(nsp, t.name, &id, t.mode, &v, DLM_VALB);
			if (t.mode >= DLM_PWMODE)
				ASSERT_ST(godlm_get_token(&id, &a.token), DLM_SUCCESS);
			break;
		case BLOCKERS:
			ASSERT_ST(dlm_quelock(nsp, (uchar_t *)t.name, (ushort_t)strlen(t.name), NULL, &id, t.mode, NULL, 0,
			                      NULL, NULL, NULL, 0, NULL), DLM_SUCCESS);
			dlm_lkinfo_t info;
			EVENTUALLY(dlm_get_lkinfo(&id, &info) == DLM_SUCCESS && info.lkstate == DLM_STATE_WAITING);
			a.blockers_st = godlm_get_blockers(&id, a.text, sizeof a.text, &a.length);
			break;
		case GIVE:
			a.st = dlm_unlock(&id, NULL, 0);
			break;
		case QUIT:
			return;
		}
		tell_data(r, &a, sizeof a);
	}
}

static struct answer order(struct role *r, int what, const char *name, dlm_lkmode_t mode)
{
	struct told t = {.what = what, .mode = mode};
	struct answer a;
	snprintf(t.name, sizeof t.name, "%s", name);
	tell_data(r, &t, sizeof t);
	hear_data(r, &a, sizeof a);
	return a;
}

static void quit(struct role *r)
{
	struct told t = {.what = QUIT};
	tell_data(r, &t, sizeof t);
	finish_role(r);
}

static godlm_token_t last;

static void grown(const struct answer *a)
{
	ASSERT(a->token.epoch > last.epoch || (a->token.epoch == last.epoch && a->token.number > last.number));
	last = a->token;
}

/* EX and PW by turns, with the deaths of masters and holders between. */
static void tokens(void)
{
	struct role keeper = fork_role(worker, NULL); /* of the agent role, too */
	order(&keeper, TAKE, "other", DLM_NLMODE);
	for (int i = 0; i < 12; i++) {
		struct role a = fork_role(worker, NULL), b = fork_role(worker, NULL), c = fork_role(worker, NULL);
		struct answer x = order(&a, TAKE, "T", DLM_EXMODE); /* and masters it */
		grown(&x);
		ASSERT_ST(order(&a, GIVE, "", 0).st, DLM_SUCCESS);
		ASSERT_ST(order(&a, TAKE, "T", DLM_NLMODE).st, DLM_SUCCESS);
		ASSERT_ST(order(&b, TAKE, "T", DLM_NLMODE).st, DLM_SUCCESS);
		x = order(&c, TAKE, "T", DLM_PWMODE);
		grown(&x);
		if (i & 1)
			kill_role(&a); /* a new master with c's lock in it */
		if (i & 2)
			kill_role(&c);
		else
			ASSERT_ST(order(&c, GIVE, "", 0).st, DLM_SUCCESS);
		ASSERT_ST(order(&b, GIVE, "", 0).st, DLM_SUCCESS);
		x = order(&b, TAKE, "T", DLM_EXMODE);
		grown(&x);
		if (!(i & 1))
			quit(&a);
		if (!(i & 2))
			quit(&c);
		quit(&b); /* nobody has it any more: the resource goes */
	}
	quit(&keeper);
}

/* Below PW there is no token; and the usual errors. */
static void token_errors(struct role *r, void *arg)
{
	dlm_lkid_t id, wrong = {5, 5};
	godlm_token_t t = {1, 2};
	size_t n;
	char text[8];
	(void)r, (void)arg;
	ASSERT_ST(godlm_get_token(NULL, &t), DLM_EFAULT);
	ASSERT_ST(godlm_get_token(&wrong, &t), DLM_NOTATTACHED);
	ASSERT_ST(godlm_get_blockers(&wrong, text, sizeof text, &n), DLM_NOTATTACHED);
	dlm_nsp_t nsp = join();
	ASSERT_ST(godlm_get_token(&wrong, &t), DLM_IVLOCKID);
	ASSERT_ST(godlm_get_token(&wrong, NULL), DLM_EFAULT);
	ASSERT_ST(godlm_get_blockers(&wrong, text, sizeof text, &n), DLM_IVLOCKID);
	ASSERT_ST(godlm_get_blockers(NULL, text, sizeof text, &n), DLM_EFAULT);
	ASSERT_ST(take(nsp, "X", &id, DLM_PRMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(godlm_get_token(&id, &t), DLM_BADPARAM);
	ASSERT(t.epoch == 1 && t.number == 2);
	ASSERT_ST(godlm_get_blockers(&id, NULL, 0, &n), DLM_SUCCESS);
	ASSERT_EQ(n, 0);
	ASSERT_ST(godlm_get_blockers(&id, text, sizeof text, NULL), DLM_SUCCESS);
	ASSERT_STR(text, "");
	dlm_lkid_t waits;
	ASSERT_ST(dlm_quelock(nsp, (uchar_t *)"X", 1, NULL, &waits, DLM_EXMODE, NULL, DLM_NODLCKWT, NULL, NULL, NULL, 0,
	                      NULL), DLM_SUCCESS);
	ASSERT_ST(godlm_get_token(&waits, &t), DLM_CVTUNGRANT);
	ASSERT_ST(godlm_get_blockers(&waits, text, sizeof text, &n), DLM_SUCCESS);
	ASSERT(n > sizeof text); /* cut, with a 0 */
	ASSERT_EQ(strlen(text), sizeof text - 1);
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
}

/* A writer dies; who has joined plainly is told success, and can ask. */
static void plainly(void)
{
	struct role writer = fork_role(worker, NULL), plain = fork_role(worker, "plain"), usual = fork_role(worker, NULL);
	ASSERT_ST(order(&writer, TAKE, "P", DLM_EXMODE).st, DLM_SUCCESS);
	kill_role(&writer);
	/* The first to come finds a new resource; so somebody must have kept it. */
	writer = fork_role(worker, NULL);
	ASSERT_ST(order(&usual, TAKE, "P", DLM_NLMODE).st, DLM_SUCCESS);
	ASSERT_ST(order(&writer, TAKE, "P", DLM_PWMODE).st, DLM_SUCCESS);
	kill_role(&writer);
	ASSERT_ST(order(&plain, TAKE, "P", DLM_PRMODE).st, DLM_SUCCESS);
	ASSERT_ST(order(&usual, GIVE, "", 0).st, DLM_SUCCESS);
	ASSERT_ST(order(&usual, TAKE, "P", DLM_PRMODE).st, DLM_SUCCVALNOTVALID);
	quit(&plain);
	quit(&usual);
}

/* The words name the programs, the modes, and the order of the queue. */
static void blockers(int master)
{
	struct role p[4];
	char who[3][64];
	for (int i = 0; i < 4; i++)
		p[i] = fork_role(worker, NULL);
	struct role *m = &p[master];
	ASSERT_ST(order(m, TAKE, "B", DLM_NLMODE).st, DLM_SUCCESS); /* masters it */
	if (master == 0)
		ASSERT_ST(order(m, GIVE, "", 0).st, DLM_SUCCESS);
	ASSERT_ST(order(&p[0], TAKE, "B", DLM_PRMODE).st, DLM_SUCCESS);
	struct answer a = order(&p[1], BLOCKERS, "B", DLM_EXMODE);
	snprintf(who[0], sizeof who[0], "process %d (", (int)p[0].pid);
	ASSERT_ST(a.blockers_st, DLM_SUCCESS);
	ASSERT_EQ(a.length, strlen(a.text));
	ASSERT(strstr(a.text, who[0]) == a.text);
	ASSERT(strstr(a.text, "holds PR\n") != NULL);
	ASSERT(strchr(a.text, '\n') == a.text + a.length - 1); /* one line */
	/* PR is compatible with what is held, but behind the other in the queue. */
	a = order(&p[2], BLOCKERS, "B", DLM_PRMODE);
	snprintf(who[1], sizeof who[1], "process %d (", (int)p[1].pid);
	ASSERT(strstr(a.text, who[1]) == a.text);
	ASSERT(strstr(a.text, "is ahead in the queue for EX\n") != NULL);
	for (int i = 0; i < 4; i++)
		quit(&p[i]);
}

int main(void)
{
	tokens();
	struct role e = fork_role(token_errors, NULL);
	finish_role(&e);
	plainly();
	blockers(0);
	blockers(3);
	return 0;
}
