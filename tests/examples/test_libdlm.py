"""No number is given out twice and none is left out, whoever dies."""

import unittest

from support import BUILD, ExampleTest


class Number(ExampleTest):
    def setUp(self):
        super().setUp()
        self.file = self.dir / "number"

    def program(self):
        p = self.start(BUILD / "examples/number", self.file)
        p.expect("ready")
        return p

    def take(self, p, number):
        p.say("next")
        p.expect(f"number {number}\\?")
        p.say("yes")
        p.expect(f"gave {number}")

    def test_order(self):
        a, b = self.program(), self.program()
        self.take(a, 1)
        self.take(b, 2)
        self.take(b, 3)
        self.take(a, 4)
        self.assertEqual(sum("counting from the file" in p.seen for p in (a, b)), 1)  # the value block was enough
        self.assertEqual((a.end(), b.end()), (0, 0))
        self.take(self.program(), 5)  # all locks were gone: from the file

    def test_deaths(self):
        a, b, c = self.program(), self.program(), self.program()
        self.take(a, 1)
        b.say("next")
        b.expect(r"number 2\?")
        c.say("next")
        self.until_waiting("number", 1)
        b.kill()
        c.expect("counting from the file")
        c.expect(r"number 2\?")
        c.say("yes")
        c.expect("gave 2")
        a.kill()  # it decides about the lock, and has it in NL
        self.take(c, 3)

    def test_died_between_file_and_block(self):
        a, b = self.program(), self.program()
        self.take(a, 1)
        b.say("next")
        b.expect(r"number 2\?")
        self.file.write_text("2\n")  # as b would have, and then
        b.kill()
        self.take(a, 3)


if __name__ == "__main__":
    unittest.main()
