#!/usr/bin/env bash
# Runs the tests of the examples and of the guide, against what the Makefile has built.
# The interpreter is $PYTHON, else the first of python3 and /usr/bin/python3 that is 3.11 or later.
set -eu
cd "$(dirname "$0")/../.."
export GODLM_BUILD=$PWD/${1:-build} CC=${CC:-gcc} GODLM_LIBRARY=$PWD/${1:-build}/libgodlm.so PYTHONPATH=$PWD/python
for p in ${PYTHON:-python3 /usr/bin/python3}; do
	if command -v "$p" >/dev/null && "$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
		exec timeout -s ABRT -k 5 600 "$p" -B -X faulthandler -m unittest discover -b -s tests/examples
	fi
done
echo "Python 3.11 or later is needed for the tests of the examples; none of: ${PYTHON:-python3 /usr/bin/python3}"
exit 1
