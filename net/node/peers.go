package node

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// Pauses between attempts to connect to a process.
const (
	dialFirst = time.Millisecond
	dialLast  = 50 * time.Millisecond
	// remoteLast is the longest pause with other hosts, placeAgain that between two
	// questions where a process is.
	remoteLast = 500 * time.Millisecond
	placeAgain = time.Second
)

// peer is another process: the connection that this process opened to it and the
// one that it opened to this process.
type peer struct {
	id    proto.ProcID
	out   *link.Conn // requests to it, as master, and its answers
	in    *link.Conn // its requests and the answers; nil until it connects
	came  bool       // it has connected; in is nil again when that connection has ended
	term  uint64     // of a container: of who speaks for it
	kept  []byte     // answers for when it connects
	pause time.Duration
	// placed: it is known on which host it is; addr is that host's, if it is another.
	placed bool
	addr   netip.AddrPort
}

// party is who talks to the others: this process, or a container of the agent here.
type party struct {
	id   func() proto.ProcID
	term uint64 // of a container: higher than that of every agent before; else 0
	// take handles a message, refused says that a process does not talk to it any
	// more.
	take    func(from proto.ProcID, role proto.Role, m *proto.Msg)
	refused func(why string)
	remind  func(group proto.ProcID) // another agent speaks for a container
	where   func(p proto.ProcID)     // asks on which host p is; place takes the answer
}

// peers is the table of the other processes and what the newest view says of
// them.
type peers struct {
	n    *Node
	self party

	viewing sync.Mutex // one view at a time; before mu

	mu        sync.RWMutex
	byID      map[proto.ProcID]*peer
	seen      uint64 // the newest view
	told      bool   // all who live, once
	directory uint64 // whose views these are
	live      map[proto.ProcID]bool
	groups    []proto.ProcID // containers among live
	waiting   []*peer        // out has yet to be connected
	some      atomic.Bool
	streams   accepted
}

func (t *peers) init(n *Node, self party) {
	t.n, t.self = n, self
	t.byID = map[proto.ProcID]*peer{}
	t.live = map[proto.ProcID]bool{}
}

// dead reports whether the newest view has removed p. mu is held.
func (t *peers) dead(p proto.ProcID) bool { return uint64(p) <= t.seen && !t.live[p] }

// madeUp reports whether p may be: no view has it, and there are many such already. A
// process may connect before the view that has it comes; that is a few at a time. mu is
// held.
func (t *peers) madeUp(p proto.ProcID) bool {
	return t.byID[p] == nil && !t.live[p] && len(t.byID) >= len(t.live)+mostSilent
}

// isGroup reports whether p is a container.
func (t *peers) isGroup(p proto.ProcID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Contains(t.groups, p)
}

// get finds or makes the entry of p; nil if p is dead. mu is held for writing.
func (t *peers) get(p proto.ProcID) *peer {
	if t.dead(p) {
		return nil
	}
	x := t.byID[p]
	if x == nil {
		x = &peer{id: p}
		t.byID[p] = x
	}
	return x
}

func (t *peers) toMaster(to proto.ProcID, m *proto.Msg) {
	t.mu.RLock()
	var c *link.Conn
	if x := t.byID[to]; x != nil {
		c = x.out
	}
	t.mu.RUnlock()
	if c == nil {
		if c = t.outbox(to); c == nil {
			return
		}
	}
	c.Send(m)
}

// outbox makes the outbox to a master; Flush connects it.
func (t *peers) outbox(to proto.ProcID) *link.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.get(to)
	if x == nil {
		return nil
	}
	if x.out == nil {
		t.open(x)
		t.waiting = append(t.waiting, x)
		t.some.Store(true)
	}
	return x.out
}

// open makes an outbox that begins with who this process is. mu is held.
func (t *peers) open(x *peer) {
	x.out = t.n.loop.NewConn(&toMaster{t, x.id})
	x.out.KeepOrder()
	x.out.Send(&proto.Msg{Kind: proto.KConnect, Proc: t.self.id(), Flags: proto.Version, View: t.self.term})
}

