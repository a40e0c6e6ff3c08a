"""Modes, flags, states and statuses: the numbers of <sys/dlm.h>."""

import enum


class Mode(enum.IntEnum):
    """What a lock claims of its resource. Which go together: `Mode.PR.allows(Mode.PW)`."""

    NL = 1  #: null: excludes nothing; keeps the resource and its value block
    CR = 2  #: concurrent read: others may read and write
    CW = 3  #: concurrent write: others may read and write, unprotected
    PR = 4  #: protected read: others may read, nobody writes
    PW = 5  #: protected write: others may read unprotected, nobody else writes
    EX = 6  #: exclusive

    def allows(self, other: "Mode") -> bool:
        """Whether a lock in this mode and one in the other can be held together."""
        return other in _COMPATIBLE[self]

    @property
    def writes(self) -> bool:
        """Whether a holder may write the value block."""
        return self >= Mode.PW


_COMPATIBLE = {
    Mode.NL: frozenset(Mode),
    Mode.CR: frozenset(Mode) - {Mode.EX},
    Mode.CW: frozenset((Mode.NL, Mode.CR, Mode.CW)),
    Mode.PR: frozenset((Mode.NL, Mode.CR, Mode.PR)),
    Mode.PW: frozenset((Mode.NL, Mode.CR)),
    Mode.EX: frozenset((Mode.NL,)),
}


class Flag(enum.IntFlag):
    """How a request is to be treated. What is missing here are parameters or done by the package itself."""

    NONE = 0
    NOQUEUE = 0x8  #: refuse (NotQueued) rather than wait
    NODLCKWT = 0x20  #: never refuse this request to end a deadlock
    NODLCKBLK = 0x40  #: do not count the lock as blocking in the search for deadlocks
    EXPEDITE = 0x80  #: new NL lock: pass all queues
    QUECVT = 0x100  #: conversion: line up behind others


class LockState(enum.IntEnum):
    INTRANSIT = 0  #: on its way to or from the master
    GRANTED = 1
    CONVERTING = 2
    WAITING = 3


class Status(enum.IntEnum):
    """Statuses of the C functions, without their DLM_."""

    SUCCESS = 0
    SYNCH = 1
    SUCCVALNOTVALID = 2
    SYNCVALNOTVALID = 3
    MORE_TO_RECOVER = 4
    MORE_TO_TRAVERSE = 5
    ABORT = 16
    ATTACHED = 17
    BADPARAM = 18
    CANCEL = 19
    CANCELGRANT = 20
    CANCELWAIT = 21
    CVTUNGRANT = 22
    DEADLOCK = 23
    EFAULT = 24
    ENOENT = 25
    ENOSYS = 26
    HASLOCKS = 27
    INSFMEM = 28
    INTR = 29
    IVBUFLEN = 30
    IVLOCKID = 31
    LKBUSY = 32
    NOACCESS = 33
    NOLOCKID = 34
    NOTATTACHED = 35
    NOTQUEUED = 36
    PARNOTGRANT = 37
    RETRY = 38
    SUBLOCKS = 39
    TIMEOUT = 40
    TOOMANYNS = 41
    UNEXPERR = 42
    HASPROCS = 43
    KILLFAIL = 44
    ATTACHEDGROUP = 45
    NO_GROUP = 46
    ENAMETOOLONG = 47
    TOOMANYRD = 48
    IS_PR = 49
    NOT_PR = 50
    IVRDID = 51
    PR_RD_MISMATCH = 52
    IVHNDL = 53
    EALREADY = 54
    EINPROGRESS = 55
    PUBNS_DISALLOW = 56
    LOST = 100
