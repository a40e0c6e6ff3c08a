package sim

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/proto"
)

// Times of a schedule with several hosts, in milliseconds. A step takes a few.
const (
	millisecond = int64(1e6)
	tickTime    = 100
	suspectTime = 1500
	leaseTime   = 3000
	overTime    = leaseTime + leaseTime/100
	// drift is by how many thousandths a host's clock may be faster than another's: all
	// that survivors allow for.
	drift = 10
)

// several is what a schedule with several hosts has beyond one with a host alone.
type several struct {
	base   string // directory of the stores
	time   int64
	pace   int64               // how much of it a step takes
	cut    map[way]bool        // nothing gets through
	mails  []*mail             // between agents
	states map[uint64]struct{} // that the hosts have been in
	shaken bool                // since the last rest
	later  []func()            // after the step under way
	over   map[membership]bool // have ended, as the log has decided
	voters []string            // that the configuration names
	flaps  flapping
	// harm: per ten thousand steps, except wipe, which is percent of crashes
	harm struct{ cut, crash, wipe, suspend, mend, flap, leave, evict, vote int }
}

// way is the direction from one host to another.
type way struct{ from, to *machine }

// machine is a host: what its processes share, and its clock.
type machine struct {
	s          *sim
	name       string
	role       *role // its agent; nil when there is none
	dir        map[proto.Digest]agent.Entry
	remembered *agent.Remembered
	notes      *group.Notes // of containers

	file   hostFile
	store  string // directory of its store; "" alone
	down   bool
	booted int64 // when its clock began
	rate   int64 // of its clock, in thousandths
	id     proto.HostID
	wiped  int64 // when it lost its disk; 0: it has not
	gone   bool  // for good
}

func (m *machine) String() string { return m.name }

func (s *sim) newMachine() *machine {
	return &machine{
		s: s, name: fmt.Sprintf("h%d", len(s.hosts)), dir: map[proto.Digest]agent.Entry{}, remembered: &agent.Remembered{}, notes: &group.Notes{},
		rate: 1000, file: hostFile{s: s},
	}
}

// hostFile is what the agents of a host keep for its processes and each other.
type hostFile struct {
	s         *sim
	birth     uint32
	until     int64
	over      bool // ended before that
	directory uint32
}

// Birth implements host.File.
func (f *hostFile) Birth() uint32 { return f.birth }

// Until implements host.File.
func (f *hostFile) Until() int64 { return f.until }

// Directory implements host.File.
func (f *hostFile) Directory() uint32 { return f.directory }

// SetBirth implements host.File.
func (f *hostFile) SetBirth(birth uint32) {
	old := *f
	f.s.change(func() { f.birth, f.until, f.over = birth, 0, false }, func() { f.birth, f.until, f.over = old.birth, old.until, old.over })
}

// End implements host.File.
func (f *hostFile) End() {
	old := f.over
	f.s.change(func() { f.over = true }, func() { f.over = old })
}

// Ended implements host.File.
func (f *hostFile) Ended() bool { return f.over }

// lease is when the lease of that birth ends.
func (f *hostFile) lease(birth uint32) int64 {
	if f.birth != birth || f.over {
		return 0
	}
	return f.until
}

// Extend implements host.File.
func (f *hostFile) Extend(until int64) {
	old := f.until
	f.s.change(func() { f.until = until }, func() { f.until = old })
}

// SetDirectory implements host.File.
func (f *hostFile) SetDirectory(since uint32) {
	old := f.directory
	f.s.change(func() { f.directory = since }, func() { f.directory = old })
}

// source is where libraries draw their lots from.
type source struct{ *mathrand.Rand }

// Read implements io.Reader.
func (r source) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

// RunHosts runs the schedule of a seed with several hosts. Their stores are below base.
// It must not run beside others: libraries draw lots from crypto/rand.Reader, which is
// the seed's for the time.
func RunHosts(seed uint64, base string, tracing bool) Outcome {
	s := newSeveral(seed, 0x4057, tracing)
	defer s.lots(seed)()
	s.found(base)
	return s.run()
}

