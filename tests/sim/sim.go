package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/programs"
)

// Outcome is how a schedule ended.
type Outcome struct {
	Failure string // empty when all was as it must be
	Trace   []string
	Counts  [countEnd]int
	Steps   int
	States  map[uint64]struct{} // of several hosts: in which the schedule has seen them
	// Crowd and Programs are of schedules with containers.
	Crowd    [crowdEnd]int
	Programs programs.Counts
}

// failure ends a schedule.
type failure string

// sim is one schedule.
type sim struct {
	rng       *rand.Rand
	plan      plan
	steps     int
	ticks     int // entries into some core
	clock     int64
	calmSince int64

	nodes  []*node
	byID   map[proto.ProcID]*node
	queues []*queue
	hosts  []*machine
	gen    uint64
	files  map[proto.ProcID]*file
	undo   *[]func() // of writes to shared memory in a step that will be cut
	several
	crowding

	regs     []*reg
	regByKey map[place]*reg
	byDigest map[proto.Digest]*reg
	roots    []proto.Root
	serving  []serving        // per root
	heard    map[asked]uint32 // last operation that some master was asked for

	zeroing   [len(domainNames)]int  // validations that may be under way
	dubious   [len(domainNames)]bool // the domain is invalid, or may be
	nextToken uint64
	nextWrite uint32
	calls     int // requests made by programs
	looks     int // at trees
	spree     spree

	wire    []byte
	tracing bool
	trace   []string
	counts  [countEnd]int
}

// Others have their turn between any two trees that an agent places.
func init() { agent.Step = 1 }

// plan is what a seed chooses for a whole schedule.
type plan struct {
	initial, most     int
	roots, names      int
	calls, rounds     int
	kill, stop, join  int      // per ten thousand steps
	role              int      // of kills, percent that aim at the agent
	master            int      // of kills, percent that aim at a master
	cut               int      // percent of kills in the middle of a step
	program           int      // percent of steps in which a program acts
	writers           int      // percent of requests for PW and EX
	palette           mode.Set // modes asked for
	pins              bool
	persistent        bool  // some resources are
	patience          int64 // before a search for deadlocks
	transactions      int   // percent of locks that belong to one
	moveAfter         int   // requests after which trees move to who uses them; 0: they stay
	moveWait          int64
	journalRoom       int
	directoryRoom     int
	awake             int // how many roots stay awake in a shard; -1: as many as usual
	slowDeath, slowUp int // how seldom deaths are noticed, connections made
	lendAfter         int // own requests after which a tree is lent to the callers; 0: it is not
	spree             int // percent of calls that begin a spree
}

func (s *sim) choosePlan() {
	r := s.rng
	p := &s.plan
	p.initial = 2 + r.IntN(4)
	p.most = p.initial + r.IntN(9-p.initial)
	p.roots = 1 + r.IntN(4)
	p.names = 1 + r.IntN(2)
	p.rounds = 1 + r.IntN(3)
	p.calls = (40 + r.IntN(120)) / p.rounds
	if r.IntN(8) > 0 {
		p.kill = 10 + r.IntN(150)
		p.join = 10 + r.IntN(100)
	}
	if r.IntN(2) > 0 {
		p.stop = r.IntN(100)
	}
	p.role = r.IntN(60)
	p.master = r.IntN(60)
	p.cut = r.IntN(100)
	p.program = 10 + r.IntN(40)
	p.writers = 20 + r.IntN(50)
	p.palette = mode.Bit(mode.EX+1) - mode.Bit(mode.NL)
	if r.IntN(2) == 0 {
		p.palette = 0
		for n := 2 + r.IntN(2); n > 0; n-- {
			p.palette |= mode.Bit(mode.NL + mode.Mode(r.IntN(6)))
		}
	}
	p.pins = r.IntN(3) == 0
	p.persistent = r.IntN(3) == 0
	p.patience = int64(5 + r.IntN(60))
	if r.IntN(2) == 0 {
		p.transactions = r.IntN(80)
	}
	if r.IntN(2) == 0 {
		p.moveAfter = 1 + r.IntN(6)
		p.moveWait = int64(5 + r.IntN(100))
	}
	p.journalRoom = 1 << 20
	if r.IntN(12) == 0 {
		p.journalRoom = 1 + r.IntN(4)
	}
	p.directoryRoom = 1 << 20
	if r.IntN(25) == 0 {
		p.directoryRoom = r.IntN(4)
	}
	p.awake = r.IntN(3) - 1
	p.slowDeath = 1 + r.IntN(12)
	p.slowUp = 1 + r.IntN(8)
	if p.lendAfter = max(0, r.IntN(4)-1); p.lendAfter > 0 {
		p.roots += 2 + r.IntN(5)
		p.spree = 5 + r.IntN(20)
		p.calls += p.calls / 2
	}
}

