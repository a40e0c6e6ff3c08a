package process

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// A group lock container's locks are those of a Process that no program calls: the
// agent does, for the members. When an agent dies the next one makes the Process
// anew from what it has noted of each lock.

// Guest makes p, which is new, the process of a container: it never masters a tree.
// Its handles begin at a number that differs from one container to the next, so
// that a stale one is hardly ever one again.
func (p *Process) Guest(seq uint32) { p.guest, p.firstSeq = true, seq }

func (p *Process) guestFlag() uint32 {
	if p.guest {
		return uint32(dlm.Guest)
	}
	return 0
}

// Noted is all that must be known of an own lock to have it again; false when there
// is none.
func (p *Process) Noted(id proto.LockID) (proto.NotedLock, bool) {
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lookup(id)
	if l == nil {
		return proto.NotedLock{}, false
	}
	n := proto.NotedLock{
		Group: p.me, Lock: l.ID, Root: l.root.key, Name: l.name, Ops: l.root.ops,
		Granted: l.granted, Held: l.held, Block: l.block, Token: l.token, Plain: l.plain, Domain: l.domain,
		Party: l.Party, User: l.user,
	}
	if l.parent != nil {
		n.Parent = l.parent.ID
	}
	if a := &l.ask; a.kind != proto.PendingNothing {
		n.Pending, n.Requested, n.Flags, n.Op, n.Arrival = a.kind, a.mode, a.flags, a.op, a.arrival
		n.Made, n.Since, n.Waited, n.Write, n.AskUser = a.made, a.since, a.waited, a.value, a.user
		n.AskToken, n.Async, n.Expired, n.Detached = a.token, a.async, a.expired, a.detached
	}
	if u := &l.unlock; u.active {
		n.Unlock, n.Silent, n.UnlockFlags, n.UnlockOp = true, u.silent, u.flags, u.op
		n.UnlockWrite, n.UnlockToken = u.value, u.token
	}
	if l.cancel.active {
		n.Cancel, n.CancelOp, n.Cancels = true, l.cancel.op, slices.Clone(l.cancels)
	}
	return n, true
}

// Restore gives a new Process its locks back. Their masters have yet to be found:
// the next view does that.
func (p *Process) Restore(list []proto.NotedLock) {
	byID := map[proto.LockID]*proto.NotedLock{}
	for i := range list {
		byID[list[i].Lock] = &list[i]
	}
	done := map[proto.LockID]bool{}
	var restore func(n *proto.NotedLock)
	restore = func(n *proto.NotedLock) {
		if done[n.Lock] {
			return
		}
		done[n.Lock] = true
		if up := byID[n.Parent]; up != nil {
			restore(up)
		}
		p.shardOf(&n.Root).restore(n)
	}
	for i := range list {
		restore(&list[i])
	}
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for j, at := range s.locks.places {
			if at == 0 {
				s.locks.free = append(s.locks.free, uint32(j))
			}
		}
		s.mu.Unlock()
	}
}

func (s *shard) restore(n *proto.NotedLock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.root(&n.Root)
	r.where, r.ops = orphan, max(r.ops, n.Ops)
	i := number(n.Lock)
	for uint32(len(s.locks.places)) <= i {
		s.locks.places = append(s.locks.places, 0)
		s.locks.seqs = append(s.locks.seqs, s.p.firstSeq)
	}
	l := &lock{
		pending: &idle, position: &top,
		granted: n.Granted, held: n.Held, block: n.Block, token: n.Token, plain: n.Plain, user: n.User,
	}
	l.ID, l.Owner, l.Party = n.Lock, s.p.me, n.Party
	s.locks.seqs[i] = uint32(n.Lock >> 32)
	s.locks.put(i, l)
	l.root = r
	s.locate(l, s.lookup(n.Parent), &n.Name, n.Domain)
	r.own.push(l)
	if r.ownCount++; r.ownCount == 1 {
		s.idle--
	}
	if n.Pending != proto.PendingNothing {
		s.busy(l).ask = ask{
			kind: n.Pending, mode: n.Requested, flags: n.Flags, op: n.Op, arrival: n.Arrival,
			made: n.Made, since: n.Since, waited: n.Waited, value: n.Write, user: n.AskUser,
			token: n.AskToken, async: n.Async, expired: n.Expired, detached: n.Detached,
		}
		if l.ask.waited {
			s.watchWait(l)
		}
	}
	if n.Unlock {
		s.busy(l).unlock = unlocking{active: true, silent: n.Silent, flags: n.UnlockFlags, op: n.UnlockOp, value: n.UnlockWrite, token: n.UnlockToken}
	}
	if n.Cancel {
		s.busy(l).cancel.active, l.cancel.op = true, n.CancelOp
		l.cancels = append(l.cancels, n.Cancels...)
	}
}

// Resumed lists the roots on which requests were carried out anew since the last
// call. Nobody else may be in a guest meanwhile.
func (p *Process) Resumed() []proto.Root {
	r := p.resumed
	p.resumed = nil
	return r
}

// LocksOn lists own locks on a root.
func (p *Process) LocksOn(key *proto.Root) (out []proto.LockID) {
	s := p.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(key); r != nil {
		for l := r.own.head; l != nil; l = l.next {
			out = append(out, l.ID)
		}
	}
	return out
}

// Remind says that whoever speaks for the owner of locks has changed: what it was
// told and not asked for it may not know. Notifications of all who wait behind its
// locks are sent once more.
func (p *Process) Remind(owner proto.ProcID) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for r := s.all(); r != nil; r = r.next {
			if r.where != local {
				continue
			}
			r.tree.EachLock(func(t *tree.Lock) {
				if t.Owner == owner && t.Granted != mode.None {
					t.Res.Remind(t)
				}
			})
		}
		s.mu.Unlock()
	}
}
