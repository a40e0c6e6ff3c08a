"""Namespaces, locks, and requests for them."""

import ctypes
import math
import os
import threading
import weakref
from types import TracebackType
from typing import Any, Callable, Optional, Union

from . import _forgotten, _notify, _workers, info, parties
from . import _library as c
from ._library import lib
from .enums import Flag, Mode, Status
from .errors import Lost, check, error
from .info import LockInfo, ResourceInfo, Token, Value
from .parties import PROCESS, Owner
from .recovery import RecoveryDomain

Name = Union[str, bytes]
Data = Union[bytes, bytearray, memoryview]
#: blocking(lock, mode, hint): the lock stands in the way of a request for mode. The request may be gone by now.
Blocking = Callable[["Lock", Mode, int], object]
Done = Callable[["Request"], object]

_EMPTY = bytes(c.VALUE_SIZE)


def as_name(name: Name) -> bytes:
    raw = name.encode() if isinstance(name, str) else bytes(name)
    if not 1 <= len(raw) <= c.NAME_MAX:
        raise error(Status.IVBUFLEN, f"{name!r}")
    return raw


def as_block(data: Data) -> bytes:
    raw = bytes(data)
    if len(raw) > c.VALUE_SIZE:
        raise ValueError(f"a value block has {c.VALUE_SIZE} bytes, not {len(raw)}")
    return raw.ljust(c.VALUE_SIZE, b"\0")


def as_centis(timeout: Optional[float], flags: Flag) -> "tuple[int, int]":
    """The C functions' timeout, hundredths of a second rounded up, and flags."""
    if timeout is None:
        return 0, int(flags)
    if not timeout >= 0:
        raise ValueError(f"timeout of {timeout} seconds")
    if timeout == 0:
        return 0, int(flags | Flag.NOQUEUE)
    return math.ceil(min(timeout * 100, c.TIMEOUT_MAX)), int(flags)


def granted(status: int) -> bool:
    return status <= Status.SYNCVALNOTVALID


def at_once(status: int) -> bool:
    return status in (Status.SYNCH, Status.SYNCVALNOTVALID)


def valid(status: int) -> bool:
    return status in (Status.SUCCESS, Status.SYNCH)


class Place:
    """Where names are looked up: a namespace, or the resource of a lock."""

    _space: "Namespace"

    def _parent(self) -> "Optional[Lock]":
        raise NotImplementedError

    def lock(
        self,
        name: Name,
        mode: Mode = Mode.EX,
        *,
        timeout: Optional[float] = None,
        flags: Flag = Flag.NONE,
        blocking: Optional[Blocking] = None,
        hint: int = 0,
        owner: Optional[Owner] = None,
        domain: Optional[RecoveryDomain] = None,
        group: bool = False,
        invalidate_on_error: bool = False,
    ) -> "Lock":
        """Take a lock, and wait until it is granted or refused (Refused and its subclasses).

        name      1 to 64 bytes; text is encoded as UTF-8
        timeout   seconds to wait at most; 0: do not wait (NotQueued); None: for ever
        blocking  called by notify() when the lock, granted, blocks another request
        hint      a number for the blocking routines of locks that block this request
        owner     the party in the search for deadlocks; None: the calling thread
        domain    the resource is a persistent one of this recovery domain
        group     the lock is the container's in which this process is
        invalidate_on_error
                  a with block that an exception leaves marks the value block not valid, if it may have been writing

        The value block is in the lock's `value`. Ctrl-C ends the wait and withdraws the request.
        """
        if threading.current_thread() is threading.main_thread():
            return self.start_lock(
                name, mode, timeout=timeout, flags=flags, blocking=blocking, hint=hint, owner=owner, domain=domain,
                group=group, invalidate_on_error=invalidate_on_error)._finish()
        # Signals are never handled on other threads, so they can as well wait in C.
        lock = Lock(self._space, self._parent(), as_name(name), blocking, invalidate_on_error)
        valb = c.Valb()
        arguments = lock._lock_arguments(mode, valb, timeout, flags, hint, owner, domain, group)
        lock._taken(mode, valb, lib.dlm_locktp(*arguments))
        return lock

    def start_lock(
        self,
        name: Name,
        mode: Mode = Mode.EX,
        *,
        timeout: Optional[float] = None,
        flags: Flag = Flag.NONE,
        blocking: Optional[Blocking] = None,
        hint: int = 0,
        owner: Optional[Owner] = None,
        domain: Optional[RecoveryDomain] = None,
        group: bool = False,
        invalidate_on_error: bool = False,
        done: Optional[Done] = None,
    ) -> "Request":
        """Ask for a lock without waiting. done(request) is called by notify() when the request has ended."""
        lock = Lock(self._space, self._parent(), as_name(name), blocking, invalidate_on_error)
        request = Request(lock, mode, Request.NEW, done)
        arguments = lock._lock_arguments(mode, request._valb, timeout, flags, hint, owner, domain, group)
        request._start(lib.dlm_quelocktp, arguments[:-2], arguments[-2:])
        return request


