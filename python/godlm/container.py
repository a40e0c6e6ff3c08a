"""Group lock containers: locks that several processes of a host own together (dlm_glc_create(3))."""

import ctypes
from typing import Iterable

from . import _library as c
from ._library import lib
from .errors import check
from .locks import Namespace


class Container:
    """A group lock container, by its id. ns.lock(..., group=True) takes locks of the one in which this process is."""

    def __init__(self, id: int) -> None:
        self.id = id

    def __repr__(self) -> str:
        return f"godlm.Container({self.id})"

    @classmethod
    def create(cls, spaces: "Iterable[Namespace]", *, owned: bool = False, permanent: bool = False) -> "Container":
        """Create one for locks in these namespaces, and attach to it.

        owned: it ends with this process, and its members are killed. permanent: it does not end with its last member.
        """
        handles = [ns.handle for ns in spaces]
        id = ctypes.c_int()
        flags = (c.GLC_OWNED if owned else 0) | (c.GLC_PERM if permanent else 0)
        check(lib.dlm_glc_create(id, flags, (ctypes.c_int * len(handles))(*handles), len(handles)), "creating a container")
        return cls(id.value)

    def attach(self) -> None:
        """Become a member. All namespaces of the container must be joined."""
        check(lib.dlm_glc_attach(self.id, 0), f"attaching to container {self.id}")

    def detach(self) -> None:
        """Leave it: this process must be in it."""
        check(lib.dlm_glc_detach(), f"detaching from container {self.id}")

    def destroy(self, *, locks: bool = False, force: bool = False) -> None:
        """End it if it has neither members nor locks; with locks also if it has; with force kill the members first."""
        flags = (c.GLC_LOCKS if locks else 0) | (c.GLC_FORCE if force else 0)
        check(lib.dlm_glc_destroy(self.id, flags), f"ending container {self.id}")
