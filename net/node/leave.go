package node

import (
	"maps"
	"slices"
	"time"

	"github.com/godlm/godlm/core/proto"
)

// leaving is a role whose process is the last one on its host and ends.
type leaving struct {
	asked bool // the others have been told
	since time.Time
	done  chan struct{} // closed when they agree that this host has left
}

// handOver says goodbye to the other hosts if nothing of this one is left: then nobody
// waits for its lease. What this process was master of goes to the others first. It
// waits for all that, at most for Config.Leave. Otherwise who is still here takes over.
func (n *Node) handOver() {
	r := n.role.Load()
	if n.cfg.Cluster == nil || n.cfg.Leave == 0 || r == nil || n.me.Load() == 0 || n.Expired() {
		return
	}
	done := r.startLeaving()
	if done == nil {
		return
	}
	n.Flush()
	t := time.NewTimer(n.cfg.Leave)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		n.log.Warn("the other hosts have not taken over in time; they will when this host's lease is over", "waited", n.cfg.Leave)
	}
}

// startLeaving ends this process for the others; nil: somebody else is here.
func (r *role) startLeaving() <-chan struct{} {
	n := r.n
	me := proto.ProcID(n.me.Load())
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.buryOthers() // one that has just ended need not have been noticed
	}
	switch {
	case r.closed, r.leaving != nil, !r.host.Leased(), len(r.members) > 1, len((*hostWorld)(r).Containers()) > 0:
		return nil
	}
	r.leaving = &leaving{done: make(chan struct{}), since: time.Now()}
	r.sendAway()
	n.lost.Store(true) // nothing goes in or out any more
	n.endProc()
	if m := r.members[me]; m != nil {
		r.isDead(m)
	}
	r.goOnLeaving()
	return r.leaving.done
}

// buryOthers looks whether the other processes of this host live.
func (r *role) buryOthers() {
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		if m := r.members[id]; m != nil && uint64(id) != r.n.me.Load() {
			r.isDead(m)
		}
	}
}

// goOnLeaving says goodbye once nothing of the processes of this host is needed.
func (r *role) goOnLeaving() {
	if l := r.leaving; l != nil && !l.asked && len(r.members)+len(r.dead) == 0 {
		l.asked = true
		r.later(r.host.Leave)
	}
}

// endProc gives up the proof that this process lives, once.
func (n *Node) endProc() {
	n.ending.Do(func() {
		defer n.holdForks()()
		n.closeFD(n.file.FD())
		if err := n.file.Release(); err != nil {
			n.log.Warn("leave", "error", err)
		}
	})
}
