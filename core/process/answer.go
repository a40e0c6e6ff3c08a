package process

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// take makes a grant true on the owner's side and puts the answer into c. With
// atOnce it is what the request's own call answers, or as good as that: DLM_SYNCSTS
// is told then (spec §6.7).
func (s *shard) take(l *lock, b *proto.Block, atOnce bool, c *Completion) {
	a := &l.ask
	flags := dlm.Flags(a.flags)
	*c = Completion{Token: a.token, Async: a.async, Lock: l.ID, Status: dlm.Success, User: a.user}
	if flags&dlm.SyncSts != 0 && atOnce {
		c.Status = dlm.Synch
	}
	if flags&dlm.ValB != 0 {
		move := mode.OnConvert(l.granted, a.mode)
		wrote := move == mode.Write && flags&dlm.InvValBlk == 0 // whatever became of the block since
		if !b.Valid && !wrote && !l.plain {
			c.Status += dlm.SuccValNotValid - dlm.Success
		}
		if move == mode.Read {
			c.Read, c.Value = true, b.Value
		}
	}
	l.granted, l.held, l.user, l.block = a.mode, a.flags, a.user, *b
	l.ask = ask{}
	s.rest(l)
	if l.noticed != mode.None && mode.Compatible(l.granted, l.noticed) {
		s.discardNotice(l)
	}
}

// fence notes the token of a grant that was decided here.
func (l *lock) fence() { l.token = proto.Stamp{Assign: l.root.assign, Seq: l.Token} }

// granted answers a request that had been pending.
func (s *shard) granted(l *lock, b *proto.Block) {
	detached, isNew := l.ask.detached, l.ask.kind == proto.PendingLock
	s.countWait(l)
	s.take(l, b, !l.ask.waited && !l.ask.async, &s.done)
	if !detached {
		s.p.world.Complete(&s.done)
		return
	}
	if isNew && !l.unlock.active {
		s.busy(l).unlock = unlocking{active: true, silent: true, op: l.root.nextOp()}
		l.root.carryUnlock(l)
	}
}

// refuse answers a pending request with an error. A new lock ends; a conversion
// leaves the lock as it was (spec §4.8).
func (s *shard) refuse(l *lock, st dlm.Status) {
	if l.ask.kind == proto.PendingNothing {
		return
	}
	s.countWait(l)
	a := l.ask
	l.ask = ask{}
	s.rest(l)
	if !a.detached {
		s.done = Completion{Token: a.token, Async: a.async, Lock: l.ID, Status: st, User: a.user}
		s.p.world.Complete(&s.done)
	}
	if a.kind == proto.PendingLock {
		s.freeLock(l)
	}
}

// cancelled ends a request that its master has withdrawn (D-20).
func (s *shard) cancelled(l *lock) {
	switch {
	case l.ask.expired:
		s.refuse(l, dlm.Timeout)
	case l.ask.kind == proto.PendingConvert:
		s.refuse(l, dlm.Cancel)
	default:
		s.refuse(l, dlm.Abort)
	}
}

// answerLeftovers completes whatever still waits for an answer about a lock that
// ends: its request with dlm.Abort, its unlock with success.
func (s *shard) answerLeftovers(l *lock) {
	if l.pending == &idle {
		return
	}
	a, u := l.ask, l.unlock
	l.ask, l.unlock = ask{}, unlocking{}
	if a.kind != proto.PendingNothing && !a.detached {
		s.done = Completion{Token: a.token, Async: a.async, Lock: l.ID, Status: dlm.Abort, User: a.user}
		s.p.world.Complete(&s.done)
	}
	st := dlm.Success
	if l.cancel.op < a.op {
		st = dlm.CancelGrant // meant an earlier request, which was granted
	}
	s.answerCancels(l, st, a.kind == proto.PendingNothing)
	s.rest(l)
	if u.active && !u.silent {
		s.done = Completion{Token: u.token, Lock: l.ID, Status: dlm.Success}
		s.p.world.Complete(&s.done)
	}
}

// answerCancels tells all who asked to cancel. When there was nothing left to
// cancel and the lock is gone, its handle is no longer one. Whoever calls it sees to
// it that l rests.
func (s *shard) answerCancels(l *lock, st dlm.Status, gone bool) {
	if l.pending == &idle {
		return
	}
	if gone {
		st = dlm.IvLockID
	}
	l.cancel.active = false
	for _, token := range l.cancels {
		s.done = Completion{Token: token, Lock: l.ID, Status: st}
		s.p.world.Complete(&s.done)
	}
	l.cancels = l.cancels[:0]
}

