package godlm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/attach"
)

// Namespace is a set of names, with the locks that this program has on them through one Join.
type Namespace struct {
	session *session
	space   proto.Namespace

	mu     sync.Mutex
	locks  lockList // unlocked ones are not in it
	closed bool
	done   chan struct{} // closed by Close, or when the session is done
}

// Join joins a namespace: that of the effective user unless an option says otherwise. ctx
// bounds the joining only; without a deadline it takes 10 seconds at most. The status in the error
// is that of dlm_nsjoin(3).
func Join(ctx context.Context, opts ...JoinOption) (*Namespace, error) {
	j := joining{space: proto.Namespace{Kind: proto.PerUser, ID: uint32(os.Geteuid())}, getenv: os.Getenv}
	if os.Geteuid() == 0 { // D-24: root's own is the public one
		j.space = proto.Namespace{Kind: proto.Systemwide}
	}
	for _, o := range opts {
		o(&j)
	}
	env := j.environment()
	if err := mayJoin(j.space, env); err != nil {
		return nil, err
	}
	set, err := attach.Read(env)
	if err != nil {
		return nil, cannotJoin(ctx, err)
	}
	if j.log == nil {
		j.log = attach.Logger(set.Get, os.Stderr, slog.LevelWarn)
	}
	s, err := acquire(ctx, set, j.log)
	if err != nil {
		return nil, cannotJoin(ctx, err)
	}
	ns := &Namespace{session: s, space: j.space, done: make(chan struct{})}
	go ns.watch()
	return ns, nil
}

// watch closes done when the session is done.
func (ns *Namespace) watch() {
	select {
	case <-ns.done:
	case <-ns.session.done:
		ns.mu.Lock()
		defer ns.mu.Unlock()
		if !ns.closed {
			ns.closed = true
			close(ns.done)
		}
	}
}

func cannotJoin(ctx context.Context, err error) error {
	st := Status(attach.Status(err))
	if ctx.Err() != nil {
		st = ErrCanceled
	}
	return &Error{Op: "join", Status: st, Err: err}
}

// environment is the environment with what the options say.
func (j *joining) environment() func(string) string {
	return func(name string) string {
		switch {
		case name == "GODLM_CLUSTER" && j.cluster != "":
			return j.cluster
		case name == "GODLM_DIR" && j.dir != "":
			return j.dir
		}
		return j.getenv(name)
	}
}

// mayJoin checks as dlm_nsjoin does (D-24, D-25).
func mayJoin(space proto.Namespace, getenv func(string) string) error {
	var st Status
	switch space.Kind {
	case proto.PerGroup:
		groups, err := unix.Getgroups()
		if err != nil {
			return &Error{Op: "join", Status: ErrNoSys, Err: err}
		}
		if unix.Getegid() != int(space.ID) && !slices.Contains(groups, int(space.ID)) {
			st = ErrNoAccess
		}
	case proto.Systemwide:
		switch {
		case os.Geteuid() != 0:
			st = ErrNoAccess
		case getenv("GODLM_PUBLIC_NAMESPACE") == "off":
			st = ErrPublic
		}
	}
	if st == 0 {
		return nil
	}
	return &Error{Op: "join", Status: st}
}

// Done is closed when no lock of this namespace is held any more: they are lost, or Close was
// called.
func (ns *Namespace) Done() <-chan struct{} { return ns.done }

// Err tells why Done is closed: ErrLost or ErrClosed. It is nil while Done is not.
func (ns *Namespace) Err() error {
	select {
	case <-ns.done:
	default:
		return nil
	}
	if err := ns.session.why(); errors.Is(err, ErrLost) {
		return ErrLost
	}
	return ErrClosed
}

// Close gives up what is left, as the end of the program would: value blocks of locks held in
// PW or EX become not valid. Who waits in a call gets ErrClosed. It is no error to close
// twice, or to close what is lost; do so to be able to join again.
func (ns *Namespace) Close() error {
	ns.mu.Lock()
	first := !ns.locks.closed
	ns.locks.closed = true
	if !ns.closed {
		ns.closed = true
		close(ns.done)
	}
	left := ns.locks.take()
	ns.mu.Unlock()
	if !first {
		return nil
	}
	ns.drop(left)
	ns.leaveDomains()
	ns.session.release()
	return nil
}

// drop gives up locks, newest first, so that sub-locks go before what they are below. Nobody
// waits for the answers.
func (ns *Namespace) drop(left []*Lock) {
	s := ns.session
	for _, l := range left {
		l.submit.Lock() // a request that was begun has been put
		if s.enter() != nil {
			l.submit.Unlock()
			return
		}
		w := s.waits.take(nil, 0)
		l.state.Lock()
		id, held := l.id, l.mode
		l.mode, l.over = 0, true
		l.state.Unlock()
		q := process.UnlockRequest{Lock: id, Token: w.token}
		if mode.Writer(mode.Mode(held)) {
			q.Flags = dlm.InvValBlk
		}
		var r process.Result
		if id != 0 {
			s.node.Process().Unlock(&q, &r)
			if r.Status == dlm.Pending {
				s.node.Process().Detach(id, w.token)
			}
		}
		s.leave()
		l.submit.Unlock()
		s.waits.put(w)
		if l.key != 0 {
			s.notices.remove(l.key)
		}
	}
}

// Info tells of a resource, whether or not this program has a lock on it: ErrNoResource if
// nobody has. It does not make anybody wait, and is out of date when it arrives.
func (ns *Namespace) Info(ctx context.Context, name string) (Info, error) {
	return ns.info(ctx, nil, name)
}

// String names the namespace.
func (ns *Namespace) String() string {
	switch ns.space.Kind {
	case proto.PerUser:
		return fmt.Sprintf("user %d", ns.space.ID)
	case proto.PerGroup:
		return fmt.Sprintf("group %d", ns.space.ID)
	}
	return "public"
}
