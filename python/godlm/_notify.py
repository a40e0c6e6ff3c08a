"""Notifications: from the library's queue to those whom they concern.

pump() has the library run the C routines of what is pending. These write their arguments to memory, and do so without
any code in Python: there a KeyboardInterrupt could be raised at every moment, and the notification were lost. pump() then
reads the records. One that an interrupt has left unread, or read half, is read (again) by the next pump(), so whatever is
done about one may be done twice.

Routines of the program never run in there, but in notify(), or in the event loop of godlm.aio. The package does not use
dlm_set_signal(3): a signal handler in C cannot run Python.
"""

import atexit
import collections
import functools
import io
import itertools
import os
import select
import struct
import threading
import time
import weakref
from typing import Any, Callable, Optional, Protocol

from . import errors
from ._library import BLOCKING, COMPLETION, LOST, Word, lib
from .enums import Status


_os: Any = os  # type stubs that are some years old do not know eventfd


class Ending(Protocol):
    """A request under way."""

    def _end(self, status: int) -> None:
        """It is over. Called with the pump's lock held; may be called twice."""


class Watching(Protocol):
    """A lock with a blocking routine."""

    def _blocks(self, mode: int, hint: int) -> None:
        """It stands in the way of a request."""


# What the C functions are given as notprm: the lock's number, and a serial number of its request.
SERIAL_BITS = 16
numbers = itertools.count(1)

under_way: "dict[int, Ending]" = {}  # by notprm
watching: "dict[int, weakref.ref[Watching]]" = {}  # by the lock's number

lost = False
at_loss: "list[Callable[[], object]]" = []  # called by pump()
exiting = False
generation = 0  # counts forks: what was made in an earlier one is the parent's

_records = io.BytesIO()
_read = 0  # how much of it has been dealt with
mutex = threading.RLock()  # guards these two; a signal handler of the program may come back here
_depth = 0

no_blocking = BLOCKING(0)


def _recorder(kind: int) -> "Callable[..., object]":
    """A function without Python in it that appends the kind and its arguments to the records: max() has its key function
    called with each, which writes the object's memory and answers with a number."""
    return functools.partial(max, Word(kind), key=_records.write)


# Each kind of record: what follows the kind.
_BLOCKING, _COMPLETION, _LOST = 1, 2, 3
_KIND = struct.Struct("=Q")
_FORMAT = {_BLOCKING: struct.Struct("=QQQi"), _COMPLETION: struct.Struct("=QQi"), _LOST: struct.Struct("=Q")}

on_blocking = BLOCKING(_recorder(_BLOCKING))
on_completion = COMPLETION(_recorder(_COMPLETION))
_on_lost = LOST(_recorder(_LOST))


def started() -> None:
    """A namespace is joined."""
    lib.godlm_set_lost_handler(_on_lost, None)


def library_event_fd() -> int:
    """Readable while the library has something for pump()."""
    fd: int = lib.godlm_event_fd()
    if fd < 0:
        raise errors.error(Status.NOTATTACHED, "event descriptor")
    return fd


def pump() -> None:
    """Take what is pending from the library and tell requests and locks."""
    global _read, _depth
    if exiting:
        return
    with mutex:
        _depth += 1
        try:
            _records.seek(0, io.SEEK_END)
            lib.dlm_notify()
            data = _records.getvalue()
            while _read < len(data):
                start = _read + _KIND.size
                kind: int = _KIND.unpack_from(data, _read)[0]
                layout = _FORMAT[kind]
                _tell(kind, layout.unpack_from(data, start))
                _read = start + layout.size
            if _depth == 1 and data:
                _read = 0
                _records.truncate(0)
        finally:
            _depth -= 1


def _tell(kind: int, arguments: "tuple[int, ...]") -> None:
    global lost
    if kind == _COMPLETION:
        notprm, _, status = arguments
        request = under_way.get(notprm)
        if request is not None:
            request._end(status)
            under_way.pop(notprm, None)
    elif kind == _BLOCKING:
        notprm, hint, _, mode = arguments
        reference = watching.get(notprm >> SERIAL_BITS)
        lock = None if reference is None else reference()
        if lock is not None:
            lock._blocks(mode, hint)
    else:
        lost = True
        for tell in list(at_loss):
            tell()


# ---- waiting for a request ---------------------------------------------------


