#!/bin/sh
# Prints the licences of what the library and the command contain besides godlm.
set -eu
go=$1
printf 'The library and the command are built with the Go tools and contain parts of Go and the modules below.\n'
root=$("$go" env GOROOT)
printf '\n==== %s\n\n' "$("$go" env GOVERSION)"
cat "$root/LICENSE"
deps() { CGO_ENABLED=$1 "$go" list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' "$2"; }
list=$({ deps 0 ./cmd/godlm && deps 1 ./cgo; } | sort -u)
echo "$list" | while read -r path version dir; do
	printf '\n==== %s %s\n' "$path" "$version"
	found=
	for f in "$dir"/LICEN[CS]E* "$dir"/COPYING* "$dir"/NOTICE*; do
		[ -f "$f" ] || continue
		found=yes
		printf '\n'
		cat "$f"
	done
	[ -n "$found" ] || { echo "$path has no licence file" >&2; exit 1; }
done
