package godlm

import (
	"context"
	"strings"
	"time"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// wait waits for the answer to a request that core has put on its way. With abandon the
// request is withdrawn when ctx is done, and nobody waits for what becomes of it; otherwise
// its master is asked to withdraw it and has the last word.
func (s *session) wait(ctx context.Context, op string, l *Lock, w *waiter, r *request, abandon bool) error {
	done := ctx.Done()
	var timeout, every <-chan time.Time
	if r.timeout > 0 && r.flags&dlm.NoQueue == 0 {
		t := time.NewTimer(r.timeout)
		defer t.Stop()
		timeout = t.C
	}
	if r.waiting != nil && r.every > 0 {
		t := time.NewTicker(r.every)
		defer t.Stop()
		every = t.C
	}
	expired := false // by ctx
	for {
		select {
		case <-w.ch:
			if expired && w.res.status == dlm.Timeout {
				return &Error{op, l.name, ErrCanceled, ctx.Err()}
			}
			return nil
		case <-done:
			done = nil
			if !abandon {
				expired = true
				s.expire(l, w)
				continue
			}
			l.detach(w)
			select {
			case <-w.ch: // the answer was quicker
				return nil
			default:
				return &Error{op, l.name, ErrCanceled, ctx.Err()}
			}
		case <-timeout:
			s.expire(l, w)
		case <-every:
			s.explain(l, w, r)
		}
	}
}

// expire asks for the end of a request. Its answer follows.
func (s *session) expire(l *Lock, w *waiter) {
	if s.enter() != nil {
		return
	}
	defer s.leave()
	s.node.Process().Expire(l.number(), w.token)
}

// Blocker is a lock, or a request that is ahead in the queue, for which a request waits.
type Blocker struct {
	Mode   Mode // granted, or asked for
	Queued bool // it is a request
	// Transaction is the one that it belongs to, 0 for none.
	Transaction uint64
	// Text tells it in words, with program and process id as far as they are visible here.
	Text string
}

// explain tells the program who is in the way.
func (s *session) explain(l *Lock, w *waiter, r *request) {
	list, ok := s.askBlockers(l, w.ch)
	if ok && len(list) > 0 {
		r.waiting(s.describe(list))
	}
}

// askBlockers asks who is in the way of l's request, until over has something, which stays
// there.
func (s *session) askBlockers(l *Lock, over chan struct{}) (list []proto.Obstacle, ok bool) {
	w := s.waits.take(nil, 0)
	defer s.waits.put(w)
	var res process.Result
	if s.enter() != nil {
		return nil, false
	}
	s.node.Process().Blockers(l.number(), w.token, &res)
	s.leave()
	if res.Status != dlm.Pending {
		return res.Obstacles, res.Status == dlm.Success
	}
	select {
	case <-w.ch:
		return w.res.obstacles, w.res.status == dlm.Success
	case <-over:
		over <- struct{}{}
		s.forget(w)
		return nil, false
	}
}

// forget: nobody waits for the answer to a question any more.
func (s *session) forget(w *waiter) {
	if s.enter() != nil {
		return
	}
	defer s.leave()
	s.node.Process().Detach(0, w.token)
}

func (s *session) describe(list []proto.Obstacle) (out []Blocker) {
	var lines []string
	if s.enter() == nil {
		lines = strings.Split(strings.TrimSuffix(s.node.Describe(list), "\n"), "\n")
		s.leave()
	}
	for i := range list {
		o := &list[i]
		b := Blocker{Mode: Mode(o.Mode), Queued: o.Queued}
		if o.Party.Kind != proto.PartyProcess {
			b.Transaction = o.Party.ID
		}
		if i < len(lines) {
			b.Text = lines[i]
		}
		out = append(out, b)
	}
	return out
}

// Blockers tells who is in the way of the lock's conversion: nobody if none waits. For a new lock
// there is WhileWaiting.
func (l *Lock) Blockers(ctx context.Context) ([]Blocker, error) {
	const op = "ask who blocks"
	s := l.ns.session
	var list []proto.Obstacle
	st, err := s.question(ctx, func(token uint64, r *process.Result) {
		s.node.Process().Blockers(l.number(), token, r)
	}, func(r *process.Result, a *answer) {
		if list = r.Obstacles; r.Status == dlm.Pending {
			list = a.obstacles
		}
	})
	if err := told(op, l.name, st, err); err != nil {
		return nil, err
	}
	return s.describe(list), nil
}

// Info tells of a resource below this lock.
func (l *Lock) Info(ctx context.Context, name string) (Info, error) { return l.ns.info(ctx, l, name) }

func (ns *Namespace) info(ctx context.Context, parent *Lock, name string) (out Info, err error) {
	const op = "ask about"
	if len(name) < 1 || len(name) > MaxName {
		return out, &Error{op, name, ErrBadName, nil}
	}
	s := ns.session
	var above proto.LockID
	if parent != nil {
		above = parent.number()
	}
	var n proto.Info
	st, err := s.question(ctx, func(token uint64, r *process.Result) {
		s.node.Process().ResourceInfo(ns.space, proto.MakeName([]byte(name)), above, token, r)
	}, func(r *process.Result, a *answer) {
		if n = r.Info; r.Status == dlm.Pending {
			n = a.info
		}
	})
	if err := told(op, name, st, err); err != nil {
		return out, err
	}
	return Info{
		Block: Block{Value(n.Block.Value), n.Block.Valid}, Locks: int(n.Locks), SubResources: int(n.SubResources),
		GroupMode: Mode(n.GroupMode), AtGroupMode: int(n.AtGroupMode), ConvertMode: Mode(n.ConvertMode), WaitMode: Mode(n.WaitMode),
		Writes: n.Writes,
	}, nil
}

// question asks something that changes no lock, and waits for the answer. got receives what
// came at once, with status Pending if the answer came later.
func (s *session) question(ctx context.Context, ask func(token uint64, r *process.Result), got func(*process.Result, *answer)) (dlm.Status, error) {
	w := s.waits.take(nil, 0)
	defer s.waits.put(w)
	var res process.Result
	if err := s.enter(); err != nil {
		return 0, err
	}
	ask(w.token, &res)
	s.leave()
	st := res.Status
	if st == dlm.Pending {
		select {
		case <-w.ch:
		case <-ctx.Done():
			s.forget(w)
			return 0, ctx.Err()
		}
		st = w.res.status
	}
	got(&res, &w.res)
	return st, nil
}

// told is the error of a question.
func told(op, name string, st dlm.Status, err error) error {
	switch s, is := err.(Status); {
	case err != nil && is:
		return &Error{op, name, s, nil}
	case err != nil:
		return &Error{op, name, ErrCanceled, err}
	case st != dlm.Success:
		return &Error{op, name, Status(st), nil}
	}
	return nil
}

// Token is the fencing token of the latest grant of a lock that is held in PW or EX.
func (l *Lock) Token() (Token, error) {
	const op = "ask for the token"
	s := l.ns.session
	if err := s.enter(); err != nil {
		return Token{}, &Error{op, l.name, err.(Status), nil}
	}
	t, st := s.node.Process().Token(l.number())
	s.leave()
	switch {
	case st == dlm.Success:
		return Token{t.Assign, t.Seq}, nil
	case st == dlm.BadParam:
		return Token{}, bad(op, l.name, "only PW and EX have one, not %v", mode.Mode(l.Mode()))
	}
	return Token{}, l.failed(op, st)
}
