/*
 * godlm.hpp - the lock manager for C++17 and later: locks that objects hold
 *
 * Header only, over <sys/dlm.h> and <godlm.h>, whose remarks hold here too.
 *
 *     godlm::name_space ns;                                  // this user's names
 *     godlm::lock l(ns, "name", godlm::mode::ex);            // waits; unlocks in its destructor
 *     if (!l.block().valid) ...                              // a writer has died
 *     l.write(bytes);                                        // 32 bytes that travel with the lock
 *
 *  - Every function that can fail has a form with a last parameter std::error_code &,
 *    which throws nothing of its own, and one without, which throws std::system_error.
 *    With -fno-exceptions there is only the first, and in godlm::mutex and
 *    godlm::shared_mutex, whose functions have no such parameter, a failure aborts.
 *  - A value block that is not valid is no error: it is in value::valid.
 *  - Routines of the program (blocking, completion, lost) run in godlm::notify(), that
 *    is dlm_notify(), on the thread that calls it. An exception that leaves one ends the
 *    program by std::terminate(): there are frames of C below it. Do not use
 *    dlm_set_signal() with them: they need memory and mutexes, which a signal handler
 *    may not.
 *  - One object may be used by one thread at a time, but for mutexes, and but for
 *    request::cancel() and lock::blockers().
 *  - In the search for deadlocks each thread is a party by itself, unless options say
 *    otherwise: threads may wait for each other's locks.
 */
#ifndef GODLM_HPP
#define GODLM_HPP

#if __cplusplus < 201703L
#error "godlm.hpp needs C++17"
#endif

/* Without <sys/dlm.h> before this file, its macros WAITING, GRANTED and so on stay away. */
#if !defined(_DLM_H) && !defined(GODLM_NO_STATE_NAMES)
#define GODLM_NO_STATE_NAMES
#endif
#include <godlm.h>

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions)
#define GODLM_HPP_THROWS 1
#endif

namespace godlm {

/* ---- modes and errors ---------------------------------------------------- */

enum class mode : int {
	nl = DLM_NLMODE, /* null: keeps the resource and its value block alive */
	cr = DLM_CRMODE, /* concurrent read */
	cw = DLM_CWMODE, /* concurrent write */
	pr = DLM_PRMODE, /* protected read */
	pw = DLM_PWMODE, /* protected write */
	ex = DLM_EXMODE  /* exclusive */
};

/* Whether a holder may write the value block. */
constexpr bool writes(mode m) noexcept
{
	return m >= mode::pw;
}

/* Errors of error_category(): the statuses of the C functions that are no success. */
enum class errc : int {
	aborted = DLM_ABORT,
	already_attached = DLM_ATTACHED,
	bad_parameter = DLM_BADPARAM,
	canceled = DLM_CANCEL,
	cancel_granted = DLM_CANCELGRANT,
	cancel_waiting = DLM_CANCELWAIT,
	not_granted = DLM_CVTUNGRANT,
	deadlock = DLM_DEADLOCK,
	no_entry = DLM_ENOENT,
	unavailable = DLM_ENOSYS,
	has_locks = DLM_HASLOCKS,
	no_room = DLM_INSFMEM,
	bad_name = DLM_IVBUFLEN,
	bad_lock = DLM_IVLOCKID,
	busy = DLM_LKBUSY,
	no_access = DLM_NOACCESS,
	too_many_locks = DLM_NOLOCKID,
	not_attached = DLM_NOTATTACHED,
	not_queued = DLM_NOTQUEUED,
	parent_not_granted = DLM_PARNOTGRANT,
	has_sublocks = DLM_SUBLOCKS,
	timeout = DLM_TIMEOUT,
	too_many_namespaces = DLM_TOOMANYNS,
	defect = DLM_UNEXPERR,
	no_container = DLM_NO_GROUP,
	is_persistent = DLM_IS_PR,
	not_persistent = DLM_NOT_PR,
	bad_domain = DLM_IVRDID,
	domain_mismatch = DLM_PR_RD_MISMATCH,
	public_namespace_off = DLM_PUBNS_DISALLOW,
	lost = GODLM_LOST
};

namespace detail {

class category final : public std::error_category {
public:
	const char *name() const noexcept override
	{
		return "godlm";
	}
	std::string message(int status) const override
	{
		return dlm_sperrno(static_cast<dlm_status_t>(status));
	}
	std::error_condition default_error_condition(int status) const noexcept override
	{
		switch (static_cast<errc>(status)) {
		case errc::timeout:
			return std::errc::timed_out;
		case errc::not_queued:
			return std::errc::resource_unavailable_try_again;
		case errc::deadlock:
			return std::errc::resource_deadlock_would_occur;
		case errc::canceled:
		case errc::aborted:
			return std::errc::operation_canceled;
		case errc::bad_parameter:
		case errc::bad_name:
			return std::errc::invalid_argument;
		case errc::no_access:
			return std::errc::permission_denied;
		case errc::no_room:
			return std::errc::not_enough_memory;
		default:
			return std::error_condition(status, *this);
		}
	}
};

} /* namespace detail */

inline const std::error_category &error_category() noexcept
{
	static const detail::category c;
	return c;
}

inline std::error_code make_error_code(errc e) noexcept
{
	return {static_cast<int>(e), error_category()};
}

} /* namespace godlm */

