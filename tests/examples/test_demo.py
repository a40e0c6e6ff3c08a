"""The demonstration shows what it promises; it checks that itself."""

import unittest

from support import TOP, ExampleTest


class Demo(ExampleTest):
    def test_demo(self):
        p = self.run_command(TOP / "examples/demo/run.sh")
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)


if __name__ == "__main__":
    unittest.main()
