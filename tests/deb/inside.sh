#!/usr/bin/env bash
# inside.sh VERSION: what tests/deb/run.sh runs in the clean root. The packages are in /check.
set -u
version=$1
cd /check
bad=0
check() { # check NAME COMMAND...: the command must succeed
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then echo "ok      $name"; else
		echo "FAILED  $name"
		printf '%s\n' "$out" | tail -n 20
		bad=1
		return 1
	fi
}
need() { check "$@" || exit 1; } # the same, but nothing else makes sense without it
# ours: files and directories with the lock manager's name, but for what apt and dpkg note down.
ours() { find / -xdev \( -path /proc -o -path /check -o -path /var/log -o -path /var/lib/apt -o -path /var/cache \) -prune -o \( -iname '*godlm*' -o -path '*/sys/dlm.h' \) -print; }
# everything: all files and directories, but for notes.
everything() {
	find / -xdev \( -path /proc -o -path /check -o -path /tmp -o -path /var/log -o -path /var/lib/apt -o -path /var/lib/dpkg \
		-o -path /var/cache -o -path /run \) -prune -o -print | sort
}
status_of() { # status_of N COMMAND...: it exits with N
	local want=$1 rc=0
	shift
	"$@" || rc=$?
	[ $rc = "$want" ] || { echo "exit status $rc, not $want"; return 1; }
}

# What a user of the Python package needs comes by dependencies.
need "apt-get update" apt-get update -q
need "apt installs the packages and what they need" apt-get install -y -q --no-install-recommends ./*.deb
check "version of the command" test "$(godlm --version)" = "godlm version $version"
check "the library is found" sh -c 'ldconfig -p | grep -q "libgodlm.so.1 .*/libgodlm.so.1$"'
check "nobody is there" status_of 4 godlm members
cat >/tmp/holder.py <<'END'
import sys
import godlm

with godlm.join() as ns, ns.lock("counter", godlm.EX) as lock:
    print("locked", flush=True)
    sys.stdin.readline()
    lock.write(bytes([7]))
    print("written", flush=True)
    sys.stdin.readline()
END
coproc PY { exec python3 /tmp/holder.py; }
pid=$PY_PID
hears() { local line; read -r -t 120 -u "${PY[0]}" line && [ "$line" = "$1" ]; } # the program's next line
need "a program in Python has a lock" hears locked
check "the command sees it" sh -c "godlm members | grep -q ' *$pid'"
check "the command does not get its lock" status_of 123 godlm lock --nonblock counter -- true
echo >&"${PY[1]}"
need "it writes" hears written
check "the command reads what it wrote" test "$(godlm get --as u32 counter)" = 7
echo >&"${PY[1]}"
rc=0
wait "$pid" || rc=$?
check "it ends well" test $rc = 0
check "a command under a lock" status_of 5 godlm lock counter -- sh -c 'exit 5'
for p in /usr/share/man/man1/godlm.1.gz /usr/share/man/man5/godlm.toml.5.gz /usr/share/man/man7/dlm.7.gz \
	/usr/share/man/man3/dlm_lock.3godlm.gz /usr/share/doc/{libgodlm1,libgodlm-dev,godlm,python3-godlm}/{copyright,changelog.gz} \
	/usr/share/doc/{libgodlm1,godlm}/third-party.gz; do
	[ -s "$p" ] || { echo "FAILED  $p is missing"; bad=1; }
done
check "what godlm bench measures with finds the library" sh -c 'ldd /usr/libexec/godlm/probe | grep -q "libgodlm.so.1 => /"'
check "the header for C++ is there" test -s /usr/include/godlm.hpp
check "what is installed is whole" dpkg --verify libgodlm1 libgodlm-dev godlm python3-godlm
check "modules were compiled" sh -c 'ls /usr/lib/python3/dist-packages/godlm/__pycache__/*.pyc'
check "apt purges them" apt-get purge -y -q libgodlm1 libgodlm-dev godlm python3-godlm
rm -rf /run/godlm /tmp/holder.py # of the programs that ran, not of the packages
check "nothing of that name is left" diff /dev/null <(ours)

# With a compiler, and the pages of another lock manager beside ours.
need "a compiler" apt-get install -y -q --no-install-recommends gcc libc6-dev pkg-config man-db libdlm-dev python3
before=$(everything)
need "dpkg installs the packages" dpkg -i ./*.deb
flags=$(pkg-config --cflags --libs godlm)
# shellcheck disable=SC2086 # words are wanted
need "a program is built by pkg-config" gcc -Wall -Wextra -Werror -o /tmp/user user.c $flags
check "it runs" test "$(timeout 60 /tmp/user)" = 42
check "man finds the page" sh -c 'man -w 3godlm dlm_lock && man -w dlm_quelocktp && man -w godlm-lock && man -w 7 dlm'
check "an upgrade" dpkg -i ./*.deb
check "it runs after that" test "$(timeout 60 /tmp/user)" = 42
install -d /var/lib/godlm/default /etc/systemd/system/multi-user.target.wants
touch /var/lib/godlm/default/log
ln -s /lib/systemd/system/godlm-agent@.service /etc/systemd/system/multi-user.target.wants/godlm-agent@default.service
check "a key" godlm key /etc/godlm/key
check "dpkg removes them" dpkg -r python3-godlm godlm libgodlm-dev libgodlm1
check "state stays" test -e /var/lib/godlm/default/log
check "the library is not found any more" sh -c '! ldconfig -p | grep -q libgodlm'
check "dpkg purges them" dpkg -P python3-godlm godlm libgodlm-dev libgodlm1
check "the administrator's key stays" test -s /etc/godlm/key
rm -rf /etc/godlm /run/godlm /tmp/user
check "nothing else is left" diff <(echo "$before") <(everything)
check "nor of that name" diff /dev/null <(ours)
exit $bad
