package node

import (
	"fmt"
	"testing"

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
