#!/usr/bin/env bash
# Installs into empty directories, compares what is there with what is expected, builds and
# runs programs with it, takes it away and looks for what is left. Also: everything that
# tells a version tells the same, and the library's interface is the one in abi/.
set -u
cd "$(dirname "$0")/../.."
CC=${CC:-gcc}
version=$(sed -n 's/^VERSION := //p' Makefile)
stage=$(mktemp -d "${TMPDIR:-/tmp}/godlm-test.XXXXXX")
trap 'rm -rf "$stage"' EXIT
bad=0
check() { # check NAME COMMAND...: the command must succeed
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then echo "ok      $name"; else
		echo "FAILED  $name"
		printf '%s\n' "$out" | head -20
		bad=1
	fi
}
skip() { echo "skip    $1"; }
# make without what a make above hands down: its variables are not this test's.
fresh() { env -u MAKEFLAGS -u MAKELEVEL -u PREFIX -u LIBDIR -u DESTDIR make -s "$@"; }
list() { (cd "$1" && find . ! -type d -printf '/%P -> %l\n' | sed 's/ -> $//' | LC_ALL=C sort); }

# expected BINDIR DATADIR INCLUDEDIR LIBDIR MANDIR UNITDIR LIBEXECDIR
expected() {
	{
		sed "s|^BINDIR|$1|; s|^DATADIR|$2|; s|^INCLUDEDIR|$3|; s|^LIBDIR|$4|; s|^UNITDIR|$6|; s|^LIBEXECDIR|$7|; s|VERSION|$version|" tests/install/expected.txt
		(cd man && printf "$5/%s\n" man?/*)
	} | LC_ALL=C sort
}

# Debian's layout, and directories that were there before with something of somebody else.
a=$stage/a
mkdir -p "$a/usr/share/man/man7" "$a/usr/lib/x/pkgconfig"
touch "$a/usr/lib/x/pkgconfig/other.pc"
before=$(cd "$a" && find . | sort)
at=(DESTDIR="$a" PREFIX=/usr LIBDIR=/usr/lib/x UNITDIR=/lib/systemd/system)
check "make install" fresh install "${at[@]}"
check "what is installed" diff <(expected /usr/bin /usr/share /usr/include /usr/lib/x /usr/share/man /lib/systemd/system /usr/libexec) \
	<(list "$a" | grep -v /other.pc)
check "installed again, it is the same" fresh install "${at[@]}"
check "pkg-config file" grep -qx 'prefix=/usr' "$a/usr/lib/x/pkgconfig/godlm.pc"
check "unit" grep -q '^ExecStart=/usr/bin/godlm agent$' "$a/lib/systemd/system/godlm-agent@.service"
if command -v systemd-analyze >/dev/null; then
	# It looks for the command where it will be.
	sed "s|=/usr/bin/godlm|=$a/usr/bin/godlm|" "$a/lib/systemd/system/godlm-agent@.service" >"$stage/godlm-agent@test.service"
	check "systemd takes the unit" systemd-analyze verify --man=no "$stage/godlm-agent@test.service"
else
	skip "systemd takes the unit: systemd-analyze is not installed (Debian: systemd)"
fi
check "completion of bash" bash -n "$a/usr/share/bash-completion/completions/godlm"
for f in zsh/site-functions/_godlm fish/vendor_completions.d/godlm.fish; do
	check "completion $f" grep -q godlm "$a/usr/share/$f"
done
check "make uninstall" fresh uninstall "${at[@]}"
check "nothing is left, and nothing of others is gone" diff <(echo "$before") <(cd "$a" && find . | sort)

# Programs, against a copy in a place of its own.
b=$stage/b/opt/godlm
check "make install elsewhere" fresh install DESTDIR="$stage/b" PREFIX=/opt/godlm MANDIR=/opt/man BINDIR=/opt/bin
check "what is installed there" diff <(expected /opt/bin /opt/godlm/share /opt/godlm/include /opt/godlm/lib /opt/man /opt/godlm/lib/systemd/system /opt/godlm/libexec) \
	<(list "$stage/b")
mkdir -m 700 "$stage/run"
export GODLM_DIR=$stage/run
if command -v pkg-config >/dev/null; then
	export PKG_CONFIG_PATH=$b/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage/b
	check "pkg-config tells the version" test "$(pkg-config --modversion godlm)" = "$version"
	# shellcheck disable=SC2046 # words are wanted
	check "a program is built by pkg-config" "$CC" -Wall -Wextra -Werror -o "$stage/user" tests/install/user.c $(pkg-config --cflags --libs godlm)
	check "it runs" test "$(LD_LIBRARY_PATH=$b/lib timeout 60 "$stage/user" 2>&1)" = 42
	check "it needs the library by its SONAME" sh -c "readelf -dW '$stage/user' | grep -q 'NEEDED.*libgodlm.so.1\]'"
	check "its symbols have versions" sh -c "nm -D '$stage/user' | grep -q 'dlm_nsjoin@LIBGODLM_1.0'"
	if command -v g++ >/dev/null; then
		# shellcheck disable=SC2046
		check "godlm.hpp is found" g++ -x c++ -std=c++17 -fsyntax-only $(pkg-config --cflags godlm) - <<<'#include <godlm.hpp>'
	else
		skip "godlm.hpp is found: g++ is not installed"
	fi
	check "what godlm bench measures with finds the library" sh -c "ldd '$b/libexec/godlm/probe' | grep -q 'libgodlm.so.1 => $b/'"
	compat=$stage/b$(pkg-config --variable=compatdir godlm)
	[ -d "$compat" ] || compat=$(pkg-config --variable=compatdir godlm)
	check "libdlm.so by name" "$CC" -o "$stage/byname" tests/install/byname.c -ldl
	check "it has what old programs look up" env LD_LIBRARY_PATH="$compat" "$stage/byname"
else
	skip "programs against what is installed: pkg-config is not installed (Debian: pkg-config)"
fi

# Versions.
number=$(echo "$version" | awk -F. '{ print 10000 * $1 + 100 * $2 + $3 }')
check "version of the header" grep -qx "#define GODLM_VERSION $number" include/godlm.h
check "version of the Go packages" grep -qx "const Release = \"$version\"" net/node/look.go
check "version of the command" test "$("$stage/b/opt/bin/godlm" --version)" = "godlm version $version"
check "version of the SONAME" sh -c "readelf -dW '$b/lib/libgodlm.so' | grep -q 'SONAME.*libgodlm.so.${version%%.*}\]'"
check "version of the Python package" test "$(cd python && "${PYTHON:-python3}" -c '
import runpy, sys, types
said = {}
sys.modules["setuptools"] = types.SimpleNamespace(setup=lambda **k: said.update(k))
runpy.run_path("setup.py")
print(said["version"])')" = "$version"
check "version of the Debian packages" test "$(sed -n '1s/^godlm (\([0-9.]*\)[)+~-].*/\1/p' debian/changelog)" = "$version"

# The interface.
if ! command -v abidiff >/dev/null; then
	skip "interface is that of abi/: abidiff is not installed (Debian: abigail-tools); names and layouts are checked elsewhere"
elif [ "$(uname -m)" != x86_64 ]; then
	skip "interface is that of abi/: that was recorded on x86_64"
else
	check "interface is that of abi/ (after an addition: make abi)" abidiff --no-corpus-path --headers-dir2 include abi/libgodlm.so.1.abi "$b/lib/libgodlm.so.$version"
fi

check "make uninstall there" fresh uninstall DESTDIR="$stage/b" PREFIX=/opt/godlm MANDIR=/opt/man BINDIR=/opt/bin
check "nothing is left there" test -z "$(ls -A "$stage/b")"
exit $bad
