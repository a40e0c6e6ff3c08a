"""Workers that share a list of jobs. Start as many as you like, on one host or many; kill any of them: its job is taken by another.

    worker.py DATABASE FILE...    make a list of jobs, or add to it: count the words of each file
    worker.py DATABASE            work until all jobs are done

What is promised: every job is run at least once, one worker at a time, and its result is stored exactly once. A worker that is
killed has perhaps done half of its job, or all but the storing; what a job does besides storing its result must bear being
done again.
"""

import asyncio
import os
import sqlite3
import sys

import godlm

TABLE = """CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY, file TEXT NOT NULL,
    token TEXT NOT NULL DEFAULT '',                -- of the last worker that has begun it
    words INTEGER)                                 -- the result; NULL: not done yet"""


def say(*words):
    print("worker", os.getpid(), *words, flush=True)


def open_database(path):
    db = sqlite3.connect(path, timeout=60)
    with db:
        db.execute(TABLE)
    return db


def unfinished(db):
    return [row[0] for row in db.execute("SELECT id FROM job WHERE words IS NULL ORDER BY id")]


async def locked(ns, job):
    return job, await ns.lock(f"job/{job}", godlm.EX)


async def take(ns, jobs):
    """The lock of one of these jobs: of one that nobody works on, else of the first whose worker ends, in whatever way."""
    for job in jobs:
        try:
            return job, await ns.lock(f"job/{job}", godlm.EX, timeout=0)
        except godlm.NotQueued:
            pass                                    # somebody is at it
    waiting = [asyncio.create_task(locked(ns, job)) for job in jobs]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()                               # no effect on those that are granted
    got = [g for g in await asyncio.gather(*waiting, return_exceptions=True) if not isinstance(g, asyncio.CancelledError)]
    for g in got:
        if isinstance(g, BaseException):
            raise g
    for job, lock in got[1:]:
        await lock.unlock()
    return got[0]


def begin(db, job, token):
    """Note in the database who works on it now. From here on the database refuses workers of before."""
    with db:
        row = db.execute("SELECT file, token FROM job WHERE id = ? AND words IS NULL", (job,)).fetchone()
        if row is None:
            return None                             # done, while this worker was waiting
        if row[1]:
            say("job", job, "was begun by a worker that is gone")
        changed = db.execute("UPDATE job SET token = ? WHERE id = ? AND words IS NULL AND token < ?", (token, job, token))
        return row[0] if changed.rowcount else None


def finish(db, job, token, words):
    """Result and end in one transaction: both or neither, and only by the worker that has begun it last."""
    with db:
        changed = db.execute("UPDATE job SET words = ? WHERE id = ? AND words IS NULL AND token = ?", (words, job, token))
        return changed.rowcount == 1


def work(file):
    with open(file) as f:
        return len(f.read().split())


async def run(path):
    db = open_database(path)
    async with godlm.aio.join() as ns:
        while jobs := unfinished(db):
            job, lock = await take(ns, jobs)
            async with lock:                        # the lock is given up also if the job fails
                token = "%016x%016x" % await lock.token()
                file = begin(db, job, token)
                if file is None:
                    continue
                say("job", job, "begun")
                words = await asyncio.to_thread(work, file)
                say("job", job, "done" if finish(db, job, token, words) else "not stored: another worker has it")
    say("all done")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if len(sys.argv) == 2:
        asyncio.run(run(sys.argv[1]))
        return
    with open_database(sys.argv[1]) as db:
        db.executemany("INSERT INTO job (file) VALUES (?)", [(f,) for f in sys.argv[2:]])


if __name__ == "__main__":
    main()
