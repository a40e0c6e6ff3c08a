#!/bin/sh
# usage: runtime.sh GO DIR. Makes DIR/overlay.json for `go build -overlay`, which replaces
# two files of the Go runtime by the same with a few lines more. A file that looks different
# in this Go is left as it is.
#
# cgocall.go: with each call from C into Go the runtime receives from the closed channel
# main_init_done, which takes the channel's lock (golang/go issue 77522): a fifth of
# the cost of the call, and several times the rest of it when two threads call at
# once. A flag is looked at first.
#
# proc.go: the runtime's watchdog wakes up every 20 µs as long as some thread runs Go, or
# has just come from it back to C, to take the processor (P) from a thread that is in a
# system call and give it to another. While there is an idle one nobody needs that, and 5 ms
# will do for the rest, which is measured in 10 ms.
set -eu
go=$1 dir=$2
src=$("$go" env GOROOT)/src/runtime
mkdir -p "$dir"
replaced=

# The file's name, the number of changed lines, and what it must not have yet; the new
# file is DIR/NAME.replaced.
replace() {
	changed=$(diff "$src/$1.go" "$dir/$1.replaced" | grep -c '^>' || :)
	if [ "$changed" = "$2" ] && ! grep -q "$3" "$src/$1.go"; then
		replaced="$replaced${replaced:+,}\"$src/$1.go\":\"$(cd "$dir" && pwd)/$1.replaced\""
	else
		echo "runtime/$1.go of $("$go" version) is not the known one and is left alone" >&2
	fi
}

sed -e 's|^	"internal/goexperiment"$|&\n	"internal/runtime/atomic"|' \
	-e 's/^	if gp\.m\.ncgo == 0 {$/	if gp.m.ncgo == 0 \&\& !mainInitSeen.Load() {/' \
	-e 's/^		<-main_init_done$/&\n		mainInitSeen.Store(true)/' "$src/cgocall.go" >"$dir/cgocall.replaced"
printf '\n// mainInitSeen is true once main_init_done was found closed.\nvar mainInitSeen atomic.Bool\n' >>"$dir/cgocall.replaced"
replace cgocall 6 internal/runtime/atomic

sed -e '/^func sysmon() {$/,/^}$/s/^		usleep(delay)$/		if delay < 5000 \&\& sched.npidle.Load() > 0 {\n			delay = 5000\n		}\n&/' \
	"$src/proc.go" >"$dir/proc.replaced"
replace proc 3 'delay < 5000'

printf '{"Replace":{%s}}\n' "$replaced" >"$dir/overlay.json"