// blocking queues a notification, unless one is still undelivered or it is
// already out of date (D-33).
func (s *shard) blocking(l *lock, m mode.Mode, hint uint64) {
	if l.noticed != mode.None || l.unlock.active || l.user.BlkRtn == 0 || mode.Compatible(l.granted, m) {
		return
	}
	l.noticed = m
	s.counts.blocking++
	s.notice = Notice{Lock: l.ID, Mode: m, Hint: hint, User: l.user}
	s.p.world.Blocking(&s.notice)
}

func (s *shard) discardNotice(l *lock) {
	if l.noticed != mode.None {
		s.p.world.Discard(l.ID)
		l.noticed = mode.None
	}
}

// Delivered says that the lock's blocking notification was handed to the program.
func (p *Process) Delivered(id proto.LockID) {
	if id&proto.GroupBit != 0 {
		p.groupDelivered(id)
		return
	}
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.peek(id); l != nil {
		l.noticed = mode.None
	}
}

// fromMaster takes a master's answer.
func (p *Process) fromMaster(from proto.ProcID, m *proto.Msg) {
	switch m.Kind {
	case proto.KNotMaster:
		p.notMaster(from, m)
		return
	case proto.KHeir:
		p.heir(from, m)
		return
	case proto.KInfo:
		p.queryAnswered(m)
		return
	case proto.KBlamed:
		p.blamed(from, m)
		return
	case proto.KWaiting:
		p.waiting(from, m)
		return
	}
	s := p.shardOfLock(m.Lock)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.peek(m.Lock); l != nil && !l.root.putOff(from, m) {
		s.answered(from, m)
	}
}

// answered takes a master's answer about an own lock.
func (s *shard) answered(from proto.ProcID, m *proto.Msg) {
	l := s.peek(m.Lock)
	if l == nil || !l.root.trusts(from, m.Assign) {
		return
	}
	current := l.ask.kind != proto.PendingNothing && uint32(l.ask.op) == m.Op
	switch m.Kind {
	case proto.KGranted:
		if current {
			l.token = proto.Stamp{Assign: m.Assign, Seq: m.Token}
			s.granted(l, &m.Block)
		}
	case proto.KQueued:
		if current {
			s.wait(l, m.Arrival)
		}
	case proto.KRefused:
		if current {
			s.refuse(l, dlm.Status(m.Status))
		}
	case proto.KUnlocked:
		if l.unlock.active && uint32(l.unlock.op) == m.Op {
			s.freeLock(l)
		}
	case proto.KCancelled:
		s.cancelAnswered(l, m)
	case proto.KBlocking:
		s.blocking(l, m.Mode, m.Hint)
	}
}

// trusts reports whether a message is from the tree's master. A newer assignment
// than the known one shows that the tree has a new master, who has all that this
// process reported; one that is installed here has come too late then.
func (r *root) trusts(from proto.ProcID, assign uint64) bool {
	switch {
	case r.where == remote && r.assign == assign && r.master == from:
		r.sure = true
		return true
	case assign > r.assign && (r.where == remote || r.where == orphan || r.where == installing):
		r.asked = lookupNone
		r.becomeRemote(from, assign)
		r.sure = true
		return true
	case assign > r.assign && r.where == moving: // before the agent's word
		r.movedTo(from, assign)
		r.sure = true
		return true
	}
	return false
}

func (s *shard) cancelAnswered(l *lock, m *proto.Msg) {
	if !l.cancel.active || uint32(l.cancel.op) != m.Op {
		return
	}
	st := dlm.Status(m.Status)
	l.cancel.active = false
	if st == dlm.Success && l.ask.kind == proto.PendingNothing {
		st = dlm.CancelGrant
	}
	tokens := append([]uint64(nil), l.cancels...)
	l.cancels = l.cancels[:0]
	id := l.ID
	if st == dlm.Success {
		s.cancelled(l)
	}
	s.rest(l)
	for _, token := range tokens {
		s.done = Completion{Token: token, Lock: id, Status: st}
		s.p.world.Complete(&s.done)
	}
}
