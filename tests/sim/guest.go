package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/programs"
)

// A group lock container is to everybody else a process: a node whose core is with the
// agent of its host, as long as there is one.

// guest is what such a node has beyond others.
type guest struct {
	role  *role // the agent that plays it, or has played it last
	inbox *queue
}

// playing is what an agent has of containers.
type playing struct {
	groups  *group.Groups // nil before its host is a member
	begun   bool          // it knows which there are
	term    uint64
	alarm   int64
	refused bool // something could not be noted
}

// selfKill ends an agent's process in the middle of what it does.
type selfKill struct{}

// guestAt finds or makes the node of a container.
func (s *sim) guestAt(r *role, id proto.ProcID) *node {
	c := s.byID[id]
	if c == nil {
		c = &node{
			s: s, home: r.m, name: fmt.Sprintf("C%d", len(s.guests)+1), id: id, given: id, admitted: r.h.Birth(), hostID: r.id,
			removed: map[proto.ProcID]bool{}, out: map[proto.ProcID]*peerQueues{}, guest: &guest{},
		}
		s.guests = append(s.guests, c)
		s.byID[id] = c
		s.note("container %s of %s is %x", c, r.m, uint64(id))
	} else {
		s.crowd[revived]++
	}
	c.guest.role = r
	c.guest.inbox = s.newQueue(toGuest, r.host, c)
	c.guest.inbox.slow = 1
	c.knows = knowledge{}
	return c
}

// played reports whether an agent plays this container now.
func (n *node) played() bool {
	r := n.guest.role
	return !n.dead && r != nil && r == n.home.role && r.running()
}

// sentBy reports whether it is n that puts messages into q.
func (q *queue) sentBy(n *node) bool { return q.from == n || q.carrier == n }

// abandon: the agent has ended. What was said to its containers and not heard is lost; what
// they have said may still arrive.
func (r *role) abandon() {
	s := r.s
	for _, c := range s.guests {
		if c.guest.role != r {
			continue
		}
		c.guest.role = nil
		clear(c.out)
		for _, q := range s.queues {
			switch {
			case q.to != c:
			case q.lane == toGuest:
				q.msgs, q.shut = nil, true
			case q.lane == requests:
				q.msgs = []*proto.Msg{{Kind: proto.KConnect, Proc: q.from.id}}
			default:
				q.msgs, q.open = nil, false
			}
		}
	}
}

// guestsEnd: that membership of a host is over.
func (s *sim) guestsEnd(k membership) {
	if s.all == nil {
		return
	}
	for _, c := range s.guests {
		if (membership{c.hostID, c.admitted}) == k && !c.dead {
			c.dead = true
			s.note("container %s has ended with its host", c)
		}
	}
	s.all.Gone(k)
	s.sweep()
}

// connectedGuest: a container connects to a master. What the agent before has said for it
// goes first, and what was answered to that one is lost.
func (s *sim) connectedGuest(q *queue, m *proto.Msg) {
	c, n := q.from, q.to
	if n.terms == nil {
		n.terms = map[proto.ProcID]uint64{}
	}
	answers := n.outAnswers(c)
	old := n.terms[c.id]
	switch {
	case old == 0:
		n.terms[c.id], answers.open = m.View, true
		return
	case c.guest.role == nil || q.carrier != c.guest.role.host || m.View < old: // of one that has a successor
		q.shut = true
		return
	case m.View == old:
		s.fail("%s refuses %s, which comes with the term of the agent before, %x", n, c, old)
	}
	for _, former := range slices.Clone(s.queues) {
		for former.lane == requests && former.from == c && former.to == n && former != q && former.deliverable() {
			s.deliver(former)
		}
		if former.lane == requests && former.from == c && former.to == n && former != q {
			former.shut = true
		}
	}
	if !n.running() {
		return
	}
	n.terms[c.id] = m.View
	answers.msgs, answers.open = nil, true
	s.crowd[reminded]++
	s.step(n, func() { n.p.Remind(c.id) })
}

// atGuest is a message of the agent to one of its containers.
func (s *sim) atGuest(q *queue, m *proto.Msg) {
	c := q.to
	r := c.guest.role
	if m.Kind == proto.KView && c.knows.follows(m) {
		for _, x := range s.everybody() {
			if x.given == 0 || c.removed[x.given] || !removes(m, x.given) {
				continue
			}
			if s.lastWords(x, c); !c.played() || c.guest.role != r {
				return
			}
			c.removed[x.given] = true
		}
		c.knows = knowledge{m.View, m.Number, true}
	}
	if s.tracing {
		s.note("%s <- agent %s", c, describe(m))
	}
	s.agentStep(r, func() { r.groups.FromAgent(c.id, m) })
}

// everybody are all that views tell of.
func (s *sim) everybody() []*node {
	if len(s.guests) == 0 {
		return s.nodes
	}
	return append(slices.Clone(s.nodes), s.guests...)
}

// startGroups brings a host's containers back to life.
func (r *role) startGroups() {
	at := slices.Index(r.s.hosts, r.m)
	r.term = uint64(r.h.State().Epoch) << 32
	r.groups = group.New((*groupWorld)(r), r.m.notes, uint32(1+at)*100000)
	r.groups.Start((*registry)(r), func(p proto.ProcID) bool { return slices.Contains(r.known, p) })
}

// containers are its own.
func (r *role) containers() []proto.ProcID {
	switch {
	case r.groups != nil:
		return r.groups.IDs()
	case r.begun:
		return r.m.notes.IDs()
	}
	return nil
}

// registry is the agent as containers that ask for names see it.
type registry role

var _ group.Registry = (*registry)(nil)

