package groups

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// failure ends a schedule; cut ends the process whose step it is.
type (
	failure string
	cut     struct{}
)

// sim is one schedule.
type sim struct {
	rng   *rand.Rand
	steps int
	trace []string
	quiet bool
	calls int
	kills int

	procs []*proc
	role  *role
	gen   uint64
	dir   *journal.Directory
	kept  agent.Remembered
	notes *group.Notes

	queues  []*queue
	open    map[proto.ProcID]map[proto.ProcID]uint64 // container: at which masters, since which agent
	stepOf  *proc                                    // whose step it is
	emitted []emission
	doomed  bool // stepOf is to die in this step
	toKill  []*proc

	res     []*resource
	locks   []*lk
	groups  []*grp
	ops     map[uint64]*op // by token and by accept
	token   uint64
	write   uint32
	settled int // last step in which everybody knew who was dead
}

type emission struct {
	q *queue
	m *proto.Msg
}

// lane tells what a queue carries.
type lane uint8

const (
	requests lane = iota
	answers
	toAgent
	fromAgent
)

// queue carries messages in order. from and to are processes or containers; gen is
// the agent's generation where one is concerned.
type queue struct {
	lane     lane
	from, to proto.ProcID
	gen      uint64
	carrier  *proc // who sends
	msgs     []*proto.Msg
	shut     bool
}

// proc is a process.
type proc struct {
	s      *sim
	name   string
	id     proto.ProcID
	p      *process.Process
	file   *journal.Plain
	dead   bool
	buried bool // its file is gone
	gen    uint64
	alarm  bool
	pin    bool
	group  *grp // as its program was told
	locks  []*lk
}

// role is one incarnation of the agent.
type role struct {
	s      *sim
	host   *proc
	a      *agent.Agent
	g      *group.Groups
	gen    uint64
	known  []*proc
	alarm  bool
	groups map[proto.ProcID]bool
}

func (s *sim) fail(format string, args ...any) {
	panic(failure(fmt.Sprintf("step %d: ", s.steps) + fmt.Sprintf(format, args...)))
}

func (s *sim) note(format string, args ...any) {
	if !s.quiet {
		s.trace = append(s.trace, fmt.Sprintf("%5d ", s.steps)+fmt.Sprintf(format, args...))
	}
}

func (s *sim) one(n int) bool { return s.rng.IntN(n) == 0 }

func (s *sim) byID(id proto.ProcID) *proc {
	for _, p := range s.procs {
		if p.id == id && id != 0 {
			return p
		}
	}
	return nil
}

// Run runs the schedule of a seed.
func Run(seed uint64, tracing bool) (fault string, trace []string, calls, kills int) {
	d, err := journal.Load(journal.NewMemory())
	if err != nil {
		panic(err)
	}
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 0x61c)), dir: d, notes: &group.Notes{}, quiet: !tracing,
		open: map[proto.ProcID]map[proto.ProcID]uint64{}, ops: map[uint64]*op{},
	}
	defer func() {
		switch x := recover().(type) {
		case nil:
		case failure:
			fault = string(x)
		default:
			panic(fmt.Sprintf("seed %d: %v", seed, x))
		}
		trace, calls, kills = s.trace, s.calls, s.kills
	}()
	for i := 0; i < 3+s.rng.IntN(3); i++ {
		s.start()
	}
	for i := 0; i < 1+s.rng.IntN(3); i++ {
		s.res = append(s.res, &resource{name: fmt.Sprintf("r%d", i), writes: map[uint32]bool{0: true}})
	}
	s.calm()
	s.pinAll()
	s.calm()
	for end := 60 + s.rng.IntN(200); s.calls < end; {
		s.steps++
		for len(s.alive()) < 3 {
			s.start()
		}
		switch {
		case s.one(60):
			s.killSome()
		case s.one(80) && len(s.procs) < 16:
			s.start()
		case s.one(3):
			s.act()
		default:
			if !s.progress(false) {
				s.act()
			}
		}
		s.exclusion()
		s.settle()
	}
	s.releaseAll()
	return
}

// settle notes whether everybody knows who is dead.
func (s *sim) settle() {
	if s.role == nil || slices.ContainsFunc(s.role.known, func(p *proc) bool { return p.dead }) {
		return
	}
	for _, p := range s.alive() {
		if p.id != 0 && p.gen != s.role.gen {
			return
		}
	}
	for _, q := range s.queues {
		if q.lane == fromAgent && !q.shut && slices.ContainsFunc(q.msgs, func(m *proto.Msg) bool { return m.Kind == proto.KView }) {
			return
		}
	}
	s.settled = s.steps
}

