package node

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/store"
)

// Pauses between attempts to find an agent.
const (
	seekFirst = time.Millisecond
	seekLast  = 50 * time.Millisecond
)

// agentLink is the way to the agent.
type agentLink struct {
	conn *link.Conn // nil: the agent is in this process
}

// seek looks for an agent, or becomes it, in a goroutine that ends with that.
// Only a running process does, so a stopped one never gets the role.
func (n *Node) seek(pause time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed.Load() || n.lost.Load() {
		return
	}
	n.seeking.Add(1)
	go func() {
		defer n.seeking.Done()
		for n.pause(pause) {
			pause = backoff(pause, seekFirst, seekLast)
			if n.findAgent(pause) {
				n.Flush()
				return
			}
		}
	}()
}

// pause waits; it reports false when the node is closed.
func (n *Node) pause(d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.stop:
		return false
	}
}

// findAgent makes one attempt. It reports true when there is nothing more to
// try: this process is the agent, or it has said hello to it.
func (n *Node) findAgent(pause time.Duration) bool {
	free, err := n.dir.TryAgent()
	if err != nil {
		return n.failed(err)
	}
	if free {
		if err := n.becomeAgent(); err != nil {
			return n.failed(errors.Join(fmt.Errorf("become the agent: %w", err), n.dir.ReleaseAgent()))
		}
		return true
	}
	defer n.holdForks()()
	fd, err := link.Dial(n.dir.AgentSock())
	if err != nil {
		return false // it is not ready yet, or has just died
	}
	if err := checkUID(fd); err != nil {
		return n.failed(errors.Join(err, unix.Close(fd)))
	}
	c := n.loop.NewConn(&toAgent{n: n, pause: pause})
	hello := &proto.Msg{Kind: proto.KHello, Text: n.file.Name, Proc: proto.ProcID(n.me.Load()), Flags: proto.Version}
	if n.cfg.Cluster != nil {
		hello.Flags |= proto.HelloHosts
	}
	c.Send(hello)
	if c.Attach(fd) != nil {
		return false
	}
	if n.cfg.Told != nil && n.me.Load() == 0 {
		n.cfg.Told("waiting for the agent, " + describe(n.dir.AgentPid()))
	}
	return true
}

// failed ends Open; a process that has joined logs it and goes on trying.
func (n *Node) failed(err error) (done bool) {
	if errors.Is(err, store.ErrInUse) {
		// The agent before is just ending: the kernel frees its locks one by one.
		n.mu.Lock()
		n.hindrance = err
		n.mu.Unlock()
		n.log.Debug("become the agent", "error", err)
		return false
	}
	if n.me.Load() != 0 {
		n.log.Error("find an agent", "error", err)
		return false
	}
	n.endJoin(err)
	return true
}

// endJoin lets Open return.
func (n *Node) endJoin(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.ended, n.joinErr = true, err
		close(n.joined)
	}
}

// welcomed takes an agent's welcome.
func (n *Node) welcomed(id proto.ProcID, view uint64, birth uint32, a *agentLink) error {
	first := n.me.CompareAndSwap(0, uint64(id))
	if id == 0 || n.me.Load() != uint64(id) {
		return fmt.Errorf("welcomed as process %#x", uint64(id))
	}
	if first {
		if err := n.listen(id); err != nil {
			n.endJoin(err)
			return err
		}
		if err := n.startLease(birth); err != nil {
			n.endJoin(err)
			return err
		}
		n.proc.Joined(id, view)
	}
	n.agent.Store(a)
	n.proc.Connected()
	n.endJoin(nil)
	return nil
}

// listen opens this process's socket, before anybody can learn its ProcID.
func (n *Node) listen(id proto.ProcID) error {
	if err := n.dir.RemoveProcSock(id); err != nil {
		return err
	}
	if _, err := n.loop.Listen(n.dir.ProcSock(id), n.peers.accept); err != nil {
		return fmt.Errorf("open the socket of process %#x in %s: %w", uint64(id), n.dir.Path(), err)
	}
	if n.cfg.Cluster == nil {
		return nil
	}
	return n.takeHanded(id)
}

// refused takes a refusal by the agent or another process: this process is out.
// It ends for the others, so that they can go on.
func (n *Node) refused(why string) { n.lose(why, ErrRefused) }

// removed takes the news that this host is not a member any more.
func (n *Node) removed(why string) { n.lose(why, ErrRemoved) }

func (n *Node) lose(why string, reason error) {
	known := n.me.Load() != 0
	if known {
		n.proc.Deny() // before anybody else finds that it is lost, and goes on
	}
	if n.lost.Swap(true) {
		return
	}
	if !known {
		n.endJoin(fmt.Errorf("join %s: %w: %s", n.dir.Path(), reason, why))
		return
	}
	n.log.Error("declared dead; all locks are lost", "reason", why, "do", "stop what needs the locks; others may have them. The program can be started again")
	n.proc.Lost()
	n.cfg.Sink.Lost()
	go n.leaveAll() // not in a handler, whose end it waits for
}

// toAgent handles the connection to the agent.
type toAgent struct {
	n        *Node
	pause    time.Duration // before the next attempt if this one fails
	welcomed bool
}

// Message implements link.Handler.
func (h *toAgent) Message(c *link.Conn, m *proto.Msg) error {
	switch m.Kind {
	case proto.KWelcome:
		if h.welcomed {
			if uint64(m.Proc) != h.n.me.Load() {
				return errors.New("a second welcome, of another process")
			}
			h.n.fromAgent(m)
			return nil
		}
		h.welcomed = true
		return h.n.welcomed(m.Proc, m.View, uint32(m.Number), &agentLink{conn: c})
	case proto.KReject:
		h.n.refused(m.Text)
		return errors.New("refused by the agent")
	case proto.KInspect:
		if h.welcomed {
			h.n.look(c, m.Number, m.Inquiry)
			return nil
		}
	}
	if err := between(m, proto.KView, proto.KPlace); err != nil {
		return err
	}
	if !h.welcomed {
		return fmt.Errorf("a message of kind %d before the welcome", m.Kind)
	}
	h.n.fromAgent(m)
	return nil
}

// Closed implements link.Handler. Whatever the reason, there must be an agent.
func (h *toAgent) Closed(*link.Conn, error) {
	h.n.agent.Store(nil)
	if h.welcomed {
		h.pause = 0
	}
	h.n.seek(h.pause)
}
