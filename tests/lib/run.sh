#!/usr/bin/env bash
# Checks the library file and the headers: exported symbols, SONAME, headers in
# three languages, header and symbols agree.
set -u
cd "$(dirname "$0")/../.."
CC=${CC:-gcc}
lib=build/libgodlm.so
bad=0
check() { # check NAME COMMAND...: the command must succeed
	local name=$1
	shift
	if out=$("$@" 2>&1); then echo "ok      $name"; else
		echo "FAILED  $name"
		printf '%s\n' "$out" | head -20
		bad=1
	fi
}
exported() { nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort; }
declared() { cat include/sys/dlm.h include/godlm.h | grep -oE '^[a-z_]+ .*\b(dlm|godlm)_[a-z_]+\(' | grep -oE '(dlm|godlm)_[a-z_]+\($' | tr -d '(' | sort -u; }
syntax() { printf '#include <sys/dlm.h>\n#include <godlm.h>\n' | "$@" -Iinclude -Wall -Wextra -Wpedantic -Werror -fsyntax-only -; }

check "exported symbols are the API" diff tests/lib/symbols.txt <(exported)
check "declared functions are the exported ones" diff tests/lib/symbols.txt <(declared)
check "SONAME" sh -c "readelf -dW $lib | grep -q 'SONAME.*libgodlm.so.1\]'"
check "never unloaded" sh -c "readelf -dW $lib | grep -q NODELETE"
check "nothing starts at load" sh -c "readelf -SW $lib | grep -q go_late_init"
check "headers in C89" syntax "$CC" -std=c89 -x c
check "headers in C11" syntax "$CC" -std=c11 -x c
command -v g++ >/dev/null && check "headers in C++17" syntax g++ -std=c++17 -x c++
hpp() { printf '#include <godlm.hpp>\nint WAITING, GRANTED;\n' | g++ "$@" -Iinclude -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fsyntax-only -x c++ -; }
for std in c++17 c++20; do
	command -v g++ >/dev/null && check "godlm.hpp in $std" hpp -std=$std && check "godlm.hpp in $std without exceptions" hpp -std=$std -fno-exceptions
done
exit $bad
