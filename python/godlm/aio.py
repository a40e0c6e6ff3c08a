"""godlm in an asyncio event loop.

    async with godlm.aio.join() as ns:
        async with ns.lock("name", godlm.EX) as l:
            ...

The loop watches the library's event descriptor; nothing polls, and no thread waits for a lock. A task that is cancelled
while it waits is out at once: its request is withdrawn by dlm_cancel(3) behind it, and what it may still be granted is
unlocked. In the search for deadlocks each task is a party by itself.

Objects belong to the event loop in which they were made. Several loops, in several threads, may use the package at
once, and so may threads that use it without a loop.
"""

import asyncio
import threading
import weakref
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Generator, Generic, Optional, Protocol, TypeVar, Union

from . import _notify, _workers, locks, parties
from .enums import Flag, Mode
from .info import LockInfo, ResourceInfo, Token, Value
from .locks import Data, Name
from .parties import Owner
from .recovery import RecoveryDomain

__all__ = ["join", "Namespace", "Lock", "Notice"]

T = TypeVar("T")

#: blocking(lock, mode, hint), called in the event loop
Blocking = Callable[["Lock", Mode, int], object]


class Notice:
    """A lock stands in the way of a request for `mode`; the request may be gone by now."""

    __slots__ = ("mode", "hint")

    def __init__(self, mode: Mode, hint: int) -> None:
        self.mode = mode
        self.hint = hint

    def __repr__(self) -> str:
        return f"Notice({self.mode.name}, hint={self.hint})"


# ---- the loop ------------------------------------------------------------------


class _Watch:
    """A loop's reader of the event descriptor, while namespaces are open in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fd = -1
        self._users = 0

    def enter(self) -> None:
        self._users += 1
        if self._users == 1:
            self._fd = _notify.library_event_fd()
            self._loop.add_reader(self._fd, _notify.pump)

    def leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._loop.remove_reader(self._fd)


_watches: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch]" = weakref.WeakKeyDictionary()
_tasks: "weakref.WeakKeyDictionary[asyncio.Task[Any], parties.Transaction]" = weakref.WeakKeyDictionary()


def _this_task() -> Owner:
    task = asyncio.current_task()
    if task is None:
        return parties.this_thread()
    return _tasks.setdefault(task, parties.new_party())


class _Event:
    """Something that happens once, told by whatever thread, awaited in a loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._future: "asyncio.Future[None]" = self._loop.create_future()

    def tell(self) -> None:
        if threading.get_ident() == self._thread:
            self._set()
        else:
            try:
                self._loop.call_soon_threadsafe(self._set)
            except RuntimeError:  # the loop is closed, and nobody awaits this
                pass

    def _set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> "Generator[Any, None, None]":
        return self._future.__await__()


async def _elsewhere(call: "Callable[[], T]") -> T:
    """Make a call that may wait for another process in another thread. Cancelling the task does not stop the call."""
    done = _Event()
    result: "list[T]" = []
    failure: "list[BaseException]" = []

    def work() -> None:
        try:
            result.append(call())
        except BaseException as e:
            failure.append(e)
        done.tell()

    _workers.submit(work)
    await done
    if failure:
        raise failure[0]
    return result[0]


async def _outcome(request: locks.Request) -> None:
    """Await the end of a request; whatever ends the wait before withdraws it."""
    if not request.done:
        ended = _Event()
        request._listeners.append(ended.tell)
        if request.done:  # another thread was faster
            ended.tell()
        try:
            await ended
        except BaseException:
            request._abandon()
            raise
    request.result()


class _Closing(Protocol):
    async def __aexit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None: ...


C = TypeVar("C", bound=_Closing)


class _Opening(Generic[C]):
    """`await opening`, or `async with opening as it`."""

    def __init__(self, make: "Callable[[], Any]") -> None:
        self._make = make
        self._it: Optional[C] = None

    def __await__(self) -> "Generator[Any, None, C]":
        made: "Generator[Any, None, C]" = self._make().__await__()
        return made

    async def __aenter__(self) -> C:
        self._it = await self
        return self._it

    async def __aexit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        it, self._it = self._it, None
        if it is not None:
            await it.__aexit__(kind, e, trace)


# ---- places, locks, namespaces --------------------------------------------------


