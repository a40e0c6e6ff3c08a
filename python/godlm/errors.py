"""Exceptions: one class for each status that a program may want to tell from others.

A value block that is not valid is no error: see Value.valid.
"""

from typing import Any, ClassVar

from ._library import lib
from .enums import Status


class Error(Exception):
    """A call was refused. `status` is its number, `text` its name, as by dlm_sperrno(3)."""

    code: ClassVar["Status | None"] = None  #: the status whose class this is
    words: ClassVar[str] = ""

    def __init__(self, status: int, what: str = "") -> None:
        self.status = Status(status) if status in _KNOWN else status
        self.text: str = lib.dlm_sperrno(status).decode()
        self.what = what
        super().__init__(": ".join(part for part in (what, self.text, self.words) if part))

    def __reduce__(self) -> "tuple[Any, ...]":
        return error, (int(self.status), self.what)


_KNOWN = frozenset(Status)


class Refused(Error):
    """The request for a lock or conversion was well formed and not granted; nothing has changed."""


class Timeout(Refused, TimeoutError):
    code = Status.TIMEOUT
    words = "not granted in time"


class NotQueued(Refused):
    code = Status.NOTQUEUED
    words = "not grantable at once"


class Deadlock(Refused):
    code = Status.DEADLOCK
    words = "refused to end a deadlock"


class Aborted(Refused):
    code = Status.ABORT
    words = "withdrawn or unlocked while it waited"


class Canceled(Refused):
    code = Status.CANCEL
    words = "the conversion was cancelled; the lock is as before"


class Lost(Error):
    code = Status.LOST
    words = "this process was declared gone: all its locks are lost, and it cannot join again"


class NotAttached(Error):
    code = Status.NOTATTACHED
    words = "no such namespace or container is joined, or this is a forked child of a process that uses the library"


class AlreadyAttached(Error):
    code = Status.ATTACHED
    words = "attached already"


class BadParameter(Error):
    code = Status.BADPARAM
    words = "a parameter or flag that does not fit"


class CancelGranted(Error):
    code = Status.CANCELGRANT
    words = "nothing to cancel: granted"


class CancelWaiting(Error):
    code = Status.CANCELWAIT
    words = "never granted"


class NotGranted(Error):
    code = Status.CVTUNGRANT
    words = "the lock is not granted, or is being converted"


class NoEntry(Error):
    code = Status.ENOENT
    words = "there is no such thing"


class Unavailable(Error):
    code = Status.ENOSYS
    words = "the lock manager cannot be reached or started; GODLM_LOG=debug tells why"


class HasLocks(Error):
    code = Status.HASLOCKS
    words = "there are locks or requests left"


class NoRoom(Error):
    code = Status.INSFMEM
    words = "no memory, or no room in the runtime directory"


class BadName(Error):
    code = Status.IVBUFLEN
    words = "the name is empty or too long"


class BadLock(Error):
    code = Status.IVLOCKID
    words = "not a lock of this process (any more)"


class Busy(Error):
    code = Status.LKBUSY
    words = "another member of the container is at it"


class AccessDenied(Error):
    code = Status.NOACCESS
    words = "not permitted"


class TooManyLocks(Error):
    code = Status.NOLOCKID
    words = "the process has all the locks it can have"


class ParentNotGranted(Error):
    code = Status.PARNOTGRANT
    words = "the parent lock is not granted"


class HasSublocks(Error):
    code = Status.SUBLOCKS
    words = "the lock has sub-locks"


class TooManyNamespaces(Error):
    code = Status.TOOMANYNS
    words = "the process has joined all the namespaces it can"


class Defect(Error):
    code = Status.UNEXPERR
    words = "a defect in the library"


class HasProcesses(Error):
    code = Status.HASPROCS
    words = "the container has members"


class KillFailed(Error):
    code = Status.KILLFAIL
    words = "not all members could be killed; the container is as it was"


class InContainer(Error):
    code = Status.ATTACHEDGROUP
    words = "the process is in a container: detach first"


class NoContainer(Error):
    code = Status.NO_GROUP
    words = "the process is in no container"


class NameTooLong(Error):
    code = Status.ENAMETOOLONG
    words = "the domain's name is too long"


class TooManyDomains(Error):
    code = Status.TOOMANYRD
    words = "the process is attached to all the domains it can be"


class IsPersistent(Error):
    code = Status.IS_PR
    words = "the resource is persistent: name its domain"


class NotPersistent(Error):
    code = Status.NOT_PR
    words = "the resource is not persistent"


class BadDomain(Error):
    code = Status.IVRDID
    words = "not attached to that domain"


class DomainMismatch(Error):
    code = Status.PR_RD_MISMATCH
    words = "the resource is in another domain"


class BadCollection(Error):
    code = Status.IVHNDL
    words = "not this process's open collection"


class CollectionOpen(Error):
    code = Status.EALREADY
    words = "this process has a collection open"


class RecoveryInProgress(Error):
    code = Status.EINPROGRESS
    words = "a collection is open"


class PublicNamespaceOff(Error):
    code = Status.PUBNS_DISALLOW
    words = "the systemwide namespace is switched off"


def _classes(of: "type[Error]") -> "list[type[Error]]":
    return [c for sub in of.__subclasses__() for c in (sub, *_classes(sub))]


_BY_STATUS = {int(c.code): c for c in _classes(Error) if c.code is not None}


def error(status: int, what: str = "") -> Error:
    """The exception for a status."""
    return _BY_STATUS.get(status, Error)(status, what)


def check(status: int, what: str = "") -> None:
    """Raise what a status stands for, if it is an error."""
    if status >= Status.ABORT:
        raise error(status, what)
