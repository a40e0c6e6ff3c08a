package sim

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
)

// returned takes what a call returned; a pending one is answered by an event.
func (s *sim) returned(n *node, o *op, res *process.Result) {
	if res.Status == dlm.Pending {
		return
	}
	s.answer(n, o, &process.Completion{Token: o.token, Status: res.Status, Read: res.Read, Value: res.Value})
}

// settleEvents takes the completions of the step just made.
func (s *sim) settleEvents(n *node) {
	for i := range n.events {
		c := &n.events[i]
		o := n.ops[c.Token]
		if o == nil {
			s.fail("%s: completion %d for token %d, which awaits none", n, c.Status, c.Token)
		}
		if o.detached {
			s.fail("%s: completion for a detached request of %s", n, o.l)
		}
		s.answer(n, o, c)
	}
	n.events = n.events[:0]
	s.detachedRequests(n)
}

func grantStatus(st dlm.Status) bool { return st >= dlm.Success && st <= dlm.SyncValNotValid }

// answer ends a request.
func (s *sim) answer(n *node, o *op, c *process.Completion) {
	delete(n.ops, o.token)
	o.answered, o.outcome, o.ended = true, c.Status, s.ticks
	if o.l != nil {
		s.note("   %s: %s of %s answers %d%s", n, verbs[o.verb], o.l, c.Status, readNote(c))
	}
	switch o.verb {
	case askLock, askConvert:
		if grantStatus(c.Status) {
			s.grantedOp(o, c)
		} else {
			s.refusedOp(o, c.Status)
		}
	case askUnlock:
		if c.Status != dlm.Success {
			s.fail("unlock of %s: status %d", o.l, c.Status)
		}
		l := o.l
		l.r.unlocked(o)
		s.end(l)
	case askCancel:
		s.cancelAnswered(o, c.Status)
	case askDomain:
		s.domainAnswered(n, o, c)
	}
}

func readNote(c *process.Completion) string {
	if !c.Read {
		return ""
	}
	w, ok := writeOf(&c.Value)
	if !ok {
		return " reading garbage"
	}
	return " reading " + itoa(w)
}

func itoa(w uint32) string {
	if w == 0 {
		return "0"
	}
	var b [10]byte
	i := len(b)
	for ; w > 0; w /= 10 {
		i--
		b[i] = byte('0' + w%10)
	}
	return string(b[i:])
}

func (s *sim) grantedOp(o *op, c *process.Completion) {
	l := o.l
	l.ask = nil
	if l.unlock != nil {
		s.counts[grantAfterUnlock]++ // the owner has given the lock up meanwhile
	}
	valid := c.Status == dlm.Success || c.Status == dlm.Synch
	if o.flags&dlm.ValB == 0 && !valid {
		s.fail("%s: status %d without DLM_VALB", l, c.Status)
	}
	if o.flags&dlm.SyncSts == 0 && (c.Status == dlm.Synch || c.Status == dlm.SyncValNotValid) {
		s.fail("%s: status %d without DLM_SYNCSTS", l, c.Status)
	}
	move := mode.OnConvert(o.from, o.to)
	if want := o.flags&dlm.ValB != 0 && move == mode.Read; c.Read != want {
		s.fail("%s: conversion %s->%s read the value: %v", l, o.from, o.to, c.Read)
	}
	w, ok := writeOf(&c.Value)
	if c.Read && !ok {
		s.fail("%s reads contents that nobody wrote: %x", l, c.Value)
	}
	if !valid {
		s.counts[readInvalid]++
	}
	l.flags, l.blk, l.grantAsk = o.flags, o.blk, o.asked
	l.r.granted(o, c.Read, state{w, valid}, o.flags&dlm.ValB != 0)
	if t, st := l.n.p.Token(l.id); st == dlm.Success {
		// Fencing tokens of a name only grow, whoever is master and however often
		// the resource has been made anew.
		if !l.r.token.Less(t) {
			s.fail("%s: fencing token %x.%d after %x.%d", l, t.Assign, t.Seq, l.r.token.Assign, l.r.token.Seq)
		}
		l.r.token = t
		s.counts[tokens]++
	}
	if l.unlock != nil && l.unlock.answered {
		s.fail("%s is granted after its unlock was answered", l)
	}
}

