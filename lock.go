package godlm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Lock is a lock that this program holds. Its methods may be called by several goroutines;
// one conversion at a time can be under way.
type Lock struct {
	ns       *Namespace
	parent   *Lock
	name     string
	blocking func(Blocking)
	key      uint64 // of blocking among the session's notices; 0: there is none
	node     lockNode

	// submit is held while a request is put to core, until what that has answered at once is
	// in state; not while the request waits.
	submit sync.Mutex

	// state is taken by the sink, which holds a mutex of core: nothing is called under it.
	state sync.Mutex
	id    proto.LockID
	mode  Mode
	block Block
	over  bool // unlocked, or about to be
}

// Lock asks for a new lock on a name and returns when it is granted.
func (ns *Namespace) Lock(ctx context.Context, name string, m Mode, opts ...LockOption) (*Lock, error) {
	return ns.lock(ctx, nil, name, m, opts)
}

// Lock asks for a lock on a name below this one. Names below different locks on the same
// name are the same, and the lock above cannot be unlocked before those below it.
func (l *Lock) Lock(ctx context.Context, name string, m Mode, opts ...LockOption) (*Lock, error) {
	return l.ns.lock(ctx, l, name, m, opts)
}

func (ns *Namespace) lock(ctx context.Context, parent *Lock, name string, m Mode, opts []LockOption) (*Lock, error) {
	const op = "lock"
	var r request
	for _, o := range opts {
		o.lock(&r)
	}
	switch {
	case !mode.Mode(m).Valid():
		return nil, bad(op, name, "mode %d is none", m)
	case len(name) < 1 || len(name) > MaxName:
		return nil, &Error{op, name, ErrBadName, nil}
	case r.flags&dlm.Expedite != 0 && m != NL:
		return nil, bad(op, name, "Expedite is for NL, not %v", m)
	case r.persistent && (r.domain == nil || r.domain.ns.session != ns.session):
		return nil, &Error{op, name, ErrDomain, nil}
	case ctx.Err() != nil:
		return nil, &Error{op, name, ErrCanceled, ctx.Err()}
	}
	l := &Lock{ns: ns, parent: parent, name: name, blocking: r.blocking}
	s := ns.session
	w := s.waits.take(l, m)
	defer s.waits.put(w)
	res, err := l.request(&r, w)
	if err == nil && res.Status == dlm.Pending {
		err = s.wait(ctx, op, l, w, &r, parent == nil)
		res.Status = w.res.status
	}
	if err == nil && granted(res.Status) {
		return l, nil
	}
	l.forget()
	switch {
	case err != nil:
		return nil, err
	case res.Status == dlm.IvLockID:
		return nil, &Error{op, name, ErrUnlocked, errors.New("the lock above")}
	}
	return nil, l.failed(op, res.Status)
}

// request puts the request for the new lock to core.
func (l *Lock) request(r *request, w *waiter) (res process.Result, err error) {
	s := l.ns.session
	l.submit.Lock()
	defer l.submit.Unlock()
	if err := l.ns.enlist(l); err != nil {
		return res, &Error{"lock", l.name, err.(Status), nil}
	}
	if err := s.enter(); err != nil {
		return res, &Error{"lock", l.name, err.(Status), nil}
	}
	defer s.leave()
	if l.blocking != nil {
		l.key = s.notices.add(l)
	}
	q := process.LockRequest{
		Space: l.ns.space, Name: proto.MakeName([]byte(l.name)), Mode: mode.Mode(w.mode), Flags: r.flags | s.flags | dlm.ValB, Tx: r.tx,
		User: process.User{BlkRtn: l.key, Hint: r.hint}, Token: w.token,
	}
	if l.parent != nil {
		q.Parent = l.parent.number()
	}
	if r.persistent {
		q.Flags |= dlm.Persist
		q.Domain = r.domain.digest
	}
	s.node.Process().Lock(&q, &res)
	l.answered(w, &res)
	return res, nil
}

// number is the lock's handle.
func (l *Lock) number() proto.LockID {
	l.state.Lock()
	defer l.state.Unlock()
	return l.id
}

// answered takes what core has answered at once.
func (l *Lock) answered(w *waiter, r *process.Result) {
	if r.Status == dlm.Pending {
		l.state.Lock()
		l.id = r.Lock
		l.state.Unlock()
		return
	}
	if granted(r.Status) {
		l.state.Lock()
		l.id = r.Lock
		l.state.Unlock()
		l.take(w.mode, &answer{status: r.Status, read: r.Read, value: Value(r.Value)})
	}
}

