/*
 * A connection breaks between two processes that both live on, as when a program
 * shuts a descriptor that is not its own. What was under way on it is lost, so one
 * side ends for the lock manager: it is told by GODLM_LOST, also in calls that
 * wait, and to the others it is as if it had died.
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "test.h"

static dlm_nsp_t nsp;
static dlm_lkid_t held;

/*
 * Shuts this process's connections whose other end's path contains `to`; with an
 * empty one, those that others have opened. Returns how many.
 */
static int shut(const char *to)
{
	int n = 0;
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_un a = {0};
		socklen_t len = sizeof a;
		if (getpeername(fd, (struct sockaddr *)&a, &len) != 0 || a.sun_family != AF_UNIX)
			continue;
		int named = len > offsetof(struct sockaddr_un, sun_path) && a.sun_path[0] != 0;
		if (*to ? named && strstr(a.sun_path, to) != NULL : !named)
			n += shutdown(fd, SHUT_RDWR) == 0;
	}
	return n;
}

static int handled;

static void on_lost(void *arg)
{
	ASSERT_STR(arg, "lost");
	handled++;
}

static void *waiting(void *arg)
{
	dlm_lkid_t id;
	(void)arg;
	ASSERT_ST(take(nsp, "wanted", &id, DLM_EXMODE, NULL, 0), GODLM_LOST);
	return NULL;
}

static void lost_everything(void)
{
	dlm_lkid_t id;
	dlm_lkinfo_t info;
	ASSERT_ST(turn(&held, DLM_NLMODE, NULL, 0), GODLM_LOST);
	ASSERT_ST(dlm_unlock(&held, NULL, 0), GODLM_LOST);
	ASSERT_ST(dlm_get_lkinfo(&held, &info), GODLM_LOST);
	ASSERT_ST(take(nsp, "wanted", &id, DLM_EXMODE, NULL, 0), GODLM_LOST);
	ASSERT_ST(take(nsp, "new", &id, DLM_EXMODE, NULL, 0), GODLM_LOST);
}

/* Writes 1 to "written", holds it, waits for "wanted", and is cut off. */
static void victim_main(struct role *r, void *arg)
{
	const char *to = arg;
	pthread_t t;
	godlm_set_lost_handler(on_lost, "lost");
	nsp = join();
	ASSERT_ST(take(nsp, "written", &held, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	dlm_valb_t one = value_of(1);
	ASSERT_ST(turn(&held, DLM_EXMODE, &one, DLM_VALB), DLM_SUCCESS);
	ASSERT_EQ(pthread_create(&t, NULL, waiting, NULL), 0);
	tell(r, 'w');
	hear(r, 's');
	if (*to)
		ASSERT_EQ(shut(to), 1);
	pthread_join(t, NULL);
	lost_everything();
	ASSERT(readable(godlm_event_fd(), DEADLINE_MS));
	ASSERT_EQ(dlm_notify(), 1);
	ASSERT_EQ(handled, 1);
	tell(r, 'l');
	hear(r, 'q');
}

/* Masters both resources. */
static void master_main(struct role *r, void *arg)
{
	dlm_lkid_t keep, wanted;
	dlm_rsbinfo_t rsb;
	hear(r, 'g');
	nsp = join();
	ASSERT_ST(take(nsp, "written", &keep, DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(take(nsp, "wanted", &wanted, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	tell(r, 'm');
	hear(r, 'w');
	EVENTUALLY(dlm_get_rsbinfo(nsp, (uchar_t[]){"wanted"}, 6, &rsb, NULL) == DLM_SUCCESS && rsb.lckcnt == 2);
	tell(r, 'q');
	hear(r, 's');
	if (arg)
		ASSERT_EQ(shut(""), 1);
	EVENTUALLY(dlm_get_rsbinfo(nsp, (uchar_t[]){"wanted"}, 6, &rsb, NULL) == DLM_SUCCESS && rsb.lckcnt == 1);
	hear(r, 'e');
	ASSERT_ST(dlm_unlock(&wanted, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&keep, NULL, 0), DLM_SUCCESS);
}

static void survivor_main(struct role *r, void *arg)
{
	dlm_lkid_t id;
	dlm_valb_t v;
	(void)arg;
	hear(r, 'g');
	nsp = join();
	ASSERT_ST(take(nsp, "written", &id, DLM_PRMODE, &v, DLM_VALB), DLM_SUCCVALNOTVALID);
	ASSERT(same_value(&v, 1));
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(take(nsp, "free", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
}

static void agent_main(struct role *r, void *arg)
{
	(void)arg;
	nsp = join();
	tell(r, 'a');
	hear(r, 'q');
}

/* The victim cuts its connection to of_victim, or the master the one from it. */
static void broken(char *of_victim, int by_master)
{
	struct role agent = fork_role(agent_main, NULL);
	struct role master = fork_role(master_main, by_master ? "" : NULL);
	struct role survivor = fork_role(survivor_main, NULL);
	hear(&agent, 'a');
	tell(&master, 'g');
	hear(&master, 'm');
	struct role victim = fork_role(victim_main, of_victim);
	hear(&victim, 'w');
	tell(&master, 'w');
	hear(&master, 'q');
	tell(&survivor, 'g');
	tell(&master, 's');
	tell(&victim, 's');
	hear(&victim, 'l'); /* while it goes on living */
	finish_role(&survivor);
	tell(&master, 'e');
	finish_role(&master);
	tell(&victim, 'q');
	finish_role(&victim);
	tell(&agent, 'q');
	finish_role(&agent);
}

/* GODLM_ON_LOST=abort: the process is gone before it can do more. */
static void aborting_main(struct role *r, void *arg)
{
	dlm_lkid_t id;
	(void)arg;
	setenv("GODLM_ON_LOST", "abort", 1);
	nsp = join();
	ASSERT_ST(take(nsp, "written", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	tell(r, 'h');
	hear(r, 's');
	ASSERT_EQ(shut("agent.sock"), 1);
	for (;;)
		pause();
}

static void aborted(void)
{
	struct role agent = fork_role(agent_main, NULL);
	hear(&agent, 'a');
	struct role p = fork_role(aborting_main, NULL);
	hear(&p, 'h');
	tell(&p, 's');
	int status = await_end(&p);
	ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	tell(&agent, 'q');
	finish_role(&agent);
}

int main(void)
{
	fprintf(stderr, "to the agent\n");
	broken("agent.sock", 0);
	fprintf(stderr, "to the master\n");
	broken("/sock/", 0);
	fprintf(stderr, "from the master's end\n");
	broken("", 1);
	fprintf(stderr, "with abort\n");
	aborted();
	return 0;
}
