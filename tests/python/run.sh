#!/usr/bin/env bash
# Runs the Python tests against the library in build/ and the package in python/: by pytest if there is one, else by
# unittest. The interpreter is $PYTHON, else the first of python3 and /usr/bin/python3 that is 3.11 or later and has
# pytest, else that is 3.11 or later.
set -eu
cd "$(dirname "$0")/../.."
suits() { command -v "$1" >/dev/null && "$1" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; }
python='' runner=()
for p in ${PYTHON:-python3 /usr/bin/python3}; do
	suits "$p" || continue
	[ -n "$python" ] || python=$p
	if "$p" -c "import pytest" 2>/dev/null; then
		python=$p runner=(-m pytest -q -rs -p no:cacheprovider)
		break
	fi
done
if [ -z "$python" ]; then
	echo "Python 3.11 or later is needed for the tests of the package; none of: ${PYTHON:-python3 /usr/bin/python3}"
	exit 1
fi
[ ${#runner[@]} -gt 0 ] || echo "pytest is not installed (Debian: python3-pytest); unittest runs the tests"
export GODLM_LIBRARY=$PWD/build/libgodlm.so PYTHONPATH=$PWD/python CC=${CC:-gcc}
export GODLM_DEADLOCK_WAIT_MS=${GODLM_DEADLOCK_WAIT_MS:-200}
for t in tests/python/test_*.py; do
	dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-test.XXXXXX")
	rc=0
	GODLM_DIR=$dir timeout -s ABRT -k 5 "${GODLM_TEST_SECONDS:-180}" "$python" -B -X faulthandler \
		${runner[@]+"${runner[@]}"} "$t" >"$dir.log" 2>&1 || rc=$?
	rm -rf "$dir"
	if [ $rc = 0 ]; then
		echo "ok      $t: $(grep -E '[0-9]+ passed|^Ran ' "$dir.log" | tail -n 1)"
		grep -E "^SKIPPED|skipped=" "$dir.log" || true
	else
		echo "FAILED  $t: status $rc"
		tail -n 100 "$dir.log"
		rm -f "$dir.log"
		exit 1
	fi
	rm -f "$dir.log"
done