template <> struct std::is_error_code_enum<godlm::errc> : std::true_type {};

namespace godlm {

namespace detail {

/* Successes are no error. */
inline std::error_code code(dlm_status_t status) noexcept
{
	if (status >= DLM_SUCCESS && status <= DLM_MORE_TO_TRAVERSE)
		return {};
	return {static_cast<int>(status), error_category()};
}

inline bool says_valid(dlm_status_t status) noexcept
{
	return status == DLM_SUCCESS || status == DLM_SYNCH;
}

#ifdef GODLM_HPP_THROWS
inline void check(const std::error_code &ec, const char *what)
{
	if (ec)
		throw std::system_error(ec, what);
}
#endif

/* Where there is no parameter for it. */
inline void check_or_abort(const std::error_code &ec, const char *what)
{
#ifdef GODLM_HPP_THROWS
	check(ec, what);
#else
	if (ec) {
		char text[128];
		std::strncpy(text, what, sizeof text - 1);
		text[sizeof text - 1] = 0;
		dlm_perror(text, static_cast<dlm_status_t>(ec.value()));
		std::abort();
	}
#endif
}

} /* namespace detail */

/* ---- value blocks and tokens ------------------------------------------------ */

using bytes = std::array<std::byte, sizeof(dlm_valb_t)>;

/* A value block. Not valid: a writer has died, the contents are the newest but in doubt. */
struct value {
	godlm::bytes bytes{};
	bool valid = true;

	/* The contents as a T, and a T as contents. */
	template <class T> T as() const noexcept
	{
		static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(godlm::bytes));
		T t;
		std::memcpy(&t, bytes.data(), sizeof t);
		return t;
	}
};

template <class T> bytes as_bytes(const T &t) noexcept
{
	static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(bytes));
	bytes b{};
	std::memcpy(b.data(), &t, sizeof t);
	return b;
}

/* Fencing token: grows with every grant of PW or EX on a name, for ever. */
struct token {
	std::uint64_t epoch = 0, number = 0;

	friend bool operator==(const token &a, const token &b) noexcept
	{
		return a.epoch == b.epoch && a.number == b.number;
	}
	friend bool operator!=(const token &a, const token &b) noexcept
	{
		return !(a == b);
	}
	friend bool operator<(const token &a, const token &b) noexcept
	{
		return a.epoch != b.epoch ? a.epoch < b.epoch : a.number < b.number;
	}
	friend bool operator>(const token &a, const token &b) noexcept
	{
		return b < a;
	}
	friend bool operator<=(const token &a, const token &b) noexcept
	{
		return !(b < a);
	}
	friend bool operator>=(const token &a, const token &b) noexcept
	{
		return !(a < b);
	}
};

/* ---- options of a request --------------------------------------------------- */

/* What a blocking routine is told: the lock with that id is in the way of a request. */
struct blocked {
	dlm_lkid_t id;
	godlm::mode wanted;
	std::uintptr_t hint; /* of the request, which may be gone by now */
};

using blocking_routine = std::function<void(const blocked &)>;

/* How to ask: `godlm::options().within(5s).hint(7)`. */
class options {
public:
	/* Wait at most so long, rounded up to hundredths of a second; zero or less: do not wait. */
	template <class Rep, class Period> options &within(std::chrono::duration<Rep, Period> d)
	{
		using centis = std::chrono::duration<std::int64_t, std::centi>;
		if (d <= d.zero())
			return no_wait();
		/* Whoever has more time than the C functions can be told, waits as long as they can. */
		constexpr std::int64_t most = 0xffffffff;
		if (std::chrono::duration<double, std::centi>(d).count() >= static_cast<double>(most)) {
			timeout_centis_ = static_cast<uint_t>(most);
			return *this;
		}
		timeout_centis_ = static_cast<uint_t>(std::chrono::ceil<centis>(d).count());
		return *this;
	}
	/* Refuse (errc::not_queued) rather than wait. */
	options &no_wait() noexcept
	{
		return flag(DLM_NOQUEUE);
	}
	/* Further flags: DLM_NODLCKWT, DLM_NODLCKBLK, DLM_EXPEDITE, DLM_QUECVT, DLM_GROUP_LOCK. */
	options &flag(dlm_flags_t f) noexcept
	{
		flags_ |= f;
		return *this;
	}
	/* For the blocking routines of locks that block this request. */
	options &hint(std::uintptr_t h) noexcept
	{
		hint_ = h;
		return *this;
	}
	/* New locks: called by notify() when the lock, granted, blocks another request. */
	options &on_blocking(blocking_routine r)
	{
		blocking_ = std::move(r);
		return *this;
	}
	/* New locks: a party in the search for deadlocks, of this host or of all hosts ... */
	options &transaction(dlm_trans_id_t tid, bool everywhere = false) noexcept
	{
		tid_ = tid;
		party_ = everywhere ? DLM_TXID_GLOBAL : DLM_TXID_LOCAL;
		return *this;
	}
	/* ... or the process as a whole. */
	options &process_owner() noexcept
	{
		party_ = 0;
		tid_ = 0;
		return *this;
	}
	/* New locks: the resource is a persistent one of this recovery domain (dlm_rd_attach(3)). */
	options &domain(dlm_rd_id_t rd) noexcept
	{
		rd_ = rd;
		return flag(DLM_PERSIST);
	}

private:
	friend class lock;
	static constexpr dlm_flags_t this_thread = ~0u;
	uint_t timeout_centis_ = 0;
	dlm_flags_t flags_ = 0, party_ = this_thread;
	dlm_trans_id_t tid_ = 0;
	dlm_rd_id_t rd_ = 0;
	std::uintptr_t hint_ = 0;
	blocking_routine blocking_;
};

