package sim

import (
	"encoding/binary"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// verb is what a program asked for.
type verb uint8

const (
	askLock verb = iota
	askConvert
	askUnlock
	askCancel
	askInfo
	askDomain
)

var verbs = [...]string{"lock", "convert", "unlock", "cancel", "info", "domain"}

// op is one request of a program.
type op struct {
	token    uint64
	verb     verb
	l        *lk
	from, to mode.Mode
	flags    dlm.Flags
	write    uint32  // number of the value it would write
	asked    int     // step
	seen     []state // for reads under NL and CR: what the block was since the request
	cancels  int     // somebody tries to withdraw it
	expired  bool
	detached bool
	circular bool       // it has been part of a deadlock
	victim   bool       // somebody has chosen it
	blk      bool       // with a blocking routine
	told     int        // tick at which the owner learnt that it is queued
	reached  bool       // the master has granted it, the owner does not know yet
	outcome  dlm.Status // once answered
	answered bool
	ended    int // tick of the answer
	target   *op // of a cancel
	domain   int // of askDomain
	what     uint32
}

// lk is one lock as its program sees it.
type lk struct {
	n        *node
	id       proto.LockID
	r        *reg
	parent   *lk
	mode     mode.Mode // granted, as told
	flags    dlm.Flags // of the granted request
	blk      bool      // has a blocking routine, as granted
	ask      *op       // unanswered lock or conversion
	unlock   *op       // unanswered or answered unlock
	gone     bool      // ended for certain
	noticed  int       // step of the latest notice, or of its delivery
	present  bool      // the master has been seen to know it
	pin      bool
	grantAsk int // step of the request that was granted last
}

func (l *lk) String() string {
	t := l.n.name + "/" + l.r.name
	const digits = "0123456789abcdef"
	v := uint64(l.id>>32)*1000 + uint64(uint32(l.id)>>6)
	return t + "#" + string(digits[v>>8&15]) + string(digits[v>>4&15]) + string(digits[v&15])
}

// valueOf makes the contents that a write number stands for.
func valueOf(w uint32) (v proto.Value) {
	if w != 0 {
		binary.BigEndian.PutUint32(v[:], w)
		binary.BigEndian.PutUint32(v[28:], ^w)
	}
	return v
}

// writeOf is the opposite; false for contents that nobody wrote.
func writeOf(v *proto.Value) (uint32, bool) {
	w := binary.BigEndian.Uint32(v[:])
	return w, valueOf(w) == *v
}

func (s *sim) newOp(v verb, l *lk) *op {
	s.nextToken++
	return &op{token: s.nextToken, verb: v, l: l, asked: s.steps}
}

// act lets some program do something.
func (s *sim) act() bool {
	if s.all != nil {
		return s.actPrograms()
	}
	var able []*node
	for _, n := range s.nodes {
		if n.running() && n.id != 0 {
			able = append(able, n)
		}
	}
	if len(able) == 0 {
		return false
	}
	if s.spree.left > 0 && slices.Contains(able, s.spree.n) {
		return s.goOn()
	}
	n := able[s.rng.IntN(len(able))]
	if s.percent(s.plan.spree) {
		s.spree.n, s.spree.root, s.spree.left = n, s.rng.IntN(len(s.roots)), 3+s.rng.IntN(15)
	}
	if len(n.undel) > 0 && s.one(3) {
		s.deliverNotice(n)
		return true
	}
	// Prefer giving up what blocks somebody.
	var l *lk
	if len(n.locks) > 0 {
		l = n.locks[s.rng.IntN(len(n.locks))]
	}
	s.calls++
	switch x := s.rng.IntN(100); {
	case l == nil || x < 28 && len(n.locks) < 7:
		s.callLock(n)
	case x < 30:
		s.callInfo(n)
	case x < 34 && s.plan.persistent:
		s.callDomain(n, s.rng.IntN(len(domainNames)))
	case l.ask != nil && l.ask.detached:
		s.calls--
		return false
	case l.unlock != nil:
		s.callStale(n, l)
	case l.ask != nil && x < 40:
		s.callCancel(n, l)
	case l.ask != nil && x < 46:
		s.callExpire(n, l)
	case l.ask != nil && x < 50:
		s.callDetach(n, l)
	case l.ask != nil && x < 58:
		s.callUnlock(n, l)
	case l.ask != nil && x < 60:
		s.callConvert(n, l)
	case l.ask != nil:
		s.calls--
		return false
	case l.pin && x < 97:
		s.calls--
		return false
	case x < 72:
		s.callConvert(n, l)
	default:
		s.callUnlock(n, l)
	}
	return true
}

func (s *sim) deliverNotice(n *node) {
	for _, l := range n.locks {
		if n.undel[l.id] {
			delete(n.undel, l.id)
			l.noticed = s.steps
			s.note("%s: notice for %s delivered", n, l)
			s.step(n, func() { n.p.Delivered(l.id) })
			return
		}
	}
	s.fail("%s has a notice for a lock that is not there", n)
}

func (s *sim) randomMode() mode.Mode {
	for {
		m := mode.NL + mode.Mode(s.rng.IntN(4))
		if s.percent(s.plan.writers) {
			m = mode.PW + mode.Mode(s.rng.IntN(2))
		}
		if s.plan.palette.Has(m) || s.one(12) {
			return m
		}
	}
}

func (s *sim) randomFlags(per ...any) (f dlm.Flags) {
	for i := 0; i < len(per); i += 2 {
		if s.percent(per[i+1].(int)) {
			f |= per[i].(dlm.Flags)
		}
	}
	return f
}

func (s *sim) user() (u process.User) {
	u.NotPrm, u.Hint = s.nextToken, s.nextToken
	if s.one(2) {
		u.BlkRtn = 1
	}
	return u
}

func (s *sim) callLock(n *node) {
	var parent *lk
	if s.one(4) {
		for _, c := range n.locks {
			if c.mode != mode.None && c.unlock == nil && !c.gone && c.r.depth < 2 && s.one(2) {
				parent = c
			}
		}
	}
	m := s.randomMode()
	flags := s.randomFlags(dlm.NoQueue, 15, dlm.SyncSts, 30, dlm.NoDlckWt, 40, dlm.NoDlckBlk, 10, dlm.ValB, 75)
	pin := s.plan.pins && s.one(5)
	if pin {
		m, flags = mode.NL, flags&^dlm.NoQueue
	}
	if m == mode.NL && s.one(3) {
		flags |= dlm.Expedite
	}
	s.lockCall(n, parent, s.rng.IntN(len(s.roots)), s.rng.IntN(s.plan.names), m, flags, pin)
}

// lockCall asks for a new lock, on a root or below parent.
func (s *sim) lockCall(n *node, parent *lk, root, name int, m mode.Mode, flags dlm.Flags, pin bool) *op {
	q := process.LockRequest{Mode: m, Flags: flags, Async: s.async(), User: s.user()}
	if parent != nil {
		root = parent.r.root
		q.Parent = parent.id
		q.Name = proto.MakeName([]byte{'a' + byte(name)})
	} else {
		q.Space, q.Name = s.roots[root].Space, s.roots[root].Name
	}
	l := &lk{n: n, parent: parent, r: s.register(root, parent, name), pin: pin}
	o := s.newOp(askLock, l)
	o.to, o.flags, o.blk = m, flags, q.User.BlkRtn != 0
	q.Token = o.token
	l.ask = o
	n.ops[o.token] = o
	if s.percent(s.plan.transactions) {
		q.Tx = uint64(1 + s.rng.IntN(3))
		q.Flags |= dlm.TxidLocal
	}
	if l.r.domain != 0 {
		q.Flags |= dlm.Persist
		q.Domain = proto.DomainDigest(domainNames[l.r.domain-1])
	}
	l.r.locks = append(l.r.locks, l)
	n.locks = append(n.locks, l)
	l.r.invoke(o)
	var res process.Result
	s.step(n, func() {
		s.note("%s lock %s %s flags %x tx %d async %v", n, l.r.name, m, uint32(q.Flags), q.Tx, q.Async)
		s.lock(n, &q, &res)
		if n.doomed {
			return
		}
		if res.Lock != 0 {
			l.id = res.Lock
			if n.byID[l.id] != nil {
				s.fail("%s: lock id %x given twice", n, uint64(l.id))
			}
			n.byID[l.id] = l
		}
		s.returned(n, o, &res)
	})
	return o
}

func (s *sim) callConvert(n *node, l *lk) {
	flags := s.randomFlags(dlm.NoQueue, 12, dlm.SyncSts, 30, dlm.NoDlckWt, 40, dlm.NoDlckBlk, 10, dlm.ValB, 75, dlm.InvValBlk, 5)
	m := s.randomMode()
	if s.one(4) {
		m = mode.NL
	}
	if l.mode != mode.None && mode.QueueableConversion(l.mode, m) && s.one(4) {
		flags |= dlm.QueCvt
	}
	s.convertCall(n, l, m, flags)
}

func (s *sim) convertCall(n *node, l *lk, m mode.Mode, flags dlm.Flags) {
	busy := l.ask != nil || l.mode == mode.None
	o := s.newOp(askConvert, l)
	o.from, o.to, o.flags = l.mode, m, flags
	q := process.ConvertRequest{Lock: l.id, Mode: m, Flags: flags, Token: o.token, Async: s.async(), User: s.user()}
	if flags&dlm.ValB != 0 {
		s.nextWrite++
		o.write = s.nextWrite
		q.Value = valueOf(o.write)
	}
	o.blk = q.User.BlkRtn != 0
	n.ops[o.token] = o
	if !busy {
		l.ask = o
		l.r.invoke(o)
	}
	var res process.Result
	s.step(n, func() {
		s.note("%s convert %s %s->%s flags %x write %d async %v", n, l, l.mode, m, uint32(flags), o.write, q.Async)
		s.convert(n, &q, &res)
		if n.doomed {
			return
		}
		if busy {
			if res.Status != dlm.CvtUngrant {
				s.fail("convert of busy %s: status %d", l, res.Status)
			}
			delete(n.ops, o.token)
			return
		}
		s.returned(n, o, &res)
	})
}

func (s *sim) callUnlock(n *node, l *lk) {
	flags := s.randomFlags(dlm.ValB, 70, dlm.InvValBlk, 6)
	s.unlockCall(n, l, flags)
}

func (s *sim) unlockCall(n *node, l *lk, flags dlm.Flags) {
	o := s.newOp(askUnlock, l)
	o.from, o.flags = l.mode, flags
	q := process.UnlockRequest{Lock: l.id, Flags: flags, Token: o.token}
	if flags&dlm.ValB != 0 {
		s.nextWrite++
		o.write = s.nextWrite
		q.Value = valueOf(o.write)
	}
	kids := 0
	for _, c := range n.locks {
		if c.parent == l {
			if c.ask != nil && c.ask.detached {
				return // nobody can tell whether the sub-lock is still there
			}
			kids++
		}
	}
	n.ops[o.token] = o
	if kids == 0 {
		l.unlock = o
		l.r.invoke(o)
	}
	var res process.Result
	s.step(n, func() {
		s.note("%s unlock %s (%s) flags %x write %d", n, l, l.mode, uint32(flags), o.write)
		s.unlock(n, &q, &res)
		if n.doomed {
			return
		}
		if kids > 0 {
			if res.Status != dlm.SubLocks {
				s.fail("unlock of %s with %d sub-locks: status %d", l, kids, res.Status)
			}
			delete(n.ops, o.token)
			return
		}
		s.returned(n, o, &res)
	})
}

func (s *sim) callCancel(n *node, l *lk) {
	o := s.newOp(askCancel, l)
	o.target = l.ask
	if s.percent(75) {
		o.flags = dlm.CancelWaitOK
	}
	n.ops[o.token] = o
	weak := l.ask.verb == askLock && o.flags == 0
	if !weak {
		l.ask.cancels++
		l.r.withdrawing(l)
	}
	var res process.Result
	s.step(n, func() {
		s.note("%s cancel %s flags %x", n, l, uint32(o.flags))
		n.p.Cancel(l.id, o.flags, o.token, &res)
		if n.doomed {
			return
		}
		if weak && res.Status != dlm.CancelWait {
			s.fail("cancel of waiting %s without CANCELWAITOK: status %d", l, res.Status)
		}
		s.returned(n, o, &res)
	})
}

func (s *sim) callExpire(n *node, l *lk) {
	o := l.ask
	o.expired = true
	l.r.withdrawing(l)
	s.counts[expiries]++
	s.step(n, func() {
		s.note("%s timeout of %s", n, l)
		n.p.Expire(l.id, o.token)
	})
}

func (s *sim) callDetach(n *node, l *lk) {
	o := l.ask
	o.detached = true
	l.r.withdrawing(l)
	s.counts[detaches]++
	s.step(n, func() {
		s.note("%s detaches from the request of %s", n, l)
		n.p.Detach(l.id, o.token)
	})
}

func (s *sim) callInfo(n *node) {
	o := s.newOp(askInfo, nil)
	n.ops[o.token] = o
	root := s.rng.IntN(len(s.roots))
	var below proto.LockID
	name := s.roots[root].Name
	if len(n.locks) > 0 && s.one(3) {
		if l := n.locks[s.rng.IntN(len(n.locks))]; l.unlock == nil && !l.gone && l.ask == nil {
			below, name = l.id, proto.MakeName([]byte{'a'})
		}
	}
	var res process.Result
	s.step(n, func() {
		s.note("%s asks about a resource of root %d", n, root)
		n.p.ResourceInfo(s.roots[root].Space, name, below, o.token, &res)
		if !n.doomed {
			s.returned(n, o, &res)
		}
	})
}

// callStale uses a handle that is not one any more.
func (s *sim) callStale(n *node, l *lk) {
	var res process.Result
	s.step(n, func() {
		switch s.rng.IntN(3) {
		case 0:
			s.convert(n, &process.ConvertRequest{Lock: l.id, Mode: mode.NL}, &res)
		case 1:
			s.unlock(n, &process.UnlockRequest{Lock: l.id}, &res)
		default:
			n.p.Cancel(l.id, 0, 0, &res)
		}
		if !n.doomed && res.Status != dlm.IvLockID {
			s.fail("%s: call on unlocked %s: status %d", n, l, res.Status)
		}
	})
}
