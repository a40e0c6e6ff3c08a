"""One instance at a time is restarted; when a restart fails or is killed the others are left alone until somebody has looked."""

import os
import unittest

from support import TOP, ExampleTest

RESTART = TOP / "examples/rolling/restart.sh"

# An "instance" that is down until something is written into its pipe: a status to end with.
INSTANCE = 'echo "down $1"; read status <"$2"; echo "up $1"; exit "$status"'


class Rolling(ExampleTest):
    def restart(self, name):
        pipe = self.dir / name
        if not pipe.exists():
            os.mkfifo(pipe)
        return self.start(RESTART, "v2", "sh", "-c", INSTANCE, "instance", name, pipe)

    def ready(self, name, status=0):
        (self.dir / name).write_text(f"{status}\n")

    def three(self):
        a = self.restart("a")
        a.expect("down a")
        b = self.restart("b")
        self.until_waiting("rollout", 1)
        c = self.restart("c")
        self.until_waiting("rollout", 2)
        return a, b, c

    def refuses(self, p):
        p.expect("the restart before this one went wrong; not going on")
        self.assertEqual(p.end(), 75)

    def mend(self):
        p = self.run_command("godlm", "set", "--domain", "rollout", "rollout", "mended")
        self.assertIn(p.returncode, (0, 6), p.stderr)  # 6: nobody else has a lock on the name

    def test_one_after_the_other(self):
        programs = self.three()
        for p, name, waiting in zip(programs, "abc", (2, 1, 0)):
            if name != "a":
                p.expect(f"down {name}")
            self.assertEqual(self.waiters("rollout"), waiting)
            self.ready(name)
            p.expect(f"up {name}")
            self.assertEqual(p.end(), 0)

    def test_failed(self):
        a, b, c = self.three()
        self.ready("a", 1)
        a.expect("up a")
        self.assertEqual(a.end(), 1)
        self.refuses(b)
        self.refuses(c)
        self.refuses(self.restart("b"))  # though nobody has had the lock meanwhile
        self.mend()
        self.goes_well("b")

    def test_killed(self):
        a, b, c = self.three()
        a.kill()  # godlm; the kernel kills what it has started
        self.refuses(b)
        self.refuses(c)
        self.mend()
        for name in "abc":
            self.goes_well(name)

    def goes_well(self, name):
        p = self.restart(name)
        p.expect(f"down {name}")
        self.ready(name)
        p.expect(f"up {name}")
        self.assertEqual(p.end(), 0)


if __name__ == "__main__":
    unittest.main()
