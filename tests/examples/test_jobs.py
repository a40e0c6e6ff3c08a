"""Every job is done, by one worker at a time; that of a killed worker is done by another; a result is stored once."""

import os
import sqlite3
import sys
import unittest

from support import TOP, ExampleTest

sys.path.insert(0, str(TOP / "examples/jobs"))


class Jobs(ExampleTest):
    """A job counts the words of a file. Files that are pipes make it last until the test writes."""

    def jobs(self, number):
        self.database = self.dir / "jobs"
        self.pipes = {i: self.dir / f"file{i}" for i in range(1, number + 1)}
        for pipe in self.pipes.values():
            os.mkfifo(pipe)
        p = self.start_python("jobs/worker.py", self.database, *self.pipes.values())
        self.assertEqual(p.end(), 0)

    def worker(self):
        return self.start_python("jobs/worker.py", self.database)

    def finish(self, job, words):
        """Let whoever counts the words of this file end."""
        with self.pipes[job].open("w") as f:
            f.write("word " * words)

    def results(self):
        with sqlite3.connect(self.database) as db:
            return db.execute("SELECT id, words FROM job ORDER BY id").fetchall()

    def test_killed_worker(self):
        self.jobs(3)
        a = self.worker()
        a.expect(r"worker \d+ job 1 begun")
        b = self.worker()
        b.expect(r"worker \d+ job 2 begun")
        c = self.worker()
        c.expect(r"worker \d+ job 3 begun")
        self.finish(3, 30)
        c.expect(r"worker \d+ job 3 done")
        self.until_waiting("job/1", 1)
        self.until_waiting("job/2", 1)
        b.kill()  # c does not wait for a's job only
        c.expect(r"worker \d+ job 2 was begun by a worker that is gone")
        c.expect(r"worker \d+ job 2 begun")
        self.finish(2, 20)
        c.expect(r"worker \d+ job 2 done")
        self.assertEqual(self.results(), [(1, None), (2, 20), (3, 30)])
        self.finish(1, 10)
        for p in (a, c):
            p.expect(r"worker \d+ all done")
            self.assertEqual(p.end(), 0)
        self.assertEqual(self.results(), [(1, 10), (2, 20), (3, 30)])

    def test_all_workers_killed(self):
        self.jobs(2)
        a, b = self.worker(), self.worker()
        for p in (a, b):
            p.expect(r"worker \d+ job \d begun")
        a.kill()
        b.kill()
        c = self.worker()
        for job in (1, 2):
            c.expect(f"worker \\d+ job {job} begun")
            self.finish(job, job)
            c.expect(f"worker \\d+ job {job} done")
        self.assertEqual(c.end(), 0)
        self.assertEqual(self.results(), [(1, 1), (2, 2)])

    def test_late_result(self):
        """A worker that has lost its lock without knowing it: its result is not stored, nor does it begin the job again."""
        import worker  # the example
        self.jobs(1)
        db = worker.open_database(self.database)
        self.addCleanup(db.close)
        earlier, later = "%032x" % 1, "%032x" % 2
        self.assertEqual(worker.begin(db, 1, earlier), str(self.pipes[1]))
        self.assertEqual(worker.begin(db, 1, later), str(self.pipes[1]))
        self.assertIsNone(worker.begin(db, 1, earlier))
        self.assertFalse(worker.finish(db, 1, earlier, 111))
        self.assertTrue(worker.finish(db, 1, later, 222))
        self.assertFalse(worker.finish(db, 1, later, 333))
        self.assertEqual(self.results(), [(1, 222)])


if __name__ == "__main__":
    unittest.main()