// JoinGroup implements group.Registry.
func (r *registry) JoinGroup(named func(id proto.ProcID, view uint64)) { r.h.JoinGroup(named) }

// Connected implements group.Registry.
func (r *registry) Connected(p proto.ProcID) { r.h.Reached(p) }

// Dead implements group.Registry.
func (r *registry) Dead(p proto.ProcID) { r.h.Dead(p) }

// FromProcess implements group.Registry.
func (r *registry) FromProcess(p proto.ProcID, m *proto.Msg) { r.h.FromProcess(p, m) }

// View implements group.Registry.
func (r *registry) View() uint64 { return r.h.View() }

// groupWorld is the agent as its containers see it.
type groupWorld role

var _ group.World = (*groupWorld)(nil)

// Send implements group.World.
func (w *groupWorld) Send(to proto.ProcID, m *proto.Msg) { (*role)(w).Send(to, m) }

// Carry implements group.World.
func (w *groupWorld) Carry(id, to proto.ProcID, side proto.Role, m *proto.Msg) {
	if c := w.s.byID[id]; c != nil && c.guest.role == (*role)(w) {
		c.Send(to, side, m)
	}
}

// Reserve implements group.World.
func (w *groupWorld) Reserve(int) error { return nil }

var errFull = errors.New("no room")

// Note implements group.World.
func (w *groupWorld) Note(records []*proto.Msg) error {
	s, m := w.s, w.m
	if w.refused = s.troubled && s.one(60); w.refused {
		s.crowd[notesRefused]++
		return errFull // and room again the next time, or the one after
	}
	old := m.notes
	if s.undo != nil {
		old = m.notes.Clone()
	}
	s.change(func() {
		for _, rec := range records {
			m.notes.Apply(s.copyOf(rec))
		}
	}, func() { m.notes = old })
	return nil
}

// Open implements group.World.
func (w *groupWorld) Open(id proto.ProcID) { w.s.guestAt((*role)(w), id) }

// Close implements group.World.
func (w *groupWorld) Close(id proto.ProcID) {
	if c := w.s.byID[id]; c != nil {
		w.s.note("container %s ends", c)
		c.dead = true
	}
}

// Kill implements group.World.
func (w *groupWorld) Kill(id proto.ProcID) error {
	s := w.s
	if id == w.host.given {
		panic(selfKill{})
	}
	if n := s.byID[id]; n != nil && !n.dead {
		s.crowd[membersKilled]++
		s.later = append(s.later, func() { s.kill(n) })
	}
	return nil
}

// Self implements group.World.
func (w *groupWorld) Self() proto.ProcID { return w.host.given }

// Now implements group.World.
func (w *groupWorld) Now() int64 { return w.s.clock }

// Alarm implements group.World.
func (w *groupWorld) Alarm(at int64) {
	if w.refused {
		at = min(at, w.s.clock+50) // a schedule is shorter than the pause
	}
	if w.alarm == 0 || at < w.alarm {
		w.alarm = at
	}
}

// Deadlock implements group.World.
func (w *groupWorld) Deadlock(c []process.Link) {
	w.s.counts[cyclesFound]++
	w.s.counts[cycleSteps] += len(c)
}

// ringGroups has the containers of some host search whose time has come, or note what could
// not be.
func (s *sim) ringGroups(calm bool) bool {
	for _, m := range s.hosts {
		r := m.role
		if r == nil || r.groups == nil || r.alarm == 0 || !r.running() {
			continue
		}
		if r.alarm <= s.clock && !calm || calm && (r.alarm <= s.calmSince || r.refused) {
			r.alarm = 0
			s.agentStep(r, r.groups.Tick)
			return true
		}
	}
	return false
}

// agentDo is one entry into an agent that may end its own process.
func (s *sim) agentDo(do func()) (ended bool) {
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(selfKill); !ok {
				panic(x)
			}
			ended = true
		}
	}()
	do()
	return false
}

// ---- processes with programs that use containers ----

var _ programs.Process = (*node)(nil)

// ID implements programs.Process.
func (n *node) ID() proto.ProcID { return n.id }

// Dead implements programs.Process.
func (n *node) Dead() bool { return n.dead }

// Stopped implements programs.Process.
func (n *node) Stopped() bool { return n.stopped }

// Core implements programs.Process.
func (n *node) Core() *process.Process { return n.p }

// Host implements programs.Process.
func (n *node) Host() any { return membership{n.hostID, n.admitted} }

// programWorld is the simulator as such programs see it.
type programWorld sim

var _ programs.World = (*programWorld)(nil)

// Steps implements programs.World.
func (w *programWorld) Steps() int { return w.steps }

// Step implements programs.World.
func (w *programWorld) Step(p programs.Process, do func()) { (*sim)(w).step(p.(*node), do) }

// Unheard implements programs.World.
func (w *programWorld) Unheard(p programs.Process) bool { return p.(*node).doomed }

// Token implements programs.World.
func (w *programWorld) Token(p programs.Process, id proto.LockID, container uint32) (proto.Stamp, bool) {
	of := p.Core()
	if container != 0 {
		m := p.(*node).home
		if m.role == nil || m.role.groups == nil {
			return proto.Stamp{}, false
		}
		of = m.role.groups.Process(programs.ContainerOf(m.notes, container))
	}
	if of == nil {
		return proto.Stamp{}, false
	}
	t, st := of.Token(id &^ proto.GroupBit)
	return t, st == dlm.Success
}

// Note implements programs.World.
func (w *programWorld) Note(format string, args ...any) { (*sim)(w).note(format, args...) }

// Fail implements programs.World.
func (w *programWorld) Fail(format string, args ...any) { (*sim)(w).fail(format, args...) }
