"""What the tests of the examples share: programs that are talked to and killed, each test in a runtime directory of its own."""

import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["GODLM_BUILD"])

# Who is kept waiting for this long has found a defect.
PATIENCE = 60.0


class Program:
    """A process with a pipe to it and its lines of output, standard error among them."""

    def __init__(self, command, environment):
        self.p = subprocess.Popen([str(c) for c in command], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
        self._lines = queue.Queue()
        self.seen = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.p.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def expect(self, pattern):
        """Wait for a line that matches as a whole; returns the match. Lines before it are left out."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.p.args}: no {pattern!r} within {PATIENCE} s, only {self.seen}") from None
            if line is None:
                raise AssertionError(f"{self.p.args} ended with {self.p.wait()} and no {pattern!r}: {self.seen}")
            self.seen.append(line)
            if m := re.fullmatch(pattern, line):
                return m

    def kill(self):
        self.p.kill()
        self.p.wait()

    def stop(self):
        """SIGSTOP; returns when all its threads have stopped."""
        self.p.send_signal(signal.SIGSTOP)

        def stopped():
            tasks = pathlib.Path(f"/proc/{self.p.pid}/task").iterdir()
            return all((t / "stat").read_text().rpartition(")")[2].split()[0] == "T" for t in tasks)

        until(stopped, "all threads have stopped")

    def go_on(self):
        self.p.send_signal(signal.SIGCONT)

    def end(self):
        """Close its input and wait for its end; returns the exit status."""
        self.p.stdin.close()
        rc = self.p.wait(PATIENCE)
        self._reader.join(PATIENCE)
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        return rc


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.005)
    return value


class ExampleTest(unittest.TestCase):
    """A directory and programs that are gone after the test."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="godlm-test."))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        (self.dir / "run").mkdir(mode=0o700)
        self.environment = {**os.environ, "GODLM_DIR": str(self.dir / "run"), "PYTHONDONTWRITEBYTECODE": "1",
                            "PATH": f"{BUILD}:{os.environ['PATH']}"}
        for name in ("GODLM_CLUSTER", "GODLM_CONFIG", "GODLM_MASTER", "GODLM_ON_LOST"):
            self.environment.pop(name, None)

    def start(self, *command):
        program = Program(command, self.environment)
        self.addCleanup(program.p.stdout.close)
        self.addCleanup(program.p.stdin.close)
        self.addCleanup(program.kill)
        return program

    def start_python(self, script, *arguments):
        return self.start(sys.executable, TOP / "examples" / script, *arguments)

    def run_command(self, *command):
        return subprocess.run([str(c) for c in command], env=self.environment, capture_output=True, text=True, timeout=PATIENCE)

    def waiters(self, name, seconds=0):
        """How many requests wait for a name, and have for so long."""
        out = self.run_command("godlm", "waiters", "--json").stdout
        return sum(w["path"] == [name] and w["age_seconds"] >= seconds for w in json.loads(out)["waiters"]) if out else 0

    def until_waiting(self, name, number):
        until(lambda: self.waiters(name) == number, f"{number} wait for {name}")
