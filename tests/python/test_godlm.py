"""The library through ctypes: what a Python script sees of it."""

import ctypes as c
import os
import signal
import subprocess
import sys
import unittest

LIBRARY = os.environ["GODLM_LIBRARY"]

NL, CR, CW, PR, PW, EX = range(1, 7)
SUCCESS, SYNCH, SUCCVALNOTVALID, NOTQUEUED, TIMEOUT = 0, 1, 2, 36, 40
USER, NOQUEUE, SYNCSTS, VALB, EXPEDITE = 0x1, 0x8, 0x10, 0x1000, 0x80


class Lkid(c.Structure):
    _fields_ = [("seqn", c.c_uint), ("hndl", c.c_uint)]


class Valb(c.Structure):
    _fields_ = [("valblk", c.c_uint * 8)]


BLOCKING = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.POINTER(Lkid), c.c_int)
COMPLETION = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(Lkid), c.c_int)

dlm = c.CDLL(LIBRARY)
_lock = [c.c_int, c.c_char_p, c.c_ushort, c.POINTER(Lkid), c.POINTER(Lkid), c.c_int, c.POINTER(Valb), c.c_uint,
         c.c_void_p, c.c_void_p, BLOCKING, c.c_uint]
dlm.dlm_lock.argtypes = _lock
dlm.dlm_quelock.argtypes = _lock + [COMPLETION]
dlm.dlm_cvt.argtypes = [c.POINTER(Lkid), c.c_int, c.POINTER(Valb), c.c_uint, c.c_void_p, c.c_void_p, BLOCKING, c.c_uint]
dlm.dlm_unlock.argtypes = [c.POINTER(Lkid), c.POINTER(Valb), c.c_uint]
dlm.dlm_sperrno.restype = c.c_char_p


def join():
    nsp = c.c_int()
    st = dlm.dlm_nsjoin(os.geteuid(), c.byref(nsp), USER | 0x4)
    assert st == SUCCESS, dlm.dlm_sperrno(st)
    return nsp.value


def lock(nsp, name, mode, flags=0, valb=None, timeout=0, blocking=BLOCKING(), notprm=None, hint=None):
    lkid = Lkid()
    st = dlm.dlm_lock(nsp, name, len(name), None, lkid, mode, valb, flags, notprm, hint, blocking, timeout)
    return st, lkid


def convert(lkid, mode, flags=0, valb=None, blocking=BLOCKING()):
    return dlm.dlm_cvt(lkid, mode, valb, flags, None, None, blocking, 0)


# What a second process does: line by line, told by its standard input.
CHILD = """
import sys
sys.path.insert(0, {path!r})
from test_godlm import *
nsp = join()
locks = {{}}
print("ready", flush=True)
for line in sys.stdin:
    what, name, mode, word = line.split()
    valb = Valb()
    valb.valblk[0] = int(word)
    if what == "lock":
        st, locks[name] = lock(nsp, name.encode(), int(mode), VALB, valb)
    elif what == "convert":
        st = convert(locks[name], int(mode), VALB, valb)
    else:
        st = dlm.dlm_unlock(locks.pop(name), None, 0)
    print(st, valb.valblk[0], flush=True)
"""


