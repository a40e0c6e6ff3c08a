package node

import (
	"fmt"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// world is the node as core/process sees it: it only appends to memory.
type world Node

var _ process.World = (*world)(nil)

// Send implements process.World.
func (w *world) Send(to proto.ProcID, role proto.Role, m *proto.Msg) {
	if w.lost.Load() {
		return
	}
	if role == proto.ToMaster {
		w.peers.toMaster(to, m)
	} else {
		w.peers.toOwner(to, m)
	}
}

// SendAgent implements process.World.
func (w *world) SendAgent(m *proto.Msg) {
	a := w.agent.Load()
	switch {
	case a == nil, w.lost.Load():
	case a.conn != nil:
		a.conn.Send(m)
	default:
		if err := w.local.toAgent.put(m); err != nil {
			w.log.Error("message to the own agent", "kind", m.Kind, "error", err)
		}
	}
}

// Complete implements process.World.
func (w *world) Complete(c *process.Completion) { w.cfg.Sink.Complete(c) }

// Blocking implements process.World.
func (w *world) Blocking(b *process.Notice) { w.cfg.Sink.Blocking(b) }

// Discard implements process.World.
func (w *world) Discard(id proto.LockID) bool { return w.cfg.Sink.Discard(id) }

// fromAgent takes a message of the agent, wherever it is.
func (n *Node) fromAgent(m *proto.Msg) {
	switch {
	case n.Expired():
		return
	case m.Kind == proto.KPlace:
		n.peers.place(m)
		return
	case m.Kind == proto.KView:
		n.peers.view(m)
	}
	n.proc.FromAgent(m)
}

// between checks the kind of a message: garbage closes a connection.
func between(m *proto.Msg, first, last proto.Kind) error {
	if m.Kind < first || m.Kind > last {
		return fmt.Errorf("a message of kind %d does not belong here", m.Kind)
	}
	return nil
}
