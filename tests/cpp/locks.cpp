/*
 * Locks, value blocks, routines and errors in one process, without exceptions: built with
 * -fno-exceptions, too.
 */
#include "check.hpp"

#include <thread>

using namespace std::chrono_literals;
using godlm::mode;

static_assert(!std::is_copy_constructible_v<godlm::lock> && std::is_nothrow_move_constructible_v<godlm::lock>);
static_assert(!std::is_copy_constructible_v<godlm::name_space> && std::is_nothrow_move_assignable_v<godlm::name_space>);
static_assert(std::is_nothrow_destructible_v<godlm::lock>);

static std::error_code ec;

static bool free_to(const godlm::name_space &ns, const char *name, mode m)
{
	std::error_code e;
	godlm::lock l(ns, name, m, godlm::options().no_wait(), e);
	CHECK(!e || e == godlm::errc::not_queued);
	return !e;
}

static void life(const godlm::name_space &ns)
{
	{
		godlm::lock l(ns, "life", mode::ex, ec);
		CHECK(!ec && l && l.mode() == mode::ex && l.block().valid);
		CHECK(!free_to(ns, "life", mode::pr));
		godlm::lock moved = std::move(l);
		CHECK(!l && moved && l.mode() == mode::nl && l.block().valid); // NOLINT: what is moved from is empty
		l = std::move(moved);
		l = std::move(*&l);
		CHECK(l);
		godlm::lock sub(l, "sub", mode::pr, ec);
		CHECK(!ec);
		l.unlock(ec);
		CHECK(ec == godlm::errc::has_sublocks && l);
		sub.unlock(ec);
		CHECK(!ec && !sub);
		sub.unlock(ec);
		CHECK(!ec);
	}
	CHECK(free_to(ns, "life", mode::ex));
	godlm::lock a(ns, "life", mode::ex, ec), b(ns, "other", mode::ex, ec);
	a = std::move(b); /* the lock on "life" is unlocked */
	CHECK(free_to(ns, "life", mode::ex) && !free_to(ns, "other", mode::ex));
	dlm_lkid_t id = a.release();
	CHECK(!a && !free_to(ns, "other", mode::ex));
	CHECK(dlm_unlock(&id, nullptr, 0) == DLM_SUCCESS);
	CHECK(free_to(ns, "other", mode::ex));
}

static void errors(const godlm::name_space &ns)
{
	godlm::lock l(ns, std::string(65, 'x'), mode::ex, ec);
	CHECK(ec == godlm::errc::bad_name && !l);
	CHECK(ec == std::errc::invalid_argument && ec.message() == "DLM_IVBUFLEN" && ec.category().name() == std::string("godlm"));
	l = godlm::lock(ns, "", mode::ex, ec);
	CHECK(ec == godlm::errc::bad_name);
	l = godlm::lock(ns, std::string_view("\0\xff", 2), mode::ex, ec);
	CHECK(!ec);
	godlm::lock second(ns, std::string_view("\0\xff", 2), mode::pr, godlm::options().within(1ms), ec);
	CHECK(ec == godlm::errc::timeout && ec == std::errc::timed_out && !second);
	second = godlm::lock(ns, std::string_view("\0\xff", 2), mode::pr, godlm::options().within(0s), ec);
	CHECK(ec == godlm::errc::not_queued && !second);
	second.convert(mode::ex, ec);
	CHECK(ec == godlm::errc::bad_lock);
	second = godlm::lock(second, "below nothing", mode::ex, ec);
	CHECK(ec == godlm::errc::bad_lock || ec == godlm::errc::not_attached);
	l.token(ec);
	CHECK(!ec);
	l.convert(mode::pr, ec);
	l.token(ec);
	CHECK(ec == godlm::errc::bad_parameter);
	l.write(godlm::bytes{}, ec);
	CHECK(ec == godlm::errc::bad_parameter && l.mode() == mode::pr);
	l.unlock(godlm::bytes{}, ec);
	CHECK(ec == godlm::errc::bad_parameter && l);
	l.invalidate(ec);
	CHECK(ec == godlm::errc::bad_parameter && l.block().valid);
	CHECK(make_error_code(godlm::errc::lost).message() == "GODLM_LOST");
}

