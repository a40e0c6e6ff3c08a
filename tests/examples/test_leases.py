"""Each seat is sold once; a seller that is stopped keeps its lock, one that is killed loses it at once."""

import sqlite3
import unittest

from support import ExampleTest


class Seats(ExampleTest):
    def setUp(self):
        super().setUp()
        self.database = self.dir / "sales"

    def seller(self, seats=3):
        p = self.start_python("leases/seats.py", self.database, seats)
        p.expect(r"open \d+")
        return p

    def sales(self):
        with sqlite3.connect(self.database) as db:
            return db.execute("SELECT seat, customer FROM sale ORDER BY seat").fetchall()

    def offer(self, p, customer, seat):
        p.say(customer)
        p.expect(f"seat {seat} for {customer}\\?")

    def sell(self, p, customer, seat):
        self.offer(p, customer, seat)
        p.say("yes")
        p.expect(f"sold seat {seat} to {customer}")

    def test_value(self):
        a, b = self.seller(), self.seller()
        self.sell(a, "Ada", 1)
        self.offer(b, "Bob", 2)
        b.say("no")
        self.sell(a, "Cyd", 2)
        self.sell(b, "Dan", 3)
        a.say("Eve")
        a.expect("sold out")
        self.assertEqual(sum(p.seen.count("counting") for p in (a, b)), 1)
        self.assertEqual((a.end(), b.end()), (0, 0))
        self.assertEqual(self.sales(), [(1, "Ada"), (2, "Cyd"), (3, "Dan")])

    def test_stopped_and_killed(self):
        a, b, c = self.seller(), self.seller(), self.seller()
        self.offer(b, "Bob", 1)
        c.say("Cyd")
        self.until_waiting("seats", 1)
        b.stop()  # for as long as you like: there is no lease that could end
        self.assertEqual(self.waiters("seats"), 1)
        b.go_on()
        b.say("yes")
        b.expect("sold seat 1 to Bob")
        c.expect(r"seat 2 for Cyd\?")
        a.say("Ada")
        self.until_waiting("seats", 1)
        c.kill()
        a.expect("a seller has died: counting")
        a.expect(r"seat 2 for Ada\?")
        a.say("yes")
        a.expect("sold seat 2 to Ada")
        self.assertEqual(self.sales(), [(1, "Bob"), (2, "Ada")])

    def test_late_seller(self):
        """The database refuses one whose lock another has got since."""
        a = self.seller()
        self.offer(a, "Ada", 1)
        with sqlite3.connect(self.database) as db:
            db.execute("INSERT INTO sale VALUES (2, 'Bob', ?)", ("f" * 32,))
        db.close()
        a.say("yes")
        a.expect("refused by the database: another seller has the lock")
        self.assertEqual(self.sales(), [(2, "Bob")])


if __name__ == "__main__":
    unittest.main()
