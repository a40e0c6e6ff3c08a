/*
 * Runtime directories that cannot be used: every one is refused with a status, the
 * program goes on, and with another directory the same process can join. And the
 * file system that fills up while locks are held.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "test.h"

static char base[200];

static void set_dir(const char *path) { ASSERT_EQ(setenv("GODLM_DIR", path, 1), 0); }

static char *in_base(const char *name)
{
	static char path[300];
	snprintf(path, sizeof path, "%s/%s", base, name);
	return path;
}

static void refused(const char *what, dlm_status_t want)
{
	dlm_nsp_t nsp = 77;
	fprintf(stderr, "%s:\n", what);
	ASSERT_ST(dlm_nsjoin(geteuid(), &nsp, DLM_USER), want);
	ASSERT_EQ(nsp, 77);
	ASSERT_EQ(dlm_notify(), 0);
	ASSERT_ST(dlm_detach(), DLM_NOTATTACHED);
}

static void limit_files(rlim_t size)
{
	struct rlimit l;
	ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = size < l.rlim_max ? size : l.rlim_max;
	ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void bad_directories(struct role *r, void *arg)
{
	(void)arg;
	hear(r, 'g');
	set_dir("relative/path");
	refused("a relative path", DLM_ENOSYS);

	ASSERT_EQ(mkdir(in_base("real"), 0700), 0);
	ASSERT_EQ(symlink("real", in_base("link")), 0);
	set_dir(in_base("link"));
	refused("a symbolic link", DLM_ENOSYS);

	int fd = open(in_base("file"), O_CREAT | O_WRONLY, 0600);
	ASSERT(fd >= 0);
	close(fd);
	set_dir(in_base("file"));
	refused("a file", DLM_ENOSYS);

	ASSERT_EQ(mkdir(in_base("open"), 0700), 0);
	ASSERT_EQ(chmod(in_base("open"), 0777), 0);
	set_dir(in_base("open"));
	refused("open to others", DLM_ENOSYS);
	ASSERT_EQ(chmod(in_base("open"), 0700), 0);

	if (geteuid() == 0) {
		ASSERT_EQ(mkdir(in_base("theirs"), 0700), 0);
		ASSERT_EQ(chown(in_base("theirs"), 1, 1), 0);
		set_dir(in_base("theirs"));
		refused("somebody else's", DLM_ENOSYS);
	} else {
		set_dir("/etc");
		refused("somebody else's", DLM_ENOSYS);
	}

	set_dir("/proc/godlm");
	refused("a place where nothing can be made", DLM_ENOSYS);

	ASSERT_EQ(mkdir(in_base("small"), 0700), 0);
	set_dir(in_base("small"));
	limit_files(4096);
	refused("a full file system", DLM_INSFMEM);
	limit_files(RLIM_INFINITY);

	/* Nothing of this has done harm. */
	dlm_nsp_t nsp = join();
	dlm_lkid_t id;
	ASSERT_ST(take(nsp, "R", &id, DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
}

/* Takes the agent role, which writes files of its own. */
static void agent_main(struct role *r, void *arg)
{
	(void)arg;
	hear(r, 'g');
	join();
	tell(r, 'a');
	hear(r, 'q');
}

#define MANY 1500

static const char *nth(int i)
{
	static char name[32];
	snprintf(name, sizeof name, "full.%d", i);
	return name;
}

/* Masters many resources; there is no room to note what others do to them. */
static void full_master(struct role *r, void *arg)
{
	static dlm_lkid_t ids[MANY];
	(void)arg;
	hear(r, 'g');
	dlm_nsp_t nsp = join();
	for (int i = 0; i < MANY; i++)
		ASSERT_ST(take(nsp, nth(i), &ids[i], DLM_NLMODE, NULL, 0), DLM_SUCCESS);
	limit_files(1);
	tell(r, 'f');
	hear(r, 'm');
	limit_files(RLIM_INFINITY);
	tell(r, 'm');
	hear(r, 'q');
}

static void full_user(struct role *r, void *arg)
{
	static dlm_lkid_t ids[MANY];
	dlm_valb_t v;
	int n, extra;
	(void)arg;
	hear(r, 'g');
	dlm_nsp_t nsp = join();
	for (n = 0; n < MANY; n++) {
		dlm_status_t st = take(nsp, nth(n), &ids[n], DLM_EXMODE, NULL, 0);
		if (st == DLM_INSFMEM)
			break;
		ASSERT_ST(st, DLM_SUCCESS);
	}
	fprintf(stderr, "no room after %d resources\n", n);
	ASSERT(n > 0 && n < MANY);
	ASSERT(is_zero(&ids[n]));
	for (extra = n; extra < n + 10; extra++)
		ASSERT_ST(take(nsp, nth(extra), &ids[extra], DLM_PRMODE, NULL, DLM_NOQUEUE), DLM_INSFMEM);

	/* What was there before works, value blocks too. */
	for (int i = 0; i < n; i++) {
		v = value_of((uint_t)i);
		ASSERT_ST(turn(&ids[i], DLM_NLMODE, &v, DLM_VALB), DLM_SUCCESS);
	}
	/* One that goes makes room for another. */
	ASSERT_ST(dlm_unlock(&ids[0], NULL, 0), DLM_SUCCESS);
	ASSERT_ST(take(nsp, nth(n), &ids[n], DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	tell(r, 'f');
	hear(r, 'm');
	for (int i = n + 1; i < MANY; i++)
		ASSERT_ST(take(nsp, nth(i), &ids[i], DLM_EXMODE, NULL, 0), DLM_SUCCESS);
	for (int i = 1; i < n; i++) {
		ASSERT_ST(turn(&ids[i], DLM_PRMODE, &v, DLM_VALB), DLM_SUCCESS);
		ASSERT(same_value(&v, (uint_t)i));
	}
	ASSERT_ST(dlm_unlock(NULL, NULL, DLM_DEQALL), DLM_SUCCESS);
}

int main(void)
{
	const char *own = getenv("GODLM_DIR");
	ASSERT(own != NULL);
	mkdir(own, 0700); /* it may be there */
	snprintf(base, sizeof base, "%s/bad", own);
	ASSERT_EQ(mkdir(base, 0700), 0);
	signal(SIGXFSZ, SIG_IGN); /* files too large are errors, as on a full disk */

	struct role bad = fork_role(bad_directories, NULL);
	tell(&bad, 'g');
	finish_role(&bad);

	struct role agent = fork_role(agent_main, NULL), master = fork_role(full_master, NULL),
	            user = fork_role(full_user, NULL);
	tell(&agent, 'g');
	hear(&agent, 'a');
	tell(&master, 'g');
	hear(&master, 'f');
	tell(&user, 'g');
	hear(&user, 'f');
	tell(&master, 'm');
	hear(&master, 'm');
	tell(&user, 'm');
	finish_role(&user);
	tell(&master, 'q');
	finish_role(&master);
	tell(&agent, 'q');
	finish_role(&agent);
	return 0;
}