class Place:
    """Where names are looked up: a namespace, or the resource of a lock."""

    _space: "Namespace"

    def _core(self) -> locks.Place:
        raise NotImplementedError

    def lock(
        self,
        name: Name,
        mode: Mode = Mode.EX,
        *,
        timeout: Optional[float] = None,
        flags: Flag = Flag.NONE,
        blocking: Optional[Blocking] = None,
        watch: bool = False,
        hint: int = 0,
        owner: Optional[Owner] = None,
        domain: Optional[RecoveryDomain] = None,
        group: bool = False,
        invalidate_on_error: bool = False,
    ) -> "_Opening[Lock]":
        """Take a lock: `l = await ns.lock(...)` or `async with ns.lock(...) as l`.

        blocking  called in the event loop when the lock, granted, blocks another request
        watch     have Lock.notices() yield these
        owner     the party in the search for deadlocks; None: the running task

        The rest is as with godlm.Namespace.lock().
        """

        async def make() -> Lock:
            lock = Lock(self._space, blocking)
            core = self._core()
            told = weakref.ref(lock)  # a lock that the program forgets is not kept by its routine

            def tell(_: locks.Lock, mode: Mode, hint: int) -> None:
                it = told()
                if it is not None:
                    it._blocks(mode, hint)

            def start() -> locks.Request:
                return core.start_lock(
                    name, mode, timeout=timeout, flags=flags, hint=hint, owner=owner or party, domain=domain,
                    blocking=tell if blocking is not None or watch else None, group=group,
                    invalidate_on_error=invalidate_on_error)

            party = None if group else _this_task()
            # A new persistent resource and a group lock begin with a question to the agent.
            request = await _started(start) if group or domain is not None else start()
            lock._watched = watch
            lock._lock = request.lock
            await _outcome(request)
            return lock

        return _Opening(make)


async def _started(start: "Callable[[], locks.Request]") -> locks.Request:
    """A request that another thread hands in; if the task is cancelled meanwhile it is withdrawn."""
    cancelled = False

    def work() -> locks.Request:
        request = start()
        if cancelled:
            request._abandon()
        return request

    call = asyncio.ensure_future(_elsewhere(work))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        cancelled = True
        call.add_done_callback(_give_up)
        raise


def _give_up(call: "asyncio.Future[locks.Request]") -> None:
    if not call.cancelled() and call.exception() is None:
        call.result()._abandon()


class Lock(Place):
    """A lock that was taken in an event loop."""

    _lock: locks.Lock

    def __init__(self, space: "Namespace", blocking: Optional[Blocking]) -> None:
        self._space = space
        self._blocking = blocking
        self._watched = False
        self._notices: "asyncio.Queue[Optional[Notice]]" = asyncio.Queue()

    def _core(self) -> locks.Place:
        return self._lock

    def __repr__(self) -> str:
        return repr(self._lock).replace("godlm.", "godlm.aio.", 1)

    @property
    def name(self) -> bytes:
        return self._lock.name

    @property
    def id(self) -> int:
        return self._lock.id

    @property
    def held(self) -> bool:
        return self._lock.held

    @property
    def mode(self) -> Optional[Mode]:
        return self._lock.mode

    @property
    def value(self) -> Value:
        """The value block as it was read with the latest grant that reads it, or as written by this lock since."""
        return self._lock.value

    async def convert(
        self,
        mode: Mode,
        value: Optional[Data] = None,
        *,
        invalidate: bool = False,
        timeout: Optional[float] = None,
        flags: Flag = Flag.NONE,
        hint: int = 0,
    ) -> None:
        """Change the mode: see godlm.Lock.convert(). If the task is cancelled the conversion is, too, unless it has just
        been granted; `mode` tells once what is under way has ended."""
        await self._settled()

        def start() -> locks.Request:
            return self._lock.start_convert(
                mode, value, invalidate=invalidate, timeout=timeout, flags=flags, hint=hint)

        await _outcome(await _started(start) if self._lock._group else start())

    async def read(self) -> Value:
        """Read the value block anew."""
        if self.mode is not None and self.mode.writes:
            return await _elsewhere(self._lock.read)
        await self.convert(self._lock._mode or Mode.NL)
        return self.value

    async def write(self, value: Data) -> None:
        """Write the value block and keep the lock, which is held in PW or EX."""
        await self.convert(self._lock._mode or Mode.NL, value)

    async def unlock(self, value: Optional[Data] = None, *, invalidate: bool = False) -> None:
        """Give it up. Once begun this happens also if the task is cancelled."""
        self._stop_notices()
        if self._lock._master_here and not self._lock._group:
            self._lock.unlock(value, invalidate=invalidate)  # no other process is asked
        else:
            await _elsewhere(lambda: self._lock.unlock(value, invalidate=invalidate))

    async def __aenter__(self) -> "Lock":
        return self

    async def __aexit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self._stop_notices()
        if (self._lock._master_here and not self._lock._group) or not self._lock.held:
            self._lock.__exit__(kind, e, trace)
        else:
            await _elsewhere(lambda: self._lock.__exit__(kind, e, trace))

    def info(self) -> LockInfo:
        return self._lock.info()

    async def token(self) -> Token:
        """The fencing token of the latest grant of PW or EX."""
        return await _elsewhere(self._lock.token) if self._lock._group else self._lock.token()

    async def blockers(self) -> str:
        """What its conversion waits for: see godlm.Lock.blockers()."""
        return await _elsewhere(self._lock.blockers)

    async def notices(self) -> "AsyncIterator[Notice]":
        """For a lock taken with watch=True: each time that it blocks another request. Ends when it is unlocked."""
        if not self._watched:
            raise RuntimeError("the lock was not taken with watch=True")
        while (notice := await self._notices.get()) is not None:
            yield notice
        self._notices.put_nowait(None)  # for whoever iterates, too

    # ---- inside

    def _blocks(self, mode: Mode, hint: int) -> None:
        if self._watched:
            self._notices.put_nowait(Notice(mode, hint))
        if self._blocking is not None:
            self._blocking(self, mode, hint)

    def _stop_notices(self) -> None:
        self._notices.put_nowait(None)

    async def _settled(self) -> None:
        """A conversion whose task was cancelled ends before the next begins."""
        request = self._lock._request
        if request is not None and request._abandoned:
            ended = _Event()
            request._listeners.append(ended.tell)
            if request.done:
                ended.tell()
            await ended


