#!/bin/sh
# usage: runtime.sh GO DIR. Makes DIR/overlay.json for `go build -overlay`.
#
# With each call from C into Go the runtime receives from the closed channel
# main_init_done, which takes the channel's lock (golang/go issue 77522): a fifth of
# the cost of the call, and several times the rest of it when two threads call at
# once. The overlay replaces runtime/cgocall.go by the same file with a flag that is
# looked at first. A Go whose file looks different is built as it is.
set -eu
go=$1 dir=$2
file=$("$go" env GOROOT)/src/runtime/cgocall.go
mkdir -p "$dir"
sed -e 's|^	"internal/goexperiment"$|&\n	"internal/runtime/atomic"|' \
	-e 's/^	if gp\.m\.ncgo == 0 {$/	if gp.m.ncgo == 0 \&\& !mainInitSeen.Load() {/' \
	-e 's/^		<-main_init_done$/&\n		mainInitSeen.Store(true)/' "$file" >"$dir/cgocall.replaced"
printf '\n// mainInitSeen is true once main_init_done was found closed.\nvar mainInitSeen atomic.Bool\n' >>"$dir/cgocall.replaced"
changed=$(diff "$file" "$dir/cgocall.replaced" | grep -c '^>' || :)
if [ "$changed" = 6 ] && ! grep -q 'internal/runtime/atomic' "$file"; then
	printf '{"Replace":{"%s":"%s/cgocall.replaced"}}\n' "$file" "$(cd "$dir" && pwd)" >"$dir/overlay.json"
else
	echo "runtime/cgocall.go of $("$go" version) is not the known one and is left alone" >&2
	echo '{}' >"$dir/overlay.json"
fi
