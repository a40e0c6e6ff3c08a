"""The package as such: its page's examples, its types, its wheel, how it finds the library."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

import godlm
from support import PATIENCE, run

PYTHON = pathlib.Path(__file__).resolve().parents[2] / "python"


def can_import(*modules):
    return subprocess.run([sys.executable, "-c", "import " + ",".join(modules)], capture_output=True).returncode == 0


class PageTest(unittest.TestCase):
    def test_examples(self):
        page = (PYTHON / "README.md").read_text()
        examples = re.findall(r"^```python\n(.*?)^```\n^```text\n(.*?)^```\n", page, re.M | re.S)
        self.assertEqual(len(examples), page.count("```python"))
        self.assertGreater(len(examples), 4)
        for source, output in examples:
            with self.subTest(source=source):
                done = run(source, PYTHONWARNINGS="error", GODLM_DEADLOCK_WAIT_MS="5000")
                self.assertEqual((done.stdout, done.stderr), (output, ""))


class TypesTest(unittest.TestCase):
    @unittest.skipUnless(shutil.which("mypy"), "mypy is not installed (Debian: mypy)")
    def test_mypy(self):
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(["mypy", "--strict", "--cache-dir", cache, "godlm"], cwd=PYTHON, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_all(self):
        for name in godlm.__all__:
            self.assertTrue(hasattr(godlm, name), name)
        for name, value in vars(godlm.errors).items():
            if isinstance(value, type) and issubclass(value, godlm.Error):
                self.assertIs(getattr(godlm, name), value)
                self.assertIn(name, godlm.__all__)
                self.assertTrue(value is godlm.Error or value is godlm.Refused or value.words, name)


class FindingTest(unittest.TestCase):
    def test_by_the_environment_only(self):
        done = run("import godlm", GODLM_LIBRARY="/nonexistent.so")
        self.assertIn("ImportError: godlm: cannot load /nonexistent.so", done.stderr)
        self.assertIn("GODLM_LIBRARY", done.stderr)

    def test_by_soname(self):
        directory = os.path.dirname(os.environ["GODLM_LIBRARY"])
        done = run("import godlm; print(godlm.version())", GODLM_LIBRARY="", LD_LIBRARY_PATH=directory)
        self.assertEqual((done.stdout, done.stderr), (f"{godlm.version()}\n", ""))


class WheelTest(unittest.TestCase):
    @unittest.skipUnless(can_import("build", "setuptools", "wheel"),
                         "build, setuptools or wheel is not installed (Debian: python3-build, python3-setuptools, python3-wheel)")
    def test_wheel(self):
        """It builds, has everything, and works where nothing else of the sources is."""
        with tempfile.TemporaryDirectory() as t:
            top = pathlib.Path(t)
            (top / "repo").mkdir()
            shutil.copytree(PYTHON, top / "repo" / "python", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
            shutil.copy(PYTHON.parent / "Makefile", top / "repo")
            # From the source distribution: so that is tested, too.
            done = subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", top / "dist", top / "repo" / "python"],
                                  capture_output=True, text=True, timeout=10 * PATIENCE, cwd=top)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            wheel, = (top / "dist").glob("*.whl")
            version = re.search(r"^VERSION := (\S+)$", (PYTHON.parent / "Makefile").read_text(), re.M).group(1)
            self.assertEqual(wheel.name, f"godlm-{version}-py3-none-any.whl")
            with zipfile.ZipFile(wheel) as z:
                files = {f for f in z.namelist() if f.startswith("godlm/")}
                z.extractall(top / "site")
            sources = {f"godlm/{p.name}" for p in (PYTHON / "godlm").iterdir() if p.is_file()}
            self.assertEqual(files, sources)
            self.assertIn("godlm/py.typed", files)
            done = run("import godlm\nwith godlm.join() as ns, ns.lock('wheel') as l: print(l, godlm.__file__)",
                       PYTHONPATH=str(top / "site"))
            self.assertEqual(done.stdout, f"<godlm.Lock b'wheel' EX> {top}/site/godlm/__init__.py\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
