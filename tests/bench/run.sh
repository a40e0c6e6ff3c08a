#!/usr/bin/env bash
# Runs all benchmarks; see README.md beside this file. Arguments are those of
# `godlm bench`, for example --json.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
export GODLM_DIR=$dir
go build -o build/bench/netns ./tests/bench/netns
programs=(--program tests/bench/allocations.sh --program "build/bench/netns")
for name in first memory rebuild moving; do # programs in C that print figures with --json
	[ -f tests/bench/$name.c ] || continue
	${CC:-gcc} -O2 -Wall -Wextra -Iinclude -o build/bench/$name tests/bench/$name.c -Lbuild -lgodlm -lpthread -Wl,-rpath,"$PWD/build"
	if grep -q -e --json tests/bench/$name.c; then
		programs+=(--program build/bench/$name)
	fi
done
build/godlm bench "${programs[@]}" "$@"
case " $* " in *" --json "*) exit 0 ;; esac
# How long others wait when a program or a host is lost; FAILOVER has the options of a
# longer run.
go build -o build/bench/failover ./tests/bench/failover
# shellcheck disable=SC2086 # they are words
build/bench/failover ${FAILOVER:--runs 3 -lease 1s -suspect 600ms}