func (s *sim) refusedOp(o *op, st dlm.Status) {
	l := o.l
	may := false
	switch st {
	case dlm.NotQueued:
		may = o.flags&dlm.NoQueue != 0
	case dlm.Deadlock:
		may = o.flags&dlm.NoDlckWt == 0 && (o.circular || o.verb == askConvert && o.told == 0)
		s.counts[deadlocks]++
	case dlm.Cancel:
		may = o.verb == askConvert && o.cancels > 0
	case dlm.Abort:
		may = o.verb == askLock && o.cancels > 0 || l.unlock != nil
	case dlm.Timeout:
		may = o.expired
	case dlm.InsfMem:
		may = o.verb == askLock && (s.counts[journalFull] > 0 || s.counts[directoryFull] > 0)
	case dlm.ParNotGrant:
		may = false
	}
	if !may {
		s.fail("%s of %s refused with status %d", verbs[o.verb], l, st)
	}
	if o.verb == askConvert && mode.NotHigher(o.from, o.to) && st != dlm.Abort {
		s.fail("conversion %s->%s of %s refused with status %d", o.from, o.to, l, st)
	}
	l.ask = nil
	l.r.refused(o)
	if o.verb == askLock && l.unlock == nil {
		s.end(l)
	}
	if o.verb == askLock && l.unlock != nil && l.unlock.answered {
		s.end(l)
	}
}

func (s *sim) cancelAnswered(o *op, st dlm.Status) {
	t := o.target
	if t.detached {
		return // what became of it nobody was told
	}
	switch st {
	case dlm.Success:
		s.counts[cancels]++
		if t.answered && t.outcome != dlm.Cancel && t.outcome != dlm.Abort && t.outcome != dlm.Timeout {
			s.fail("cancel of %s answers success, but the request ended with %d", o.l, t.outcome)
		}
	case dlm.CancelGrant:
		if t.answered && !grantStatus(t.outcome) && t.outcome != dlm.NotQueued && t.outcome != dlm.Deadlock {
			s.fail("cancel of %s answers CANCELGRANT, but the request ended with %d", o.l, t.outcome)
		}
	case dlm.CancelWait, dlm.IvLockID:
	default:
		s.fail("cancel of %s: status %d", o.l, st)
	}
}

// end forgets a lock that is no more.
func (s *sim) end(l *lk) {
	if l.gone {
		return
	}
	l.gone = true
	n := l.n
	for i, x := range n.locks {
		if x == l {
			n.locks = append(n.locks[:i:i], n.locks[i+1:]...)
			break
		}
	}
	if l.id != 0 {
		delete(n.byID, l.id)
		if n.undel[l.id] {
			s.fail("%s has ended, its notice is still undelivered", l)
		}
	}
	l.r.ended(l)
}

// detachedRequests finds out what became of requests that nobody waits for.
func (s *sim) detachedRequests(n *node) {
	for _, l := range n.locks {
		o := l.ask
		if o == nil || !o.detached || l.unlock != nil {
			continue
		}
		info, st := n.p.LockInfo(l.id)
		switch {
		case st == dlm.IvLockID && o.verb == askLock:
			// Gone, or on its way out; atRest ends it.
		case st != dlm.Success:
			s.fail("detached conversion of %s: the lock's status is %d", l, st)
		case o.verb == askConvert && info.State == process.Granted:
			l.ask = nil
			o.answered, o.ended = true, s.ticks
			delete(n.ops, o.token)
			if info.Granted == o.to {
				l.flags, l.blk, l.grantAsk = o.flags, o.blk, o.asked
				l.r.granted(o, false, state{}, false)
			} else {
				o.outcome = dlm.Cancel
				l.r.refused(o)
			}
		}
	}
}
