"""What the tests of the package share: other processes that do as they are told, and waiting for conditions.

Tests run by pytest and by unittest alike; run.sh takes what is there.
"""

import ast
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

# A tester that is kept waiting for this long has found a defect.
PATIENCE = 30.0

_PROGRAM = """
import asyncio, ctypes, os, signal, sys, threading, time
import godlm
from godlm import NL, CR, CW, PR, PW, EX
def literal(v):
    return v if isinstance(v, (bool, int, float, str, bytes, type(None))) else repr(v)
names = globals()
print("ready", flush=True)
for line in sys.stdin:
    source = line.encode().decode("unicode_escape")
    try:
        try:
            code = compile(source, "<told>", "eval")
        except SyntaxError:
            exec(compile(source, "<told>", "exec"), names)
            answer = (True, None)
        else:
            answer = (True, literal(eval(code, names)))
    except BaseException as e:
        answer = (False, type(e).__name__ + ": " + str(e))
    print(repr(answer), flush=True)
"""


class Failed(Exception):
    """What a child was told raised this: the class's name and the text."""


class Child:
    """A process with the package imported, and `ns` joined unless told otherwise. It runs lines of Python."""

    def __init__(self, join=True):
        self.p = subprocess.Popen([sys.executable, "-B", "-c", _PROGRAM], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        assert self.p.stdout.readline() == "ready\n"
        if join:
            self.do("ns = godlm.join()")

    @property
    def pid(self):
        return self.p.pid

    def start(self, source):
        self.p.stdin.write(source.encode("unicode_escape").decode() + "\n")
        self.p.stdin.flush()

    def result(self):
        line = self.p.stdout.readline()
        if not line:
            raise Failed(f"the process has ended: {self.p.wait()}")
        good, value = ast.literal_eval(line)
        if not good:
            raise Failed(value)
        return value

    def has_answered(self, seconds):
        return bool(select.select([self.p.stdout], [], [], seconds)[0])

    def do(self, source):
        self.start(source)
        return self.result()

    def signal(self, number):
        self.p.send_signal(number)

    def stop(self):
        """SIGSTOP, and wait until all its threads have stopped."""
        self.signal(signal.SIGSTOP)

        def stopped():
            for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
                if (task / "stat").read_text().rpartition(")")[2].split()[0] != "T":
                    return False
            return True

        until(stopped, "all threads have stopped")

    def kill(self):
        self.p.send_signal(signal.SIGKILL)
        return self.end()

    def end(self):
        self.p.stdin.close()
        rc = self.p.wait(PATIENCE)
        self.p.stdout.close()
        return rc


def until(condition, what="condition"):
    """Wait until condition() is true, and return what it returned."""
    end = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.005)


def run(source, **environment):
    """Run a program of its own; returns what subprocess.run() does."""
    return subprocess.run([sys.executable, "-B", "-c", source], capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, **environment})
