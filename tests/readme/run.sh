#!/usr/bin/env bash
# Does what README.md says, as a reader would: builds and runs its programs, kills the one that it says to kill, runs its
# commands, has its configuration checked, and asks for each command and page that it names.
set -eu
cd "$(dirname "$0")/../.."
top=$PWD
dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-test.XXXXXX")
trap '{ jobs -p | xargs -r kill -9; wait; } 2>/dev/null; rm -rf "$dir"' EXIT
export GODLM_DIR=$dir/run GODLM_CLUSTER=default PATH=$PWD/build:$PATH PYTHONDONTWRITEBYTECODE=1
mkdir -m 700 "$GODLM_DIR"

fail() {
	echo "FAILED  README.md: $1"
	for f in "$dir"/out.*; do echo "--- $f"; cat "$f"; done
	exit 1
}
block() { awk -v lang="$1" '$0 == "```" lang { on = 1; next } /^```$/ { on = 0 } on' "$top/README.md"; }
# The line of README.md that begins so.
line() { grep -m 1 "^    $1" "$top/README.md" || fail "no line \"$1...\""; }
# Wait until a command succeeds.
until_ok() {
	local end=$((SECONDS + 60))
	until "$@"; do [ $SECONDS -lt $end ] || fail "not within 60 s: $*"; sleep 0.01; done
}
says() { grep -qx "$2" "$dir/out.$1" 2>/dev/null; }
waits() { godlm waiters --json 2>/dev/null >"$dir/waiters" || true; grep -q '"counter"' "$dir/waiters"; }

# A place like this directory, with the programs saved in it.
mkdir "$dir/here"
ln -s "$top"/{include,build,python} "$dir/here/"
cd "$dir/here"
for lang in c python go; do block $lang >"counter.${lang/python/py}"; done
build=$(line "gcc -Iinclude counter.c")
build=${build//gcc /"${CC:-gcc} "}
bash -euc "${build% && *}"
python=$(line "PYTHONPATH=python ")
python=${python//python3/"${PYTHON:-python3}"}

# The one in C has the lock until Enter; it writes, or is killed.
counting() {
	rm -f enter
	mkfifo enter
	./counter <enter >"$dir/out.c" &
	c=$!
	exec 3>enter
	# Its output is in a buffer; that it has the lock is seen by what others find.
	until_ok godlm get --as u32 counter >/dev/null
	timeout 60 bash -euc "$python" >"$dir/out.python" &
	p=$!
	until_ok waits
}
counting
echo >&3
wait "$c"
wait "$p"
says c 'count 1 trusted' && says python 'count 2 trusted' || fail "counting together"
counting
{ kill -9 "$c"; wait "$c"; } 2>/dev/null || true
wait "$p"
says python 'count 1 in doubt' || fail "counting after a death"
exec 3>&-

cd "$top"
CGO_ENABLED=0 timeout 120 go run "$dir/here/counter.go" >"$dir/out.go"
says go 'count 1 trusted true' || fail "the program in Go"

# Commands, among what they want to find.
cd "$dir/here"
printf '#!/bin/sh\necho "$0 runs"\n' | tee backup >report
chmod +x backup report
godlm set --hold config 41 &
until_ok godlm get config >/dev/null
block sh | timeout 60 bash -eu >"$dir/out.sh" || fail "commands"
[ "$(cat "$dir/out.sh")" = "$(printf '%s\n' './backup runs' './report runs' 41)" ] || fail "what commands print"
[ "$(godlm get config)" = 42 ] || fail "godlm set"
for c in $(grep -o '`godlm [a-z]*' "$top/README.md" | cut -d ' ' -f 2 | sort -u); do
	godlm "$c" --help >/dev/null || fail "godlm $c"
done

# The configuration of several hosts.
godlm key "$dir/key" >/dev/null
sed -n '/<<END$/,/^    END$/p' "$top/README.md" | sed '1d;$d;s/^    //' | sed "s|/etc/godlm/key|$dir/key|" >"$dir/default.toml"
grep -q voters "$dir/default.toml" && GODLM_HOST=alpha godlm config check "$dir/default.toml" >"$dir/out.config" 2>&1 || fail "configuration"

# Pages of the manual.
grep -o '`man [^`]*`' "$top/README.md" | tr -d '`' | sed 's/man -M man/man/' | sort -u | while read -r _ section name; do
	[ -f "$top/man/man$section/$name.$section" ] || { echo "no page $name($section)"; exit 1; }
done || fail "pages"
echo "ok      README.md"
