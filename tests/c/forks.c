/*
 * fork() before the first call works; after it the child gets an answer at once
 * from every function, and neither its life nor its end touches the parent's
 * locks (D-36, design §5).
 */
#include "test.h"

static void after_daemon(struct role *r, void *arg)
{
	(void)arg;
	if (daemon(1, 1) != 0) /* the parent side of daemon() ends with _exit(0) */
		FAIL("daemon: %s", strerror(errno));
	dlm_nsp_t nsp = join();
	dlm_lkid_t id;
	ASSERT_ST(take(nsp, "daemon", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	tell(r, 'd');
	hear(r, 'e');
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
	tell(r, 'f');
}

static dlm_nsp_t nsp;
static dlm_lkid_t id;

static void every_call(void)
{
	dlm_lkid_t x = {3, 3};
	dlm_lkinfo_t info;
	dlm_rsbinfo_t rsb;
	int sig = 4;
	uchar_t name[] = "x";
	dlm_nsp_t n = nsp;
	ASSERT_ST(dlm_nsjoin(geteuid(), &n, DLM_USER), DLM_ENOSYS);
	ASSERT_ST(dlm_nsleave(&n, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_detach(), DLM_NOTATTACHED);
	ASSERT_ST(dlm_set_signal(SIGUSR1, &sig), DLM_NOTATTACHED);
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_ST(dlm_lock(nsp, name, 1, NULL, &x, DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_quelock(nsp, name, 1, NULL, &x, DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0, NULL), DLM_NOTATTACHED);
	ASSERT_ST(dlm_cvt(&id, DLM_NLMODE, NULL, 0, NULL, NULL, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_quecvt(&id, DLM_NLMODE, NULL, 0, NULL, NULL, NULL, 0, NULL), DLM_NOTATTACHED);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_NOTATTACHED);
	ASSERT_ST(dlm_cancel(&id, 0), DLM_NOTATTACHED);
	ASSERT_ST(dlm_get_lkinfo(&id, &info), DLM_NOTATTACHED);
	ASSERT_ST(dlm_get_rsbinfo(nsp, name, 1, &rsb, NULL), DLM_NOTATTACHED);
	ASSERT_EQ(godlm_event_fd(), -1);
	ASSERT_EQ(x.seqn, 3);
	ASSERT_STR(dlm_sperrno(DLM_SUCCESS), "DLM_SUCCESS");
}

/* Sockets and files of the library that are open here: what would keep the dead parent's alive. */
static int library_fds(void)
{
	int n = 0;
	for (int fd = 3; fd < 200; fd++) {
		char link[64], to[256];
		ssize_t k;
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		k = readlink(link, to, sizeof to - 1);
		if (k < 0)
			continue;
		to[k] = 0;
		n += strstr(to, "socket:") || strstr(to, getenv("GODLM_DIR"));
	}
	return n;
}

static void *fork_in_thread(void *arg)
{
	(void)arg;
	pid_t pid = fork();
	if (pid == 0) {
		every_call();
		_exit(0);
	}
	int st = 0;
	ASSERT(waitpid(pid, &st, 0) == pid);
	ASSERT_EQ(st, 0);
	return NULL;
}

/* Uses the library, forks a child that stays, and dies. */
static void dying_parent(struct role *r, void *arg)
{
	(void)arg;
	nsp = join();
	ASSERT_ST(take(nsp, "inherited", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	int gone[2];
	ASSERT(pipe(gone) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		close(gone[1]);
		close(r->out);
		hear(r, 'q'); /* lives on until then */
		if (read(gone[0], &c, 1) < 0)
			_exit(2);
		_exit(0);
	}
	tell_data(r, &pid, sizeof pid);
	for (;;)
		pause();
}

int main(void)
{
	struct role d = fork_role(after_daemon, NULL), other = fork_role(dying_parent, NULL);
	pid_t pid, left;
	int st;

	nsp = join();
	hear(&d, 'd');
	dlm_lkid_t x;
	ASSERT_ST(take(nsp, "daemon", &x, DLM_PRMODE, NULL, DLM_NOQUEUE), DLM_NOTQUEUED);
	tell(&d, 'e');
	hear(&d, 'f');
	ASSERT_ST(take(nsp, "daemon", &x, DLM_PRMODE, NULL, 0), DLM_SUCCESS);

	/* The library's end of a dead process shows at once though its child lives. */
	hear_data(&other, &left, sizeof left);
	ASSERT_ST(take(nsp, "inherited", &id, DLM_PRMODE, NULL, DLM_NOQUEUE), DLM_NOTQUEUED);
	long long start = now_ms();
	kill(other.pid, SIGKILL);
	await_end(&other);
	ASSERT_ST(dlm_lock(nsp, (uchar_t *)(size_t)"inherited", 9, NULL, &id, DLM_PRMODE, NULL, 0, NULL, NULL, NULL, 1500),
	          DLM_SUCCESS);
	ASSERT(kill(left, 0) == 0); /* it still lives */
	tell(&other, 'q');
	if (now_ms() - start > 5000)
		FAIL("a dead process was noticed after %lld ms", now_ms() - start);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);

	ASSERT_ST(take(nsp, "x", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT(library_fds() > 0);
	start = now_ms();
	for (int i = 0; i < 20; i++) {
		if ((pid = fork()) == 0) {
			ASSERT_EQ(library_fds(), 0);
			every_call();
			if (fork() == 0) { /* and its child */
				every_call();
				_exit(0);
			}
			ASSERT(wait(&st) > 0 && st == 0);
			exit(0); /* with destructors */
		}
		ASSERT(waitpid(pid, &st, 0) == pid);
		ASSERT_EQ(st, 0);
	}
	if (now_ms() - start > 5000)
		FAIL("20 children took %lld ms", now_ms() - start);
	pthread_t t;
	ASSERT(pthread_create(&t, NULL, fork_in_thread, NULL) == 0);
	pthread_join(t, NULL);
	ASSERT(system("exit 3") >> 8 == 3);

	/* The parent's lock has survived all that. */
	dlm_lkinfo_t info;
	ASSERT_ST(dlm_get_lkinfo(&id, &info), DLM_SUCCESS);
	ASSERT_EQ(info.grmode, DLM_EXMODE);
	ASSERT_ST(turn(&id, DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
	return 0;
}
