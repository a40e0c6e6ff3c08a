"""The C library: where it is found, and its types and functions as <sys/dlm.h> and <godlm.h> have them."""

import ctypes as c
import os
from typing import Any

SONAME = "libgodlm.so.1"
NAME_MAX = 64  # bytes in a resource's or recovery domain's name
VALUE_SIZE = 32  # bytes in a value block
TIMEOUT_MAX = 2**32 - 1  # hundredths of a second

# Flags that the package sets by itself; those for programs are in enums.Flag.
USER, GROUP, JOIN_SAME_OK = 0x1, 0x2, 0x4
SYNCSTS, DEQALL, INVVALBLK, CANCELWAITOK, VALB = 0x10, 0x200, 0x400, 0x800, 0x1000
PERSIST, GROUP_LOCK, TXID_LOCAL, TXID_GLOBAL = 0x2000, 0x4000, 0x8000, 0x10000
GLC_OWNED, GLC_PERM, GLC_LOCKS, GLC_FORCE = 0x1, 0x2, 0x4, 0x8
RD_PROCESS, RD_GROUP, RD_INVALIDATE = 0x1, 0x2, 0x4


class Lkid(c.Structure):
    _fields_ = [("seqn", c.c_uint), ("hndl", c.c_uint)]
    seqn: int
    hndl: int


class Valb(c.Structure):
    _fields_ = [("valblk", c.c_uint * 8)]


class Lkinfo(c.Structure):
    _fields_ = [
        ("resnam", c.c_ubyte * NAME_MAX),
        ("resnlen", c.c_ushort),
        ("parlkid", Lkid),
        ("rqmode", c.c_int),
        ("valb", c.c_void_p),
        ("flags", c.c_uint),
        ("notprm", c.c_void_p),
        ("hint", c.c_void_p),
        ("blkrtn", c.c_void_p),
        ("timeout", c.c_uint),
        ("cplrtn", c.c_void_p),
        ("sig", c.c_int),
        ("grmode", c.c_int),
        ("lkstate", c.c_int),
        ("lk_pid", c.c_int),
    ]
    resnam: "c.Array[c.c_ubyte]"
    resnlen: int
    parlkid: Lkid
    rqmode: int
    flags: int
    timeout: int
    grmode: int
    lkstate: int
    lk_pid: int


class Rsbinfo(c.Structure):
    _fields_ = [
        ("vbstatus", c.c_short),
        ("vbseqnum", c.c_uint),
        ("subrescnt", c.c_uint),
        ("lckcnt", c.c_uint),
        ("blkastcnt", c.c_uint),
        ("ggcnt", c.c_uint),
        ("ggmode", c.c_int),
        ("cvtqmode", c.c_int),
        ("wtqmode", c.c_int),
        ("valb", Valb),
    ]
    vbstatus: int
    vbseqnum: int
    subrescnt: int
    lckcnt: int
    blkastcnt: int
    ggcnt: int
    ggmode: int
    cvtqmode: int
    wtqmode: int
    valb: Valb


class Token(c.Structure):
    _fields_ = [("epoch", c.c_uint64), ("number", c.c_uint64)]
    epoch: int
    number: int


class Word(c.c_uint64):
    """A pointer in a routine's arguments. Of a subclass, ctypes makes an object with memory, not a number."""


class Int(c.c_int):
    """The same for a mode or status."""


# Routines of notifications.
BLOCKING = c.CFUNCTYPE(None, Word, Word, Word, Int)
COMPLETION = c.CFUNCTYPE(None, Word, Word, Int)
LOST = c.CFUNCTYPE(None, Word)


def _open() -> c.CDLL:
    if c.sizeof(c.c_void_p) != 8:
        raise ImportError("godlm needs a 64-bit Python")
    name = os.environ.get("GODLM_LIBRARY") or SONAME
    try:
        # Every call releases the interpreter's lock: a wait for a lock holds up no other thread.
        return c.CDLL(name, use_errno=True)
    except OSError as e:
        raise ImportError(f"godlm: cannot load {name}: {e}. Install the library, or name its file in GODLM_LIBRARY.") from e


lib: Any = _open()

_lkid, _valb, _nsp = c.POINTER(Lkid), c.POINTER(Valb), c.POINTER(c.c_int)
_locktp = [c.c_int, c.c_char_p, c.c_ushort, _lkid, _lkid, c.c_int, _valb, c.c_uint, c.c_void_p, c.c_void_p, BLOCKING,
           c.c_uint]
_cvt = [_lkid, c.c_int, _valb, c.c_uint, c.c_void_p, c.c_void_p, BLOCKING, c.c_uint]

# Name of each function that the package calls, its result and its parameters.
FUNCTIONS: "dict[str, tuple[Any, list[Any]]]" = {
    "dlm_nsjoin": (c.c_int, [c.c_uint, _nsp, c.c_uint]),
    "dlm_nsleave": (c.c_int, [_nsp, c.c_uint]),
    "dlm_detach": (c.c_int, []),
    "dlm_notify": (c.c_int, []),
    "dlm_locktp": (c.c_int, _locktp + [c.c_ulong, c.c_int]),
    "dlm_quelocktp": (c.c_int, _locktp + [COMPLETION, c.c_ulong, c.c_int]),
    "dlm_cvt": (c.c_int, _cvt),
    "dlm_quecvt": (c.c_int, _cvt + [COMPLETION]),
    "dlm_unlock": (c.c_int, [_lkid, _valb, c.c_uint]),
    "dlm_cancel": (c.c_int, [_lkid, c.c_uint]),
    "dlm_get_lkinfo": (c.c_int, [_lkid, c.POINTER(Lkinfo)]),
    "dlm_get_rsbinfo": (c.c_int, [c.c_int, c.c_char_p, c.c_ushort, c.POINTER(Rsbinfo), _lkid]),
    "dlm_rd_attach": (c.c_int, [c.c_char_p, c.POINTER(c.c_int), c.c_uint]),
    "dlm_rd_detach": (c.c_int, [c.c_int, c.c_uint]),
    "dlm_rd_collect": (c.c_int, [c.c_int, c.POINTER(c.c_ulong), c.c_uint]),
    "dlm_rd_validate": (c.c_int, [c.c_int, c.POINTER(c.c_ulong), c.c_uint]),
    "dlm_glc_create": (c.c_int, [c.POINTER(c.c_int), c.c_uint, _nsp, c.c_int]),
    "dlm_glc_attach": (c.c_int, [c.c_int, c.c_uint]),
    "dlm_glc_detach": (c.c_int, []),
    "dlm_glc_destroy": (c.c_int, [c.c_int, c.c_uint]),
    "dlm_sperrno": (c.c_char_p, [c.c_int]),
    "godlm_version": (c.c_int, []),
    "godlm_set_lost_handler": (None, [LOST, c.c_void_p]),
    "godlm_get_token": (c.c_int, [_lkid, c.POINTER(Token)]),
    "godlm_get_blockers": (c.c_int, [_lkid, c.c_char_p, c.c_size_t, c.POINTER(c.c_size_t)]),
    "godlm_event_fd": (c.c_int, []),
}
for _name, (_result, _parameters) in FUNCTIONS.items():
    _function = getattr(lib, _name)
    _function.restype = _result
    _function.argtypes = _parameters

if lib.godlm_version() // 10000 != 1:
    raise ImportError(f"godlm: {SONAME} is version {lib.godlm_version()}, this package needs 1.x")


def version() -> "tuple[int, int, int]":
    """Version of the C library in use."""
    n: int = lib.godlm_version()
    return n // 10000, n // 100 % 100, n % 100
