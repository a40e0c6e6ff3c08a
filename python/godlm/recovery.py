"""Recovery domains: resources that do not forget that their value blocks are in doubt (dlm_rd_attach(3))."""

import ctypes
from types import TracebackType
from typing import Callable, Optional

from . import _library as c
from ._library import lib
from .enums import Status
from .errors import check


class Collection:
    """What was in doubt when a recovery began. It ends with validate() or with this process."""

    def __init__(self, domain: "RecoveryDomain") -> None:
        self._domain = domain
        self._handle = ctypes.c_ulong()
        check(lib.dlm_rd_collect(domain.handle, self._handle, 0), f"collecting domain {domain.name!r}")

    def validate(self) -> bool:
        """All blocks of the collection that nobody has written since are valid again, and zero.

        True: the domain is recovered. False: more came into doubt meanwhile, collect again.
        """
        status = lib.dlm_rd_validate(self._domain.handle, self._handle, 0)
        check(status, f"validating domain {self._domain.name!r}")
        return bool(status == Status.SUCCESS)


class RecoveryDomain:
    """Attach to the domain of that name, 1 to 64 characters of ASCII, which then exists; join a namespace first.

    ns.lock(..., domain=d) makes its resource a persistent one of the domain. With group the handle is for locks of the
    container in which this process is.
    """

    def __init__(self, name: str, *, group: bool = False) -> None:
        handle = ctypes.c_int()
        flag = c.RD_GROUP if group else c.RD_PROCESS
        check(lib.dlm_rd_attach(name.encode(), handle, flag), f"attaching to domain {name!r}")
        self.name = name
        self.handle = handle.value

    def collect(self) -> Collection:
        """Begin a recovery."""
        return Collection(self)

    def recover(self, repair: "Callable[[], object]") -> None:
        """Collect, repair() and validate, until nothing is in doubt any more."""
        while True:
            collection = self.collect()
            repair()
            if collection.validate():
                return

    def detach(self, *, invalidate: bool = False) -> None:
        """Detach; with invalidate all value blocks in the domain are not valid any more."""
        check(lib.dlm_rd_detach(self.handle, c.RD_INVALIDATE if invalidate else 0), f"detaching from domain {self.name!r}")

    def __enter__(self) -> "RecoveryDomain":
        return self

    def __exit__(self, kind: "Optional[type[BaseException]]", e: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.detach()