/* ---- routines ---------------------------------------------------------------- */

namespace detail {

/* What a lock's notprm stands for. */
struct routines {
	blocking_routine blocking;
	std::function<void(dlm_status_t)> completion; /* of the request under way */
	bool struck = false;                          /* the lock is gone, and its completion to come */
};

/*
 * By number: a notification may be under way in another thread while the lock that it
 * is about ends. Never destroyed, since notifications may come while the program ends.
 */
struct registry {
	std::mutex mutex;
	std::unordered_map<std::uintptr_t, std::shared_ptr<routines>> map;
	std::uintptr_t last = 0;
	std::function<void()> lost;
	int joins[DLM_NSPROCMAX + 1] = {};
};

inline registry &the_registry()
{
	static registry *r = new registry;
	return *r;
}

inline std::uintptr_t enlist(std::shared_ptr<routines> what)
{
	registry &r = the_registry();
	std::lock_guard<std::mutex> guard(r.mutex);
	std::uintptr_t n = ++r.last;
	r.map.emplace(n, std::move(what));
	return n;
}

/* Its lock is gone: no blocking routine any more, and after its last completion nothing. */
inline void strike(std::uintptr_t n)
{
	registry &r = the_registry();
	std::shared_ptr<routines> gone; /* ends after the mutex is free */
	std::lock_guard<std::mutex> guard(r.mutex);
	auto it = r.map.find(n);
	if (it == r.map.end())
		return;
	if (it->second->completion) {
		it->second->struck = true;
	} else {
		gone = std::move(it->second);
		r.map.erase(it);
	}
}

inline std::shared_ptr<routines> find(std::uintptr_t n)
{
	registry &r = the_registry();
	std::lock_guard<std::mutex> guard(r.mutex);
	auto it = r.map.find(n);
	return it == r.map.end() ? nullptr : it->second;
}

inline void on_blocking(void *notprm, void *hint, dlm_lkid_t *id, dlm_lkmode_t wanted) noexcept
{
	auto r = find(reinterpret_cast<std::uintptr_t>(notprm));
	if (r && r->blocking && !r->struck)
		r->blocking(blocked{*id, static_cast<mode>(wanted), reinterpret_cast<std::uintptr_t>(hint)});
}

inline void on_completion(void *notprm, dlm_lkid_t *, dlm_status_t status) noexcept
{
	std::uintptr_t n = reinterpret_cast<std::uintptr_t>(notprm);
	std::function<void(dlm_status_t)> completion;
	auto r = find(n);
	if (r) {
		std::lock_guard<std::mutex> guard(the_registry().mutex);
		completion.swap(r->completion);
		if (r->struck)
			the_registry().map.erase(n);
	}
	if (completion)
		completion(status);
}

inline void on_lost(void *) noexcept
{
	registry &r = the_registry();
	std::function<void()> lost;
	{
		std::lock_guard<std::mutex> guard(r.mutex);
		lost = r.lost;
	}
	if (lost)
		lost();
}

/* A number for the calling thread that no other process of the host is likely to have. */
inline dlm_trans_id_t this_thread()
{
	static std::atomic<dlm_trans_id_t> next{[] {
		dlm_trans_id_t n = 0;
		if (getrandom(&n, sizeof n, 0) != sizeof n)
			n = static_cast<dlm_trans_id_t>(getpid()) << 32;
		return n;
	}()};
	thread_local const dlm_trans_id_t mine = next++;
	return mine;
}

} /* namespace detail */

/* Run the routines of all pending notifications; returns how many. */
inline int notify()
{
	return dlm_notify();
}

/* Readable while notify() has something to do; -1 before the first name_space. */
inline int event_fd() noexcept
{
	return godlm_event_fd();
}

