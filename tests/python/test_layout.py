"""The package's view of the C interface against the headers, by a C program that prints sizes, places and numbers."""

import ctypes
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

from godlm import _library, enums

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

STRUCTS = {"dlm_lkid_t": _library.Lkid, "dlm_valb_t": _library.Valb, "dlm_lkinfo_t": _library.Lkinfo,
           "dlm_rsbinfo_t": _library.Rsbinfo, "godlm_token_t": _library.Token}
TYPES = {"dlm_nsid_t": ctypes.c_uint, "dlm_nsp_t": ctypes.c_int, "dlm_flags_t": ctypes.c_uint,
         "dlm_trans_id_t": ctypes.c_ulong, "dlm_rd_id_t": ctypes.c_int, "dlm_rd_collection_hndl_t": ctypes.c_ulong,
         "dlm_glc_id_t": ctypes.c_int, "dlm_status_t": ctypes.c_int, "dlm_lkmode_t": ctypes.c_int,
         "ushort_t": ctypes.c_ushort, "uint_t": ctypes.c_uint, "usr_lk_states_t": ctypes.c_int, "pid_t": ctypes.c_int}


def constants():
    """C expression -> the package's number."""
    out = {f"DLM_{m.name}MODE": int(m) for m in enums.Mode}
    out.update({f"DLM_{f.name}": int(f) for f in enums.Flag if f})
    out.update({f"DLM_STATE_{s.name}": int(s) for s in enums.LockState})
    out.update({("GODLM_" if s == enums.Status.LOST else "DLM_") + s.name: int(s) for s in enums.Status})
    for name in ("USER", "GROUP", "JOIN_SAME_OK", "SYNCSTS", "DEQALL", "INVVALBLK", "CANCELWAITOK", "VALB", "PERSIST",
                 "GROUP_LOCK", "TXID_LOCAL", "TXID_GLOBAL", "GLC_OWNED", "GLC_PERM", "GLC_LOCKS", "GLC_FORCE",
                 "RD_PROCESS", "RD_GROUP", "RD_INVALIDATE"):
        out[f"DLM_{name}"] = getattr(_library, name)
    out["DLM_RESNAMELEN"] = out["DLM_RDNAMELEN"] = _library.NAME_MAX
    out["DLM_VALBLKSIZE * 4"] = _library.VALUE_SIZE
    return out


def expected():
    out = {f"({name})": number for name, number in constants().items()}
    out.update({f"sizeof({name})": ctypes.sizeof(t) for name, t in {**STRUCTS, **TYPES}.items()})
    for name, struct in STRUCTS.items():
        for field, *_ in struct._fields_:
            out[f"offsetof({name}, {field})"] = getattr(struct, field).offset
            out[f"sizeof((({name} *)0)->{field})"] = getattr(struct, field).size
    return out


class LayoutTest(unittest.TestCase):
    def test_against_the_headers(self):
        want = expected()
        lines = "".join(f'\tprintf("%ld\\n", (long)({e}));\n' for e in want)
        source = ("#include <stdio.h>\n#include <stddef.h>\n#include <sys/dlm.h>\n#include <godlm.h>\n"
                  "int main(void)\n{\n" + lines + "\treturn 0;\n}\n")
        with tempfile.TemporaryDirectory() as dir:
            path = os.path.join(dir, "layout")
            with open(path + ".c", "w") as f:
                f.write(source)
            cc = shlex.split(os.environ.get("CC", "gcc"))
            subprocess.run([*cc, "-I", os.path.join(TOP, "include"), "-o", path, path + ".c"], check=True)
            out = subprocess.run([path], capture_output=True, text=True, check=True).stdout
        self.assertEqual(dict(zip(want, map(int, out.split()))), want)
        self.assertGreater(len(want), 150)

    def test_all_statuses_are_known(self):
        """No number that the library names is missing."""
        named = {n for n in range(256) if _library.lib.dlm_sperrno(n) != b"DLM_ILLEGAL_EEROR"}
        self.assertEqual(named, set(map(int, enums.Status)))

    def test_functions(self):
        """Every function is declared with as many parameters as its prototype has."""
        text = "".join(pathlib.Path(TOP, "include", h).read_text() for h in ("sys/dlm.h", "godlm.h"))
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        for name, (_, parameters) in _library.FUNCTIONS.items():
            declared = re.search(rf"\b{name}\(((?:[^()]|\([^()]*\))*)\);", text).group(1)
            count = 0 if declared == "void" else declared.count(",") + 1
            self.assertEqual(len(parameters), count, name)


if __name__ == "__main__":
    unittest.main()
