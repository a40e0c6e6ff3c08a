"""What can be asked about locks and resources."""

from dataclasses import dataclass
from typing import NamedTuple, Optional

from ._library import Lkinfo, Rsbinfo
from .enums import LockState, Mode


@dataclass(frozen=True)
class Value:
    """A value block of 32 bytes. Not valid: a writer died, the contents are the newest but in doubt."""

    data: bytes
    valid: bool

    def __bytes__(self) -> bytes:
        return self.data


class Token(NamedTuple):
    """Fencing token: grows with every grant of PW or EX on a name, for ever. Compare tokens as tuples."""

    epoch: int
    number: int


@dataclass(frozen=True)
class LockInfo:
    """What the process knows of a lock."""

    name: bytes
    state: LockState
    granted: Optional[Mode]  #: None: not granted
    requested: Mode
    parent: int  #: id of the parent lock, 0 for a lock on a root resource
    pid: int  #: of the owner; of a group lock that another member manipulates 0


@dataclass(frozen=True)
class ResourceInfo:
    """What the master of a resource knows of it."""

    value: Value
    writes: int  #: of the value block so far
    locks: int  #: locks and requests
    sub_resources: int
    watchers: int  #: locks with a blocking routine
    granted: Optional[Mode]  #: strongest granted mode
    granted_count: int  #: locks in it
    converting: Optional[Mode]  #: wanted by the first conversion in the queue
    waiting: Optional[Mode]  #: wanted by the first waiting request


def _mode(n: int) -> Optional[Mode]:
    return Mode(n) if n else None


def of_lock(i: Lkinfo) -> LockInfo:
    return LockInfo(
        name=bytes(i.resnam)[: i.resnlen],
        state=LockState(i.lkstate),
        granted=_mode(i.grmode),
        requested=Mode(i.rqmode),
        parent=i.parlkid.seqn << 32 | i.parlkid.hndl,
        pid=i.lk_pid,
    )


def of_resource(i: Rsbinfo) -> ResourceInfo:
    return ResourceInfo(
        value=Value(bytes(i.valb), i.vbstatus == 0),
        writes=i.vbseqnum,
        locks=i.lckcnt,
        sub_resources=i.subrescnt,
        watchers=i.blkastcnt,
        granted=_mode(i.ggmode),
        granted_count=i.ggcnt,
        converting=_mode(i.cvtqmode),
        waiting=_mode(i.wtqmode),
    )
