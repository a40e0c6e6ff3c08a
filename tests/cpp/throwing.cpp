/* The forms that throw, the standard library's guards, and routines that throw. */
#include "check.hpp"

#include <shared_mutex>

using namespace std::chrono_literals;
using godlm::mode;

template <class F> static std::error_code thrown(F f)
{
	try {
		f();
	} catch (const std::system_error &e) {
		return e.code();
	}
	return {};
}

static void guards(godlm::name_space &ns)
{
	godlm::shared_mutex m(ns, "guards");
	godlm::mutex other(ns, "other");
	{
		std::scoped_lock both(m, other); /* tries and backs off */
		CHECK(m.held().mode() == mode::ex && other.held().token() > godlm::token());
		CHECK(thrown([&] { m.lock(); }) == godlm::errc::deadlock);
		std::unique_lock<godlm::mutex> again(other, std::try_to_lock);
		CHECK(!again.owns_lock());
	}
	std::unique_lock<godlm::shared_mutex> u(m, 10s);
	CHECK(u.owns_lock());
	u.unlock();
	std::shared_lock<godlm::shared_mutex> r(m), s(m, 10s);
	CHECK(r.owns_lock() && s.owns_lock() && !u.try_lock());
	try {
		std::lock_guard<godlm::mutex> g(other);
		throw 1;
	} catch (int) {
	}
	CHECK(other.try_lock());
	other.unlock();
}

static void errors(godlm::name_space &ns)
{
	godlm::lock l(ns, "x");
	CHECK(l.mode() == mode::ex);
	CHECK(thrown([&] { godlm::lock(ns, "x", mode::pr, godlm::options().no_wait()); }) == godlm::errc::not_queued);
	l.write(godlm::as_bytes('a'));
	CHECK(l.read().as<char>() == 'a');
	l.convert(mode::pr, godlm::as_bytes('b'));
	CHECK(thrown([&] { l.write({}); }) == godlm::errc::bad_parameter);
	CHECK(thrown([&] { l.token(); }) == godlm::errc::bad_parameter);
	l.unlock();
	l.unlock();
	CHECK(thrown([&] { l.convert(mode::ex); }) == godlm::errc::bad_lock);
	CHECK(thrown([&] { godlm::name_space none(godlm::whose{geteuid() + 1, DLM_USER}); }) == godlm::errc::no_access);
}

/* There are frames of C below a routine: an exception that leaves it ends the program, and nothing else happens. */
static void terminating(const child &)
{
	std::set_terminate([] { std::_Exit(42); });
	godlm::name_space ns;
	godlm::lock::async(ns, "throws", mode::nl, {}, [](std::error_code, godlm::lock) { throw 1; });
	await([] { return false; });
}

int main()
{
	child c(terminating);
	int status;
	CHECK(waitpid(c.pid, &status, 0) == c.pid && WIFEXITED(status) && WEXITSTATUS(status) == 42);
	godlm::name_space ns;
	guards(ns);
	errors(ns);
	return 0;
}
