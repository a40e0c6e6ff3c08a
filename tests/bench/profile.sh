#!/usr/bin/env bash
# usage: profile.sh BUILD. Writes CPU profiles of what every lock passes through to
# BUILD/profile, as text: Go benchmarks by pprof, and rows of the probe, with the kernel's
# part, by perf where that works.
set -eu
cd "$(dirname "$0")/../.."
build=$1 out=$1/profile
mkdir -p "$out"

go_profile() { # name, package, benchmark
	go test -run - -bench "$3" -benchtime 2s -cpuprofile "$out/$1.pb" -o "$out/$1.test" "$2" >/dev/null
	go tool pprof -top -nodecount 40 "$out/$1.test" "$out/$1.pb" >"$out/$1.txt" 2>/dev/null
	rm -f "$out/$1.test"
	echo "$out/$1.txt"
}
go_profile local-pair ./core/process LocalPair
go_profile round-trip ./net/link RoundTrip
go_profile codec ./core/proto Hot

if ! perf record -q -o "$out/try" -e cpu-clock true 2>/dev/null; then
	echo "perf does not work here: no profiles of whole programs" >&2
	exit 0
fi
rm -f "$out/try"
for row in local remote hand-over; do
	perf record -q -F 4999 -e cpu-clock -g -o "$out/$row.perf" "$build/bench/probe" --runs 5 "$row" >/dev/null
	{
		echo "# by symbol"
		perf report -i "$out/$row.perf" --comm probe --no-children --sort sym -g none --percent-limit 0.5 2>/dev/null
		echo "# with what is called from there"
		perf report -i "$out/$row.perf" --comm probe --children --sort sym -g none --percent-limit 1 2>/dev/null
	} | grep -v '^#$' >"$out/$row.txt"
	rm -f "$out/$row.perf"
	echo "$out/$row.txt"
done
