"""Only for the version, which the Makefile of the library has. In a source distribution it is in PKG-INFO."""

import pathlib
import re

from setuptools import setup

here = pathlib.Path(__file__).resolve().parent
for path, pattern in ((here.parent / "Makefile", r"^VERSION\s*:=\s*(\S+)$"), (here / "PKG-INFO", r"^Version: (\S+)$")):
    found = re.search(pattern, path.read_text(), re.M) if path.is_file() else None
    if found:
        break
else:
    raise SystemExit("no version: neither ../Makefile nor PKG-INFO")
setup(version=found.group(1))
