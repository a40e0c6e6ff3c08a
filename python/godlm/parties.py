"""Who waits for whom, in the search for deadlocks.

The library counts a process as one party unless told otherwise: of two threads that wait for the same lock the second
would be waiting for its own process, a deadlock. Here each thread, and in godlm.aio each task, is a party by itself.
"""

import itertools
import os
import threading
from dataclasses import dataclass
from typing import Union

from ._library import TXID_GLOBAL, TXID_LOCAL


@dataclass(frozen=True)
class Transaction:
    """A party that the program defines: locks with the same number are one party's, whoever asked for them.

    The number, of 64 bits, means the same to all processes of this host, or everywhere to those of all hosts.
    """

    number: int
    everywhere: bool = False


class Process:
    """The party of all locks of this process that are taken with owner=PROCESS."""

    def __repr__(self) -> str:
        return "godlm.PROCESS"


PROCESS = Process()
Owner = Union[Transaction, Process]

# Numbers of this process's threads and tasks: from a random one, so that other processes have others.
_numbers = itertools.count(int.from_bytes(os.urandom(8), "little"))
_threads = threading.local()


def new_party() -> Transaction:
    return Transaction(next(_numbers) % 2**64)


def this_thread() -> Transaction:
    party = getattr(_threads, "party", None)
    if not isinstance(party, Transaction):
        party = _threads.party = new_party()
    return party


def as_arguments(owner: Owner) -> "tuple[int, int]":
    """The flag and the transaction id for the C functions."""
    if isinstance(owner, Process):
        return 0, 0
    return (TXID_GLOBAL if owner.everywhere else TXID_LOCAL), owner.number % 2**64


def _after_fork() -> None:
    global _numbers, _threads
    _numbers = itertools.count(int.from_bytes(os.urandom(8), "little"))
    _threads = threading.local()


os.register_at_fork(after_in_child=_after_fork)
