"""The guide: its snippets stand in the examples as they stand there, its commands do what it says, its links lead somewhere."""

import re
import textwrap
import unittest

from support import TOP, ExampleTest

PAGES = sorted((TOP / "docs/guide").glob("*.md"))
HEADERS = "".join((TOP / "include" / h).read_text() for h in ("sys/dlm.h", "godlm.h"))
MANUAL = "".join(p.read_text() for p in (TOP / "man").glob("man*/*"))
NAME = r"\b(?:GOD|D)LM_[A-Z][A-Z_]+\b"
NAMES = set(re.findall(NAME, HEADERS + MANUAL)) | {"DLM_SBF_VALNOTVALID"}  # Linux's, which examples/libdlm defines


def blocks(page):
    """Fenced blocks: what stands after the fence, and the text."""
    return re.findall(r"^```([^\n`]+)\n(.*?)^```$", page.read_text(), flags=re.M | re.S)


def stands_in(snippet, text):
    """Whether these lines follow each other there, perhaps further to the right."""
    lines = text.expandtabs(8).splitlines()
    wanted = textwrap.dedent(snippet.expandtabs(8)).splitlines()
    return any(textwrap.dedent("\n".join(lines[i:i + len(wanted)])).splitlines() == wanted
               for i in range(len(lines) - len(wanted) + 1))


class Guide(ExampleTest):
    def test_snippets(self):
        found = 0
        for page in PAGES:
            self.assertEqual(page.read_text().count("```"), 2 * len(blocks(page)), f"{page.name}: fences without a language")
            for info, text in blocks(page):
                language, *path = info.split()
                with self.subTest(page=page.name, block=info, text=text):
                    if path:
                        found += 1
                        self.assertTrue(stands_in(text, (TOP / path[0]).read_text()), "the example has other lines")
                    else:
                        self.assertIn(language, ("sh", "text"), "of no example, and no command")
        self.assertGreater(found, 10)

    def test_commands(self):
        for page in PAGES:
            all_blocks = blocks(page)
            for (info, text), following in zip(all_blocks, [*all_blocks[1:], ("", "")]):
                if info == "sh":
                    with self.subTest(page=page.name, commands=text):
                        p = self.run_command("bash", "-euc", text)
                        self.assertEqual(p.returncode, 0, p.stderr)
                        self.assertEqual(p.stdout, following[1] if following[0] == "text" else "")

    def test_links(self):
        for page in [*PAGES, TOP / "README.md", TOP / "examples/README.md"]:
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
                with self.subTest(page=page.name, link=target):
                    self.assertTrue("://" in target or (page.parent / target).exists())

    def test_all_is_found(self):
        """Every page from the first, every example from the index and from the guide."""
        first = (TOP / "docs/guide/README.md").read_text()
        index = (TOP / "examples/README.md").read_text()
        guide = "".join(p.read_text() for p in PAGES)
        for page in PAGES:
            self.assertTrue(page.name == "README.md" or f"({page.name})" in first, page.name)
        for example in (TOP / "examples").iterdir():
            if example.is_dir():
                self.assertIn(f"({example.name}/)", index)
                self.assertTrue(example.name == "demo" or f"(../../examples/{example.name}/)" in guide, example.name)

    def test_names(self):
        for page in PAGES:
            text = page.read_text()
            self.assertEqual(set(re.findall(NAME, text)) - NAMES, set(), page.name)
            for number, name in re.findall(r"`man (\d) ([\w.-]+)`", text):
                with self.subTest(page=page.name, manual=name):
                    self.assertTrue((TOP / f"man/man{number}/{name}.{number}").is_file())


if __name__ == "__main__":
    unittest.main()
