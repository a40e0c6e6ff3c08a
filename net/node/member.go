package node

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

func (r *role) accept(cred *unix.Ucred) link.Handler {
	if err := trusted(cred); err != nil {
		r.n.log.Warn("connection refused", "error", err)
		return nil
	}
	return &fromMember{r: r, pid: int(cred.Pid)}
}

// fromMember handles the connection of a process to this agent.
type fromMember struct {
	r        *role
	pid      int          // as the kernel says
	id       proto.ProcID // 0 until it has said hello
	rejected bool
	gone     bool // the connection has ended; role.mu
	holds    bool // role.mu is held for several messages
}

// Begin implements link.Batcher: a rebuild brings so many messages that taking the agent
// mutex for each would cost as much as what they say.
func (h *fromMember) Begin() {
	if h.holds = h.id != 0; h.holds {
		h.r.mu.Lock()
	}
}

// End implements link.Batcher.
func (h *fromMember) End() {
	if h.holds {
		h.holds = false
		h.r.mu.Unlock()
	}
}

// Message implements link.Handler.
func (h *fromMember) Message(c *link.Conn, m *proto.Msg) error {
	if h.rejected {
		return errors.New("a message after the refusal")
	}
	if h.id != 0 {
		if !h.holds {
			h.r.mu.Lock()
			defer h.r.mu.Unlock()
		}
		return h.said(m)
	}
	if m.Kind == proto.KInspect {
		return h.inspect(c, m)
	}
	if m.Kind == proto.KStatus || m.Kind == proto.KEvict {
		return h.operator(c, m)
	}
	if err := between(m, proto.KHello, proto.KHello); err != nil {
		return err
	}
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	err := h.hello(c, m)
	if errors.Is(err, errNotNow) {
		return err // the connection is closed, and the peer tries again
	}
	if err != nil {
		h.reject(c, err)
	}
	return nil
}

// said takes a message of a process that is known. The agent mutex is held.
func (h *fromMember) said(m *proto.Msg) error {
	if m.Kind == proto.KSeen {
		h.r.sees(h.id, m.Number, m.Sight)
		return nil
	}
	if err := between(m, proto.KLookup, proto.KWhere); err != nil {
		return err
	}
	h.r.take(h.id, m)
	return nil
}

// reject tells a process that it is not welcome. It closes when it has read this.
func (h *fromMember) reject(c *link.Conn, err error) {
	if errors.Is(err, errUnlocked) {
		h.r.n.log.Debug("process refused", "pid", h.pid, "error", err) // it has most likely died
	} else {
		h.r.n.log.Warn("process refused", "pid", h.pid, "error", err, "do", "give all programs of a host the same version and configuration")
	}
	h.rejected = true
	c.Send(&proto.Msg{Kind: proto.KReject, Text: err.Error()})
}

// refuse is reject, or ends the connection if the process is to come again.
func (h *fromMember) refuse(c *link.Conn, err error) {
	if !errors.Is(err, errNotNow) {
		h.reject(c, err)
		return
	}
	h.gone = true
	c.Close()
}

// Closed implements link.Handler.
func (h *fromMember) Closed(c *link.Conn, _ error) {
	r := h.r
	r.mu.Lock()
	h.gone = true
	m := r.members[h.id]
	due := m != nil && m.conn == c
	if due {
		m.conn = nil
		due = !m.watching
		m.watching = true
	}
	r.mu.Unlock()
	if due {
		r.look(h.id, lookFirst)
	}
}

// errNotNow is no refusal: what prevents the welcome passes, with this agent or
// with the next one.
var errNotNow = errors.New("not now")

var errLeaving = fmt.Errorf("%w: the agent is leaving", errNotNow)

// errUnlocked says that the process has ended, or has thrown away the proof that
// it lives.
var errUnlocked = errors.New("it does not hold the lock of the file it names")

// hello takes a process's first word. It is welcomed when this host is a member. The
// agent mutex is held, here and in what follows.
func (h *fromMember) hello(c *link.Conn, m *proto.Msg) error {
	r := h.r
	alone := m.Flags&proto.HelloHosts == 0
	switch version := m.Flags &^ proto.HelloHosts; {
	case version != proto.Version:
		return fmt.Errorf("it speaks version %d, the agent %d", version, proto.Version)
	case alone != (r.n.cfg.Cluster == nil):
		return errors.New("it and the agent have different configurations: one has other hosts, one has not")
	case m.Text == r.n.file.Name:
		return errors.New("it names the agent's own file")
	case slices.Contains(r.former, m.Text):
		return errors.New("this host's membership in the cluster has ended, to which it belonged")
	case r.closed || r.leaving != nil:
		return errLeaving
	}
	if !r.host.Leased() || r.groups == nil {
		r.waiting = append(r.waiting, &waiting{h, c, proto.Msg{Text: m.Text, Proc: m.Proc, Flags: m.Flags}})
		return nil
	}
	return h.welcome(c, m)
}

// welcome admits a process, new or known.
func (h *fromMember) welcome(c *link.Conn, m *proto.Msg) error {
	r := h.r
	defer r.n.holdForks()()
	s, err := r.n.dir.Look(m.Text)
	switch {
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: %w", errNotNow, err)
	case err != nil:
		return err
	case !s.Locked || s.Pid != h.pid:
		return errUnlocked
	case m.Proc != s.Proc && m.Proc != 0:
		return fmt.Errorf("it says it is %#x, its file says %#x", uint64(m.Proc), uint64(s.Proc))
	case s.Proc != 0 && r.members[s.Proc] == nil:
		return fmt.Errorf("process %#x was declared dead", uint64(s.Proc))
	case s.Proc != 0:
		return h.connected(c, s.Proc, r.host.View())
	}
	name := s.Name
	r.host.Join(func(id proto.ProcID, view uint64) {
		defer r.n.holdForks()()
		switch { // since it was asked for
		case h.gone || r.closed:
			r.host.Dead(id)
			return
		case r.leaving != nil: // a host that has left can have no process
			r.host.Dead(id)
			h.refuse(c, errLeaving)
			return
		}
		if err := r.admit(name, id); err != nil {
			h.reject(c, err)
			return
		}
		if err := h.connected(c, id, view); err != nil {
			h.reject(c, err)
		}
	})
	return nil
}

// connected welcomes a process that has its name.
func (h *fromMember) connected(c *link.Conn, id proto.ProcID, view uint64) error {
	r := h.r
	x := r.members[id]
	if x.came {
		return errors.New("its connection to the agent broke") // and what was under way is lost
	}
	h.id = id
	x.conn, x.came = c, true
	c.Send(&proto.Msg{Kind: proto.KWelcome, Proc: id, View: view, Number: uint64(r.host.Birth())})
	r.host.Reached(id)
	r.groups.Reached(id)
	return nil
}

// admit gives a new process its name, in its file first: so the next agent knows it
// even if this one dies now.
func (r *role) admit(name string, id proto.ProcID) error {
	if err := r.n.dir.SetProc(name, id, r.host.Birth()); err != nil {
		r.host.Dead(id)
		return err
	}
	r.members[id] = &member{id: id, name: name}
	return nil
}
