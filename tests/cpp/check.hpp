/* What the tests of godlm.hpp share. Exit status 0: passed. */
#ifndef CHECK_HPP
#define CHECK_HPP

#include <godlm.hpp>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			std::_Exit(1); \
		} \
	} while (0)

/* Runs notifications until condition() holds; a defect if that takes half a minute. */
template <class F> void await(F condition)
{
	auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
	for (;;) {
		godlm::notify();
		if (condition())
			return;
		pollfd p = {godlm::event_fd(), POLLIN, 0};
		poll(&p, 1, 5);
		CHECK(std::chrono::steady_clock::now() < end);
	}
}

/* A process that runs body, forked before this one uses the library. Each waits for the other by one byte. */
class child {
public:
	template <class F> explicit child(F body)
	{
		int there[2], back[2];
		CHECK(pipe(there) == 0 && pipe(back) == 0);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			close(there[1]);
			close(back[0]);
			in = there[0];
			out = back[1];
			body(*this);
			std::exit(0);
		}
		close(there[0]);
		close(back[1]);
		in = back[0];
		out = there[1];
	}
	void tell() const
	{
		char c = 'x';
		CHECK(write(out, &c, 1) == 1);
	}
	void hear() const
	{
		char c;
		CHECK(read(in, &c, 1) == 1);
	}
	void kill() const
	{
		int status;
		CHECK(::kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
	}
	void join() const
	{
		int status;
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(status == 0);
	}

	pid_t pid;
	int in, out;
};

#endif
