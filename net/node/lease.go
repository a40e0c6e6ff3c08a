package node

import (
	"fmt"
	"time"

	"github.com/godlm/godlm/net/rundir"
)

// lease is what this process knows of its host's membership: until when nobody can
// have been told that the host is gone. The agent goes on proving it.
type lease struct {
	n     *Node
	file  *rundir.HostFile
	birth uint32
}

// leaseLook bounds the time between two looks at a lease that has not ended.
const leaseLook = 100 * time.Millisecond

// startLease binds this process to its host's membership.
func (n *Node) startLease(birth uint32) error {
	if n.cfg.Cluster == nil {
		return nil
	}
	defer n.holdForks()()
	f, err := n.dir.OpenHost(n.cfg.Map)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	n.openFD(f.FD())
	l := &lease{n: n, file: f, birth: birth}
	n.lease.Store(l)
	l.watch()
	return nil
}

func (l *lease) close() error {
	l.n.closeFD(l.file.FD())
	return l.file.Release()
}

// left is how long the lease goes on. Callers to whom trees are lent are told.
func (l *lease) left() time.Duration {
	until := l.file.Lease(l.birth)
	if l.n.cfg.Lent != nil {
		l.n.cfg.Lent.Lease(max(until, 1))
	}
	return time.Duration(until - l.n.cfg.Cluster.boottime())
}

// watch looks at the lease when it may have ended. Calls of the program and messages
// look too: a process that was stopped does nothing with a lease that has ended.
func (l *lease) watch() {
	if l.n.Expired() {
		return
	}
	l.n.clock.after(max(min(l.left(), leaseLook), time.Millisecond), l.watch)
}

// Expired reports whether this host's lease has ended. All locks are lost then.
func (n *Node) Expired() bool {
	l := n.lease.Load()
	if l == nil {
		return false
	}
	if n.lost.Load() {
		return true
	}
	if l.left() > 0 {
		return false
	}
	n.refused("the lease of this host has ended: no answer of the majority of the voters")
	return true
}