/* Have handler() called once, by notify(), when the process is declared gone and its locks are lost. */
inline void set_lost_handler(std::function<void()> handler)
{
	detail::registry &r = detail::the_registry();
	bool any = static_cast<bool>(handler);
	{
		std::lock_guard<std::mutex> guard(r.mutex);
		r.lost.swap(handler);
	}
	godlm_set_lost_handler(any ? detail::on_lost : nullptr, nullptr);
}

/* ---- namespaces --------------------------------------------------------------- */

/* Whose names: me() is the calling user; root's are the systemwide ones. */
struct whose {
	dlm_nsid_t id;
	dlm_flags_t flags;

	static whose me() noexcept
	{
		return {geteuid(), DLM_USER};
	}
	static whose group(gid_t gid) noexcept
	{
		return {gid, DLM_GROUP};
	}
	static whose systemwide() noexcept
	{
		return {0, 0};
	}
};

/* A namespace that is joined while the object lives. Several objects may be of the same one. */
class name_space {
public:
	explicit name_space(std::error_code &ec, whose w = whose::me())
	{
		detail::registry &r = detail::the_registry();
		std::lock_guard<std::mutex> guard(r.mutex);
		ec = detail::code(dlm_nsjoin(w.id, &handle_, w.flags | DLM_JOIN_SAME_OK));
		if (ec)
			handle_ = 0;
		else
			r.joins[handle_]++;
	}
#ifdef GODLM_HPP_THROWS
	explicit name_space(whose w = whose::me())
	{
		std::error_code ec;
		name_space joined(ec, w);
		detail::check(ec, "joining a namespace");
		swap(joined);
	}
#endif
	name_space(name_space &&other) noexcept
	{
		swap(other);
	}
	name_space &operator=(name_space &&other) noexcept
	{
		name_space moved(std::move(other));
		swap(moved);
		return *this;
	}
	~name_space()
	{
		std::error_code ignored; /* with locks left it stays joined: they end first, or outlive it */
		leave(ignored);
	}
	void swap(name_space &other) noexcept
	{
		std::swap(handle_, other.handle_);
	}

	/* Leave it; errc::has_locks while the process has locks or requests in it. */
	void leave(std::error_code &ec)
	{
		ec.clear();
		if (handle_ == 0)
			return;
		detail::registry &r = detail::the_registry();
		std::lock_guard<std::mutex> guard(r.mutex);
		if (r.joins[handle_] <= 1) {
			dlm_nsp_t handle = handle_;
			ec = detail::code(dlm_nsleave(&handle, 0));
			if (ec)
				return;
		}
		r.joins[handle_]--;
		handle_ = 0;
	}

	/* The number that the C functions know it by; 0 when it is not joined. */
	dlm_nsp_t handle() const noexcept
	{
		return handle_;
	}
	explicit operator bool() const noexcept
	{
		return handle_ != 0;
	}

private:
	dlm_nsp_t handle_ = 0;
};

/* ---- locks ---------------------------------------------------------------------- */

class lock;

/* A request that does not hold up the program. Forgetting this object does not end the request. */
class request {
public:
	request() noexcept = default;

	/* Withdraw it; its routine is told so. False: it has ended already. */
	bool cancel(std::error_code &ec)
	{
		dlm_status_t status = dlm_cancel(&id_, flags_);
		ec = status == DLM_CANCELGRANT || status == DLM_IVLOCKID ? std::error_code() : detail::code(status);
		return status == DLM_SUCCESS;
	}
#ifdef GODLM_HPP_THROWS
	bool cancel()
	{
		std::error_code ec;
		bool done = cancel(ec);
		detail::check(ec, "cancelling a request");
		return done;
	}
#endif
	dlm_lkid_t id() const noexcept
	{
		return id_;
	}

private:
	friend class lock;
	request(dlm_lkid_t id, dlm_flags_t flags) noexcept : id_(id), flags_(flags)
	{
	}
	dlm_lkid_t id_ = {0, 0};
	dlm_flags_t flags_ = 0;
};

/* A granted lock, or none. The destructor unlocks; what that answers is lost: see unlock(). */
class lock {
public:
	lock() noexcept = default;

