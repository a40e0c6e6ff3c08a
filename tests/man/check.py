#!/usr/bin/env python3
"""Checks the manual: every function has a page whose prototype is the header's,
references lead somewhere, pages are complete, and formatters have no complaint."""
import pathlib
import re
import shutil
import subprocess
import sys

top = pathlib.Path(__file__).resolve().parents[2]
man = top / "man"
errors = []


def complain(where, what):
    errors.append(f"{where}: {what}")


def normal(text):
    return re.sub(r"\s*([(),*])\s*", r"\1", re.sub(r"\s+", " ", text)).strip()


def declarations():
    """name -> prototype, from the headers."""
    out = {}
    for header in ("include/sys/dlm.h", "include/godlm.h"):
        text = re.sub(r"/\*.*?\*/", "", (top / header).read_text(), flags=re.S)
        for m in re.finditer(r"^[a-z][^;{}#]*?\b((?:dlm|godlm)_\w+)\([^;]*?\);", text, flags=re.M | re.S):
            if not m.group(0).startswith("typedef"):
                out[m.group(1)] = normal(m.group(0))
    return out


def plain(source):
    """The page's text without requests for fonts."""
    lines = []
    for line in source.splitlines():
        m = re.match(r'\.(?:B|I|BR|BI|RI|IR|RB) (.*)', line)
        if m:
            words = re.findall(r'"((?:[^"]|"")*)"|(\S+)', m.group(1))
            parts = [a.replace('""', '"') if a or not b else b for a, b in words]
            line = ("" if re.match(r'\.(BR|BI|RI|IR|RB)', line) else " ").join(parts)
        elif line.startswith("."):
            continue
        lines.append(line)
    return "\n".join(lines)


def section(source, name):
    m = re.search(rf"^\.SH {re.escape(name)}\n(.*?)(?=^\.SH |\Z)", source, flags=re.M | re.S)
    return m.group(1) if m else None


def check_page(path, functions):
    source = path.read_text()
    link = re.fullmatch(r"\.so (man\d/\S+)\n", source)
    if link:
        target = man / link.group(1)
        if not target.is_file():
            complain(path.name, f"leads to {link.group(1)}, which is not there")
            return
        source = target.read_text()
        if path.name.split(".")[0] not in section(source, "NAME"):
            complain(path.name, "the page that it leads to does not name it")
        return
    number = path.suffix[1:]
    if not re.search(rf"^\.TH {re.escape(path.stem)} {number} ", source, flags=re.M):
        complain(path.name, ".TH does not say what it is")
    wanted = ["NAME", "DESCRIPTION", "SEE ALSO"] + (["SYNOPSIS"] if number == "3" else [])
    for name in wanted:
        if section(source, name) is None:
            complain(path.name, f"no section {name}")
    if number == "3" and not path.stem.endswith(".hpp"):  # a page of functions
        names = section(source, "NAME").split("\\-")[0]
        synopsis = normal(plain(section(source, "SYNOPSIS")))
        for name in re.findall(r"\w+", names):
            if name not in functions:
                complain(path.name, f"{name} is not declared")
            elif functions[name] not in synopsis:
                complain(path.name, f"the prototype of {name} is not the header's: {functions[name]}")
    for name, number in re.findall(r"\b((?:god|d)lm\w*) ?\((\d)\)", plain(source)):
        if not (man / f"man{number}" / f"{name}.{number}").is_file():
            complain(path.name, f"refers to {name}({number}), which is not there")
    for status in set(re.findall(r"\b(?:DLM|GODLM)_[A-Z_]+\b", plain(source))):
        if not re.search(rf"\b{status}\b", headers) and status not in environment:
            complain(path.name, f"{status} is in no header")


def check_format(path):
    """Whatever formatters are here; groff comes with Debian's man-db."""
    if shutil.which("mandoc"):
        p = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True)
        if p.returncode:
            complain(path.name, p.stdout + p.stderr)
    if shutil.which("groff"):
        p = subprocess.run(["groff", "-t", "-s", "-man", "-ww", "-z", path], capture_output=True, text=True, cwd=man)
        if p.returncode or p.stderr:
            complain(path.name, p.stderr)


headers = "".join((top / h).read_text() for h in ("include/sys/dlm.h", "include/godlm.h"))
environment = {"GODLM_DIR", "GODLM_CLUSTER", "GODLM_LOG", "GODLM_ON_LOST", "GODLM_DEADLOCK_WAIT_MS", "GODLM_MASTER", "GODLM_CONFIG", "GODLM_JOIN_PERSISTENT", "GODLM_PUBLIC_NAMESPACE",
               "GODLM_VOTERS", "GODLM_HOST", "GODLM_BIND", "GODLM_ADVERTISE", "GODLM_KEY_FILE", "GODLM_STATE_DIR", "GODLM_LEASE_MS", "GODLM_SUSPECT_MS", "GODLM_PROBE_MS",
               "GODLM_LOCK_NAME", "GODLM_TOKEN", "GODLM_VALUE", "GODLM_VALUE_HEX", "GODLM_VALUE_VALID", "GODLM_LOG_FORMAT", "GODLM_METRICS"}
functions = declarations()
pages = sorted(man.glob("man*/*"))
for name in functions:
    if not (man / "man3" / f"{name}.3").is_file():
        complain(name, "has no page")
for page in pages:
    check_page(page, functions)
    check_format(page)
overview = {"godlm.1": man.glob("man1/*"), "dlm.7": man.glob("man7/*")}  # pages that must name all others of their kind
for name, others in overview.items():
    text = plain((man / f"man{name[-1]}" / name).read_text()).replace("\\-", "-")
    for page in others:
        if page.name != name and not re.search(rf"{re.escape(page.stem)} ?\({page.suffix[1:]}\)", text):
            complain(name, f"does not name {page.name}")
for e in errors:
    print(e)
formatters = [f for f in ("mandoc", "groff") if shutil.which(f)]
print(f"manual: {len(pages)} pages, {len(functions)} functions, {len(errors)} errors; formatted by {' and '.join(formatters) or 'nothing: install groff for that'}")
sys.exit(bool(errors))