class Namespace(Place):
    """A namespace that is joined, in an event loop."""

    def __init__(self, core: locks.Namespace, on_lost: "Optional[Callable[[], object]]") -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._space = self
        self._names = core
        core._call_later = self._call_in_loop
        self._on_lost = on_lost
        self._lost = asyncio.Event()
        watch = _watches.get(self._loop)
        if watch is None:
            watch = _watches[self._loop] = _Watch(self._loop)
        watch.enter()
        self._watch = watch
        _notify.at_loss.append(self._lose)
        if _notify.lost:
            self._lose()

    def _core(self) -> locks.Place:
        return self._names

    async def resource_info(self, name: Name, parent: Optional[Lock] = None) -> ResourceInfo:
        """Describe a resource; NoEntry if nobody has a lock on it."""
        above = None if parent is None else parent._lock
        return await _elsewhere(lambda: self._names.resource_info(name, above))

    async def lost(self) -> None:
        """Returns when this process has been declared gone and its locks are lost; see godlm.set_lost_handler()."""
        await self._lost.wait()

    async def leave(self) -> None:
        """Leave it; HasLocks if this process has locks or requests in it."""
        await _elsewhere(self._names.leave)
        self._close()

    async def __aenter__(self) -> "Namespace":
        return self

    async def __aexit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        """What was locked through this object and is still held is unlocked, what was asked for is withdrawn."""
        try:
            await _elsewhere(lambda: self._names.__exit__(kind, e, trace))
        finally:
            self._close()

    # ---- inside

    def _close(self) -> None:
        if self._lose in _notify.at_loss:
            _notify.at_loss.remove(self._lose)
            self._watch.leave()
            _notify.pump()  # the ends of what was withdrawn

    def _lose(self) -> None:
        self._call_in_loop(self._tell_lost)

    def _tell_lost(self) -> None:
        if not self._lost.is_set():
            self._lost.set()
            if self._on_lost is not None:
                self._on_lost()

    def _call_in_loop(self, routine: "Callable[[], object]") -> None:
        """From whatever thread pumps."""
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(routine)
            else:
                self._loop.call_soon_threadsafe(routine)
        except RuntimeError:  # the loop is closed
            pass


def join(*, user: Optional[int] = None, group: Optional[int] = None, systemwide: bool = False,
         on_lost: "Optional[Callable[[], object]]" = None) -> "_Opening[Namespace]":
    """Join a namespace: `ns = await join()` or `async with join() as ns`. See godlm.join().

    on_lost() is called in the event loop when this process is declared gone and its locks are lost.
    """

    async def make() -> Namespace:
        core = await _elsewhere(lambda: locks.join(user=user, group=group, systemwide=systemwide))
        return Namespace(core, on_lost)

    return _Opening(make)
