package groups

import (
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/proto"
)

// connect does one of the things that need no message: somebody becomes the agent,
// reaches it, or is found dead.
func (s *sim) connect(calm bool) bool {
	if s.role == nil {
		live := s.alive()
		s.takeRole(live[s.rng.IntN(len(live))])
		return true
	}
	r := s.role
	for _, p := range s.alive() {
		if p.gen != r.gen && (calm || s.one(3)) {
			s.reach(p)
			return true
		}
	}
	for _, p := range slices.Clone(r.known) {
		if p.dead && (calm || s.one(4)) {
			s.found(p)
			return true
		}
	}
	return false
}

func (s *sim) takeRole(host *proc) {
	s.gen++
	r := &role{s: s, host: host, gen: s.gen << 32, groups: map[proto.ProcID]bool{}}
	var live, dead []proto.ProcID
	for _, p := range s.procs {
		switch {
		case p.id == 0 || p.buried:
		case p.dead:
			dead = append(dead, p.id)
		default:
			live = append(live, p.id)
			r.known = append(r.known, p)
		}
	}
	past := agent.Lasting{Groups: s.notes.IDs()}
	for _, e := range s.dir.Entries() {
		past.Directory = append(past.Directory, agent.Entry(e))
	}
	s.kept.Fill(&past)
	s.role = r
	s.note("%s becomes the agent, generation %d, containers %v", host.name, s.gen, past.Groups)
	s.step(host, func() {
		r.a = agent.New((*agentWorld)(r), r.gen, live, dead, &past)
		r.g = group.New((*groupWorld)(r), s.notes.Clone(), 100)
		r.g.Start(r.a, func(p proto.ProcID) bool {
			x := s.byID(p)
			return x != nil && !x.dead
		})
	})
}

func (s *sim) reach(p *proc) {
	r := s.role
	s.note("%s reaches the agent", p.name)
	for _, q := range s.queues {
		if (q.lane == fromAgent && q.to == p.id || q.lane == toAgent && q.from == p.id) && q.gen != r.gen {
			q.shut = true
		}
	}
	var view uint64
	s.step(r.host, func() {
		if p.id == 0 {
			p.id, view = r.a.Join()
			r.known = append(r.known, p)
			p.p.Joined(p.id, view)
		}
	})
	if s.role != r || p.dead {
		return
	}
	p.gen = r.gen
	s.step(p, func() { p.p.Connected() })
	if s.role == r && !p.dead {
		s.step(r.host, func() {
			r.a.Connected(p.id)
			r.g.Reached(p.id)
		})
	}
}

// found tells the agent of a death.
func (s *sim) found(p *proc) {
	r := s.role
	up := s.queue(toAgent, p.id, 0, r.gen)
	for len(up.msgs) > 0 && !up.shut && s.role == r && s.one(2) {
		s.deliver(up)
	}
	up.shut = true
	if s.role != r {
		return
	}
	s.note("%s is found dead", p.name)
	r.known = slices.DeleteFunc(r.known, func(x *proc) bool { return x == p })
	s.step(r.host, func() {
		r.a.Dead(p.id)
		r.g.Died(p.id)
	})
}

// receiver is the process at which q's messages arrive; nil if they do not now.
func (s *sim) receiver(q *queue) *proc {
	switch {
	case q.shut || len(q.msgs) == 0:
		return nil
	case q.lane == toAgent, q.lane == fromAgent && s.isGroup(q.to), s.isGroup(q.to):
		if s.role == nil || s.role.gen != q.gen && q.gen != 0 {
			return nil
		}
		if q.lane == answers && s.open[q.to][q.from] != s.role.gen {
			return nil // kept until the container connects
		}
		return s.role.host
	}
	if p := s.byID(q.to); p != nil && !p.dead {
		return p
	}
	return nil
}

