package node

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
)

// forgetBoot makes the files of a runtime directory those of before the machine was started.
func forgetBoot(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "host"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 16), 24); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// All of a host's processes have ended with their machine, and its directory is on a disk:
// what is in the files there may be older than what others have seen. The host is a new
// member at once, and what its processes have left counts for nothing.
func TestMachineStartedAnew(t *testing.T) {
	hosts := newHosts(t, 3)
	for _, h := range hosts {
		h.conf.Lease, h.conf.Suspect = 3*patience, 2*patience
	}
	c := startAll(hosts)
	at := (coordinator(t, c) + 1) % 3
	next := c[(at+1)%3]
	c[at].want(dlm.Success, "", "lock R %d", nl) // its master
	w := next.want(dlm.Success, "", "lock R %d", ex)
	next.want(dlm.Success, "", "convert %d %d new", w, nl)
	was := birthOf(t, hosts[(at+1)%3].dir, hosts[at].conf.Host)
	c[at].signal(unix.SIGSTOP) // so that nothing is told about its end
	c[at].kill()
	forgetBoot(t, hosts[at].dir)
	c[at] = hosts[at].start()
	until(t, "it is a new member for the others", func() bool { return birthOf(t, hosts[(at+1)%3].dir, hosts[at].conf.Host) > was })
	// Whoever was the master may have let others write; only NL locks are left.
	next.want(dlm.SuccValNotValid, "new", "convert %d %d x", w, pr)
}
