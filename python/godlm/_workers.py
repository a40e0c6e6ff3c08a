"""Threads for calls that wait for another process where the caller must not: unlocking in an event loop.

They are daemons, so that a process that another one keeps waiting can still end.
"""

import _thread
import os
import queue
import threading
from typing import Callable

_MOST = 32

_mutex = threading.RLock()
_jobs: "queue.SimpleQueue[Callable[[], object]]" = queue.SimpleQueue()
_idle = 0  # threads that wait for a job that nobody has handed in yet
_threads = 0


def submit(job: "Callable[[], object]") -> None:
    """Have job() called by another thread. It must not raise."""
    global _idle, _threads
    with _mutex:
        _jobs.put(job)
        if _idle > 0:
            _idle -= 1
        elif _threads < _MOST:
            _thread.start_new_thread(_work, ())  # in one step, whatever interrupts
            _threads += 1


def _work() -> None:
    global _idle
    while True:
        with _mutex:
            try:
                job = _jobs.get_nowait()
            except queue.Empty:
                _idle += 1
                job = None
        if job is None:
            job = _jobs.get()
        job()
        del job  # and what it refers to, while this thread waits for the next


def _after_fork() -> None:
    global _mutex, _jobs, _idle, _threads
    _mutex, _jobs, _idle, _threads = threading.RLock(), queue.SimpleQueue(), 0, 0


os.register_at_fork(after_in_child=_after_fork)
