/* Between real processes: nobody counts twice, the death of a writer, a cache, forks, the loss of all locks. */
#include "check.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

using namespace std::chrono_literals;
using godlm::mode;

enum { COUNTERS = 4, ROUNDS = 300 };

static void count(const child &c)
{
	std::error_code ec;
	godlm::name_space ns(ec);
	c.tell();
	c.hear();
	for (int i = 0; i < ROUNDS; i++) {
		godlm::lock l(ns, "count", mode::ex, ec);
		CHECK(!ec && l.block().valid);
		l.write(godlm::as_bytes(l.block().as<int>() + 1), ec);
		CHECK(!ec);
	}
}

/* Holds EX with something written, until it is killed. */
static void write_and_wait(const child &c)
{
	std::error_code ec;
	godlm::name_space ns(ec);
	c.hear();
	godlm::lock l(ns, "written", mode::ex, ec);
	l.write(godlm::as_bytes(5), ec);
	CHECK(!ec);
	c.tell();
	pause();
}

/* Keeps PR until somebody wants to write, and reads again after that. */
static void cache(const child &c)
{
	std::error_code ec;
	godlm::name_space ns(ec);
	godlm::lock l;
	bool wanted = false;
	auto give_way = [&](const godlm::blocked &b) {
		CHECK(b.wanted == mode::ex);
		wanted = true;
		std::error_code e;
		l.convert(mode::nl, e);
		CHECK(!e);
	};
	c.hear();
	l = godlm::lock(ns, "cache", mode::pr, godlm::options().on_blocking(give_way), ec);
	CHECK(!ec && l.block().as<int>() == 0);
	c.tell();
	await([&] { return wanted; });
	l.convert(mode::pr, ec);
	CHECK(!ec && l.block().as<int>() == 6);
	c.tell();
	c.hear();
}

static void fork_late(const child &c)
{
	std::error_code ec;
	godlm::name_space ns(ec);
	godlm::lock l(ns, "forked", mode::ex, ec);
	child below([&](const child &) {
		std::error_code e;
		godlm::lock none(ns, "forked", mode::nl, e);
		CHECK(e == godlm::errc::not_attached);
		l.convert(mode::nl, e);
		CHECK(e == godlm::errc::not_attached);
		l = godlm::lock(); /* its destructors do nothing to the parent's lock */
		godlm::name_space again(e);
		CHECK(e == godlm::errc::unavailable);
	});
	below.join();
	l.write(godlm::as_bytes(1), ec);
	CHECK(!ec);
	c.tell();
}

/* Shuts connections as if they were its own, and is gone for the others. */
static void lose(const child &c)
{
	std::error_code ec;
	int lost = 0;
	godlm::set_lost_handler([&] { lost++; });
	godlm::name_space ns(ec);
	c.hear();
	godlm::lock l(ns, "written", mode::nl, ec), mine(ns, "mine", mode::ex, ec);
	CHECK(!ec);
	for (int fd = 3; fd < 256; fd++) {
		sockaddr_un a = {};
		socklen_t len = sizeof a;
		if (getpeername(fd, reinterpret_cast<sockaddr *>(&a), &len) == 0 && a.sun_family == AF_UNIX &&
		    len > offsetof(sockaddr_un, sun_path) && a.sun_path[0] != 0)
			shutdown(fd, SHUT_RDWR);
	}
	await([&] { return lost == 1; });
	mine.convert(mode::nl, ec);
	CHECK(ec == godlm::errc::lost);
	mine.unlock(ec);
	CHECK(ec == godlm::errc::lost && !mine);
	c.tell();
}

int main()
{
	std::vector<child> counters;
	for (int i = 0; i < COUNTERS; i++)
		counters.emplace_back(count);
	child writer(write_and_wait), reader(cache), loser(lose), forker(fork_late);
	std::error_code ec;
	godlm::name_space ns(ec);
	godlm::lock keeper(ns, "count", mode::nl, ec);
	CHECK(!ec);
	for (auto &c : counters)
		c.hear();
	for (auto &c : counters)
		c.tell();
	for (auto &c : counters)
		c.join();
	CHECK(keeper.read(ec).as<int>() == COUNTERS * ROUNDS && keeper.block().valid);

	godlm::lock doubt(ns, "written", mode::nl, ec);
	loser.tell();
	loser.hear();
	loser.join();
	writer.tell();
	writer.hear();
	int granted = 0;
	godlm::lock mine;
	godlm::lock::async(ns, "written", mode::ex, {}, [&](std::error_code e, godlm::lock l) {
		CHECK(!e);
		mine = std::move(l);
		granted++;
	}, ec);
	CHECK(!ec);
	writer.kill();
	await([&] { return granted == 1; });
	CHECK(!mine.block().valid && mine.block().as<int>() == 5);
	mine.unlock(godlm::as_bytes(6), ec);
	CHECK(!ec && doubt.read(ec).valid && doubt.block().as<int>() == 6);

	reader.tell();
	reader.hear();
	{
		godlm::lock l(ns, "cache", mode::ex, ec);
		CHECK(!ec);
		l.write(godlm::as_bytes(6), ec);
	}
	reader.hear();
	reader.tell();
	reader.join();
	forker.hear();
	forker.join();
	return 0;
}
