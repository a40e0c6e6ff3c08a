#!/usr/bin/env bash
# Takes the programs out of README.md, builds and runs them as a reader would.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export GODLM_DIR=$dir/run
mkdir -m 700 "$GODLM_DIR"
block() { awk -v lang="$1" '$0 == "```" lang { on = 1; next } /^```$/ { on = 0 } on' README.md; }
block c >"$dir/counter.c"
block cpp >"$dir/counter.cpp"
block python >"$dir/counter.py"
block go >"$dir/counter.go"
"${CC:-gcc}" -Iinclude "$dir/counter.c" -Lbuild -lgodlm -Wl,-rpath,"$PWD/build" -o "$dir/counter"
"${CXX:-g++}" -std=c++17 -Iinclude "$dir/counter.cpp" -Lbuild -lgodlm -Wl,-rpath,"$PWD/build" -o "$dir/countpp"
pids=()
for i in 1 2 3; do
	timeout 60 "$dir/counter" >"$dir/out.$i" &
	pids+=($!)
done
for p in "${pids[@]}"; do wait "$p"; done
highest=$(sed 's/.* //' "$dir"/out.* | sort -n | tail -n 1)
timeout 60 "$dir/countpp" >"$dir/cpp"
PYTHONPATH=python GODLM_LIBRARY=$PWD/build/libgodlm.so timeout 60 "${PYTHON:-python3}" -B "$dir/counter.py" >"$dir/py"
CGO_ENABLED=0 timeout 120 go run "$dir/counter.go" >"$dir/go"
# A program that ended before the next one started leaves nothing to count on.
if [ "$highest" -lt 1000 ] || [ "$highest" -gt 3000 ] || ! grep -q '^count 1 trusted$' "$dir/py" || ! grep -q '^count 1 trusted$' "$dir/cpp" || ! grep -q '^count 1 trusted true$' "$dir/go"; then
	echo "FAILED  programs of README.md: counted to $highest; $(cat "$dir/cpp" "$dir/py" "$dir/go")"
	exit 1
fi
echo "ok      programs of README.md"