// toOwner sends an answer, now or when the owner connects.
func (t *peers) toOwner(to proto.ProcID, m *proto.Msg) {
	t.mu.RLock()
	var c *link.Conn
	if x := t.byID[to]; x != nil {
		c = x.in
	}
	t.mu.RUnlock()
	if c != nil {
		c.Send(m)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.get(to)
	if x == nil {
		return
	}
	if x.in != nil {
		x.in.Send(m)
		return
	}
	var err error
	if x.kept, err = link.AppendFrame(x.kept, m); err != nil {
		t.n.log.Error("message not sent", "kind", m.Kind, "error", err)
	}
}

// dial connects the outboxes that wait for it.
func (t *peers) dial() {
	if !t.some.Load() {
		return
	}
	t.mu.Lock()
	waiting := t.waiting
	t.waiting = nil
	t.some.Store(false)
	t.mu.Unlock()
	for _, x := range waiting {
		t.connect(x)
	}
}

func (t *peers) connect(x *peer) {
	n := t.n
	t.mu.Lock()
	c := x.out
	current := c != nil && t.byID[x.id] == x
	ask := n.cfg.Cluster != nil && !x.placed
	t.mu.Unlock()
	if !current {
		return
	}
	if ask {
		t.self.where(x.id)
		t.n.clock.after(placeAgain, func() { t.askAgain(x) })
		return
	}
	defer n.holdForks()()
	if x.addr.IsValid() {
		if err := t.reach(x, c); err != nil && !n.closed.Load() {
			n.log.Debug("connect to a process of another host", "proc", x.id, "error", err)
			t.retry(x, remoteLast)
		}
		return
	}
	fd, err := link.Dial(n.dir.ProcSock(x.id))
	if err == nil {
		if err = checkUID(fd); err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	if err == nil {
		if err = c.Attach(fd); err == nil {
			return
		}
		if errors.Is(err, os.ErrClosed) || n.closed.Load() {
			return
		}
	}
	// Dying, or it has too many connections to accept. A view will say which.
	n.log.Debug("connect to a process", "proc", x.id, "error", err)
	t.mu.Lock()
	x.pause = backoff(x.pause, dialFirst, dialLast)
	pause := x.pause
	t.mu.Unlock()
	t.retry(x, pause)
}

// askAgain asks once more where a process is, unless that was answered: place connects
// then.
func (t *peers) askAgain(x *peer) {
	t.mu.Lock()
	placed := x.placed
	t.mu.Unlock()
	if !placed {
		t.connect(x)
		t.n.loop.Flush()
	}
}

// retry connects later.
func (t *peers) retry(x *peer, pause time.Duration) {
	t.n.clock.after(pause, func() {
		t.connect(x)
		t.n.loop.Flush()
	})
}

// checkUID refuses a peer of another user; root may be anybody's peer.
func checkUID(fd int) error {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("ask who the peer is: %w", err)
	}
	return trusted(cred)
}

func trusted(cred *unix.Ucred) error {
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("peer is pid %d of uid %d, which is not trusted here", cred.Pid, cred.Uid)
	}
	return nil
}

// view takes a new view: what the removed processes have sent so far is handled,
// then nothing of them any more.
func (t *peers) view(m *proto.Msg) {
	t.viewing.Lock()
	defer t.viewing.Unlock()
	var gone []*peer
	t.mu.Lock()
	news := m.Flags&proto.ViewNews != 0
	if m.View >= t.seen && (!news || t.told && t.directory == m.Number && t.seen >= m.Assign) {
		t.seen, t.told, t.directory = m.View, true, m.Number
		if !news {
			clear(t.live)
			t.groups = t.groups[:0]
		}
		for _, p := range m.Procs {
			t.live[p] = true
		}
		for _, p := range m.Groups {
			t.live[p] = true
			if !slices.Contains(t.groups, p) {
				t.groups = append(t.groups, p)
			}
		}
		for _, p := range m.Dead {
			delete(t.live, p)
		}
		t.groups = slices.DeleteFunc(t.groups, func(p proto.ProcID) bool { return !t.live[p] })
		for p, x := range t.byID {
			if t.dead(p) {
				gone = append(gone, x)
				delete(t.byID, p)
			}
		}
	}
	t.mu.Unlock()
	for _, x := range gone {
		for _, c := range []*link.Conn{x.out, x.in} {
			if c != nil {
				c.Drain()
				t.streams.drop(c)
			}
		}
	}
}

