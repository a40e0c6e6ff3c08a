package node

import (
	"errors"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
)

// agentWorld is the role as core/agent sees it. Its methods are called with the
// agent mutex held.
type agentWorld role

var _ agent.World = (*agentWorld)(nil)

// Send implements agent.World.
func (w *agentWorld) Send(to proto.ProcID, m *proto.Msg) {
	if home, away := w.seat.homes[to]; away {
		w.council.hosts.send(home, &proto.Msg{Kind: proto.KDeliver, Proc: to, Data: proto.Append(nil, m)})
		return
	}
	w.sendLocal(to, m)
}

// sendLocal queues m for a process or container of this host.
func (w *agentWorld) sendLocal(to proto.ProcID, m *proto.Msg) {
	if uint64(to) == w.n.me.Load() {
		if err := w.n.local.toProcess.put(m); err != nil {
			w.n.log.Error("message of the own agent", "kind", m.Kind, "error", err)
		}
		return
	}
	if h := (*groupWorld)(w).host(to); h != nil {
		if err := h.fromAgent.put(m); err != nil {
			w.n.log.Error("message to a group lock container", "kind", m.Kind, "error", err)
		}
		w.n.groupsDue.Store(true)
		return
	}
	if x := w.members[to]; x != nil && x.conn != nil {
		x.conn.Send(m)
	}
}

// Records implements agent.World.
func (w *agentWorld) Records(dead proto.ProcID) []proto.Record {
	if f := w.dead[dead]; f != nil {
		return journal.Records(f)
	}
	if m := w.seat.journals[dead]; m != nil {
		return slices.Clone(m.Records)
	}
	return nil
}

// Peers implements agent.World.
func (w *agentWorld) Peers(dead proto.ProcID) (peers []proto.ProcID, all bool) {
	if f := w.dead[dead]; f != nil {
		return journal.Peers(f)
	}
	if m := w.seat.journals[dead]; m != nil {
		return slices.Clone(m.Procs), m.Flags&proto.JournalAll != 0
	}
	return nil, true
}

// Retire implements agent.World.
func (w *agentWorld) Retire(dead proto.ProcID, tree proto.Digest) {
	if f := w.dead[dead]; f != nil {
		journal.Retire(f, tree)
		return
	}
	if m := w.seat.journals[dead]; m != nil {
		m.Records = slices.DeleteFunc(m.Records, func(r proto.Record) bool { return r.Tree == tree })
		w.council.hosts.send(w.seat.homes[dead], &proto.Msg{Kind: proto.KRetire, Proc: dead, Domain: tree})
	}
}

// Forget implements agent.World.
func (w *agentWorld) Forget(dead proto.ProcID) {
	home, away := w.seat.homes[dead]
	if !away {
		w.forgetLocal(dead)
		return
	}
	delete(w.seat.homes, dead)
	delete(w.seat.journals, dead)
	w.council.hosts.send(home, &proto.Msg{Kind: proto.KForget, Proc: dead})
}

// forgetLocal removes what a dead process of this host has left.
func (w *agentWorld) forgetLocal(dead proto.ProcID) {
	defer w.n.holdForks()()
	if f := w.dead[dead]; f != nil {
		if err := f.Remove(); err != nil {
			w.n.log.Warn("remove a dead process's file", "proc", dead, "error", err)
		}
		delete(w.dead, dead)
	}
	if err := errors.Join(w.n.dir.RemoveProcSock(dead), w.n.dir.RemoveHandSock(dead)); err != nil {
		w.n.log.Warn("remove a dead process's socket", "proc", dead, "error", err)
	}
}

// Self implements agent.World.
func (w *agentWorld) Self() proto.ProcID { return proto.ProcID(w.n.me.Load()) }

// Put implements agent.Directory.
func (w *agentWorld) Put(e agent.Entry) error { return w.dir.Put(journal.Entry(e)) }

// Delete implements agent.Directory.
func (w *agentWorld) Delete(d proto.Digest) { w.dir.Delete(d) }

// Keep implements agent.World.
func (w *agentWorld) Keep(k *proto.Kept) error {
	defer w.n.holdForks()() // the file may be written anew
	err := w.kept.Keep(k)
	if err != nil {
		w.n.log.Error("note a persistent resource", "error", err)
	}
	return err
}

// Unkeep implements agent.World.
func (w *agentWorld) Unkeep(k *proto.Kept) {
	defer w.n.holdForks()()
	if err := w.kept.Unkeep(k); err != nil {
		w.n.log.Warn("forget a persistent resource", "error", err)
	}
}

// Doubt implements agent.World.
func (w *agentWorld) Doubt(domain proto.Digest, invalid bool) error {
	defer w.n.holdForks()() // the file may be written anew
	err := w.kept.Doubt(domain, invalid)
	if err != nil {
		w.n.log.Error("note the state of a recovery domain", "error", err)
	}
	return err
}
