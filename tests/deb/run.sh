#!/usr/bin/env bash
# tests/deb/run.sh DIR: the Debian packages in DIR on a clean Debian: a minimal root made by
# debootstrap, in which inside.sh installs, uses, removes and purges them.
#
# All that is mounted is so in a namespace that ends with the test's processes, and those end
# with this script, however it ends. What a SIGKILL leaves of the root goes with the next run
# or with make clean.
set -eu
cd "$(dirname "$0")/../.."
dir=$(realpath "$1")
root=$dir/root
need() { command -v "$1" >/dev/null || { echo "check-deb: $1 is not installed (Debian: $2)" >&2; exit 1; }; }
[ "$(id -u)" = 0 ] || { echo "check-deb: only root can make a root" >&2; exit 1; }
need debootstrap debootstrap
need apt-get apt
need unshare util-linux
version=$(sed -n 's/^VERSION := //p' Makefile)

if command -v lintian >/dev/null; then
	lintian --allow-root --fail-on error "$dir"/*.changes
	echo "ok      lintian finds no error"
else
	echo "skip    lintian is not installed (Debian: lintian)"
fi

# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
# The mirror is the one of this machine.
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(SITE)' 'Identifier: Packages' |
	awk -v suite="$suite" '$1 == suite && $2 == "main" { print $3; exit }')
[ -n "$mirror" ] || { echo "check-deb: apt knows no mirror of Debian $suite" >&2; exit 1; }
proxy=$(apt-config dump --format '%f "%v";%n' Acquire::http::Proxy)
[ -z "$proxy" ] || export http_proxy="${http_proxy:-$(echo "$proxy" | cut -d'"' -f2)}"
if ! /usr/lib/apt/apt-helper download-file "$mirror/dists/$suite/InRelease" "$dir/InRelease" >"$dir/mirror.log" 2>&1; then
	cat "$dir/mirror.log"
	echo "skip    packages on a clean Debian: the mirror of this machine cannot be reached" >&2
	exit 77
fi
rm "$dir/InRelease"

child=
finish() {
	[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
	[ -z "$child" ] || wait "$child" 2>/dev/null || true
	rm -rf --one-file-system "$root"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
rm -rf --one-file-system "$root"

# stage SECONDS COMMAND...: runs it with mounts and processes of its own.
stage() {
	# Each of the three ends with the one before it.
	setpriv --pdeathsig KILL timeout -s KILL "$1" setpriv --pdeathsig KILL \
		unshare --mount --pid --fork --kill-child --mount-proc -- "${@:2}" &
	child=$!
	local rc=0
	wait "$child" || rc=$?
	child=
	return $rc
}

log=$dir/debootstrap.log
stage 900 debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$log" 2>&1 || { tail -n 30 "$log"; exit 1; }
echo "ok      a minimal Debian $suite"
cp -L /etc/resolv.conf "$root/etc/" 2>/dev/null || true
[ -z "$proxy" ] || echo "$proxy" >"$root/etc/apt/apt.conf.d/01proxy"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # the root is thrown away
mkdir "$root/check"
cp "$dir"/*.deb tests/install/user.c tests/deb/inside.sh "$root/check/"
# shellcheck disable=SC2016 # the inner shell's arguments
stage 1200 sh -c 'mount -t proc proc "$1/proc" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root \
	DEBIAN_FRONTEND=noninteractive chroot "$1" bash /check/inside.sh "$2"' sh "$root" "$version"
