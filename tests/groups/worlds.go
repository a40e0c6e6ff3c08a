package groups

import (
	"errors"
	"fmt"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Send implements process.World.
func (p *proc) Send(to proto.ProcID, side proto.Role, m *proto.Msg) {
	l := requests
	if side == proto.ToOwner {
		l = answers
	}
	p.s.emit(l, p.id, to, 0, m)
}

// SendAgent implements process.World.
func (p *proc) SendAgent(m *proto.Msg) {
	if p.gen != 0 {
		p.s.emit(toAgent, p.id, 0, p.gen, m)
	}
}

// Complete implements process.World.
func (p *proc) Complete(c *process.Completion) {
	if !p.s.doomed {
		p.s.all.Told(p, c)
	}
}

// Blocking implements process.World. The program takes it at once.
func (p *proc) Blocking(*process.Notice) {}

// Discard implements process.World.
func (p *proc) Discard(proto.LockID) bool { return true }

// Now implements process.World.
func (p *proc) Now() int64 { return int64(p.s.steps) }

// Date implements process.World.
func (p *proc) Date() uint32 { return 0 }

// Alarm implements process.World.
func (p *proc) Alarm(int64) { p.alarm = true }

// Deadlock implements process.World.
func (p *proc) Deadlock([]process.Link) { p.s.note("   a deadlock is broken") }

type agentWorld role

var _ agent.World = (*agentWorld)(nil)

func (w *agentWorld) Send(to proto.ProcID, m *proto.Msg) {
	if !w.groups[to] {
		if p := w.s.byID(to); p == nil || p.gen != w.gen {
			return // it has not reached this agent
		}
	}
	w.s.emit(fromAgent, 0, to, w.gen, m)
}

// SendAll implements agent.World.
func (w *agentWorld) SendAll(to []proto.ProcID, m *proto.Msg) {
	for _, p := range to {
		w.Send(p, m)
	}
}

func (w *agentWorld) file(dead proto.ProcID) *journal.Plain {
	p := w.s.byID(dead)
	if p == nil || p.buried {
		w.s.fail("the agent asks for the file of %x", uint64(dead))
	}
	return p.file
}

func (w *agentWorld) Records(dead proto.ProcID) []proto.Record { return journal.Records(w.file(dead)) }

func (w *agentWorld) Peers(dead proto.ProcID) ([]proto.ProcID, bool) {
	return journal.Peers(w.file(dead))
}

func (w *agentWorld) Retire(dead proto.ProcID, t proto.Digest) { journal.Retire(w.file(dead), t) }
func (w *agentWorld) Forget(dead proto.ProcID)                 { w.s.byID(dead).buried = true }
func (w *agentWorld) Self() proto.ProcID                       { return w.host.id }
func (w *agentWorld) Date() uint32                             { return 0 }
func (w *agentWorld) Obituary(p proto.ProcID) proto.Obituary   { return proto.Obituary{Proc: p} }
func (w *agentWorld) Later(do func())                          { w.later = append(w.later, do) }
func (w *agentWorld) Put(e agent.Entry) error                  { return w.s.dir.Put(journal.Entry(e)) }
func (w *agentWorld) Delete(t proto.Digest)                    { w.s.dir.Delete(t) }

func (w *agentWorld) Keep(k *proto.Kept) error { w.s.kept.Keep(k); return nil }
func (w *agentWorld) Unkeep(k *proto.Kept)     { w.s.kept.Unkeep(k) }
func (w *agentWorld) Doubt(d proto.Digest, invalid bool) error {
	w.s.kept.Doubt(d, invalid)
	return nil
}

type groupWorld role

var _ group.World = (*groupWorld)(nil)

func (w *groupWorld) Send(to proto.ProcID, m *proto.Msg) { (*agentWorld)(w).Send(to, m) }

func (w *groupWorld) Carry(g, to proto.ProcID, side proto.Role, m *proto.Msg) {
	l := requests
	if side == proto.ToOwner {
		l = answers
	}
	w.s.emit(l, g, to, w.gen, m)
}

func (w *groupWorld) Reserve(int) error { return nil }

func (w *groupWorld) Note(records []*proto.Msg) error {
	s := w.s
	if s.one(30) {
		return errFull // and room again the next time, or the one after
	}
	if s.doomed && s.one(2) {
		panic(cut{}) // all or nothing
	}
	for _, m := range records {
		c := new(proto.Msg)
		if err := proto.Parse(proto.Append(nil, m), c); err != nil {
			s.fail("note %d does not survive its encoding: %v", m.Kind, err)
		}
		s.notes.Apply(c)
	}
	if s.doomed && s.one(2) {
		panic(cut{})
	}
	return nil
}

var errFull = errors.New("no room")

// cutNotes has the agent die in its next step, most likely in the middle of a note.
func (r *role) cutNotes(s *sim) {
	for _, q := range s.queues {
		if q.lane == toAgent && len(q.msgs) > 0 && q.msgs[0].Kind == proto.KGroup && s.receiver(q) != nil {
			s.doomed = true
			s.deliver(q)
			return
		}
	}
}

func (w *groupWorld) Open(g proto.ProcID) {
	w.groups[g] = true
	if w.s.open[g] == nil {
		w.s.open[g] = map[proto.ProcID]uint64{}
	}
}

func (w *groupWorld) Close(g proto.ProcID) { delete(w.groups, g) }

func (w *groupWorld) Kill(id proto.ProcID) error {
	if id == w.host.id {
		panic(cut{})
	}
	if p := w.s.byID(id); p != nil {
		w.s.toKill = append(w.s.toKill, p)
	}
	return nil
}

func (w *groupWorld) Self() proto.ProcID { return w.host.id }
func (w *groupWorld) Now() int64         { return int64(w.s.steps) }
func (w *groupWorld) Alarm(int64)        { w.alarm = true }

func (w *groupWorld) Deadlock([]process.Link) { w.s.note("   a deadlock is broken") }

func (s *sim) nameOf(id proto.ProcID) string {
	if p := s.byID(id); p != nil {
		return p.name
	}
	if id == 0 {
		return "agent"
	}
	return fmt.Sprintf("G%x", uint64(id))
}

func (s *sim) describe(q *queue, m *proto.Msg) string {
	t := fmt.Sprintf("[%x] %s kind %d lock %x op %d mode %v status %d assign %x", q.gen>>32, s.nameOf(q.from), m.Kind, uint64(m.Lock), m.Op, m.Mode, m.Status, m.Assign)
	if m.Call != nil && m.Kind == proto.KGroup {
		t = fmt.Sprintf("%s call %d verb %d lock %x mode %v again %v", s.nameOf(q.from), m.Call.Number, m.Call.Verb, uint64(m.Call.Lock), m.Call.Mode, m.Call.Again)
	}
	if m.Reply != nil && m.Kind == proto.KGroupReply {
		t = fmt.Sprintf("%s reply %d waits %v lock %x status %d", s.nameOf(q.from), m.Reply.Number, m.Reply.Waits, uint64(m.Reply.Lock), m.Reply.Status)
	}
	return t
}

// Agree implements agent.World.
func (w *agentWorld) Agree(done func()) { done() }

// Rebuilding implements agent.World.
func (w *agentWorld) Rebuilding(bool) {}
