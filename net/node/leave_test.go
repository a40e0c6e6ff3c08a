package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
)

// A host whose last process ends leaves: nobody waits for its lease, and what it was
// master of goes on with its value, whichever host it is.
func TestHostLeaves(t *testing.T) {
	hosts := newHosts(t, 3)
	for _, h := range hosts {
		h.conf.Lease, h.conf.Suspect = 3*patience, 2*patience // longer than the test waits
	}
	c := startAll(hosts)
	for i, h := range hosts {
		next, last := (i+1)%3, (i+2)%3
		name := fmt.Sprint("L", i)
		c[i].want(dlm.Success, "", "lock %s %d", name, nl)
		w := c[next].want(dlm.Success, "", "lock %s %d", name, ex)
		c[next].want(dlm.Success, "", "convert %d %d kept", w, nl)
		held := c[i].want(dlm.Success, "", "lock held-%d %d", i, pr)
		if held == 0 {
			t.Fatal("no lock")
		}
		c[last].want(dlm.Pending, "", "ask held-%d %d", i, ex)
		c[i].send("close")
		if err := c[i].cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		c[last].want(dlm.Success, "", "done")
		c[next].want(dlm.Success, "kept", "convert %d %d x", w, pr)
		c[i] = h.start()
		c[i].want(dlm.Success, "kept", "lock %s %d", name, pr)
	}
}

// A host of which another process is still there does not leave: that one goes on.
func TestLastAgentOnlyLeaves(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	for i, h := range hosts {
		p := h.start()
		p.want(dlm.Success, "", "lock E%d %d", i, ex)
		other := c[(i+1)%3]
		other.want(dlm.Pending, "", "ask E%d %d", i, nl+1)
		c[i].send("close")
		until(t, "another agent", func() bool { return p.do("agent") == "true" })
		if p.do("lost") != "false" {
			t.Fatal("its locks are lost")
		}
		c[i] = p
	}
}

// A process asks for its name, and before it has it the last one of its host leaves. The
// goodbye is for a host without processes: the new one joins after that, and stays.
func TestJoinsWhileHostLeaves(t *testing.T) {
	hosts := newHosts(t, 3)
	for _, h := range hosts {
		h.conf.Lease, h.conf.Suspect = 3*patience, 2*patience
	}
	c := startAll(hosts)
	first := coordinator(t, c)
	at := (first + 1) % 3
	c[at].want(dlm.Success, "", "lock L %d", ex)
	c[first].stop()
	p := hosts[at].begin()
	until(t, "it waits for its name", func() bool { return stalls(hosts[at].dir, "has yet to name 1 new program") })
	c[at].send("close")
	until(t, "the agent leaves", func() bool { return stalls(hosts[at].dir, "the agent of this host is leaving") })
	c[first].signal(unix.SIGCONT)
	p.joined()
	held := p.want(dlm.Success, "", "lock L %d", ex)
	if err := c[at].cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if p.do("agent") != "true" { // which it becomes when the other one has ended
		until(t, "it is the agent", func() bool { return p.do("agent") == "true" })
	}
	p.want(dlm.Success, "", "convert %d %d x", held, nl)
	if p.do("lost") != "false" {
		t.Error("welcomed, and then lost")
	}
}

// stalls reports whether an agent tells of something that it waits for.
func stalls(dir, what string) bool {
	r, err := AskStatus(dir)
	return err == nil && slices.ContainsFunc(r.Stalls, func(s string) bool { return strings.Contains(s, what) })
}

// A program ends, and at once its host's agent: the host leaves all the same, though the
// agent need not have seen the end of the other one.
func TestHostLeavesBehindItsProgram(t *testing.T) {
	hosts := newHosts(t, 3)
	for _, h := range hosts {
		h.conf.Lease, h.conf.Suspect = 3*patience, 2*patience
	}
	c := startAll(hosts)
	at := (coordinator(t, c) + 1) % 3
	next := c[(at+1)%3]
	for i := range 5 {
		p := hosts[at].start()
		next.want(dlm.Success, "", "lock B%d %d", i, nl)
		p.want(dlm.Success, "", "lock B%d %d", i, ex)
		next.want(dlm.Pending, "", "ask B%d %d", i, ex)
		c[at].stop() // so that it sees nothing
		p.kill()
		c[at].send("close")
		c[at].signal(unix.SIGCONT)
		next.want(dlm.SuccValNotValid, "", "done")
		c[at] = hosts[at].start()
	}
}
