#!/bin/sh
# Go allocations of a local lock+unlock, by the Go benchmark, as a figure.
set -eu
cd "$(dirname "$0")/../.."
go test -run - -bench LocalPair -benchmem ./core/process | awk '
	/^Benchmark/ {
		n = $(NF - 1)
		printf "{\"name\":\"allocations\",\"what\":\"Go allocations of lock+unlock, own master\",\"placement\":\"\",\"unit\":\"allocations\",\"value\":%d,\"goal\":0}\n", n
	}'