// newSeveral is a schedule without its hosts. kind tells it from others of the same seed.
func newSeveral(seed, kind uint64, tracing bool) *sim {
	return &sim{
		rng:      mathrand.New(mathrand.NewPCG(seed, kind)),
		byID:     map[proto.ProcID]*node{},
		files:    map[proto.ProcID]*file{},
		regByKey: map[place]*reg{},
		byDigest: map[proto.Digest]*reg{},
		heard:    map[asked]uint32{},
		tracing:  tracing,
	}
}

// lots has libraries draw the seed's, until what it returns is called.
func (s *sim) lots(seed uint64) (end func()) {
	old := rand.Reader
	rand.Reader = source{mathrand.New(mathrand.NewPCG(seed, 0x4e11))}
	return func() { rand.Reader = old }
}

// found makes the hosts.
func (s *sim) found(base string) {
	s.base, s.cut = base, map[way]bool{}
	s.over = map[membership]bool{}
	n, voters := 3, 3
	switch s.rng.IntN(10) {
	case 0, 1: // one learns
		n = 4
	case 2:
		n, voters = 5, 5
	case 3:
		n = 5
	}
	for range n {
		m := s.newMachine()
		m.store = filepath.Join(base, m.name)
		switch m.rate += s.rng.Int64N(drift + 1); s.rng.IntN(4) {
		case 0:
			m.rate = 1000
		case 1:
			m.rate = 1000 + drift
		}
		if err := os.RemoveAll(m.store); err != nil {
			s.panics(err)
		}
		if err := os.Mkdir(m.store, 0o700); err != nil {
			s.panics(err)
		}
		s.hosts = append(s.hosts, m)
		if len(s.voters) < voters {
			s.voters = append(s.voters, m.name)
		}
	}
}

func (s *sim) panics(err error) { panic(err) }

// chooseTrouble is the plan for what hosts do.
func (s *sim) chooseTrouble() {
	r, p := s.rng, &s.plan
	p.journalRoom, p.directoryRoom = 1<<20, 1<<20
	p.initial = len(s.hosts) + r.IntN(3)
	p.most = max(p.most, p.initial+2)
	s.pace = int64(1 + r.IntN(8))
	h := &s.harm
	if r.IntN(3) > 0 {
		h.cut = r.IntN(60)
	}
	if r.IntN(3) > 0 {
		h.crash = r.IntN(30)
		h.wipe = r.IntN(60)
	}
	if r.IntN(3) == 0 {
		h.suspend = r.IntN(30)
	}
	h.mend = 20 + r.IntN(150)
	if r.IntN(3) == 0 {
		h.flap = r.IntN(30)
	}
	if r.IntN(3) > 0 {
		h.leave = r.IntN(60)
		h.evict = r.IntN(60)
	}
	if r.IntN(4) == 0 {
		h.vote = r.IntN(30)
	}
}

// now is the host's clock, which begins when it is booted.
func (m *machine) now() int64 { return (m.s.time - m.booted) * m.rate * millisecond / 1000 }

// someMachine is where a new process starts.
func (s *sim) someMachine() *machine {
	if len(s.hosts) == 1 {
		return s.hosts[0]
	}
	for _, m := range s.hosts { // each needs somebody
		if !m.down && !m.leaving() && !s.inhabited(m) && s.one(2) {
			return m
		}
	}
	for {
		if m := s.hosts[s.rng.IntN(len(s.hosts))]; !m.down {
			return m
		}
		if !slices.ContainsFunc(s.hosts, func(m *machine) bool { return !m.down }) {
			for _, m := range s.hosts {
				s.boot(m)
			}
		}
	}
}

func (s *sim) inhabited(m *machine) bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.home == m && !n.dead })
}

// former reports whether n belongs to a membership of its host that has ended.
func (s *sim) former(n *node) bool { return n.admitted != n.home.file.birth }

// coordinator is the host that has the directory.
func (s *sim) coordinator() *machine {
	for _, m := range s.hosts {
		if len(s.hosts) == 1 || m.role != nil && m.role.h.Coordinates() {
			return m
		}
	}
	s.fail("nobody coordinates")
	return nil
}

// pass lets time pass for the hosts.
func (s *sim) pass(d int64) {
	s.time += d
	s.lookHosts()
	for _, m := range s.hosts {
		if m.store != "" {
			s.expire(m)
			s.doom(m)
		}
	}
	s.flap()
}

