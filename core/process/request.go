package process

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// Lock asks for a new lock. res.Lock is its handle, valid at once, also while
// the status is dlm.Pending; it is 0 when no lock results. An asynchronous
// request is answered through World.Complete, except that with dlm.SyncSts an
// immediate grant is answered here only.
func (p *Process) Lock(q *LockRequest, res *Result) {
	*res = Result{}
	if q.Flags&dlm.GroupLock != 0 && !p.guest || q.Parent&proto.GroupBit != 0 {
		p.groupLock(q, res)
		return
	}
	key := proto.Root{Space: q.Space, Name: q.Name}
	s := p.shardOf(&key)
	if q.Parent != 0 {
		s = p.shardOfLock(q.Parent)
	}
	s.enter()
	defer s.mu.Unlock()
	r, parent, st := s.place(q, &key)
	if st == dlm.Success && s.lookFirst(r, r.resource(parent, &q.Name)) {
		r, parent, st = s.place(q, &key)
	}
	if p.lost.Load() {
		st = dlm.Lost
	}
	if st != dlm.Success {
		res.Status = st
		return
	}
	if q.Flags&dlm.Persist != 0 && q.Domain == (proto.Digest{}) {
		res.Status = dlm.IvRDID
		return
	}
	l := s.newLock(r)
	if l == nil {
		res.Status = dlm.NoLockID
		return
	}
	if parent != nil {
		s.locate(l, parent, &q.Name, q.Domain)
		l.plain = parent.plain
	} else {
		s.locate(l, nil, &proto.Name{}, q.Domain)
		l.plain = q.Plain
	}
	switch {
	case q.Party != proto.Party{}:
		l.Party = q.Party
	case q.Flags&dlm.TxidLocal != 0:
		l.Party = proto.Party{Kind: proto.PartyLocalTx, ID: q.Tx}
	case q.Flags&dlm.TxidGlobal != 0:
		l.Party = proto.Party{Kind: proto.PartyGlobalTx, ID: q.Tx}
	}
	res.Lock = l.ID
	s.busy(l).ask = ask{
		kind: proto.PendingLock, mode: q.Mode, flags: wireFlags(q.Flags, q.User.BlkRtn) | p.guestFlag(),
		op: r.nextOp(), user: q.User, token: q.Token, async: q.Async,
	}
	s.begin(l, res)
}

// place finds where a new lock is to stand.
func (s *shard) place(q *LockRequest, key *proto.Root) (*root, *lock, dlm.Status) {
	if q.Parent == 0 {
		return s.root(key), nil, dlm.Success
	}
	parent := s.lookup(q.Parent)
	switch {
	case parent == nil:
		return nil, nil, dlm.IvLockID
	case parent.granted == mode.None || parent.unlock.active:
		return nil, nil, dlm.ParNotGrant
	case parent.depth+1 >= tree.MaxDepth:
		return nil, nil, dlm.BadParam
	}
	return parent.root, parent, dlm.Success
}

// Convert asks for another mode of a granted lock.
func (p *Process) Convert(q *ConvertRequest, res *Result) {
	*res = Result{Lock: q.Lock}
	if q.Lock&proto.GroupBit != 0 {
		p.groupConvert(q, res)
		return
	}
	s := p.shardOfLock(q.Lock)
	s.enter()
	defer s.mu.Unlock()
	l := s.lookup(q.Lock)
	if l != nil && s.lookFirst(l.root, l.Res) {
		l = s.lookup(q.Lock)
	}
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case l == nil || l.unlock.active:
		res.Status = dlm.IvLockID
		return
	case l.granted == mode.None || l.ask.kind != proto.PendingNothing:
		res.Status = dlm.CvtUngrant
		return
	case q.Flags&dlm.QueCvt != 0 && !mode.QueueableConversion(l.granted, q.Mode):
		res.Status = dlm.BadParam
		return
	}
	if q.Party != (proto.Party{}) && l.Party.Kind == proto.PartyProcess {
		l.Party = q.Party
	}
	s.busy(l).ask = ask{
		kind: proto.PendingConvert, mode: q.Mode, flags: wireFlags(q.Flags, q.User.BlkRtn) | p.guestFlag(),
		op: l.root.nextOp(), value: q.Value, user: q.User, token: q.Token, async: q.Async,
	}
	s.begin(l, res)
}