class Lock(Place):
    """A lock. As a context manager it is unlocked at the end.

    A lock that the program forgets is unlocked, with a ResourceWarning. One that is held when the program ends is
    not: held in PW or EX it counts as the death of a writer.
    """

    def __init__(self, space: "Namespace", parent: "Optional[Lock]", name: bytes, blocking: Optional[Blocking],
                 invalidate_on_error: bool) -> None:
        self._space = space
        self._above = parent
        self._name = name
        self._blocking = blocking
        self._invalidate_on_error = invalidate_on_error
        self._lkid = c.Lkid()
        self._mode: Optional[Mode] = None
        self._value = Value(_EMPTY, True)
        self._memo: Optional[_forgotten.Memo] = None  # while it is held
        self._request: Optional[Request] = None  # the latest one, while it is under way
        self._generation = _notify.generation
        self._number = next(_notify.numbers)
        self._serial = 0
        self._group = False  # another member may convert it
        self._unsure = False  # an interrupted call may have converted it
        self._master_here = False  # the latest answer came at once
        self._call_later = space._call_later

    # ---- what it is

    @property
    def name(self) -> bytes:
        return self._name

    @property
    def id(self) -> int:
        """The lock id as a number, 0 when there is no lock. Other members of a container can adopt() a group lock by it."""
        return self._lkid.seqn << 32 | self._lkid.hndl

    @property
    def held(self) -> bool:
        """Whether it is granted, as far as this process knows, and this process's: not its parent's before a fork."""
        return self._mode is not None and self._generation == _notify.generation and not _notify.lost

    @property
    def mode(self) -> Optional[Mode]:
        """The mode in which it is granted; None when it is not."""
        return self._mode if self.held else None

    @property
    def value(self) -> Value:
        """The value block as it was read with the latest grant that reads it, or as written by this lock since."""
        return self._value

    @property
    def parent(self) -> "Optional[Lock]":
        return self._above

    def __repr__(self) -> str:
        mode = self.mode
        return f"<godlm.Lock {self._name!r} {mode.name if mode else 'not held'}>"

    def _parent(self) -> "Lock":
        return self

    # ---- convert, read, write, unlock

    def convert(
        self,
        mode: Mode,
        value: Optional[Data] = None,
        *,
        invalidate: bool = False,
        timeout: Optional[float] = None,
        flags: Flag = Flag.NONE,
        hint: int = 0,
    ) -> None:
        """Change the mode, and wait until that is granted or refused; then the lock is as before.

        Up, and to the same mode below PW, the value block is read. Down from PW or EX, and to the same mode of these,
        it is written if there is a value, or marked not valid if asked for, and else stays.
        """
        if threading.current_thread() is threading.main_thread():
            self.start_convert(mode, value, invalidate=invalidate, timeout=timeout, flags=flags, hint=hint)._finish()
            return
        self._settle()
        plan = self._plan(mode, value, invalidate)
        arguments = self._convert_arguments(mode, plan, timeout, flags, hint)
        self._converted(mode, plan, lib.dlm_cvt(*arguments))

    def start_convert(
        self,
        mode: Mode,
        value: Optional[Data] = None,
        *,
        invalidate: bool = False,
        timeout: Optional[float] = None,
        flags: Flag = Flag.NONE,
        hint: int = 0,
        done: Optional[Done] = None,
    ) -> "Request":
        """The same without waiting. done(request) is called by notify() when the request has ended."""
        self._settle()
        plan = self._plan(mode, value, invalidate)
        request = Request(self, mode, plan, done)
        request._start(lib.dlm_quecvt, self._convert_arguments(mode, plan, timeout, flags, hint, request), ())
        return request

    def read(self) -> Value:
        """Read the value block anew."""
        if self.mode is not None and self.mode.writes:  # a conversion would write
            self._value = self._space.resource_info(self._name, self._above).value
        else:
            self.convert(self._mode or Mode.NL)
        return self._value

    def write(self, value: Data) -> None:
        """Write the value block and keep the lock, which is held in PW or EX. The block is valid then."""
        self.convert(self._mode or Mode.NL, value)

    def unlock(self, value: Optional[Data] = None, *, invalidate: bool = False) -> None:
        """Give it up; from PW or EX perhaps with a value, or marking the block not valid."""
        check(self._unlock(value, invalidate), f"unlocking {self._what()}")

    def _unlock(self, value: Optional[Data], invalidate: bool) -> int:
        flags, valb = 0, None
        if value is not None or invalidate:
            if value is not None and invalidate:
                raise ValueError("a value, and no valid value?")
            self._must_write()
            flags, valb = (c.INVVALBLK, None) if value is None else (c.VALB, c.Valb.from_buffer_copy(as_block(value)))
        status: int = lib.dlm_unlock(self._lkid, valb, flags)
        if status in (Status.SUCCESS, Status.IVLOCKID, Status.LOST):
            self._forget()
        return status

    def unlock_below(self) -> None:
        """Unlock all sub-locks, at all levels."""
        check(lib.dlm_unlock(self._lkid, None, c.DEQALL), f"unlocking below {self._what()}")
        for lock in self._space._held():
            if lock._is_below(self):
                lock._forget()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if not self.held:
            if kind is None and _notify.lost and self._mode is not None and self._generation == _notify.generation:
                raise error(Status.LOST, self._what())
            return
        doubt = kind is not None and self._invalidate_on_error and self._mode is not None and self._mode.writes
        try:
            self.unlock(invalidate=doubt)
        except Lost:
            if kind is None:  # else the exception under way says more
                raise

    # ---- questions

    def info(self) -> LockInfo:
        """What the process knows of it."""
        i = c.Lkinfo()
        check(lib.dlm_get_lkinfo(self._lkid, i), self._what())
        return info.of_lock(i)

    def token(self) -> Token:
        """The fencing token of the latest grant of PW or EX."""
        t = c.Token()
        check(lib.godlm_get_token(self._lkid, t), f"token of {self._what()}")
        return Token(t.epoch, t.number)

    def blockers(self) -> str:
        """What its request waits for, for people: a line for each lock and request in the way; empty if it does not."""
        size = ctypes.c_size_t()
        room = 1024
        while True:
            text = ctypes.create_string_buffer(room)
            check(lib.godlm_get_blockers(self._lkid, text, room, size), self._what())
            if size.value < room:
                return text.value.decode(errors="replace")
            room = size.value + 1024

    # ---- inside

    def _what(self) -> str:
        return f"lock {self._name.decode(errors='backslashreplace')!r}"

    def _must_write(self) -> None:
        if self._mode is not None and not self._mode.writes:
            raise ValueError(f"{self._what()} is held in {self._mode.name}: the block is written by PW and EX")

    def _is_below(self, other: "Lock") -> bool:
        above = self._above
        while above is not None and above is not other:
            above = above._above
        return above is other

    def _hold(self) -> None:
        if self._memo is None:
            self._memo = _forgotten.remember(self, self._lkid, self._number, self._what())

    def _forget(self) -> None:
        self._mode = None
        if self._blocking is not None:
            _notify.watching.pop(self._number, None)
        if self._memo is not None:
            _forgotten.release(self._memo)
            self._memo = None
        self._lkid = c.Lkid()

    def _settle(self) -> None:
        """A conversion that was withdrawn is over before the next begins."""
        if self._request is not None:
            _notify.pump()
            if self._request is not None:
                raise error(Status.CVTUNGRANT, self._what())

    def _notprm(self) -> int:
        self._serial = (self._serial + 1) % (1 << _notify.SERIAL_BITS)
        return self._number << _notify.SERIAL_BITS | self._serial

    def _routine(self) -> Any:
        return _notify.no_blocking if self._blocking is None else _notify.on_blocking

    def _lock_arguments(self, mode: Mode, valb: c.Valb, timeout: Optional[float], flags: Flag, hint: int,
                        owner: Optional[Owner], domain: Optional[RecoveryDomain],
                        group: bool) -> "tuple[Any, ...]":
        centis, word = as_centis(timeout, flags)
        if owner is None:
            owner = PROCESS if group else parties.this_thread()
        txid, tid = parties.as_arguments(owner)
        word |= c.SYNCSTS | c.VALB | txid
        if domain is not None:
            word |= c.PERSIST
        if group:
            word |= c.GROUP_LOCK
            self._group = True
        above = self._above
        if self._blocking is not None:
            _notify.watching[self._number] = weakref.ref(self)
        return (self._space._handle, self._name, len(self._name), None if above is None else above._lkid, self._lkid,
                mode, valb, word, self._notprm(), hint, self._routine(), centis, tid,
                0 if domain is None else domain.handle)

    def _taken(self, mode: Mode, valb: c.Valb, status: int) -> None:
        if not granted(status):
            self._forget()
            raise error(status, f"{self._what()} in {Mode(mode).name}")
        self._mode = Mode(mode)
        self._hold()
        self._value = Value(bytes(valb), valid(status))
        self._master_here = at_once(status)

    def _plan(self, mode: Mode, value: Optional[Data], invalidate: bool) -> "Plan":
        """What a conversion does with the value block (dlm_valueblock(7))."""
        if (self._group or self._unsure) and self._mode is not None:
            self._mode = self.info().granted
        held = self._mode
        writes = held is not None and held.writes and mode <= held
        if value is not None or invalidate:
            if value is not None and invalidate:
                raise ValueError("a value, and no valid value?")
            if held is not None and not writes:
                raise ValueError(f"a conversion from {held.name} to {Mode(mode).name} does not write the value block")
        if value is not None:
            return Plan(c.VALB, as_block(value))
        if invalidate:
            return Plan(c.INVVALBLK, None)
        if not writes and held is not None and mode >= held:
            return Plan(c.VALB, None)
        return Plan(0, None)

    def _convert_arguments(self, mode: Mode, plan: "Plan", timeout: Optional[float], flags: Flag, hint: int,
                           request: "Optional[Request]" = None) -> "tuple[Any, ...]":
        centis, word = as_centis(timeout, flags)
        valb = plan.valb if request is None else request._valb
        return (self._lkid, mode, valb, word | c.SYNCSTS | plan.flags, self._notprm(), hint, self._routine(), centis)

    def _converted(self, mode: Mode, plan: "Plan", status: int) -> None:
        check(status, f"{self._what()} to {Mode(mode).name}")
        self._mode = Mode(mode)
        self._master_here = at_once(status)
        if plan.flags & c.INVVALBLK:
            self._value = Value(self._value.data, False)
        elif plan.flags & c.VALB:
            # What was written is valid; a status tells the validity of what was read.
            self._value = Value(bytes(plan.valb), plan.written is not None or valid(status))

    def _blocks(self, mode: int, hint: int) -> None:
        blocking = self._blocking
        if blocking is not None:
            routine = blocking
            self._call_later(lambda: routine(self, Mode(mode), hint) if self.held else None)