// Run runs the schedule of a seed.
func Run(seed uint64, tracing bool) Outcome {
	s := &sim{
		rng:      rand.New(rand.NewPCG(seed, 0x60d1)),
		byID:     map[proto.ProcID]*node{},
		files:    map[proto.ProcID]*file{},
		regByKey: map[place]*reg{},
		byDigest: map[proto.Digest]*reg{},
		heard:    map[asked]uint32{},
		tracing:  tracing,
	}
	s.hosts = []*machine{s.newMachine()}
	return s.run()
}

// run runs the schedule that has been set up.
func (s *sim) run() (out Outcome) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case failure:
			out.Failure = string(x)
		default:
			if s.tracing {
				s.note("panic: %v", x)
				out.Failure = fmt.Sprintf("panic: %v", x)
				out.Trace = s.trace
				panic(fmt.Sprintf("%v\n%s", x, tail(s.trace, 60)))
			}
			out.Failure = fmt.Sprintf("panic: %v", x)
		}
		out.Trace, out.Counts, out.Steps = s.trace, s.counts, s.steps
		out.States, out.Crowd = s.states, s.crowd
		if s.all != nil {
			out.Programs = s.all.Reached
		}
	}()
	defer s.closeAll()
	s.choosePlan()
	if len(s.hosts) > 1 {
		s.chooseTrouble()
	}
	if s.all != nil {
		s.chooseCrowd()
	}
	s.start()
	if s.all != nil {
		s.runPrograms()
		return out
	}
	for round := 0; round < s.plan.rounds; round++ {
		s.trouble(s.calls + s.plan.calls)
		s.calm()
		s.search()
		s.atRest()
		s.noDeadlock()
	}
	s.releaseAll()
	return out
}

func tail(lines []string, n int) string {
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	t := ""
	for _, l := range lines {
		t += l + "\n"
	}
	return t
}

// start makes the first processes and chooses the roots' names.
func (s *sim) start() {
	if s.all != nil {
		s.addProgramRoots()
	}
	for i := 0; i < s.plan.roots && s.all == nil; i++ {
		root := proto.Root{Name: proto.MakeName([]byte{'r', byte('0' + i/2)})}
		if i%2 == 1 {
			root.Space = proto.Namespace{Kind: proto.PerUser, ID: 7}
		}
		s.roots = append(s.roots, root)
		s.serving = append(s.serving, serving{})
	}
	for i := 0; i < s.plan.initial; i++ {
		s.addNode()
	}
	s.note("plan %+v", s.plan)
}

// trouble lets programs, messages and faults happen until enough calls were made.
func (s *sim) trouble(calls int) {
	limit := s.steps + 100*s.plan.calls + 4000
	for s.calls < calls && s.steps < limit {
		s.steps++
		s.pass(s.pace)
		if s.all != nil {
			s.all.Exclusion()
		}
		if s.fault() {
			continue
		}
		if s.rng.IntN(100) < s.plan.program && s.act() {
			continue
		}
		if !s.progress(false) && !s.act() {
			s.jump()
		}
	}
}

// calm ends the trouble: whoever is stopped goes on, and everything that is
// under way arrives.
func (s *sim) calm() {
	for _, n := range s.nodes {
		s.resumeNode(n)
		if n.doomed {
			s.kill(n)
		}
	}
	s.mend()
	if roomy := slices.ContainsFunc(s.nodes, func(n *node) bool { return !n.dead && n.file.room > 100 }); !roomy {
		// Somebody must have room for a tree that the others cannot take.
		for s.addNode().file.room <= 100 {
		}
	}
	s.calmSince = s.clock
	limit, begin := s.steps+50000, s.time
	for s.progress(true) || s.unsettled() {
		s.steps++
		if s.all != nil {
			s.all.Exclusion()
		}
		if s.steps > limit || s.time > begin+calmTime {
			s.fail("the system does not come to rest within %d ms%s", s.time-begin, s.stalls())
		}
	}
	s.counts[longest] = max(s.counts[longest], int(s.time-begin))
}

// calmTime bounds, in milliseconds, how long everything takes that can be done when no more
// faults happen.
const calmTime = 60000

func (s *sim) fail(format string, args ...any) {
	panic(failure(fmt.Sprintf("step %d: ", s.steps) + fmt.Sprintf(format, args...)))
}

func (s *sim) note(format string, args ...any) {
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%5d ", s.steps)+fmt.Sprintf(format, args...))
	}
}

// one chance in n.
func (s *sim) one(n int) bool { return s.rng.IntN(n) == 0 }

// percent is true p times in a hundred.
func (s *sim) percent(p int) bool { return s.rng.IntN(100) < p }
