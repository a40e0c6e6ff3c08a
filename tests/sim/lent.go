package sim

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/tests/callers"
)

// A program's calls go to the lock manager if the callers' side has not decided them.

func (s *sim) lock(n *node, q *process.LockRequest, res *process.Result) {
	if !s.direct(callers.Lock(n.lent, q, res)) {
		n.p.Lock(q, res)
	}
}

func (s *sim) convert(n *node, q *process.ConvertRequest, res *process.Result) {
	if !s.direct(callers.Convert(n.lent, q, res)) {
		n.p.Convert(q, res)
	}
}

func (s *sim) unlock(n *node, q *process.UnlockRequest, res *process.Result) {
	if !s.direct(callers.Unlock(n.lent, q, res)) {
		n.p.Unlock(q, res)
	}
}

func (s *sim) direct(done bool) bool {
	if done {
		s.counts[directs]++
	}
	return done
}

// spree is a program that uses one root resource for a while, as fast as it can: its tree is lent
// to it if nobody else has a lock there.
type spree struct {
	n    *node
	root int
	left int
	on   bool // the call at hand belongs to it
}

// async reports whether the next request is to be asynchronous.
func (s *sim) async() bool { return s.one(2) && (!s.spree.on || s.one(4)) }

// goOn makes the next call of a spree.
func (s *sim) goOn() bool {
	n := s.spree.n
	s.spree.left--
	s.spree.on = true
	defer func() { s.spree.on = false }()
	s.calls++
	var l *lk
	for _, x := range n.locks {
		if x.parent == nil && x.r.root == s.spree.root && x.ask == nil && x.unlock == nil && !x.gone {
			l = x
		}
	}
	switch {
	case l == nil:
		flags := s.randomFlags(dlm.NoQueue, 30, dlm.SyncSts, 30, dlm.ValB, 75)
		s.lockCall(n, nil, s.spree.root, 0, s.randomMode(), flags, false)
	case l.pin || s.one(12):
		s.callInfo(n)
	case s.one(3):
		s.callUnlock(n, l)
	default:
		s.callConvert(n, l)
	}
	return true
}