class Plan:
    """What a conversion is to do with the value block."""

    def __init__(self, flags: int, written: Optional[bytes]) -> None:
        self.flags = flags
        self.written = written
        self.valb = c.Valb() if written is None else c.Valb.from_buffer_copy(written)


class Request:
    """A request for a lock or a conversion that does not hold up the program."""

    NEW = None

    def __init__(self, lock: Lock, mode: Mode, plan: Optional[Plan], done: Optional[Done]) -> None:
        self._lock = lock
        self._mode = mode
        self._plan = plan  # of a conversion; None: a new lock
        self._valb = c.Valb() if plan is None else plan.valb
        self._done = done
        self._status: Optional[int] = None
        self._abandoned = False
        self._gone = threading.Event()  # abandoned, and withdrawn
        self._bells: "list[_notify.Bell]" = []
        self._listeners: "list[Callable[[], object]]" = []  # called by whatever thread pumps

    @property
    def lock(self) -> Lock:
        """The lock that it is about, granted or not."""
        return self._lock

    @property
    def done(self) -> bool:
        """Whether it has ended, as far as notify() or wait() have been told."""
        return self._status is not None

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until it has ended, or so many seconds, whatever its own timeout; then it goes on. Whether it has ended."""
        return _notify.wait_until(lambda: self._status is not None, self._bells, timeout)

    def result(self) -> Lock:
        """The granted lock; raises why there is none. Waits if it must."""
        if self._status is None:
            self.wait()
        assert self._status is not None
        to = "in" if self._plan is None else "to"
        check(self._status, f"{self._lock._what()} {to} {Mode(self._mode).name}")
        return self._lock

    def cancel(self) -> bool:
        """Withdraw it. False: it has ended already, and result() tells how."""
        flags = c.CANCELWAITOK if self._plan is None else 0
        status = lib.dlm_cancel(self._lock._lkid, flags)
        if status in (Status.SUCCESS, Status.CANCELGRANT, Status.IVLOCKID):
            return bool(status == Status.SUCCESS)
        raise error(status, self._lock._what())

    def blockers(self) -> str:
        """What it waits for, for people: see Lock.blockers()."""
        return "" if self.done else self._lock.blockers()

    # ---- inside

    def _start(self, call: Any, arguments: "tuple[Any, ...]", rest: "tuple[Any, ...]") -> None:
        lock = self._lock
        notprm = arguments[8 if self._plan is None else 4]
        lock._request = self
        _notify.under_way[notprm] = self
        try:
            status = call(*arguments, _notify.on_completion, *rest)
            if status == Status.SUCCESS:
                return  # the completion follows, or has come meanwhile
            del _notify.under_way[notprm]
            if status < Status.ABORT:
                self._end(status)
                return
        except BaseException:
            # An interrupt has hit just here, and nobody knows what the library has answered. What it may yet write to,
            # the value block, stays in under_way.
            lock._unsure = True
            lock._request = None
            self._withdraw()
            raise
        lock._request = None
        if self._plan is None:
            lock._forget()
        to = "in" if self._plan is None else "to"
        raise error(status, f"{lock._what()} {to} {Mode(self._mode).name}")

    def _end(self, status: int) -> None:
        if self._status is None:
            self._settle(status)
        for bell in list(self._bells):
            bell.ring()
        for tell in list(self._listeners):
            tell()
        if self._done is not None:
            _notify.call_later(self._call)

    def _settle(self, status: int) -> None:
        lock = self._lock
        if granted(status) and not self._abandoned:
            if self._plan is None:
                lock._taken(self._mode, self._valb, status)
            else:
                lock._converted(self._mode, self._plan, status)
        elif granted(status) and self._plan is not None:
            lock._converted(self._mode, self._plan, status)
        elif granted(status):
            status = Status.ABORT  # who withdraws it gives the lock up
        elif self._plan is None or status in (Status.ABORT, Status.LOST):
            lock._forget()
        if lock._request is self:
            lock._request = None
        self._status = status

    def _call(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(self)

    def _finish(self) -> Lock:
        """Wait; whatever interrupts that withdraws the request."""
        try:
            return self.result()
        except BaseException:
            if self._status is None:
                self._withdraw()
            raise

    def _withdraw(self) -> None:
        """Abandon it, and wait until it is withdrawn. A signal can end this wait as well."""
        self._abandon()
        self._gone.wait()

    def _abandon(self) -> None:
        """Nobody wants its outcome any more: another thread withdraws it, and gives up what it brings."""
        with _notify.mutex:  # not while its end is noted
            if self._abandoned:
                return
            lkid, new = self._lock._lkid, self._plan is None
            self._abandoned = True
            if new:
                self._lock._forget()
            _abandoned.add(self)

        def withdrawn() -> None:
            _abandoned.discard(self)
            self._gone.set()

        def withdraw() -> None:
            status = lib.dlm_cancel(lkid, c.CANCELWAITOK if new else 0)
            if new and status == Status.CANCELGRANT:
                lib.dlm_unlock(lkid, None, 0)
            withdrawn()

        try:
            _workers.submit(withdraw)
        except BaseException:  # an interrupt: perhaps nobody does it
            withdrawn()
            raise


_abandoned: "set[Request]" = set()  # and not withdrawn yet


class Namespace(Place):
    """A namespace that is joined: names in others are others' names. See join()."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._space = self
        self._joined = True
        self._call_later: "Callable[[Callable[[], object]], object]" = _notify.call_later  # who runs routines

    def _parent(self) -> None:
        return None

    def _held(self) -> "list[Lock]":
        return [lock for lock in _forgotten.held() if lock._space is self]

    @property
    def handle(self) -> int:
        """The number that the C functions know it by."""
        return self._handle

    def leave(self) -> None:
        """Leave it; HasLocks if this process has locks or requests in it. Who joined twice leaves twice."""
        if self._joined:
            with _mutex:
                if _count.get(self._handle, 0) <= 1:
                    check(lib.dlm_nsleave(ctypes.c_int(self._handle), 0), "leaving a namespace")
                    _count.pop(self._handle, None)
                else:
                    _count[self._handle] -= 1
                self._joined = False

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        """What was locked through this object and is still held is unlocked, what was asked for is withdrawn."""
        for request in list(_notify.under_way.values()):
            if isinstance(request, Request) and request._lock._space is self and request._plan is None:
                request._abandon()
        for request in _abandoned.copy():
            if request._lock._space is self:
                request._gone.wait()
        for lock in sorted(self._held(), key=_depth, reverse=True):
            if not lock._group:
                lock._unlock(None, False)
        if not _notify.lost:
            self.leave()

    def resource_info(self, name: Name, parent: Optional[Lock] = None) -> ResourceInfo:
        """Describe a resource; NoEntry if nobody has a lock on it."""
        raw = as_name(name)
        i = c.Rsbinfo()
        above = None if parent is None else parent._lkid
        check(lib.dlm_get_rsbinfo(self._handle, raw, len(raw), i, above), f"resource {name!r}")
        return info.of_resource(i)

    def adopt(self, lock_id: int, blocking: Optional[Blocking] = None) -> Lock:
        """A lock of the container in which this process is, by its id: another member has taken it."""
        lkid = c.Lkid(lock_id >> 32, lock_id & 0xFFFFFFFF)
        i = c.Lkinfo()
        check(lib.dlm_get_lkinfo(lkid, i), f"lock {lock_id:#x}")
        known = info.of_lock(i)
        lock = Lock(self, None, known.name, blocking, False)
        lock._lkid, lock._mode, lock._group = lkid, known.granted, True
        if blocking is not None:
            _notify.watching[lock._number] = weakref.ref(lock)
        return lock


