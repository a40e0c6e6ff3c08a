"""One leads at a time; the next goes on when it ends or dies; orders of a leader of before are refused."""

import unittest

from support import BUILD, ExampleTest


class Leader(ExampleTest):
    def setUp(self):
        super().setUp()
        self.store = self.dir / "store"

    def candidate(self):
        """One that leads, or is the last of those who wait."""
        c = self.start(BUILD / "examples/leader", self.store)
        c.expect("waiting")
        return c

    def lines(self):
        return [line.split(" ", 1)[1] for line in self.store.read_text().splitlines()]

    def test_killed_leader(self):
        a = self.candidate()
        first = a.expect("leading (.*)")[1]
        b = self.candidate()
        self.until_waiting("leader", 1)
        c = self.candidate()
        self.until_waiting("leader", 2)
        a.say("one")
        a.expect("written one")
        a.kill()
        second = b.expect("leading (.*)")[1]
        b.expect("the leader before has died: .*")
        self.assertGreater(second, first)
        self.assertEqual(self.waiters("leader"), 1)  # c: nobody leads beside b

        # What the first had under way arrives late.
        late = self.run_command(BUILD / "examples/leader", self.store, first, "late")
        self.assertEqual(late.returncode, 1)
        self.assertIn("refused", late.stderr)
        b.say("two")
        b.expect("written two")

        # A leader that ends by itself leaves nothing in doubt.
        self.assertEqual(b.end(), 0)
        third = c.expect("leading (.*)")[1]
        self.assertGreater(third, second)
        c.say("three")
        c.expect("written three")
        self.assertNotIn("the leader before has died", " ".join(c.seen))
        self.assertEqual(c.end(), 0)
        self.assertEqual(self.lines(), ["begins", "one", "begins", "two", "begins", "three"])

    def test_killed_candidate(self):
        a = self.candidate()
        a.expect("leading .*")
        b = self.candidate()
        self.until_waiting("leader", 1)
        c = self.candidate()
        self.until_waiting("leader", 2)
        b.kill()
        self.until_waiting("leader", 1)
        a.kill()
        c.expect("leading .*")

    def test_half_a_line(self):
        """A store whose last writer died in the middle of a line, as after a power failure."""
        a = self.candidate()
        first = a.expect("leading (.*)")[1]
        a.end()
        with self.store.open("a") as f:
            f.write("ffff half a li")
        b = self.candidate()
        self.assertGreater(b.expect("leading (.*)")[1], first)
        b.end()
        self.assertEqual(self.lines(), ["begins", "begins"])


if __name__ == "__main__":
    unittest.main()
