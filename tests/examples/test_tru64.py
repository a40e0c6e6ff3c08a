"""Programs are told when another ends, and whether it died."""

import unittest

from support import BUILD, ExampleTest, until


class Watch(ExampleTest):
    def program(self, name):
        p = self.start(BUILD / "examples/watch", name)
        p.expect(f"{name} lives")
        return p

    def watch(self, p, *names):
        for name in names:
            p.say(f"watch {name}")
            p.expect(f"watching {name}")

    def test_deaths(self):
        a, b, c = (self.program(n) for n in "abc")
        self.watch(a, "b", "c")
        self.watch(c, "b", "a")
        self.watch(b, "a", "c")
        b.kill()
        a.expect("b has died")
        c.expect("b has died")
        self.assertEqual(c.end(), 0)
        a.expect("c has left")
        self.assertEqual(a.seen, ["a lives", "watching b", "watching c", "b has died", "c has left"])

    def test_first_dies(self):
        """The first program decides about its own lock and serves the others."""
        a, b, c = (self.program(n) for n in "abc")
        self.watch(b, "a", "c")
        self.watch(c, "a", "b")
        a.kill()
        b.expect("a has died")
        c.expect("a has died")
        c.kill()
        b.expect("c has died")

    def test_no_deadlock(self):
        """Who watch each other are a circle, which nobody is to end."""
        self.environment["GODLM_DEADLOCK_WAIT_MS"] = "1"
        a, b = self.program("a"), self.program("b")
        self.watch(a, "b")
        self.watch(b, "a")
        until(lambda: self.waiters("a", 0.3) and self.waiters("b", 0.3), "both have waited long enough to be looked at")
        self.assertEqual(b.end(), 0)
        a.expect("b has left")

    def test_second_life(self):
        a, b = self.program("a"), self.program("b")
        self.watch(a, "b")
        b.kill()
        a.expect("b has died")
        again = self.program("b")
        c = self.program("c")
        self.watch(c, "b")
        self.assertEqual(again.end(), 0)
        c.expect("b has left")


if __name__ == "__main__":
    unittest.main()