func (s *sim) start() *proc {
	p := &proc{s: s, name: fmt.Sprintf("P%d", len(s.procs)), file: journal.NewMemory()}
	j, err := journal.Create(p.file, len(s.procs)+1)
	if err != nil {
		panic(err)
	}
	p.p = process.New(p, j)
	p.p.SetDeadlockWait(50)
	s.procs = append(s.procs, p)
	s.note("%s starts", p.name)
	return p
}

// ---- steps ----

// step is one entry into p's code; its messages leave at the end, or some of them.
func (s *sim) step(p *proc, do func()) {
	if p.dead {
		return
	}
	s.stepOf, s.emitted = p, nil
	func() {
		defer func() {
			if x := recover(); x != nil {
				if _, ok := x.(cut); !ok {
					panic(x)
				}
				s.doomed = true
			}
		}()
		do()
	}()
	s.stepOf = nil
	out := s.emitted
	dies := s.doomed
	s.doomed = false
	if dies {
		out = out[:s.rng.IntN(len(out)+1)]
	}
	for _, e := range out {
		if !e.q.shut {
			e.q.msgs = append(e.q.msgs, e.m)
		}
	}
	if dies {
		s.note("%s dies in this step", p.name)
		s.kill(p)
	}
	for _, x := range s.toKill {
		s.kill(x)
	}
	s.toKill = nil
}

func (s *sim) emit(l lane, from, to proto.ProcID, gen uint64, m *proto.Msg) {
	c := new(proto.Msg)
	if err := proto.Parse(proto.Append(nil, m), c); err != nil {
		s.fail("message %d does not survive its encoding: %v", m.Kind, err)
	}
	s.emitted = append(s.emitted, emission{s.queue(l, from, to, gen), c})
}

func (s *sim) queue(l lane, from, to proto.ProcID, gen uint64) *queue {
	for _, q := range s.queues {
		if q.lane == l && q.from == from && q.to == to && q.gen == gen {
			return q
		}
	}
	q := &queue{lane: l, from: from, to: to, gen: gen, carrier: s.stepOf}
	if l == requests && s.isGroup(from) {
		q.msgs = append(q.msgs, &proto.Msg{Kind: proto.KConnect, Proc: from, View: gen})
	}
	s.queues = append(s.queues, q)
	return q
}

func (s *sim) isGroup(id proto.ProcID) bool { return s.open[id] != nil }

// kill ends p. Of what it has sent some may not have left.
func (s *sim) kill(p *proc) {
	if p.dead {
		return
	}
	s.note("%s is dead", p.name)
	s.kills++
	p.dead = true
	for _, q := range s.queues {
		if q.carrier == p && s.one(4) {
			q.msgs = q.msgs[:s.rng.IntN(len(q.msgs)+1)]
		}
		if q.to == p.id && p.id != 0 {
			q.shut = true
		}
	}
	if s.role != nil && s.role.host == p {
		for _, q := range s.queues {
			// What was for the agent or its containers is lost.
			switch {
			case s.isGroup(q.to) && q.lane <= answers:
				q.msgs = nil // what is said from here on waits for the next
			case q.gen == s.role.gen && (q.lane == toAgent || s.isGroup(q.to)):
				q.msgs, q.shut = nil, true
			}
		}
		s.role = nil
		s.note("   it was the agent")
	}
	s.mourn(p)
}

func (s *sim) alive() (out []*proc) {
	for _, p := range s.procs {
		if !p.dead {
			out = append(out, p)
		}
	}
	return out
}

func (s *sim) killSome() {
	live := s.alive()
	p := live[s.rng.IntN(len(live))]
	if s.role != nil && s.one(3) {
		p = s.role.host
	}
	if s.pinned(p) && s.pins() == 1 {
		return // somebody keeps the resources
	}
	if p.id != 0 && s.one(2) {
		s.doomed = true // in its next step, whatever that is
		if s.role != nil && s.role.host == p && s.one(2) {
			s.doomed = false
			s.role.cutNotes(s)
			return
		}
		s.step(p, func() { p.p.Tick() })
	} else {
		s.kill(p)
	}
	for len(s.alive()) < 3 {
		s.start()
	}
}

// ---- connections and messages ----

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
		if q.to != to || q.lane > answers || uint64(q.from) > m.View || slices.Contains(m.Procs, q.from) {
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
