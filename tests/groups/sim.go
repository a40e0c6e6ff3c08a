package groups

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/programs"
)

// Others have their turn between any two trees that an agent places.
func init() { agent.Step = 1 }

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

	all *programs.All
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
}

var _ programs.Process = (*proc)(nil)

// String implements programs.Process.
func (p *proc) String() string { return p.name }

// ID implements programs.Process.
func (p *proc) ID() proto.ProcID { return p.id }

// Dead implements programs.Process.
func (p *proc) Dead() bool { return p.dead }

// Stopped implements programs.Process.
func (p *proc) Stopped() bool { return false }

// Core implements programs.Process.
func (p *proc) Core() *process.Process { return p.p }

// Host implements programs.Process.
func (p *proc) Host() any { return nil }

// programWorld is the simulator as programs see it.
type programWorld sim

var _ programs.World = (*programWorld)(nil)

// Steps implements programs.World.
func (w *programWorld) Steps() int { return w.steps }

// Step implements programs.World.
func (w *programWorld) Step(p programs.Process, do func()) { (*sim)(w).step(p.(*proc), do) }

// Unheard implements programs.World.
func (w *programWorld) Unheard(programs.Process) bool { return false }

// Token implements programs.World.
func (w *programWorld) Token(p programs.Process, id proto.LockID, container uint32) (proto.Stamp, bool) {
	of := p.Core()
	if container != 0 {
		of = nil
		if w.role != nil {
			of = w.role.g.Process(programs.ContainerOf(w.notes, container))
		}
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

// role is one incarnation of the agent.
type role struct {
	s      *sim
	host   *proc
	a      *agent.Agent
	g      *group.Groups
	gen    uint64
	known  []*proc
	alarm  bool
	later  []func() // what the agent has put off
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
		open: map[proto.ProcID]map[proto.ProcID]uint64{},
	}
	s.all = programs.New((*programWorld)(s), s.rng)
	defer func() {
		switch x := recover().(type) {
		case nil:
		case failure:
			fault = string(x)
		default:
			panic(fmt.Sprintf("seed %d: %v", seed, x))
		}
		trace, calls, kills = s.trace, s.all.Calls, s.kills
	}()
	for i := 0; i < 3+s.rng.IntN(3); i++ {
		s.start()
	}
	for i := 0; i < 1+s.rng.IntN(3); i++ {
		s.all.AddRoot(proto.Root{Name: proto.MakeName(fmt.Appendf(nil, "r%d", i))})
	}
	s.calm()
	s.all.Pin()
	s.calm()
	for end := 60 + s.rng.IntN(200); s.all.Calls < end; {
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
			s.all.Act()
		default:
			if !s.progress(false) {
				s.all.Act()
			}
		}
		s.all.Exclusion()
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
	s.all.Settled()
}

func (s *sim) start() *proc {
	p := &proc{s: s, name: fmt.Sprintf("P%d", len(s.procs)), file: journal.NewMemory()}
	j, err := journal.Create(p.file, len(s.procs)+1)
	if err != nil {
		panic(err)
	}
	p.p = process.New(p, j)
	if s.one(2) {
		p.p.KeepAwake(0)
	}
	p.p.SetDeadlockWait(50)
	s.procs = append(s.procs, p)
	s.all.Start(p)
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
	s.all.Mourn(p)
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
	if _, alone := s.all.Pinned(p); alone {
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