// shake: what somebody was master of may have to be put together without its journal.
func (s *sim) shake() {
	s.shaken = true
	if s.all != nil {
		s.all.Shake()
	}
	for _, r := range s.regs {
		r.shaken = true
		r.spread()
	}
}

// tick lets an agent's clock go on, when it is time. In a calm nothing but jump does.
func (s *sim) tick(calm bool) bool {
	if calm {
		return false
	}
	for _, m := range s.hosts {
		if r := m.role; r != nil && r.h != nil && r.running() && r.next <= s.time {
			s.tickOne(r)
			return true
		}
	}
	return false
}

func (s *sim) tickOne(r *role) {
	r.next = s.time + tickTime
	if s.one(200) {
		r.h.Suspect(s.hosts[s.rng.IntN(len(s.hosts))].id, s.one(2)) // gossip is only a hint
	}
	s.agentStep(r, r.h.Tick)
}

// jump goes on to the next tick of some agent.
func (s *sim) jump() bool {
	var next *role
	for _, m := range s.hosts {
		if r := m.role; r != nil && r.h != nil && r.running() && (next == nil || r.next < next.next) {
			next = r
		}
	}
	if next == nil {
		return false
	}
	s.pass(max(0, next.next-s.time))
	if next.m.role == next && next.running() {
		s.tickOne(next)
	}
	return true
}

// unsettled goes on to the next tick, as long as the hosts have not come to an end with
// each other.
func (s *sim) unsettled() bool {
	if len(s.hosts) == 1 || s.settled() {
		return false
	}
	for _, m := range s.hosts { // whose last process has died of its lease, or has left
		if !m.gone && !m.leaving() && !s.inhabited(m) {
			s.addNodeAt(m)
		}
	}
	s.counts[jumps]++
	return s.jump() || true
}

func (s *sim) settled() bool {
	epoch := uint32(0)
	for _, m := range s.hosts {
		if m.gone {
			continue
		}
		if m.role == nil || m.role.h == nil || !s.votesAsNamed(m.role) || !m.role.h.Leased() || len(m.role.h.Report().Stalls) > 0 || epoch != 0 && m.role.h.State().Epoch != epoch {
			return false
		}
		epoch = m.role.h.State().Epoch
	}
	if !s.onlyMembers() {
		return false
	}
	for _, n := range s.nodes {
		if !n.dead && (n.link == nil || n.link.role != n.home.role || !n.link.welcomed) {
			return false
		}
	}
	return true
}

// onlyMembers reports whether the hosts have noticed that those are gone that are.
func (s *sim) onlyMembers() bool {
	now := map[membership]bool{}
	for _, m := range s.hosts {
		if !m.gone {
			now[membership{m.role.id, m.role.h.Birth()}] = true
		}
	}
	for _, m := range s.hosts {
		if !m.gone && slices.ContainsFunc(m.role.h.State().Hosts, func(x proto.Host) bool { return !now[membership{x.ID, x.Birth}] }) {
			return false
		}
	}
	return true
}

// runLater does what the step under way has left to do.
func (s *sim) runLater() {
	for len(s.later) > 0 {
		do := s.later[0]
		s.later = s.later[1:]
		do()
	}
}

// closeAll lets go of the stores.
func (s *sim) closeAll() {
	for _, m := range s.hosts {
		if m.role != nil {
			m.role.end()
		}
	}
}

var _ host.File = (*hostFile)(nil)

// stalls tells what the agents say they wait for.
func (s *sim) stalls() (t string) {
	for _, m := range s.hosts {
		if m.role != nil && m.role.h != nil {
			rep := m.role.h.Report()
			t += fmt.Sprintf("; %s, epoch %d, led by %s, %d voters:", m, rep.Epoch, rep.Leader, rep.Voters)
			for _, l := range rep.Hosts {
				t += fmt.Sprintf(" %s %s", l.Name, l.Vote)
			}
			t += fmt.Sprintf(" %v", rep.Stalls)
		} else if len(s.hosts) > 1 {
			t += fmt.Sprintf("; %s has no agent", m)
		}
	}
	for _, n := range s.nodes {
		if !n.dead && (n.link == nil || n.link.role != n.home.role || !n.link.welcomed) {
			t += fmt.Sprintf("; %s on %s is not welcomed", n, n.home)
		}
	}
	return t
}