func wireFlags(f dlm.Flags, blkrtn uint64) uint32 {
	if blkrtn != 0 {
		f |= dlm.HasBlocking
	}
	return uint32(f)
}

// begin carries out l's new request and leaves the answer in res, if it comes
// at once and the caller is to be told here.
func (s *shard) begin(l *lock, res *Result) {
	r := l.root
	kind := proto.KConvert
	if l.ask.kind == proto.PendingLock {
		kind = proto.KRequest
	}
	s.counts.request(r.way(), kind)
	switch r.where {
	case local:
		s.inline(l, res)
	case remote:
		l.ask.made = s.p.world.Now()
		r.sendAsk(l)
		res.Status = dlm.Pending
	default:
		l.ask.made = s.p.world.Now()
		r.hurry()
		r.find(lookupToUse) // not while the tree is only pausing
		res.Status = dlm.Pending
		res.Stalled = r.where != unknown || l.granted != mode.None
	}
}

// inline decides a request on a tree mastered here. The caller's answer is put
// together before others hear of what it does to them.
func (s *shard) inline(l *lock, res *Result) {
	if u := l.root.use; u != nil {
		u.mine()
	}
	st := l.root.decide(l)
	switch {
	case st == dlm.Unkept:
		l.ask.made = s.p.world.Now()
		res.Status = dlm.Pending
		return
	case st == dlm.Pending:
		s.wait(l, l.Arrival)
		l.root.wanted, l.root.solo = wantedFor, 0
		res.Status = dlm.Pending
		return
	case st != dlm.Synch:
		isNew := l.ask.kind == proto.PendingLock
		l.ask = ask{}
		s.rest(l)
		res.Status = st
		if isNew {
			res.Lock = 0
			s.freeLock(l)
		}
		return
	}
	settle := l.ask.kind == proto.PendingConvert
	tr := l.Res
	l.fence()
	if l.ask.async && dlm.Flags(l.ask.flags)&dlm.SyncSts == 0 {
		s.granted(l, &tr.Block)
		res.Status = dlm.Pending
	} else {
		s.take(l, &tr.Block, true, &s.done)
		res.Status, res.Read, res.Value = s.done.Status, s.done.Read, s.done.Value
	}
	if settle {
		tr.Settle()
	}
	if s.lent != nil && res.Status != dlm.Pending {
		s.tryLend(l)
	}
}

// decide puts l's request to the tree here.
func (r *root) decide(l *lock) dlm.Status {
	a := &l.ask
	if a.kind == proto.PendingLock {
		l.Requested, l.Flags, l.Hint, l.Op = a.mode, dlm.Flags(a.flags), a.user.Hint, uint32(a.op)
		var parent *tree.Lock
		if l.parent != nil {
			parent = &l.parent.Lock
		}
		st := r.tree.Request(&l.Lock, parent, &l.name, l.domain)
		if st == dlm.Unkept {
			st = r.askToKeep(parent, &l.name, l.domain)
		}
		return st
	}
	return r.tree.Convert(&l.Lock, &tree.Conversion{
		Mode: a.mode, Flags: dlm.Flags(a.flags), Hint: a.user.Hint, Op: uint32(a.op), Value: &a.value,
	})
}

// Unlock gives a lock up, or withdraws a new one that still waits. An
// unanswered conversion completes with dlm.Abort.
func (p *Process) Unlock(q *UnlockRequest, res *Result) {
	*res = Result{Lock: q.Lock}
	if q.Lock&proto.GroupBit != 0 {
		p.groupUnlock(q, res)
		return
	}
	s := p.shardOfLock(q.Lock)
	s.enter()
	defer s.mu.Unlock()
	l := s.lookup(q.Lock)
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case l == nil || l.unlock.active:
		res.Status = dlm.IvLockID
		return
	case l.children > 0:
		res.Status = dlm.SubLocks
		return
	}
	s.discardNotice(l)
	r := l.root
	s.counts.request(r.way(), proto.KUnlock)
	if r.where == local {
		r.tree.Unlock(&l.Lock, q.Flags, &q.Value)
		s.freeLock(l)
		return
	}
	s.busy(l).unlock = unlocking{active: true, flags: uint32(q.Flags), value: q.Value, token: q.Token, op: r.nextOp()}
	r.carryUnlock(l)
	res.Status = dlm.Pending
}

