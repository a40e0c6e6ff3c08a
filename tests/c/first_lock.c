/*
 * Without a configuration a host is alone: fresh processes, one after the other in a
 * directory that the first of them makes, each lock something, and none has a socket of
 * the internet. How long the first lock takes is measured in tests/bench/first.c.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "test.h"

#define PROCESSES 20

/* inode is that of an open descriptor, if it is a socket; 0 else. */
static unsigned long inode(const char *fd)
{
	char path[300], to[64] = "";
	unsigned long n;
	snprintf(path, sizeof path, "/proc/self/fd/%s", fd);
	ssize_t len = readlink(path, to, sizeof to - 1);
	return len > 0 && sscanf(to, "socket:[%lu]", &n) == 1 ? n : 0;
}

/* listed tells whether a table of the kernel has that socket. */
static int listed(const char *table, unsigned long socket)
{
	char path[64], line[512];
	snprintf(path, sizeof path, "/proc/self/net/%s", table);
	FILE *f = fopen(path, "r");
	if (f == NULL) /* no IPv6 here */
		return 0;
	int found = 0;
	while (!found && fgets(line, sizeof line, f) != NULL) {
		unsigned long n;
		found = sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %lu", &n) == 1 && n == socket;
	}
	fclose(f);
	return found;
}

/* internet counts this process's sockets of the internet. */
static int internet(int *all)
{
	static const char *const tables[] = {"tcp", "udp", "tcp6", "udp6"};
	DIR *d = opendir("/proc/self/fd");
	ASSERT(d != NULL);
	int count = 0;
	*all = 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		unsigned long n = inode(e->d_name);
		*all += n != 0;
		for (size_t i = 0; n != 0 && i < sizeof tables / sizeof *tables; i++)
			count += listed(tables[i], n);
	}
	closedir(d);
	return count;
}

static void first_lock(int i)
{
	dlm_nsp_t nsp;
	dlm_lkid_t id;
	char name[32];
	int all, before = internet(&all);
	snprintf(name, sizeof name, "first.%d", i);
	ASSERT_ST(dlm_nsjoin(geteuid(), &nsp, DLM_USER), DLM_SUCCESS);
	ASSERT_ST(dlm_lock(nsp, (uchar_t *)name, (ushort_t)strlen(name), NULL, &id,
	                   DLM_EXMODE, NULL, 0, NULL, NULL, NULL, 0), DLM_SUCCESS);
	ASSERT_EQ(internet(&all), before);
	ASSERT(all > 0); /* it has some, and they were looked at */
	ASSERT_ST(dlm_unlock(&id, NULL, 0), DLM_SUCCESS);
}

/* The test itself sees a socket of the internet. */
static void sees(void)
{
	int all, before = internet(&all), fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	ASSERT(fd >= 0);
	ASSERT(bind(fd, (struct sockaddr *)&any, sizeof any) == 0);
	ASSERT_EQ(internet(&all), before + 1);
	close(fd);
}

int main(void)
{
	sees();
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();
		int status = -1;
		ASSERT(pid >= 0);
		if (pid == 0) {
			first_lock(i);
			exit(0);
		}
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_EQ(status, 0);
	}
	return 0;
}