	/* Take a lock and wait until it is granted or refused; below another lock: on a sub-resource. */
	lock(const name_space &ns, std::string_view name, godlm::mode m, std::error_code &ec)
	    : lock(ns, name, m, options(), ec)
	{
	}
	lock(const name_space &ns, std::string_view name, godlm::mode m, const options &o, std::error_code &ec)
	{
		take(ns.handle(), nullptr, name, m, o, ec);
	}
	lock(const lock &parent, std::string_view name, godlm::mode m, std::error_code &ec)
	    : lock(parent, name, m, options(), ec)
	{
	}
	lock(const lock &parent, std::string_view name, godlm::mode m, const options &o, std::error_code &ec)
	{
		take(0, &parent, name, m, o, ec);
	}
#ifdef GODLM_HPP_THROWS
	lock(const name_space &ns, std::string_view name, godlm::mode m = godlm::mode::ex, const options &o = {})
	{
		std::error_code ec;
		take(ns.handle(), nullptr, name, m, o, ec);
		detail::check(ec, "dlm_lock");
	}
	lock(const lock &parent, std::string_view name, godlm::mode m = godlm::mode::ex, const options &o = {})
	{
		std::error_code ec;
		take(0, &parent, name, m, o, ec);
		detail::check(ec, "dlm_lock");
	}
#endif
	lock(lock &&other) noexcept : state_(std::move(other.state_))
	{
	}
	lock &operator=(lock &&other) noexcept
	{
		lock moved(std::move(other));
		state_.swap(moved.state_);
		return *this;
	}
	~lock()
	{
		std::error_code ignored;
		unlock(ignored);
	}

	/* Ask for a lock without waiting: notify() calls done(error, lock) exactly once, unless ec tells an error. */
	using granted_routine = std::function<void(std::error_code, lock)>;
	static request async(const name_space &ns, std::string_view name, godlm::mode m, const options &o,
	                     granted_routine done, std::error_code &ec)
	{
		return start(ns.handle(), nullptr, name, m, o, std::move(done), ec);
	}
	static request async(const lock &parent, std::string_view name, godlm::mode m, const options &o,
	                     granted_routine done, std::error_code &ec)
	{
		return start(0, &parent, name, m, o, std::move(done), ec);
	}

	explicit operator bool() const noexcept
	{
		return state_ != nullptr;
	}
	/* The mode in which it is granted; nl without a lock. */
	godlm::mode mode() const noexcept
	{
		return state_ ? state_->mode : godlm::mode::nl;
	}
	/* The value block as it was read with the latest grant that reads it, or as written since. */
	const value &block() const noexcept
	{
		static const value none;
		return state_ ? state_->block : none;
	}
	dlm_lkid_t id() const noexcept
	{
		return state_ ? state_->id : dlm_lkid_t{0, 0};
	}

	/*
	 * Change the mode, and wait until that is granted or refused; then the lock is as before.
	 * Up, and to the same mode below pw, the value block is read. Down from pw or ex, and to
	 * the same mode of these, it stays as it is, but in the second form, which writes it and
	 * elsewhere is errc::bad_parameter.
	 */
	void convert(godlm::mode m, const options &o, std::error_code &ec)
	{
		convert(m, nullptr, 0, o, ec);
	}
	void convert(godlm::mode m, std::error_code &ec)
	{
		convert(m, nullptr, 0, options(), ec);
	}
	void convert(godlm::mode m, const bytes &b, const options &o, std::error_code &ec)
	{
		convert(m, &b, 0, o, ec);
	}
	void convert(godlm::mode m, const bytes &b, std::error_code &ec)
	{
		convert(m, &b, 0, options(), ec);
	}
	/* The same without waiting: notify() calls done(error) exactly once, unless ec tells an error. */
	request async_convert(godlm::mode m, const options &o, std::function<void(std::error_code)> done, std::error_code &ec)
	{
		if (!state_) {
			ec = errc::bad_lock;
			return {};
		}
		auto s = state_;
		auto valb = std::make_shared<dlm_valb_t>();
		dlm_flags_t flags = reads(s->mode, m) ? DLM_VALB : 0;
		auto told = [s, valb, m, flags, done = std::move(done)](dlm_status_t st) {
			std::error_code e = detail::code(st);
			if (!e)
				s->converted(m, flags, *valb, false, detail::says_valid(st));
			if (done)
				done(e);
		};
		if (!s->expect(std::move(told))) {
			ec = errc::not_granted;
			return {};
		}
		dlm_status_t st = dlm_quecvt(&s->id, c_mode(m), valb.get(), o.flags_ | flags, s->notprm(), pointer(o.hint_),
		                             s->routine(), o.timeout_centis_, detail::on_completion);
		ec = detail::code(st);
		if (ec)
			s->expect_nothing();
		return request(s->id, 0);
	}

	/* Read the value block anew; in pw and ex it is known. */
	const value &read(std::error_code &ec)
	{
		ec.clear();
		if (!writes(mode()))
			convert(mode(), ec);
		return block();
	}
	/* Write it and keep the lock, which is held in pw or ex. The block is valid then. */
	void write(const bytes &b, std::error_code &ec)
	{
		convert(mode(), &b, 0, options(), ec);
	}
	/* Mark it not valid and keep the lock, which is held in pw or ex. */
	void invalidate(std::error_code &ec)
	{
		convert(mode(), nullptr, DLM_INVVALBLK, options(), ec);
	}

