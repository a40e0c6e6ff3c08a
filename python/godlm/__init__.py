"""godlm: a distributed lock manager, through its C library.

    import godlm

    with godlm.join() as ns:
        with ns.lock("name", godlm.EX) as l:
            if not l.value.valid:
                ...                       # a writer has died: check the data
            l.write(b"version 2")         # the value block: 32 bytes that travel with the lock

Modes are godlm.NL to godlm.EX. What is not granted raises a subclass of godlm.Refused. A value block that is not valid is
told by Value.valid and never raises. Routines of the program run in notify(), on the thread that calls it, when
event_fd() is readable; godlm.aio does that for asyncio. A child forked by a process that has joined has no locks, and its
calls raise NotAttached (join: Unavailable).

The library is found as $GODLM_LIBRARY, else by its soname, libgodlm.so.1.
"""

from . import aio
from ._library import version
from ._notify import event_fd, notify, set_lost_handler
from .container import Container
from .enums import Flag, LockState, Mode, Status
from .errors import (
    Aborted, AccessDenied, AlreadyAttached, BadCollection, BadDomain, BadLock, BadName, BadParameter, Busy, Canceled,
    CancelGranted, CancelWaiting, CollectionOpen, Deadlock, Defect, DomainMismatch, Error, HasLocks, HasProcesses,
    HasSublocks, InContainer, IsPersistent, KillFailed, Lost, NameTooLong, NoContainer, NoEntry, NoRoom, NotAttached,
    NotGranted, NotPersistent, NotQueued, ParentNotGranted, PublicNamespaceOff, RecoveryInProgress, Refused, Timeout,
    TooManyDomains, TooManyLocks, TooManyNamespaces, Unavailable,
)
from .info import LockInfo, ResourceInfo, Token, Value
from .locks import Lock, Namespace, Request, detach, join
from .parties import PROCESS, Transaction
from .recovery import Collection, RecoveryDomain

NL, CR, CW, PR, PW, EX = Mode.NL, Mode.CR, Mode.CW, Mode.PR, Mode.PW, Mode.EX
NOQUEUE, NODLCKWT, NODLCKBLK, EXPEDITE, QUECVT = (
    Flag.NOQUEUE, Flag.NODLCKWT, Flag.NODLCKBLK, Flag.EXPEDITE, Flag.QUECVT)

__all__ = [
    "Aborted", "AccessDenied", "AlreadyAttached", "BadCollection", "BadDomain", "BadLock", "BadName", "BadParameter",
    "Busy", "CR", "CW", "Canceled", "CancelGranted", "CancelWaiting", "Collection", "CollectionOpen", "Container",
    "Deadlock", "Defect", "DomainMismatch", "EX", "EXPEDITE", "Error", "Flag", "HasLocks", "HasProcesses",
    "HasSublocks", "InContainer", "IsPersistent", "KillFailed", "Lock", "LockInfo", "LockState", "Lost", "Mode", "NL",
    "NODLCKBLK", "NODLCKWT", "NOQUEUE", "NameTooLong", "Namespace", "NoContainer", "NoEntry", "NoRoom", "NotAttached",
    "NotGranted", "NotPersistent", "NotQueued", "PR", "PROCESS", "PW", "ParentNotGranted", "PublicNamespaceOff",
    "QUECVT", "RecoveryDomain", "RecoveryInProgress", "Refused", "Request", "ResourceInfo", "Status", "Timeout", "Token",
    "TooManyDomains", "TooManyLocks", "TooManyNamespaces", "Transaction", "Unavailable", "Value", "aio", "detach",
    "event_fd", "join", "notify", "set_lost_handler", "version",
]