class Child:
    def __init__(self):
        code = CHILD.format(path=os.path.dirname(os.path.abspath(__file__)))
        self.p = subprocess.Popen([sys.executable, "-B", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)
        assert self.p.stdout.readline() == "ready\n"

    def start(self, what, name, mode=0, word=0):
        print(what, name, mode, word, file=self.p.stdin, flush=True)

    def result(self):
        return tuple(map(int, self.p.stdout.readline().split()))

    def do(self, *call):
        self.start(*call)
        return self.result()

    def kill(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()
        self.p.stdin.close()
        self.p.stdout.close()


class GodlmTest(unittest.TestCase):
    def setUp(self):
        self.nsp = join()

    def test_sizes(self):
        self.assertEqual((c.sizeof(Lkid), c.sizeof(Valb)), (8, 32))

    def test_statuses(self):
        self.assertEqual(dlm.dlm_sperrno(NOTQUEUED), b"DLM_NOTQUEUED")
        self.assertEqual(dlm.dlm_sperrno(1234), b"DLM_ILLEGAL_EEROR")

    def test_value_round_trip(self):
        st, lkid = lock(self.nsp, b"py value", EX, SYNCSTS)
        self.assertEqual(st, SYNCH)
        valb = Valb()
        valb.valblk[:] = range(8)
        self.assertEqual(convert(lkid, NL, VALB, valb), SUCCESS)
        again = Valb()
        self.assertEqual(convert(lkid, PR, VALB, again), SUCCESS)
        self.assertEqual(list(again.valblk), list(range(8)))
        self.assertEqual(dlm.dlm_unlock(lkid, None, 0), SUCCESS)

    def test_refusals(self):
        st, held = lock(self.nsp, b"py refused", EX)
        self.assertEqual(st, SUCCESS)
        st, none = lock(self.nsp, b"py refused", EX, NOQUEUE)
        self.assertEqual((st, none.seqn, none.hndl), (NOTQUEUED, 0, 0))
        st, none = lock(self.nsp, b"py refused", PR, timeout=5)
        self.assertEqual(st, TIMEOUT)
        self.assertEqual(dlm.dlm_unlock(held, None, 0), SUCCESS)

    def test_callbacks(self):
        told = []

        @BLOCKING
        def blocking(notprm, hint, lkid, mode):
            told.append(("blocking", notprm, hint, mode))
            dlm.dlm_unlock(lkid, None, 0)

        @COMPLETION
        def completion(notprm, lkid, st):
            told.append(("completion", notprm, st))

        st, _ = lock(self.nsp, b"py calls", EX, blocking=blocking, notprm=7)
        self.assertEqual(st, SUCCESS)
        second = Lkid()
        st = dlm.dlm_quelock(self.nsp, b"py calls", 8, None, second, PR, None, 0, 8, 9, BLOCKING(), 0, completion)
        self.assertEqual(st, SUCCESS)
        self.assertEqual(dlm.dlm_notify(), 2)
        self.assertEqual(told, [("blocking", 7, 9, PR), ("completion", 8, SUCCESS)])
        self.assertEqual(dlm.dlm_unlock(second, None, 0), SUCCESS)

    def test_between_processes(self):
        child = Child()
        self.assertEqual(child.do("lock", "shared", EX), (SUCCESS, 0))
        self.assertEqual(child.do("convert", "shared", PR, 42), (SUCCESS, 42))
        valb = Valb()
        st, mine = lock(self.nsp, b"shared", PR, VALB, valb)
        self.assertEqual((st, valb.valblk[0]), (SUCCESS, 42))
        child.kill()  # a reader's death costs nothing
        self.assertEqual(convert(mine, PR, VALB, valb), SUCCESS)
        self.assertEqual(dlm.dlm_unlock(mine, None, 0), SUCCESS)

    def test_death_of_a_writer(self):
        child = Child()
        st, mine = lock(self.nsp, b"doubtful", NL)
        self.assertEqual(st, SUCCESS)
        self.assertEqual(child.do("lock", "doubtful", EX), (SUCCESS, 0))
        self.assertEqual(child.do("convert", "doubtful", EX, 5), (SUCCESS, 5))
        child.kill()
        valb = Valb()
        self.assertEqual(convert(mine, EX, VALB, valb), SUCCVALNOTVALID)
        self.assertEqual(valb.valblk[0], 5)
        self.assertEqual(convert(mine, NL, VALB, valb), SUCCESS)
        self.assertEqual(convert(mine, PR, VALB, valb), SUCCESS)
        self.assertEqual(dlm.dlm_unlock(mine, None, 0), SUCCESS)


if __name__ == "__main__":
    unittest.main()
