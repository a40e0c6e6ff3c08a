"""Sells seats, each once, from as many processes as you like: what one would do with a lock and a counter in Redis or etcd.

    seats.py DATABASE SEATS       reads a customer's name, offers a seat, and sells it if the next line is "yes"

How many are left is in the value block of the lock, in place of a second key. The database has the truth: how many are
sold. It is counted when nobody has counted yet, and when a seller has died.
"""

import os
import sqlite3
import sys

import godlm

TABLE = "CREATE TABLE IF NOT EXISTS sale (seat INTEGER PRIMARY KEY, customer TEXT NOT NULL, token TEXT NOT NULL)"


def say(*words):
    print(*words, flush=True)


def free(db, seats):
    return seats - db.execute("SELECT count(*) FROM sale").fetchone()[0]


def left(lock, db, seats):
    """From the value block if it can be trusted: byte 0 says that somebody has counted, the next four have the number."""
    block = lock.value
    if block.valid and block.data[0]:
        return int.from_bytes(block.data[1:5], "little")
    say("counting" if block.valid else "a seller has died: counting")
    return free(db, seats)


def sell(db, seat, customer, token):
    """With a fencing token, the database sells nothing to a seller that has lost its lock and does not know it yet."""
    with db:
        done = db.execute(
            "INSERT INTO sale SELECT ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM sale WHERE token > ?)",
            (seat, customer, token, token))
        return done.rowcount == 1


def serve(ns, db, seats, customer, answer):
    # No time to live: the lock is held as long as the customer thinks and this process lives, and not a moment longer.
    with ns.lock("seats", godlm.EX) as lock:
        number = left(lock, db, seats)
        if number == 0:
            say("sold out")
        else:
            seat = seats - number + 1
            say(f"seat {seat} for {customer}?")
            if answer() == "yes":
                if not sell(db, seat, customer, "%016x%016x" % lock.token()):
                    raise SystemExit("refused by the database: another seller has the lock")
                number -= 1
                say(f"sold seat {seat} to {customer}")
        lock.write(b"\1" + number.to_bytes(4, "little"))   # what is left; and valid from here on


def main():
    database, seats = sys.argv[1], int(sys.argv[2])
    db = sqlite3.connect(database, timeout=60)
    with db:
        db.execute(TABLE)
    with godlm.join() as ns, ns.lock("seats", godlm.NL):   # in NL: excludes nobody, keeps the value block
        say("open", os.getpid())
        for line in sys.stdin:
            serve(ns, db, seats, line.strip(), lambda: sys.stdin.readline().strip())


if __name__ == "__main__":
    main()