// take makes a grant true here.
func (l *Lock) take(m Mode, a *answer) {
	l.state.Lock()
	defer l.state.Unlock()
	l.mode = m
	if a.read {
		l.block = Block{a.value, valid(a.status)}
	}
}

// failed is the error of a call that core has refused.
func (l *Lock) failed(op string, st dlm.Status) error {
	if st == dlm.Abort && l.ns.Err() != nil {
		st = dlm.NotAttached
	}
	return &Error{op, l.name, Status(st), nil}
}

// Convert asks for another mode and returns when it is granted; until then, and when it is not,
// the lock is held in the mode that it had. The mode may be the same.
func (l *Lock) Convert(ctx context.Context, m Mode, opts ...ConvertOption) error {
	const op = "convert"
	var r request
	for _, o := range opts {
		o.convert(&r)
	}
	if !mode.Mode(m).Valid() {
		return bad(op, l.name, "mode %d is none", m)
	}
	if ctx.Err() != nil {
		return &Error{op, l.name, ErrCanceled, ctx.Err()}
	}
	s := l.ns.session
	w := s.waits.take(l, m)
	defer s.waits.put(w)
	res, err := l.ask(&r, w)
	if err == nil && res.Status == dlm.Pending {
		err = s.wait(ctx, op, l, w, &r, false)
		res.Status = w.res.status
	}
	switch {
	case err != nil:
		return err
	case !granted(res.Status):
		return l.failed(op, res.Status)
	}
	return nil
}

// ask puts the conversion to core.
func (l *Lock) ask(r *request, w *waiter) (res process.Result, err error) {
	const op = "convert"
	s := l.ns.session
	l.submit.Lock()
	defer l.submit.Unlock()
	l.state.Lock()
	id, held, over := l.id, mode.Mode(l.mode), l.over
	l.state.Unlock()
	if over {
		return res, l.gone(op)
	}
	q := process.ConvertRequest{
		Lock: id, Mode: mode.Mode(w.mode), Flags: r.flags, User: process.User{BlkRtn: l.key, Hint: r.hint}, Token: w.token,
	}
	move := mode.OnConvert(held, q.Mode)
	switch {
	case r.write != nil && r.invalidate:
		return res, bad(op, l.name, "Write and Invalidate exclude each other")
	case (r.write != nil || r.invalidate) && move != mode.Write:
		return res, bad(op, l.name, "a conversion from %v to %v does not write the value block", held, q.Mode)
	case r.flags&dlm.QueCvt != 0 && !mode.QueueableConversion(held, q.Mode):
		return res, bad(op, l.name, "AtEnd is not for a conversion from %v to %v", held, q.Mode)
	case r.write != nil:
		q.Flags |= dlm.ValB
		q.Value = proto.Value(*r.write)
	case r.invalidate:
		q.Flags |= dlm.InvValBlk
	case move == mode.Read:
		q.Flags |= dlm.ValB
	}
	if err := s.enter(); err != nil {
		return res, &Error{op, l.name, err.(Status), nil}
	}
	defer s.leave()
	s.node.Process().Convert(&q, &res)
	l.answered(w, &res)
	return res, nil
}

// gone is the error of a call on a lock that has been unlocked.
func (l *Lock) gone(op string) error {
	if err := l.ns.Err(); err != nil {
		return &Error{op, l.name, err.(Status), nil}
	}
	return &Error{op, l.name, ErrUnlocked, nil}
}

// Unlock gives the lock up, whatever becomes of ctx: that bounds only how long it waits for the
// word of the master. Unlocked twice it is ErrUnlocked. A conversion under way ends with
// ErrAborted. With an error other than that of the context the lock is held as before.
func (l *Lock) Unlock(ctx context.Context, opts ...UnlockOption) error {
	const op = "unlock"
	var r request
	for _, o := range opts {
		o.unlock(&r)
	}
	s := l.ns.session
	w := s.waits.take(nil, 0)
	defer s.waits.put(w)
	res, err := l.release(&r, w)
	if err != nil {
		return err
	}
	if res.Status == dlm.Pending {
		select {
		case <-w.ch:
			res.Status = w.res.status
		case <-ctx.Done():
			l.detach(w)
			select {
			case <-w.ch:
				res.Status = w.res.status
			default:
				l.forget()
				return &Error{op, l.name, ErrCanceled, fmt.Errorf("the unlock goes on: %w", ctx.Err())}
			}
		}
	}
	if res.Status == dlm.Success || res.Status == dlm.IvLockID {
		l.forget()
	}
	if res.Status != dlm.Success {
		return l.failed(op, res.Status)
	}
	return nil
}