// Cancel withdraws an unanswered request (spec §4.11). dlm.Success promises that
// the request completes with dlm.Cancel or dlm.Abort.
func (p *Process) Cancel(id proto.LockID, flags dlm.Flags, token uint64, res *Result) {
	*res = Result{Lock: id}
	if id&proto.GroupBit != 0 {
		p.groupCancel(id, flags, token, res)
		return
	}
	s := p.shardOfLock(id)
	s.enter()
	defer s.mu.Unlock()
	l := s.lookup(id)
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
	case l == nil || l.unlock.active:
		res.Status = dlm.IvLockID
	case l.ask.kind == proto.PendingNothing:
		res.Status = dlm.CancelGrant
	case l.ask.kind == proto.PendingLock && flags&dlm.CancelWaitOK == 0:
		res.Status = dlm.CancelWait
	case l.root.where == local:
		s.counts.request(opLocal, proto.KCancel)
		res.Status = s.withdraw(l)
	default:
		s.counts.request(opOut, proto.KCancel)
		s.startCancel(l)
		l.cancels = append(l.cancels, token)
		res.Status = dlm.Pending
	}
}

// withdraw cancels on a tree mastered here.
func (s *shard) withdraw(l *lock) dlm.Status {
	tr := l.Res
	if tr == nil {
		return dlm.CancelGrant
	}
	st := l.root.tree.Cancel(&l.Lock, dlm.CancelWaitOK)
	if st == dlm.Success {
		s.cancelled(l)
		if l.root != nil && l.Res != nil {
			tr.Settle()
		}
	}
	return st
}

// startCancel asks the master to withdraw l's request, once. A cancel that is
// still under way may be that of an earlier request, which was granted.
func (s *shard) startCancel(l *lock) {
	if l.cancel.active {
		if l.cancel.op > l.ask.op {
			return
		}
		s.answerCancels(l, dlm.CancelGrant, false)
	}
	s.busy(l).cancel.active = true
	l.cancel.op = l.root.nextOp()
	if l.root.where == remote {
		l.root.carryCancel(l)
	}
}

// Expire says that the request with the token has used up its timeout. Its
// completion follows: dlm.Timeout, or the grant that was quicker.
func (p *Process) Expire(id proto.LockID, token uint64) {
	if id&proto.GroupBit != 0 {
		p.groupExpire(token)
		return
	}
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.peek(id); l != nil && l.ask.kind != proto.PendingNothing && l.ask.token == token {
		l.ask.expired = true
		s.giveUp(l)
	}
}

// Detach says that nobody waits for the token any more: it is never completed.
// A request is withdrawn; a new lock granted meanwhile is unlocked, a conversion
// granted meanwhile stays. An unlock or a cancel goes on without a listener. id
// is the lock concerned, 0 for a question about a resource.
func (p *Process) Detach(id proto.LockID, token uint64) {
	if id == 0 {
		p.detachQuery(token)
		return
	}
	if id&proto.GroupBit != 0 {
		p.groupDetach(token)
		return
	}
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.peek(id)
	if l == nil {
		return
	}
	if len(l.cancels) > 0 {
		l.cancels = slices.DeleteFunc(l.cancels, func(t uint64) bool { return t == token })
	}
	if l.unlock.active && l.unlock.token == token {
		l.unlock.silent = true
	}
	if l.ask.kind != proto.PendingNothing && l.ask.token == token {
		l.ask.detached = true
		s.giveUp(l)
	}
}

// giveUp withdraws a request for which nobody asked to be told of the cancel.
func (s *shard) giveUp(l *lock) {
	if l.root.where == local {
		s.withdraw(l)
		return
	}
	s.startCancel(l)
}