	/* Give it up; from pw or ex perhaps with a value. Without a lock this does nothing. */
	void unlock(std::error_code &ec) noexcept
	{
		ec = give_up(nullptr, 0);
	}
	void unlock(const bytes &b, std::error_code &ec) noexcept
	{
		dlm_valb_t v;
		std::memcpy(&v, b.data(), sizeof v);
		ec = give_up(&v, DLM_VALB);
	}
	/* The program takes over the lock: this object does not unlock it, nor is its routine called any more. */
	dlm_lkid_t release() noexcept
	{
		dlm_lkid_t id = this->id();
		if (state_)
			state_->strike();
		state_.reset();
		return id;
	}

	/* The fencing token of the latest grant of pw or ex. */
	godlm::token token(std::error_code &ec) const
	{
		godlm_token_t t = {0, 0};
		dlm_lkid_t i = id();
		ec = detail::code(godlm_get_token(&i, &t));
		return {t.epoch, t.number};
	}
	/* What a conversion of it waits for, for people: see godlm_get_blockers(3). */
	std::string blockers(std::error_code &ec) const
	{
		return blockers_of(id(), ec);
	}
	static std::string blockers_of(dlm_lkid_t id, std::error_code &ec)
	{
		std::string text(512, '\0');
		for (;;) {
			std::size_t length = 0;
			ec = detail::code(godlm_get_blockers(&id, &text[0], text.size(), &length));
			if (ec || length < text.size()) {
				text.resize(ec ? 0 : length);
				return text;
			}
			text.resize(length + 512);
		}
	}

#ifdef GODLM_HPP_THROWS
	static request async(const name_space &ns, std::string_view name, godlm::mode m, const options &o,
	                     granted_routine done)
	{
		std::error_code ec;
		request r = async(ns, name, m, o, std::move(done), ec);
		detail::check(ec, "dlm_quelock");
		return r;
	}
	void convert(godlm::mode m, const options &o = {})
	{
		std::error_code ec;
		convert(m, nullptr, 0, o, ec);
		detail::check(ec, "dlm_cvt");
	}
	void convert(godlm::mode m, const bytes &b, const options &o = {})
	{
		std::error_code ec;
		convert(m, &b, 0, o, ec);
		detail::check(ec, "dlm_cvt");
	}
	request async_convert(godlm::mode m, const options &o, std::function<void(std::error_code)> done)
	{
		std::error_code ec;
		request r = async_convert(m, o, std::move(done), ec);
		detail::check(ec, "dlm_quecvt");
		return r;
	}
	const value &read()
	{
		std::error_code ec;
		const value &v = read(ec);
		detail::check(ec, "reading a value block");
		return v;
	}
	void write(const bytes &b)
	{
		std::error_code ec;
		write(b, ec);
		detail::check(ec, "writing a value block");
	}
	void invalidate()
	{
		std::error_code ec;
		invalidate(ec);
		detail::check(ec, "marking a value block");
	}
	void unlock()
	{
		std::error_code ec;
		unlock(ec);
		detail::check(ec, "dlm_unlock");
	}
	void unlock(const bytes &b)
	{
		std::error_code ec;
		unlock(b, ec);
		detail::check(ec, "dlm_unlock");
	}
	godlm::token token() const
	{
		std::error_code ec;
		godlm::token t = token(ec);
		detail::check(ec, "godlm_get_token");
		return t;
	}
#endif

private:
	/* Apart from the object, which moves: completions of conversions store here. */
	struct state {
		dlm_lkid_t id = {0, 0};
		godlm::mode mode = godlm::mode::nl;
		value block;
		std::shared_ptr<detail::routines> routines; /* null: never had any */
		std::uintptr_t number = 0;                  /* under which they are known */

		void have_routines(blocking_routine r)
		{
			if (routines)
				return;
			routines = std::make_shared<detail::routines>(detail::routines{std::move(r), nullptr, false});
			number = detail::enlist(routines);
		}
		/* The completion of the request that comes next; false: that of the one before is still to come. */
		bool expect(std::function<void(dlm_status_t)> completion)
		{
			have_routines(nullptr);
			std::lock_guard<std::mutex> guard(detail::the_registry().mutex);
			if (routines->completion)
				return false;
			routines->completion = std::move(completion);
			return true;
		}
		void expect_nothing()
		{
			std::function<void(dlm_status_t)> gone; /* ends after the mutex is free */
			std::lock_guard<std::mutex> guard(detail::the_registry().mutex);
			gone.swap(routines->completion);
		}
		void strike() noexcept
		{
			if (number)
				detail::strike(number);
			number = 0;
		}
		void *notprm() const noexcept
		{
			return pointer(number);
		}
		blk_callback_t routine() const noexcept
		{
			return routines && routines->blocking ? detail::on_blocking : nullptr;
		}
		void store(const dlm_valb_t &v, bool valid) noexcept
		{
			std::memcpy(block.bytes.data(), &v, sizeof v);
			block.valid = valid;
		}
		/* What was written is valid; a status tells the validity of what was read. */
		void converted(godlm::mode m, dlm_flags_t flags, const dlm_valb_t &v, bool written, bool valid) noexcept
		{
			mode = m;
			if (flags & DLM_INVVALBLK)
				block.valid = false;
			else if (flags & DLM_VALB)
				store(v, written || valid);
		}
	};
	std::shared_ptr<state> state_;