// toMaster handles a connection that this process opened.
type toMaster struct {
	t  *peers
	id proto.ProcID
}

// Message implements link.Handler.
func (h *toMaster) Message(_ *link.Conn, m *proto.Msg) error {
	if m.Kind == proto.KReject {
		h.t.self.refused(m.Text)
		return errors.New("refused by a process")
	}
	if err := between(m, proto.KGranted, proto.KWaiting); err != nil {
		return err
	}
	h.t.self.take(h.id, proto.ToOwner, m)
	return nil
}

// Closed implements link.Handler. The peer has died, which a view will tell. If
// none does, the connection has broken between two that live, and the peer says
// so when it is connected to once more.
func (h *toMaster) Closed(c *link.Conn, _ error) {
	t, n := h.t, h.t.n
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.byID[h.id]
	if x == nil || x.out != c {
		return
	}
	t.open(x)
	n.clock.after(dialLast, func() {
		t.connect(x)
		n.loop.Flush()
	})
}

// toOwner handles a connection that another process opened. id is 0 until it
// has said who it is.
type toOwner struct {
	t  *peers
	id proto.ProcID
}

func (t *peers) accept(cred *unix.Ucred) link.Handler {
	if err := trusted(cred); err != nil {
		t.n.log.Warn("connection refused", "error", err, "do", "programs that share locks run as one user")
		return nil
	}
	return &toOwner{t: t}
}

// Message implements link.Handler.
func (h *toOwner) Message(c *link.Conn, m *proto.Msg) error {
	if h.id == 0 {
		return h.connect(c, m)
	}
	if err := between(m, proto.KRequest, proto.KHeirKnown); err != nil {
		return err
	}
	h.t.self.take(h.id, proto.ToMaster, m)
	return nil
}

func (h *toOwner) connect(c *link.Conn, m *proto.Msg) error {
	if err := between(m, proto.KConnect, proto.KConnect); err != nil {
		return err
	}
	if m.Flags != proto.Version {
		return fmt.Errorf("process %#x speaks version %d, not %d", uint64(m.Proc), m.Flags, proto.Version)
	}
	t := h.t
	if m.Proc == 0 || m.Proc == t.self.id() {
		return fmt.Errorf("process %#x cannot connect here", uint64(m.Proc))
	}
	again, former, err := t.former(m)
	if err != nil {
		return err
	}
	if former != nil {
		former.Drain()
	}
	t.mu.Lock()
	x := t.get(m.Proc)
	switch {
	case x == nil:
		t.mu.Unlock()
		return fmt.Errorf("process %#x is dead", uint64(m.Proc))
	case x.came && m.View <= x.term:
		// Requests and answers may be lost, and nobody knows which. That this
		// process ends is a thing that everybody can deal with.
		c.Send(&proto.Msg{Kind: proto.KReject, Text: fmt.Sprintf("its connection to process %#x broke", uint64(t.self.id()))})
		t.mu.Unlock()
		return nil
	}
	h.id = m.Proc
	c.KeepOrder()
	x.in, x.came, x.term = c, true, m.View
	if !again {
		c.SendFrames(x.kept)
	} // else they answer the agent that has died; this one asks again, and is told of the rest
	x.kept = nil
	t.mu.Unlock()
	t.streams.introduced(c)
	if again {
		t.self.remind(m.Proc)
	}
	return nil
}

// former is the connection of the agent that has spoken for a container until it
// died: what it has said is handled before anything that its successor says.
func (t *peers) former(m *proto.Msg) (again bool, c *link.Conn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.madeUp(m.Proc) {
		return false, nil, fmt.Errorf("process %#x: too many that no view has", uint64(m.Proc))
	}
	x := t.get(m.Proc)
	switch {
	case x == nil:
		return false, nil, fmt.Errorf("process %#x is dead", uint64(m.Proc))
	case !x.came || m.View <= x.term:
		return false, nil, nil
	}
	c, x.in = x.in, nil
	return true, c, nil
}

// Closed implements link.Handler.
func (h *toOwner) Closed(c *link.Conn, _ error) {
	t := h.t
	t.streams.drop(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.byID[h.id]; x != nil && x.in == c {
		x.in = nil
	}
}
