#!/usr/bin/env bash
# Builds the demonstration and runs it in a runtime directory of its own.
set -eu
cd "$(dirname "$0")/../.."
${CC:-gcc} -O2 -Wall -Wextra -Iinclude -o build/demo examples/demo/demo.c -Lbuild -lgodlm -Wl,-rpath,"$PWD/build"
dir=$(mktemp -d "${TMPDIR:-/tmp}/godlm-demo.XXXXXX")
trap 'rm -rf "$dir"' EXIT
GODLM_DIR=$dir timeout 60 build/demo
