/*
 * The library comes by dlopen() into a process that has been running for a while:
 * threads, handlers, thread-specific data, a small thread stack. The old name of
 * a program's lock manager is a string to it, so nothing is linked here.
 */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdatomic.h>

#include "test.h"

static __typeof__(&dlm_nsjoin) p_nsjoin;
static __typeof__(&dlm_detach) p_detach;
static __typeof__(&dlm_lock) p_lock;
static __typeof__(&dlm_quelock) p_quelock;
static __typeof__(&dlm_unlock) p_unlock;
static __typeof__(&dlm_set_signal) p_set_signal;
static __typeof__(&dlm_sperrno) p_sperrno;
#define dlm_sperrno p_sperrno /* for the macros of test.h */

static dlm_nsp_t nsp;
static atomic_int stop_now, spins, got_usr2;
static atomic_int completions;

static void *busy(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop_now)) {
		free(malloc(100));
		atomic_fetch_add(&spins, 1);
	}
	return NULL;
}

static void on_usr2(int sig)
{
	(void)sig;
	atomic_fetch_add(&got_usr2, 1);
}

static void on_end(callback_arg_t notprm, dlm_lkid_t *id, dlm_status_t st)
{
	(void)notprm, (void)id;
	ASSERT_ST(st, DLM_SUCCESS);
	atomic_fetch_add(&completions, 1);
}

static void open_library(void)
{
	char path[PATH_MAX] = "", dir[PATH_MAX];
	ASSERT(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
	snprintf(dir, sizeof dir, "%s", dirname(path));
	snprintf(path, sizeof path, "%.*s/../libgodlm.so", PATH_MAX - 20, dir);
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (lib == NULL)
		FAIL("%s", dlerror());
#define GET(name) ASSERT((*(void **)&p_##name = dlsym(lib, "dlm_" #name)) != NULL)
	GET(nsjoin);
	GET(detach);
	GET(lock);
	GET(quelock);
	GET(unlock);
	GET(set_signal);
	GET(sperrno);
	ASSERT(dlsym(lib, "godlm_boot") == NULL);
	/* It stays: its threads could not be taken away. */
	ASSERT_EQ(dlclose(lib), 0);
}

static void *use(void *arg)
{
	dlm_lkid_t a, b;
	uchar_t name[] = "late";
	(void)arg;
	ASSERT_ST(p_nsjoin(geteuid(), &nsp, DLM_USER), DLM_SUCCESS);
	ASSERT_ST(p_set_signal(SIGIO, NULL), DLM_SUCCESS);
	ASSERT_ST(p_lock(nsp, name, 4, NULL, &a, DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(p_quelock(nsp, name, 4, NULL, &b, DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0, on_end), DLM_SUCCESS);
	ASSERT_ST(p_unlock(&a, NULL, 0), DLM_SUCCESS);
	EVENTUALLY(atomic_load(&completions) == 1);
	ASSERT_ST(p_unlock(&b, NULL, 0), DLM_SUCCESS);
	return NULL;
}

int main(void)
{
	pthread_t threads[3], user;
	pthread_attr_t small;
	struct sigaction usr2 = {.sa_handler = on_usr2, .sa_flags = SA_ONSTACK | SA_RESTART};

	ASSERT_EQ(sigaction(SIGUSR2, &usr2, NULL), 0);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, busy, NULL), 0);
	EVENTUALLY(atomic_load(&spins) > 1000);
	int before = thread_count();
	open_library();
	ASSERT_EQ(thread_count(), before);

	ASSERT_EQ(pthread_attr_init(&small), 0);
	ASSERT_EQ(pthread_attr_setstacksize(&small, 128 * 1024), 0);
	ASSERT_EQ(pthread_create(&user, &small, use, NULL), 0);
	ASSERT_EQ(pthread_join(user, NULL), 0);

	/* The thread that used it first is gone; the others go on, and so do old handlers. */
	for (int i = 0; i < 3; i++)
		pthread_kill(threads[i], SIGUSR2);
	EVENTUALLY(atomic_load(&got_usr2) == 3);
	int then = atomic_load(&spins);
	EVENTUALLY(atomic_load(&spins) != then);
	dlm_lkid_t id;
	uchar_t name[] = "again";
	ASSERT_ST(p_lock(nsp, name, 5, NULL, &id, DLM_PRMODE, NULL, 0, NULL, NULL, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(p_detach(), DLM_HASLOCKS);
	ASSERT_ST(p_unlock(&id, NULL, 0), DLM_SUCCESS);
	ASSERT_ST(p_detach(), DLM_SUCCESS);
	atomic_store(&stop_now, 1);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