	static dlm_lkmode_t c_mode(godlm::mode m) noexcept
	{
		return static_cast<dlm_lkmode_t>(m);
	}
	static void *pointer(std::uintptr_t n) noexcept
	{
		return reinterpret_cast<void *>(n);
	}
	/* dlm_valueblock(7): what a conversion does with the block. */
	static bool stores(godlm::mode held, godlm::mode m) noexcept
	{
		return writes(held) && m <= held;
	}
	static bool reads(godlm::mode held, godlm::mode m) noexcept
	{
		return !stores(held, m) && m >= held;
	}

	struct arguments {
		dlm_flags_t flags;
		dlm_trans_id_t tid;
		dlm_lkid_t parent;
	};
	static arguments prepare(const lock *parent, const options &o)
	{
		arguments a = {o.flags_ | DLM_VALB, o.tid_, parent ? parent->id() : dlm_lkid_t{0, 0}};
		if (o.party_ != options::this_thread) {
			a.flags |= o.party_;
		} else if (!(o.flags_ & DLM_GROUP_LOCK)) {
			a.flags |= DLM_TXID_LOCAL;
			a.tid = detail::this_thread();
		}
		return a;
	}
	static uchar_t *c_name(std::string_view name) noexcept
	{
		return reinterpret_cast<uchar_t *>(const_cast<char *>(name.data() ? name.data() : ""));
	}
	/* A length that the C functions cannot be given is as wrong as one that they can. */
	static ushort_t length(std::string_view name) noexcept
	{
		return static_cast<ushort_t>(name.size() > DLM_RESNAMELEN ? DLM_RESNAMELEN + 1 : name.size());
	}

	void take(dlm_nsp_t nsp, const lock *parent, std::string_view name, godlm::mode m, const options &o,
	          std::error_code &ec)
	{
		auto s = std::make_shared<state>();
		arguments a = prepare(parent, o);
		dlm_valb_t v = {};
		if (o.blocking_)
			s->have_routines(o.blocking_);
		dlm_status_t st = dlm_locktp(nsp, c_name(name), length(name), parent ? &a.parent : nullptr, &s->id, c_mode(m),
		                             &v, a.flags, s->notprm(), pointer(o.hint_), s->routine(),
		                             o.timeout_centis_, a.tid, o.rd_);
		ec = detail::code(st);
		if (ec) {
			s->strike();
			return;
		}
		s->mode = m;
		s->store(v, detail::says_valid(st));
		state_ = std::move(s);
	}

	static request start(dlm_nsp_t nsp, const lock *parent, std::string_view name, godlm::mode m, const options &o,
	                     granted_routine done, std::error_code &ec)
	{
		auto s = std::make_shared<state>();
		auto valb = std::make_shared<dlm_valb_t>();
		arguments a = prepare(parent, o);
		s->have_routines(o.blocking_);
		auto told = [s, valb, m, done = std::move(done)](dlm_status_t st) {
			std::error_code e = detail::code(st);
			lock l;
			if (e) {
				s->strike();
			} else {
				s->mode = m;
				s->store(*valb, detail::says_valid(st));
				l.state_ = s;
			}
			if (done)
				done(e, std::move(l));
		};
		s->expect(std::move(told));
		dlm_status_t st = dlm_quelocktp(nsp, c_name(name), length(name), parent ? &a.parent : nullptr, &s->id,
		                                c_mode(m), valb.get(), a.flags, s->notprm(), pointer(o.hint_),
		                                s->routine(), o.timeout_centis_, detail::on_completion, a.tid, o.rd_);
		ec = detail::code(st);
		if (ec) {
			s->expect_nothing();
			s->strike();
		}
		return request(s->id, DLM_CANCELWAITOK);
	}

	void convert(godlm::mode m, const bytes *b, dlm_flags_t mark, const options &o, std::error_code &ec)
	{
		if (!state_) {
			ec = errc::bad_lock;
			return;
		}
		if ((b || mark) && !stores(state_->mode, m)) {
			ec = errc::bad_parameter;
			return;
		}
		dlm_valb_t v = {};
		dlm_flags_t flags = mark;
		if (b) {
			std::memcpy(&v, b->data(), sizeof v);
			flags = DLM_VALB;
		} else if (reads(state_->mode, m)) {
			flags |= DLM_VALB;
		}
		dlm_status_t st = dlm_cvt(&state_->id, c_mode(m), &v, o.flags_ | flags, state_->notprm(), pointer(o.hint_),
		                          state_->routine(), o.timeout_centis_);
		ec = detail::code(st);
		if (!ec)
			state_->converted(m, flags, v, b != nullptr, detail::says_valid(st));
	}

