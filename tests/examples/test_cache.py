"""Copies are good until somebody writes, or dies where he may have been writing; a new text is never taken for the old one."""

import unittest

from support import BUILD, ExampleTest


class Cache(ExampleTest):
    def setUp(self):
        super().setUp()
        self.file = self.dir / "text"
        self.file.write_text("old\n")

    def program(self):
        p = self.start(BUILD / "examples/cache", self.file)
        p.expect("ready")
        return p

    def get(self, p):
        p.say("get")
        return p.expect(r"(.*) \((.*)\)").groups()

    def tell(self, p, command, answer):
        p.say(command)
        p.expect(answer)

    def test_version(self):
        a, b = self.program(), self.program()
        self.assertEqual(self.get(a), ("old", "read"))
        self.assertEqual(self.get(a), ("old", "copy"))
        self.tell(b, "begin", "begun")
        a.say("get")
        self.until_waiting("cache", 1)
        self.tell(b, "set new", "set")
        self.tell(b, "commit", "committed")
        self.assertEqual(a.expect(r"(.*) \((.*)\)").groups(), ("new", "read"))
        self.assertEqual(self.get(a), ("new", "copy"))
        self.assertEqual(self.get(b), ("new", "read"))
        self.assertEqual((a.end(), b.end()), (0, 0))

    def writer_dies(self, readers, writer):
        """With the new text in place and the old version."""
        for r in readers:
            self.get(r)
            self.assertEqual(self.get(r), ("old", "copy"))
        self.tell(writer, "begin", "begun")
        self.tell(writer, "set new", "set")
        writer.kill()
        self.assertEqual(self.get(readers[0]), ("new", "read, after a death"))
        for r in readers[1:]:
            self.assertEqual(self.get(r), ("new", "read"))  # repaired by the first: an ordinary new version
        for r in readers:
            self.assertEqual(self.get(r), ("new", "copy"))

    def test_writer_dies(self):
        a, b = self.program(), self.program()
        self.writer_dies([a, b], self.program())

    def test_writer_dies_that_decides(self):
        """The first program masters the lock: it dies as writer and as master."""
        w = self.program()
        self.writer_dies([self.program(), self.program()], w)

    def test_repairer_dies_too(self):
        a, b, c = self.program(), self.program(), self.program()
        self.get(a)
        self.tell(c, "begin", "begun")
        self.tell(c, "set new", "set")
        c.kill()
        self.tell(b, "begin", "begun")  # sees what c left, and dies over it
        b.kill()
        self.assertEqual(self.get(a), ("new", "read, after a death"))

    def test_reader_dies(self):
        a, b = self.program(), self.program()
        self.get(a)
        self.get(b)
        b.kill()
        self.assertEqual(self.get(a), ("old", "copy"))

    def test_end_in_a_change(self):
        a, b = self.program(), self.program()
        self.get(a)
        self.tell(b, "begin", "begun")
        self.assertEqual(b.end(), 0)  # without commit
        self.assertEqual(self.get(a), ("old", "read, after a death"))


if __name__ == "__main__":
    unittest.main()