// release puts the unlock to core.
func (l *Lock) release(r *request, w *waiter) (res process.Result, err error) {
	const op = "unlock"
	s := l.ns.session
	l.submit.Lock()
	defer l.submit.Unlock()
	l.state.Lock()
	id, held, over := l.id, l.mode, l.over
	l.state.Unlock()
	q := process.UnlockRequest{Lock: id, Token: w.token}
	switch {
	case over:
		return res, l.gone(op)
	case r.write != nil && r.invalidate:
		return res, bad(op, l.name, "Write and Invalidate exclude each other")
	case (r.write != nil || r.invalidate) && !mode.Writer(mode.Mode(held)):
		return res, bad(op, l.name, "held in %v, the value block cannot be written", held)
	case r.write != nil:
		q.Flags |= dlm.ValB
		q.Value = proto.Value(*r.write)
	case r.invalidate:
		q.Flags |= dlm.InvValBlk
	}
	if err := s.enter(); err != nil {
		return res, &Error{op, l.name, err.(Status), nil}
	}
	defer s.leave()
	s.node.Process().Unlock(&q, &res)
	if res.Status == dlm.Success || res.Status == dlm.Pending {
		l.state.Lock()
		l.over, l.mode = true, 0
		l.state.Unlock()
	}
	return res, nil
}

// detach: nobody waits for the answer to w any more. None comes after this.
func (l *Lock) detach(w *waiter) {
	s := l.ns.session
	if s.enter() != nil {
		return
	}
	defer s.leave()
	s.node.Process().Detach(l.number(), w.token)
}

// forget takes the lock, which is no longer one, off all lists.
func (l *Lock) forget() {
	l.state.Lock()
	l.over, l.mode = true, 0
	l.state.Unlock()
	l.ns.mu.Lock()
	l.ns.locks.remove(l)
	l.ns.mu.Unlock()
	if l.key != 0 {
		l.ns.session.notices.remove(l.key)
	}
}

// Name is the name that is locked, below the lock above if there is one.
func (l *Lock) Name() string { return l.name }

// Parent is the lock above, nil if there is none.
func (l *Lock) Parent() *Lock { return l.parent }

// Namespace is where the name is from.
func (l *Lock) Namespace() *Namespace { return l.ns }

// Mode is the mode that is held: 0 once the lock is unlocked. That the locks are lost is
// told by the namespace.
func (l *Lock) Mode() Mode {
	l.state.Lock()
	defer l.state.Unlock()
	return l.mode
}

// Block is the value block as the latest grant that reads it has found it: that of the new lock,
// or of a conversion to the same or a higher mode that is not from PW or EX, or from PW to EX.
func (l *Lock) Block() Block {
	l.state.Lock()
	defer l.state.Unlock()
	return l.block
}

// lockList is the locks of a namespace, newest first. Ns.mu guards it and the links.
type lockList struct {
	head   *Lock
	closed bool
}

type lockNode struct {
	next, prev *Lock
	in         bool
}

// enlist notes a lock that is about to be asked for.
func (ns *Namespace) enlist(l *Lock) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	q := &ns.locks
	if q.closed {
		return ErrClosed
	}
	l.node = lockNode{next: q.head, in: true}
	if q.head != nil {
		q.head.node.prev = l
	}
	q.head = l
	return nil
}

func (q *lockList) remove(l *Lock) {
	n := &l.node
	if !n.in {
		return
	}
	if n.prev != nil {
		n.prev.node.next = n.next
	} else {
		q.head = n.next
	}
	if n.next != nil {
		n.next.node.prev = n.prev
	}
	l.node = lockNode{}
}

// take empties the list.
func (q *lockList) take() (all []*Lock) {
	for q.head != nil {
		l := q.head
		q.remove(l)
		all = append(all, l)
	}
	return all
}