/* The table of dlm_valueblock(7). */
static void values(const godlm::name_space &ns)
{
	const mode modes[] = {mode::nl, mode::cr, mode::cw, mode::pr, mode::pw, mode::ex};
	const char *table[] = {"rrrrrr", "-rrrrr", "--rrrr", "---rrr", "wwwwwr", "wwwwww"};
	for (int held = 0; held < 6; held++)
		for (int to = 0; to < 6; to++) {
			godlm::lock l(ns, "table", mode::ex, ec);
			l.write(godlm::as_bytes(1), ec);
			CHECK(!ec && l.block().as<int>() == 1);
			l.convert(modes[held], ec);
			CHECK(!ec);
			l.convert(modes[to], godlm::as_bytes(2), ec);
			bool wrote = table[held][to] == 'w';
			CHECK(wrote ? !ec : ec == godlm::errc::bad_parameter);
			if (!wrote)
				l.convert(modes[to], ec);
			CHECK(!ec && l.mode() == modes[to] && l.block().valid && l.block().as<int>() == (wrote ? 2 : 1));
			godlm::lock other(ns, "table", mode::nl, godlm::options().no_wait(), ec);
			if (!ec)
				CHECK(other.block().as<int>() == (wrote ? 2 : 1));
		}
	godlm::lock keeper(ns, "doubt", mode::nl, ec), l(ns, "doubt", mode::pw, ec);
	l.write(godlm::as_bytes(7), ec);
	l.invalidate(ec);
	CHECK(!ec && !l.block().valid);
	const godlm::value &v = keeper.read(ec);
	CHECK(!ec && !v.valid && v.as<int>() == 7); /* told, and no error */
	l.unlock(godlm::as_bytes(8), ec);
	CHECK(!ec && keeper.read(ec).valid && keeper.block().as<int>() == 8);
	godlm::token before = godlm::lock(ns, "doubt", mode::ex, ec).token(ec);
	godlm::token after = godlm::lock(ns, "doubt", mode::ex, ec).token(ec);
	CHECK(before < after && after > before && before != after && before <= after && after >= before);
}

static void routines(const godlm::name_space &ns)
{
	godlm::lock l;
	int told = 0;
	auto give_way = [&](const godlm::blocked &b) {
		CHECK(b.wanted == mode::pr && b.hint == 9 && std::memcmp(&b.id, "\0\0\0\0\0\0\0", 8) != 0);
		told++;
		std::error_code e;
		l.convert(mode::nl, e);
		CHECK(!e);
	};
	l = godlm::lock(ns, "way", mode::ex, godlm::options().on_blocking(give_way), ec);
	for (int i = 1; i <= 3; i++) {
		int granted = 0;
		godlm::lock got;
		godlm::lock::async(ns, "way", mode::pr, godlm::options().hint(9), [&](std::error_code e, godlm::lock g) {
			CHECK(!e && g.mode() == mode::pr);
			got = std::move(g);
			granted++;
		}, ec);
		CHECK(!ec);
		await([&] { return granted == 1; });
		CHECK(told == i && l.mode() == mode::nl);
		got.unlock(ec);
		/* Up again without waiting: the routine stays the lock's. */
		int converted = 0;
		l.async_convert(mode::ex, {}, [&](std::error_code e) { CHECK(!e); converted++; }, ec);
		CHECK(!ec);
		await([&] { return converted == 1; });
		CHECK(l.mode() == mode::ex);
	}
	/* A lock that nobody takes from the routine is unlocked. */
	l.unlock(ec);
	int dropped = 0;
	godlm::lock::async(ns, "way", mode::ex, {}, [&](std::error_code e, godlm::lock) { CHECK(!e); dropped++; }, ec);
	await([&] { return dropped == 1; });
	CHECK(free_to(ns, "way", mode::ex));
}

