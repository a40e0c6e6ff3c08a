#!/usr/bin/env bash
# Builds and runs the benchmark; see README.md beside this file.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/bench
${CC:-gcc} -O2 -Wall -Wextra -Iinclude -o build/bench/pairs tests/bench/pairs.c -Lbuild -lgodlm -Wl,-rpath,"$PWD/build"
dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
GODLM_DIR=$dir build/bench/pairs "$@"
go test -run - -bench 'LocalPair' -benchmem ./core/process | grep -E '^Benchmark' |
	awk '{ print "Go allocations per local lock+unlock, by the Go benchmark: " $(NF-1) }'
${CC:-gcc} -O2 -Wall -Wextra -Iinclude -o build/bench/rebuild tests/bench/rebuild.c -Lbuild -lgodlm -Wl,-rpath,"$PWD/build"
GODLM_DIR=$dir build/bench/rebuild
# How long others wait when a program or a host is lost; FAILOVER has the options of a
# longer run.
go build -o build/bench/failover ./tests/bench/failover
# shellcheck disable=SC2086 # they are words
build/bench/failover ${FAILOVER:--runs 3 -lease 1s -suspect 600ms}