func (s *sim) deliver(q *queue) {
	p := s.receiver(q)
	m := q.msgs[0]
	q.msgs = q.msgs[1:]
	r := s.role
	s.note("%s <- %s", s.nameOf(q.to), s.describe(q, m))
	switch {
	case q.lane == toAgent:
		s.step(p, func() {
			if m.Kind == proto.KGroup {
				r.g.FromMember(q.from, m.Call)
			} else {
				r.a.FromProcess(q.from, m)
			}
		})
	case q.lane == fromAgent && s.isGroup(q.to):
		if m.Kind == proto.KView {
			s.lastWords(q.to, m)
			if s.role != r {
				return
			}
		}
		s.step(p, func() { r.g.FromAgent(q.to, m) })
	case q.lane == fromAgent:
		if m.Kind == proto.KView {
			s.lastWords(q.to, m)
			if p.dead {
				return
			}
		}
		s.step(p, func() { p.p.FromAgent(m) })
	case m.Kind == proto.KConnect:
		s.connected(p, m)
	case s.isGroup(q.to):
		s.step(p, func() { r.g.FromPeer(q.to, q.from, side(q.lane), m) })
	default:
		s.step(p, func() { p.p.FromPeer(q.from, side(q.lane), m) })
	}
}

func side(l lane) proto.Role {
	if l == answers {
		return proto.ToOwner
	}
	return proto.ToMaster
}

// connected: a container's agent reaches p. What the one before had sent goes first.
func (s *sim) connected(p *proc, m *proto.Msg) {
	old, again := s.open[m.Proc][p.id], false
	if m.View < old { // the last words of one that has a successor
		s.queue(requests, m.Proc, p.id, m.View).shut = true
		return
	}
	if old != 0 {
		again = true
		q := s.queue(requests, m.Proc, p.id, old)
		for len(q.msgs) > 0 && !q.shut && !p.dead {
			s.deliver(q)
		}
		q.shut = true
		s.queue(answers, p.id, m.Proc, 0).msgs = nil // they were for that agent
	}
	s.open[m.Proc][p.id] = m.View
	if again {
		s.step(p, func() { p.p.Remind(m.Proc) })
	}
}

// lastWords are what those whom a view removes have sent to its receiver.
func (s *sim) lastWords(to proto.ProcID, m *proto.Msg) {
	for _, q := range slices.Clone(s.queues) {
		if q.to != to || q.lane > answers || !removes(m, q.from) {
			continue
		}
		for !q.shut && len(q.msgs) > 0 && s.receiver(q) != nil && s.one(2) {
			s.deliver(q)
		}
		q.shut = true
	}
}

// progress lets one thing happen that nobody decides.
func (s *sim) progress(calm bool) bool {
	var ready []*queue
	kept := s.queues[:0]
	for _, q := range s.queues {
		if q.shut {
			if q.lane != fromAgent && q.lane != toAgent && q.gen == 0 {
				kept = append(kept, q)
			}
			continue
		}
		kept = append(kept, q)
	}
	s.queues = kept
	for _, q := range s.queues {
		if s.receiver(q) != nil {
			ready = append(ready, q)
		}
	}
	if (len(ready) == 0 || s.one(5)) && s.connect(calm) {
		return true
	}
	if r := s.role; r != nil && len(r.later) > 0 && (len(ready) == 0 || s.one(3)) {
		do := r.later[0]
		r.later = r.later[1:]
		s.step(r.host, do)
		return true
	}
	if len(ready) == 0 {
		return s.ring()
	}
	q := ready[s.rng.IntN(len(ready))]
	for n := 1 + s.rng.IntN(3); n > 0 && s.receiver(q) != nil; n-- {
		s.deliver(q)
	}
	return true
}

// ring lets an alarm go off when nothing else happens.
func (s *sim) ring() bool {
	for _, p := range s.alive() {
		if p.alarm && p.id != 0 {
			p.alarm = false
			s.steps += 100
			s.step(p, func() { p.p.Tick() })
			return true
		}
	}
	if r := s.role; r != nil && r.alarm {
		r.alarm = false
		s.steps += 100
		s.step(r.host, func() { r.g.Tick() })
		return true
	}
	return false
}

// calm lets everything happen that is under way. Alarms ring a few times only: who
// waits for a program searches again and again.
func (s *sim) calm() {
	rings := 0
	for n := 0; ; n++ {
		if n > 60000 {
			s.fail("it never comes to rest")
		}
		s.steps++
		before := s.steps
		if !s.progress(true) {
			return
		}
		if s.steps >= before+100 {
			if rings++; rings > 12 {
				return
			}
		}
	}
}

// removes reports whether x is dead by that view.
func removes(m *proto.Msg, x proto.ProcID) bool {
	if m.Flags&proto.ViewNews != 0 {
		return slices.Contains(m.Dead, x)
	}
	return uint64(x) <= m.View && !slices.Contains(m.Procs, x) && !slices.Contains(m.Groups, x)
}