static void cancelling(const godlm::name_space &ns)
{
	godlm::lock held(ns, "cancel", mode::pr, ec);
	std::error_code ended;
	int ends = 0;
	auto r = godlm::lock::async(ns, "cancel", mode::ex, {}, [&](std::error_code e, godlm::lock l) {
		CHECK(!l);
		ended = e;
		ends++;
	}, ec);
	CHECK(!ec && ends == 0);
	CHECK(godlm::lock::blockers_of(r.id(), ec).find("holds PR") != std::string::npos && !ec);
	CHECK(r.cancel(ec) && !ec);
	await([&] { return ends == 1; });
	CHECK(ended == godlm::errc::aborted && ended == std::errc::operation_canceled);
	CHECK(!r.cancel(ec) && !ec);

	godlm::lock other(ns, "cancel", mode::pr, ec);
	r = held.async_convert(mode::ex, {}, [&](std::error_code e) { ended = e; ends++; }, ec);
	held.async_convert(mode::pr, {}, nullptr, ec);
	CHECK(ec == godlm::errc::not_granted);
	CHECK(!held.blockers(ec).empty());
	CHECK(r.cancel(ec));
	await([&] { return ends == 2; });
	CHECK(ended == godlm::errc::canceled && held.mode() == mode::pr);

	/* Unlocked while it is converted: the routine is called all the same, once. */
	held.async_convert(mode::ex, {}, [&](std::error_code e) { ended = e; ends++; }, ec);
	held.unlock(ec);
	CHECK(!ec && !held);
	await([&] { return ends == 3; });
	CHECK(ended == godlm::errc::aborted);
	CHECK(godlm::detail::the_registry().map.empty()); /* nothing is kept of what has ended */
}

static void parties(const godlm::name_space &ns)
{
	godlm::lock held(ns, "party", mode::ex, ec);
	std::thread waits([&] { /* for longer than the search for deadlocks does, and that is none */
		std::error_code e;
		godlm::lock l(ns, "party", mode::ex, e);
		CHECK(!e);
	});
	godlm::lock again(ns, "party", mode::ex, ec); /* whereas a thread that waits for itself is one */
	CHECK(ec == godlm::errc::deadlock && ec == std::errc::resource_deadlock_would_occur);
	held.unlock(ec);
	waits.join();
	godlm::lock t(ns, "party", mode::ex, godlm::options().transaction(5), ec);
	again = godlm::lock(ns, "party", mode::ex, godlm::options().transaction(5), ec);
	CHECK(ec == godlm::errc::deadlock);
	t = godlm::lock();
	t = godlm::lock(ns, "party", mode::ex, godlm::options().process_owner(), ec);
	again = godlm::lock(ns, "party", mode::ex, godlm::options().process_owner(), ec);
	CHECK(ec == godlm::errc::deadlock);
}

static void mutexes(const godlm::name_space &ns)
{
	godlm::shared_mutex m(ns, "mutex");
	long count = 0, readers = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 6; i++)
		threads.emplace_back([&, i] {
			for (int n = 0; n < 100; n++) {
				if (i % 2) {
					m.lock_shared();
					long seen = count;
					std::this_thread::yield();
					CHECK(seen == count);
					m.unlock_shared();
				} else {
					std::lock_guard<godlm::shared_mutex> guard(m);
					count++;
					m.held().write(godlm::as_bytes(count), ec);
				}
			}
		});
	for (auto &t : threads)
		t.join();
	CHECK(count == 300);
	m.lock_shared();
	CHECK(!m.try_lock() && m.try_lock_shared());
	CHECK(!m.try_lock_for(1ms) && !m.try_lock_until(std::chrono::steady_clock::now() + 1ms));
	m.unlock_shared();
	m.unlock_shared();
	CHECK(m.try_lock_for(1h) && !m.try_lock_shared_for(1ms) && m.held().mode() == mode::ex);
	m.unlock();
	CHECK(m.try_lock_for(std::chrono::hours::max()));
	m.unlock();
	CHECK(readers == 0);
}

int main()
{
	setenv("GODLM_DEADLOCK_WAIT_MS", "100", 1);
	CHECK(godlm::event_fd() == -1);
	godlm::name_space ns(ec);
	CHECK(!ec && ns);
	{
		godlm::name_space again(ec), moved(std::move(again));
		CHECK(!ec && moved && !again && moved.handle() == ns.handle());
	}
	life(ns); /* the first is joined yet */
	errors(ns);
	values(ns);
	routines(ns);
	cancelling(ns);
	parties(ns);
	mutexes(ns);
	{
		godlm::lock l(ns, "left", mode::nl, ec);
		ns.leave(ec);
		CHECK(ec == godlm::errc::has_locks && ns);
	}
	ns.leave(ec);
	CHECK(!ec && !ns);
	godlm::lock none(ns, "left", mode::nl, ec);
	CHECK(ec == godlm::errc::not_attached);
	return 0;
}
