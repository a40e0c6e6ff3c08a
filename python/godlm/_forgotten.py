"""Locks that the program has forgotten while they were held: they are unlocked by a thread of the package.

Not by __del__: it may run at any moment, where a call that waits for another process would be bad, and swallows a
KeyboardInterrupt. Here the collector calls SimpleQueue.put() and nothing else.
"""

import _thread
import os
import queue
import threading
import warnings
import weakref
from typing import Any

from . import _notify, _workers
from ._library import Lkid, lib


class Memo(weakref.ref):  # type: ignore[type-arg]  # not subscriptable in the older Pythons' stubs
    """Refers to a held lock; has what it takes to unlock it."""

    __slots__ = ("lkid", "number", "text")
    lkid: Lkid
    number: int
    text: str


_queue: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
_memos: "set[Memo]" = set()
_started = False


def remember(lock: object, lkid: Lkid, number: int, text: str) -> Memo:
    """The lock is held: when it is forgotten, unlock lkid."""
    global _started
    memo = Memo(lock, _queue.put)
    memo.lkid, memo.number, memo.text = lkid, number, text
    _memos.add(memo)
    if not _started:
        # In one step: an interrupt within Thread.start() leaves a thread that ends at once.
        _thread.start_new_thread(_work, ())
        _started = True
    return memo


def release(memo: Memo) -> None:
    """The lock is not held any more."""
    _memos.discard(memo)


def held() -> "list[Any]":
    """The locks that are held."""
    return [lock for memo in _memos.copy() if (lock := memo()) is not None]


def _work() -> None:
    while True:
        memo: Memo = _queue.get()
        if memo in _memos:
            _memos.discard(memo)
            _notify.watching.pop(memo.number, None)
            _workers.submit(lambda lkid=memo.lkid: lib.dlm_unlock(lkid, None, 0))  # type: ignore[misc]
            try:
                warnings.warn(f"{memo.text} was forgotten; it is unlocked", ResourceWarning)
            except ResourceWarning as e:  # warnings are errors: there is nobody to raise it to
                threading.excepthook(threading.ExceptHookArgs((ResourceWarning, e, None, None)))


def _after_fork() -> None:
    global _queue, _started
    _queue, _started = queue.SimpleQueue(), False
    _memos.clear()


os.register_at_fork(after_in_child=_after_fork)