class Bell:
    """Wakes a thread in wait_until() that another thread's pump() has served."""

    def __init__(self) -> None:
        self.fd = _os.eventfd(0, _os.EFD_NONBLOCK | _os.EFD_CLOEXEC)

    def ring(self) -> None:
        with mutex:
            if self.fd >= 0:
                _os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        with mutex:  # nobody rings what the number may mean next
            fd, self.fd = self.fd, -1
            os.close(fd)


def wait_until(done: "Callable[[], bool]", bells: "list[Bell]", timeout: Optional[float]) -> bool:
    """Pump until done() or for so many seconds; whoever makes it true rings the bells. Signals are handled meanwhile."""
    pump()
    if done():
        return True
    until = None if timeout is None else time.monotonic() + timeout
    bell = Bell()
    bells.append(bell)
    try:
        poller = select.poll()
        poller.register(library_event_fd(), select.POLLIN)
        poller.register(bell.fd, select.POLLIN)
        while True:
            pump()
            if done():
                return True
            left = None if until is None else (until - time.monotonic()) * 1000
            if left is not None and left <= 0:
                return False
            poller.poll(left)
    finally:
        bells.remove(bell)
        bell.close()


# ---- the program's routines --------------------------------------------------

_calls: "collections.deque[Callable[[], object]]" = collections.deque()
_calls_bell: Optional[Bell] = None  # rung while there are calls to make
_poller: Optional[select.epoll] = None  # readable when either descriptor is


def call_later(routine: "Callable[[], object]") -> None:
    """Have routine() called in notify()."""
    _calls.append(routine)
    if _calls_bell is not None:
        _calls_bell.ring()


def event_fd() -> int:
    """A descriptor for poll(2) and its like, readable while notify() has something to do. Do not read or close it."""
    global _calls_bell, _poller
    with mutex:
        if _poller is None:
            fd = library_event_fd()
            poller = select.epoll()
            _calls_bell = Bell()
            poller.register(fd, select.EPOLLIN)
            poller.register(_calls_bell.fd, select.EPOLLIN)
            if _calls:
                _calls_bell.ring()
            _poller = poller
        return _poller.fileno()


def notify(timeout: Optional[float] = 0) -> int:
    """Run the routines of all pending notifications on this thread; returns how many.

    With a timeout, in seconds, wait so long for the first; None: for ever. An exception that a routine raises comes
    out here; the routines after it stay pending.
    """
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        count = _run()
        if count or timeout == 0:
            return count
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            return 0
        poller = select.poll()
        poller.register(event_fd(), select.POLLIN)
        poller.poll(None if left is None else left * 1000)


def _run() -> int:
    pump()
    count = 0
    while True:
        try:
            routine = _calls.popleft()
        except IndexError:
            if _calls_bell is not None:
                try:
                    _os.eventfd_read(_calls_bell.fd)
                except BlockingIOError:
                    pass
                if _calls:  # came between the look and the read
                    continue
            return count
        count += 1
        routine()


# ---- the loss of all locks ---------------------------------------------------

_lost_handler: "Optional[Callable[[], object]]" = None


def set_lost_handler(handler: "Optional[Callable[[], object]]") -> None:
    """Have handler() called once, by notify(), when this process is declared gone and its locks are lost.

    None removes it. Calls on locks raise Lost from then on, also where nobody calls notify().
    """
    global _lost_handler
    _lost_handler = handler


def _tell_handler() -> None:
    handler = _lost_handler
    if handler is not None:
        set_lost_handler(None)
        call_later(handler)


at_loss.append(_tell_handler)


# ---- forks and the end -------------------------------------------------------


def _after_fork() -> None:
    """The child has no locks; its calls are answered NotAttached, or it has yet to join."""
    global mutex, _depth, _read, _calls_bell, _poller, _lost_handler, generation
    generation += 1
    mutex, _depth, _read = threading.RLock(), 0, 0
    _records.truncate(0)
    under_way.clear()
    watching.clear()
    _calls.clear()
    del at_loss[1:]
    _lost_handler = None
    if _poller is not None:
        _poller.close()
    if _calls_bell is not None:
        os.close(_calls_bell.fd)
    _poller = _calls_bell = None


def _at_exit() -> None:
    """From here on nothing is taken from the library, so no routine runs while the interpreter is dismantled.

    Locks that are still held are left to the library: held in PW or EX they count as lost in the middle of a write.
    """
    global exiting
    exiting = True


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
