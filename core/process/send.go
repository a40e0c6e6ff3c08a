package process

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// carryAsk puts an unanswered request to the master that is known now. On a tree
// that was rebuilt here the request may be in it already.
func (r *root) carryAsk(l *lock) {
	s := r.shard
	if r.where == remote {
		r.sendAsk(l)
		return
	}
	if l.Res != nil && l.Op == uint32(l.ask.op) {
		if l.Place() == tree.InGranted {
			l.fence()
			s.granted(l, &l.Res.Block)
			if l.Res != nil {
				l.Res.Remind(&l.Lock)
			}
		} else {
			s.wait(l, l.Arrival)
		}
		return
	}
	st := r.decide(l)
	switch st {
	case dlm.Unkept: // once more when it is kept
	case dlm.Pending:
		s.wait(l, l.Arrival)
	case dlm.Synch:
		tr := l.Res
		settle := l.ask.kind == proto.PendingConvert
		l.fence()
		s.granted(l, &tr.Block)
		if settle {
			tr.Settle()
		}
	default:
		s.refuse(l, st)
	}
}

// sendAsk sends l's request to the tree's master.
func (r *root) sendAsk(l *lock) {
	s, a := r.shard, &l.ask
	// The arrival stamp stays: a tree put together again keeps its order.
	a.queued = false
	m := s.compose(proto.KConvert)
	if a.kind == proto.PendingLock {
		m.Kind = proto.KRequest
		m.Name = l.name
		if l.parent != nil {
			m.Parent = l.parent.ID
		}
	}
	if m.Party = l.Party; m.Party == (proto.Party{ID: uint64(s.p.me)}) || a.kind == proto.PendingConvert && !s.p.guest {
		m.Party = proto.Party{}
	}
	m.Assign, m.Root, m.Lock, m.Op = r.assign, r.key, l.ID, uint32(a.op)
	m.Domain = l.domain
	m.Mode, m.Flags, m.Hint, m.Value, m.Made = a.mode, a.flags, a.user.Hint, a.value, a.made
	s.p.world.Send(r.master, proto.ToMaster, m)
}

func (r *root) carryCancel(l *lock) {
	s := r.shard
	if r.where == remote {
		m := s.compose(proto.KCancel)
		m.Assign, m.Root, m.Lock = r.assign, r.key, l.ID
		m.Op, m.Flags = uint32(l.cancel.op), uint32(dlm.CancelWaitOK)
		s.p.world.Send(r.master, proto.ToMaster, m)
		return
	}
	// The tree is here now; answer as the master would have.
	id := l.ID
	tokens := append([]uint64(nil), l.cancels...)
	l.cancels = l.cancels[:0]
	l.cancel.active = false
	st := dlm.CancelGrant
	if l.ask.kind != proto.PendingNothing {
		st = s.withdraw(l)
	}
	s.rest(l)
	for _, token := range tokens {
		s.done = Completion{Token: token, Lock: id, Status: st}
		s.p.world.Complete(&s.done)
	}
}

// carryUnlock puts an unanswered unlock to the master that is known now.
func (r *root) carryUnlock(l *lock) {
	s := r.shard
	switch r.where {
	case remote:
		m := s.compose(proto.KUnlock)
		m.Assign, m.Root, m.Lock, m.Op = r.assign, r.key, l.ID, uint32(l.unlock.op)
		m.Flags, m.Value = l.unlock.flags, l.unlock.value
		s.p.world.Send(r.master, proto.ToMaster, m)
	case local:
		if l.Res != nil { // else the rebuild took it as done
			r.tree.Unlock(&l.Lock, dlm.Flags(l.unlock.flags), &l.unlock.value)
		}
		s.freeLock(l)
	default:
		r.hurry()
		r.find(lookupToUse)
	}
}
