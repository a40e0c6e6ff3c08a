package cli

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A host that has no contact with the others loses its locks when its lease is over: the command is
// told, and whoever asks on the other hosts gets the lock.
func TestLockOnALostHost(t *testing.T) {
	hosts := newHosts(t, 3000, 1500, "a", "b", "c")
	a, b := hosts[0], hosts[1]
	var agents []*exec.Cmd
	for _, p := range hosts {
		agents = append(agents, p.begin())
	}
	for _, p := range hosts {
		p.says(0, "all is well", "status")
	}
	g := a.start("lock", "far", "sh", "-c", "trap 'echo told; exit 6' TERM; echo > "+a.file("running")+"; while :; do sleep 0.01; done")
	a.appears("running")
	b.want(123, "would have to wait", "lock", "-n", "far", "true")

	a.signal(agents[0], syscall.SIGSTOP) // nobody proves any more that it is a member
	a.end(g, 122)
	if s := printed(g.errs); printed(g.out) != "told\n" || !strings.Contains(s, "the lock on \"far\" is lost") {
		t.Errorf("%s%s", printed(g.out), s)
	}
	b.want(0, "", "lock", "-w", "30s", "far", "true")
	a.signal(agents[0], syscall.SIGCONT)
	a.until("it is a member again", func() bool { _, _, code := a.run("lock", "-w", "30s", "far", "true"); return code == 0 })
}
