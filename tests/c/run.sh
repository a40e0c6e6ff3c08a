#!/usr/bin/env bash
# Runs test programs, each with a runtime directory of its own and a time limit.
# Exit status of a program: 0 passed, 77 skipped, anything else failed.
set -u
limit=${GODLM_TEST_SECONDS:-120}
passed=0 failed=0 skipped=0
for program in "$@"; do
	name=$(basename "$program")
	dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-test.XXXXXX")
	start=$(date +%s%N)
	GODLM_DIR=$dir timeout -k 5 "$limit" "$program" >"$dir.log" 2>&1 </dev/null
	rc=$?
	ms=$((($(date +%s%N) - start) / 1000000))
	case $rc in
	0) passed=$((passed + 1)) word=ok ;;
	77) skipped=$((skipped + 1)) word="skipped: $(tail -n 1 "$dir.log")" ;;
	124 | 137) failed=$((failed + 1)) word="FAILED: still running after $limit s" ;;
	*) failed=$((failed + 1)) word="FAILED: status $rc" ;;
	esac
	printf '%-24s %6d ms  %s\n' "$name" "$ms" "$word"
	[ $rc = 0 ] || [ $rc = 77 ] || sed 's/^/    /' "$dir.log" | tail -n 60
	rm -rf "$dir" "$dir.log"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
