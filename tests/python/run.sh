#!/usr/bin/env bash
# Runs the Python tests against the library in build/.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
shopt -s nullglob
tests=(tests/python/test_*.py)
for t in "${tests[@]}"; do
	GODLM_DIR=$dir GODLM_LIBRARY=$PWD/build/libgodlm.so timeout -k 5 120 python3 -B "$t"
done
