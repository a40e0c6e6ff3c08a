package host

import (
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

// world is what the coordinator's agent.Agent sees: the processes of all hosts. What is
// of this host, the World knows.
type world Host

var _ agent.World = (*world)(nil)

// say is how a coordinator tells another host something. Nobody hears of one that is out
// what it comes to think, without what its own processes have left.
func (h *Host) say(to proto.HostID, m *proto.Msg) {
	if h.in {
		h.world.Tell(to, m)
	}
}

// Send implements agent.World.
func (w *world) Send(to proto.ProcID, m *proto.Msg) {
	if home, away := w.homes[to]; away {
		(*Host)(w).say(home, w.delivery(home, to, m))
	} else if w.in {
		w.world.Send(to, m)
	}
}

// delivery is the message by which another host's process is told something. Its host keeps
// the last view that it was sent whole: when many processes come at once, all are told
// the same.
func (w *world) delivery(home proto.HostID, to proto.ProcID, m *proto.Msg) *proto.Msg {
	whole := m.Kind == proto.KView && m.Flags&proto.ViewNews == 0
	r := w.rosters[home]
	if whole && r != nil && r.view == m.View && r.flags == m.Flags {
		return &proto.Msg{Kind: proto.KDeliver, Proc: to, Flags: proto.DeliverAgain}
	}
	if whole && r != nil {
		r.view, r.flags = m.View, m.Flags
	}
	return &proto.Msg{Kind: proto.KDeliver, Proc: to, Data: proto.Append(nil, m)}
}

// SendAll implements agent.World: another host hears it once.
func (w *world) SendAll(to []proto.ProcID, m *proto.Msg) {
	told := map[proto.HostID]bool{}
	for _, p := range to {
		home, away := w.homes[p]
		switch {
		case !away:
			w.Send(p, m)
		case !told[home]:
			told[home] = true
			(*Host)(w).say(home, &proto.Msg{Kind: proto.KDeliver, Data: proto.Append(nil, m)})
		}
	}
}

// Records implements agent.World.
func (w *world) Records(dead proto.ProcID) []proto.Record {
	if _, away := w.homes[dead]; !away {
		return w.world.Records(dead)
	}
	if e := w.journals[dead]; e != nil {
		return e.left()
	}
	return nil
}

// Peers implements agent.World.
func (w *world) Peers(dead proto.ProcID) (peers []proto.ProcID, all bool) {
	if _, away := w.homes[dead]; !away {
		return w.world.Peers(dead)
	}
	if e := w.journals[dead]; e != nil {
		return slices.Clone(e.peers), e.all
	}
	return nil, true
}

// Retire implements agent.World.
func (w *world) Retire(dead proto.ProcID, tree proto.Digest) {
	home, away := w.homes[dead]
	if !away {
		w.world.Retire(dead, tree)
		return
	}
	if e := w.journals[dead]; e != nil {
		e.retired[tree] = true
		(*Host)(w).say(home, &proto.Msg{Kind: proto.KRetire, Proc: dead, Domain: tree})
	}
}

// Forget implements agent.World.
func (w *world) Forget(dead proto.ProcID) {
	home, away := w.homes[dead]
	if !away {
		w.world.Forget(dead)
		return
	}
	delete(w.homes, dead)
	delete(w.journals, dead)
	(*Host)(w).say(home, &proto.Msg{Kind: proto.KForget, Proc: dead})
}

// Later implements agent.World.
func (w *world) Later(do func()) {
	epoch := w.epoch
	w.world.Later(func() {
		if w.agent != nil && w.epoch == epoch {
			do()
		}
	})
}

// Self implements agent.World.
func (w *world) Self() proto.ProcID { return w.world.Self() }

// Put implements agent.Directory.
func (w *world) Put(e agent.Entry) error { return w.world.Put(e) }

// Delete implements agent.Directory.
func (w *world) Delete(tree proto.Digest) { w.world.Delete(tree) }

// Keep implements agent.World. Among several hosts the log keeps it.
func (w *world) Keep(k *proto.Kept) error {
	if w.cfg.Alone {
		return w.world.Keep(k)
	}
	(*Host)(w).remember(proto.HostKeep, k)
	return nil
}

// Unkeep implements agent.World.
func (w *world) Unkeep(k *proto.Kept) {
	if w.cfg.Alone {
		w.world.Unkeep(k)
		return
	}
	(*Host)(w).remember(proto.HostUnkeep, k)
}

// Doubt implements agent.World.
func (w *world) Doubt(domain proto.Digest, invalid bool) error {
	if w.cfg.Alone {
		return w.world.Doubt(domain, invalid)
	}
	verb := proto.HostDoubt
	if !invalid {
		verb = proto.HostBelieve
	}
	(*Host)(w).remember(verb, &proto.Kept{Domain: domain})
	return nil
}

// Agree implements agent.World.
func (w *world) Agree(done func()) {
	if len(w.pending) == 0 {
		done()
		return
	}
	w.agreed = append(w.agreed, agreed{w.noted + len(w.pending), done})
}

// Date implements agent.World.
func (w *world) Date() uint32 { return w.world.Date() }

// Obituary implements agent.World.
func (w *world) Obituary(dead proto.ProcID) proto.Obituary {
	home, away := w.homes[dead]
	o := w.dying
	switch {
	case o.Proc == dead || o.Lost:
		o.Proc = dead
	case away:
		o = proto.Obituary{Proc: dead}
	default:
		o, home = w.world.Obituary(dead), w.me
	}
	if o.Host == "" && !w.cfg.Alone {
		o.Host = (*Host)(w).nameOf(home)
	}
	o.At = w.world.Date()
	return o
}