def _depth(lock: Lock) -> int:
    n, above = 0, lock._above
    while above is not None:
        n, above = n + 1, above._above
    return n


_mutex = threading.RLock()
_count: "dict[int, int]" = {}  # joins by handle


def join(*, user: Optional[int] = None, group: Optional[int] = None, systemwide: bool = False) -> Namespace:
    """Join a namespace: that of a user (by default of the process's own), of a group that the process belongs to, or the
    systemwide one, which needs root; root's own is the systemwide one."""
    if (user is not None) + (group is not None) + systemwide > 1:
        raise ValueError("one of user, group and systemwide")
    flags = c.JOIN_SAME_OK
    if systemwide:
        number = 0
    elif group is not None:
        number, flags = group, flags | c.GROUP
    else:
        number, flags = os.geteuid() if user is None else user, flags | c.USER
    handle = ctypes.c_int()
    with _mutex:
        check(lib.dlm_nsjoin(number, handle, flags), "joining a namespace")
        _count[handle.value] = _count.get(handle.value, 0) + 1
    _notify.started()
    return Namespace(handle.value)


def detach() -> None:
    """Leave all namespaces; HasLocks if this process has locks or requests."""
    with _mutex:
        check(lib.dlm_detach(), "leaving all namespaces")
        _count.clear()


def _after_fork() -> None:
    global _mutex
    _mutex = threading.RLock()
    _count.clear()
    _abandoned.clear()


os.register_at_fork(after_in_child=_after_fork)
