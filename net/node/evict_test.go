package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/host"
)

// times are when a child was told that its locks are lost and when its latest request was
// answered; 0: that has not happened.
func (c *child) times() (lost, done int64) {
	c.t.Helper()
	if _, err := fmt.Sscan(c.do("times"), &lost, &done); err != nil {
		c.t.Fatal(err)
	}
	return lost, done
}

// birthOf is the epoch in which a host has joined, as an agent knows; 0 if it is no member.
func birthOf(t *testing.T, dir, name string) uint32 {
	t.Helper()
	r, err := AskStatus(dir)
	if err != nil {
		return 0
	}
	for _, l := range r.Hosts {
		if l.Name == name && l.State == host.IsMember {
			return l.Birth
		}
	}
	return 0
}

// A host is removed whose agent lives, while one that holds a lock there is stopped: it
// comes back at once, but what the holder has is nobody else's before that one knows, or
// its lease is over.
func TestHolderOfRemovedHost(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	p := hosts[1].start()
	c[0].want(dlm.Success, "", "lock M %d", nl)
	p.want(dlm.Success, "", "lock M %d", ex)
	c[0].want(dlm.Pending, "", "ask M %d", ex)
	p.stop()
	was := birthOf(t, hosts[0].dir, "host1")
	begin := boottime()
	if err := Evict(hosts[0].dir, "host1", false); err != nil {
		t.Fatal(err)
	}
	hosts[1].begin()
	var since int64 // that it waits, which it does not do for long if it does not have to
	until(t, "the host waits, or is back", func() bool {
		r, err := AskStatus(hosts[1].dir)
		switch {
		case err != nil:
			return false
		case slices.ContainsFunc(r.Stalls, func(s string) bool { return strings.Contains(s, "former membership") }):
			if since == 0 {
				since = boottime()
			}
			return boottime() > since+10*int64(hosts[1].conf.tick())
		}
		return r.Member && birthOf(t, hosts[1].dir, "host1") > was
	})
	p.signal(unix.SIGCONT)
	c[0].want(dlm.SuccValNotValid, "", "done")
	_, done := c[0].times()
	var lost int64
	until(t, "the holder knows", func() bool { lost, _ = p.times(); return lost != 0 })
	if lost > done && done < begin+int64(hosts[1].conf.lease()) {
		t.Errorf("granted %.2f s after the removal, and the holder has learned %.2f s after that", float64(done-begin)/1e9, float64(lost-done)/1e9)
	}
}