	std::error_code give_up(dlm_valb_t *v, dlm_flags_t flags) noexcept
	{
		if (!state_)
			return {};
		if (flags && !writes(state_->mode))
			return errc::bad_parameter;
		std::error_code ec = detail::code(dlm_unlock(&state_->id, v, flags));
		if (ec && ec != errc::bad_lock && ec != errc::lost && ec != errc::not_attached)
			return ec; /* still held, by sub-locks for example */
		state_->strike();
		state_.reset();
		return ec;
	}
};

/* ---- mutexes ---------------------------------------------------------------------- */

/*
 * A timed mutex among all programs, for std::unique_lock, std::scoped_lock and so on. Any
 * thread may use it; while it is locked, held() is the lock, with value block and token.
 * A circle of threads that wait for each other is errc::deadlock; so is locking it twice.
 */
class mutex {
public:
	mutex(const name_space &ns, std::string_view name) : ns_(ns), name_(name)
	{
	}
	mutex(const mutex &) = delete;
	mutex &operator=(const mutex &) = delete;

	void lock()
	{
		std::error_code ec;
		hold(godlm::lock(ns_, name_, mode::ex, ec), ec);
		detail::check_or_abort(ec, "godlm::mutex::lock");
	}
	bool try_lock()
	{
		return try_lock_for(std::chrono::seconds(0));
	}
	template <class Rep, class Period> bool try_lock_for(std::chrono::duration<Rep, Period> d)
	{
		std::error_code ec;
		hold(godlm::lock(ns_, name_, mode::ex, options().within(d), ec), ec);
		return taken(ec, "godlm::mutex::try_lock");
	}
	template <class Clock, class Duration> bool try_lock_until(std::chrono::time_point<Clock, Duration> t)
	{
		return try_lock_for(t - Clock::now());
	}
	void unlock()
	{
		godlm::lock l = std::move(held_); /* before another thread can have it */
		std::error_code ec;
		l.unlock(ec);
		detail::check_or_abort(ec, "godlm::mutex::unlock");
	}

	godlm::lock &held() noexcept
	{
		return held_;
	}

protected:
	/* Whether a request that may be refused was granted. */
	static bool taken(const std::error_code &ec, const char *what)
	{
		if (ec == errc::timeout || ec == errc::not_queued)
			return false;
		detail::check_or_abort(ec, what);
		return true;
	}
	void hold(godlm::lock &&l, const std::error_code &ec) noexcept
	{
		if (!ec)
			held_ = std::move(l);
	}

	const name_space &ns_;
	const std::string name_;
	godlm::lock held_;
};

/* The same with readers (PR), for std::shared_lock. */
class shared_mutex : public mutex {
public:
	using mutex::mutex;

	void lock_shared()
	{
		std::error_code ec;
		godlm::lock l(ns_, name_, mode::pr, ec);
		keep(std::move(l), ec);
		detail::check_or_abort(ec, "godlm::shared_mutex::lock_shared");
	}
	bool try_lock_shared()
	{
		return try_lock_shared_for(std::chrono::seconds(0));
	}
	template <class Rep, class Period> bool try_lock_shared_for(std::chrono::duration<Rep, Period> d)
	{
		std::error_code ec;
		godlm::lock l(ns_, name_, mode::pr, options().within(d), ec);
		keep(std::move(l), ec);
		return taken(ec, "godlm::shared_mutex::try_lock_shared");
	}
	template <class Clock, class Duration> bool try_lock_shared_until(std::chrono::time_point<Clock, Duration> t)
	{
		return try_lock_shared_for(t - Clock::now());
	}
	/* Gives up the calling thread's lock, or another's if it has none: readers may hand over. */
	void unlock_shared()
	{
		godlm::lock l = pick();
		std::error_code ec;
		l.unlock(ec);
		detail::check_or_abort(ec, "godlm::shared_mutex::unlock_shared");
	}

private:
	void keep(godlm::lock &&l, const std::error_code &ec)
	{
		if (ec)
			return;
		std::lock_guard<std::mutex> guard(readers_mutex_);
		readers_.emplace_back(std::this_thread::get_id(), std::move(l));
	}
	godlm::lock pick()
	{
		std::lock_guard<std::mutex> guard(readers_mutex_);
		if (readers_.empty())
			return {};
		std::size_t i = readers_.size() - 1;
		for (std::size_t j = 0; j < readers_.size(); j++)
			if (readers_[j].first == std::this_thread::get_id())
				i = j;
		godlm::lock l = std::move(readers_[i].second);
		readers_.erase(readers_.begin() + static_cast<std::ptrdiff_t>(i));
		return l;
	}

	std::mutex readers_mutex_;
	std::vector<std::pair<std::thread::id, godlm::lock>> readers_;
};

} /* namespace godlm */

#endif /* GODLM_HPP */
