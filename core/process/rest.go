package process

import "github.com/godlm/godlm/core/proto"

// Most locks are held for long and nothing is asked of them meanwhile. What only a
// request in progress needs, and what only sub-locks and persistent ones have, is
// apart from them, and comes from a pool.

// pending is what is under way for a lock.
type pending struct {
	ask     ask
	unlock  unlocking
	cancels []uint64 // tokens that wait for the answer to a cancel
	cancel  struct {
		active bool
		op     uint64
	}
}

// idle is what all locks share for which nothing is under way. It is never written.
var idle pending

// position is where a lock stands in its tree.
type position struct {
	parent *lock
	name   proto.Name   // below the parent
	domain proto.Digest // of a persistent resource
}

// top is the position of all locks on root resources that are not persistent. It is
// never written.
var top position

// maxSpare bounds the structures of one kind that a shard keeps for use again.
const maxSpare = 1024

// busy gives l what it needs for a request.
func (s *shard) busy(l *lock) *pending {
	if l.pending != &idle {
		return l.pending
	}
	if n := len(s.asks); n > 0 {
		l.pending = s.asks[n-1]
		s.asks = s.asks[:n-1]
	} else {
		l.pending = &pending{}
	}
	return l.pending
}

// rest takes it away again when nothing is under way any more.
func (s *shard) rest(l *lock) {
	p := l.pending
	if p == &idle || p.ask.kind != proto.PendingNothing || p.unlock.active || p.cancel.active || len(p.cancels) > 0 {
		return
	}
	l.pending = &idle
	if len(s.asks) < maxSpare {
		p.cancel.op = 0 // the rest is zero
		s.asks = push(s.asks, p)
	}
}

// locate says where a new lock stands.
func (s *shard) locate(l *lock, parent *lock, name *proto.Name, domain proto.Digest) {
	if parent != nil {
		l.depth = parent.depth + 1
		parent.children++
	} else if domain == (proto.Digest{}) && name.Len == 0 {
		return
	}
	if n := len(s.places); n > 0 {
		l.position = s.places[n-1]
		s.places = s.places[:n-1]
	} else {
		l.position = &position{}
	}
	*l.position = position{parent, *name, domain}
}

// leavePosition undoes locate.
func (s *shard) leavePosition(l *lock) {
	p := l.position
	if p == &top {
		return
	}
	l.position = &top
	p.parent = nil
	if len(s.places) < maxSpare {
		s.places = push(s.places, p)
	}
}
