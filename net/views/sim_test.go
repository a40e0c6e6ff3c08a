package views

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godlm/godlm/net/store"
)

var (
	schedules = flag.Int("schedules", 60, "how many schedules to run")
	first     = flag.Uint64("first", 1, "seed of the first schedule")
	seed      = flag.Uint64("seed", 0, "run only this seed, with its whole trace")
)

// sim is voters on hosts that crash, lose their stores and are cut off from each other.
type sim struct {
	t       *testing.T
	rng     *rand.Rand
	dir     string
	hosts   []*host
	mail    []letter
	cut     map[[2]uint64]bool // one way
	log     map[uint64]string  // what was decided, by index
	last    uint64             // highest index that anybody has applied
	tokens  uint64
	decided int
	lost    int
	trace   []string
	quiet   bool
}

type letter struct {
	from, to uint64
	data     []byte
}

type host struct {
	s       *sim
	place   string // of its store
	id      uint64
	st      *store.Store
	g       *Group // nil: it is down
	applied map[uint64]string
	at      uint64
	asked   map[uint64]uint64 // token -> what had been decided when it asked
	answers int
	slow    bool // its disk takes its time: jobs wait for it
	jobs    []job
}

type job struct {
	do   func() error
	done func(error)
}

type failure string

func (s *sim) fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

func (s *sim) note(format string, args ...any) {
	if !s.quiet {
		s.trace = append(s.trace, fmt.Sprintf(format, args...))
	}
}

// Send implements Host.
func (h *host) Send(to uint64, data []byte) {
	h.s.mail = append(h.s.mail, letter{h.id, to, data})
}

// Apply implements Host.
func (h *host) Apply(index uint64, data []byte) {
	s := h.s
	if index <= h.at {
		s.fail("%x applies %d after %d", h.id, index, h.at)
	}
	if was, ok := s.log[index]; ok && was != string(data) {
		s.fail("%x has %q as entry %d, another host %q", h.id, data, index, was)
	}
	if _, ok := s.log[index]; !ok {
		s.log[index] = string(data)
		s.decided++
	}
	h.at = index
	s.last = max(s.last, index)
	h.applied[index] = string(data)
}

// Snapshot implements Host.
func (h *host) Snapshot() []byte {
	var b strings.Builder
	for _, i := range keys(h.applied) {
		fmt.Fprintf(&b, "%d %s\n", i, h.applied[i])
	}
	return []byte(b.String())
}

// Restore implements Host.
func (h *host) Restore(index uint64, data []byte) {
	h.applied, h.at = map[uint64]string{}, index
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		number, text, _ := strings.Cut(line, " ")
		if i, err := strconv.ParseUint(number, 10, 64); err == nil {
			if h.s.log[i] != text {
				h.s.fail("a snapshot of %x says %q for entry %d, which is %q", h.id, text, i, h.s.log[i])
			}
			h.applied[i] = text
		}
	}
}

// Confirmed implements Host.
func (h *host) Confirmed(token uint64) {
	want, ok := h.asked[token]
	if !ok {
		return // asked before a crash
	}
	delete(h.asked, token)
	h.answers++
	for i := range h.s.log {
		if i <= want && h.applied[i] == "" {
			h.s.fail("%x is confirmed, and lacks entry %d, which had been decided before it asked", h.id, i)
		}
	}
}

func keys(m map[uint64]string) (out []uint64) {
	for i := range m {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// identity is a voter's number.
func identity(id store.Identity) (n uint64) {
	for _, b := range id[:8] {
		n = n<<8 | uint64(b)
	}
	return n | 1
}

func (s *sim) up(h *host, initial []uint64) {
	var err error
	h.applied, h.at, h.asked = map[uint64]string{}, 0, map[uint64]uint64{}
	if h.g, err = New(h, h.st, h.id, initial); err != nil {
		s.fail("start: %v", err)
	}
	h.jobs = nil
	if h.slow {
		h.slowDisk()
	}
}

// disk has a job of a slow disk done.
func (s *sim) disk(h *host) {
	j := h.jobs[0]
	h.jobs = h.jobs[1:]
	j.done(j.do())
	s.check(h, nil)
}

func (s *sim) openStore(h *host) {
	st, err := store.Open(h.place, store.Options{Cluster: "sim"})
	if err != nil {
		s.fail("%v", err)
	}
	h.st, h.id = st, identity(st.Identity())
}

// down ends a host. What its disk was doing may be done, and nobody knows.
func (s *sim) down(h *host) {
	s.note("%x is down", h.id)
	if n := len(h.jobs); n > 0 {
		for _, j := range h.jobs[:s.rng.IntN(n+1)] {
			_ = j.do()
		}
	}
	h.jobs = nil
	if err := h.st.Close(); err != nil {
		s.fail("%v", err)
	}
	h.g = nil
}

func (s *sim) byID(id uint64) *host {
	for _, h := range s.hosts {
		if h.id == id && h.g != nil {
			return h
		}
	}
	return nil
}

// check ends the schedule if a voter has stopped.
func (s *sim) check(h *host, err error) {
	if h.g.Err() != nil {
		s.fail("%x has stopped: %v", h.id, h.g.Err())
	}
	_ = err // ErrNoLeader and dropped proposals are part of it
}

func (s *sim) step(calm bool) {
	h := s.hosts[s.rng.IntN(len(s.hosts))]
	switch x := s.rng.IntN(1000); {
	case len(s.mail) > 0 && x < 700:
		s.deliver(calm)
	case len(h.jobs) > 0 && (x < 800 || calm):
		s.disk(h)
	case h.g != nil && x < 900:
		h.g.Tick()
		s.check(h, nil)
	case calm:
	case h.g == nil:
		if x < 950 {
			s.note("%x is up", h.id)
			s.openStore(h)
			s.up(h, nil)
		}
	case x < 950:
		s.check(h, h.g.Propose(fmt.Appendf(nil, "entry %d of %x", s.rng.IntN(1<<30), h.id)))
	case x < 975:
		s.tokens++
		h.asked[s.tokens] = s.last
		s.check(h, h.g.Confirm(s.tokens))
	case x < 985:
		other := s.hosts[s.rng.IntN(len(s.hosts))]
		s.cut[[2]uint64{h.id, other.id}] = s.rng.IntN(2) == 0
	case x < 990:
		clear(s.cut)
	case x < 995:
		s.down(h)
	case x < 999 && len(s.hosts) > 1 && s.settled():
		s.lose(h)
	}
}

// settled reports whether all hosts are voters by what each of them knows: then one may
// lose its store. Another loss before it is replaced could be that of a majority.
func (s *sim) settled() bool {
	return !slices.ContainsFunc(s.hosts, func(h *host) bool {
		return h.g == nil || len(h.g.conf.GetVotersOutgoing()) > 0 || slices.ContainsFunc(s.hosts, func(x *host) bool {
			return !slices.Contains(h.g.Voters(), x.id)
		})
	})
}

// lostNow counts hosts whose present identity is no voter.
func (s *sim) lostNow() (n int) {
	voters := s.voters()
	for _, h := range s.hosts {
		if h.g == nil || !slices.Contains(voters, h.id) {
			n++
		}
	}
	return n
}

// voters is the newest set that anybody has applied.
func (s *sim) voters() (v []uint64) {
	var at uint64
	for _, h := range s.hosts {
		if h.g != nil && h.g.applied >= at {
			at, v = h.g.applied, h.g.Voters()
		}
	}
	return v
}

// lose has h come back without its store, as somebody new.
func (s *sim) lose(h *host) {
	s.down(h)
	if err := os.RemoveAll(h.place); err != nil {
		s.fail("%v", err)
	}
	if err := os.Mkdir(h.place, 0o700); err != nil {
		s.fail("%v", err)
	}
	old := h.id
	s.lost++
	s.openStore(h)
	s.note("%x comes back as %x", old, h.id)
	s.up(h, nil)
}

// replace has the leader take in who has come back as somebody new, and let go of who is
// nobody's identity any more.
func (s *sim) replace() {
	for _, h := range s.hosts {
		if h.g == nil || h.g.Leader() != h.id {
			continue
		}
		voters, learners := h.g.Voters(), h.g.Learners()
		for _, x := range s.hosts {
			switch {
			case slices.Contains(voters, x.id):
			case slices.Contains(learners, x.id):
				for _, v := range voters {
					if !slices.ContainsFunc(s.hosts, func(y *host) bool { return y.id == v }) {
						s.check(h, h.g.Change(nil, []uint64{x.id}, []uint64{v}))
						return
					}
				}
			default:
				s.check(h, h.g.Change([]uint64{x.id}, nil, nil))
				return
			}
		}
	}
}

func (s *sim) deliver(calm bool) {
	i := s.rng.IntN(len(s.mail))
	if s.rng.IntN(2) == 0 {
		i = 0
	}
	m := s.mail[i]
	if calm || s.rng.IntN(20) > 0 { // else it comes once more
		s.mail = slices.Delete(s.mail, i, i+1)
	}
	if !calm && (s.rng.IntN(15) == 0 || s.cut[[2]uint64{m.from, m.to}]) {
		return
	}
	if h := s.byID(m.to); h != nil {
		if err := h.g.Receive(m.from, m.data); err != nil {
			s.fail("%x does not take a message: %v", h.id, err)
		}
		s.check(h, nil)
	}
}

// run runs a schedule. It is not replayed exactly: raft draws the lengths of its patience
// by itself, and voters their identities.
func run(t *testing.T, number uint64, tracing bool) (fault string, trace []string, decided, confirmed, lost int) {
	s := &sim{
		t: t, rng: rand.New(rand.NewPCG(number, 5)), dir: t.TempDir(), cut: map[[2]uint64]bool{}, log: map[uint64]string{}, quiet: !tracing,
	}
	defer func() {
		for _, h := range s.hosts {
			confirmed += h.answers
			if h.st != nil {
				_ = h.st.Close()
			}
		}
		switch x := recover().(type) {
		case nil:
		case failure:
			fault = string(x)
		default:
			panic(x)
		}
		trace, decided, lost = s.trace, s.decided, s.lost
	}()
	var initial []uint64
	for i := range 1 + 2*s.rng.IntN(3) { // 1, 3 or 5
		h := &host{s: s, place: filepath.Join(s.dir, fmt.Sprint(i)), slow: s.rng.IntN(2) == 0}
		if err := os.Mkdir(h.place, 0o700); err != nil {
			s.fail("%v", err)
		}
		s.openStore(h)
		s.hosts = append(s.hosts, h)
		initial = append(initial, h.id)
	}
	for _, h := range s.hosts {
		s.up(h, initial)
	}
	for i := range 6000 {
		s.step(false)
		if len(s.mail) > 300 {
			s.mail = s.mail[150:]
		}
		if i%200 == 0 && len(s.hosts) > 1 {
			s.replace()
		}
	}
	// The trouble is over.
	clear(s.cut)
	for _, h := range s.hosts {
		if h.g == nil {
			s.openStore(h)
			s.up(h, nil)
		}
	}
	end := ""
	for i := range 60000 {
		s.step(true)
		if i%500 == 499 {
			s.replace()
			for _, h := range s.hosts {
				if end == "" && s.lostNow() == 0 && h.g.Leader() == h.id && h.g.Propose([]byte("the end")) == nil {
					end = "the end"
				}
			}
		}
		if i%50 == 0 && end != "" && s.agreed(end) {
			return
		}
		if i%5000 == 4999 {
			end = "" // it may have been lost with its leader
		}
	}
	for _, h := range s.hosts {
		s.note("%x: leader %x, applied %d entries up to %d, voters %x learners %x", h.id, h.g.Leader(), len(h.applied), h.at, h.g.Voters(), h.g.Learners())
		s.note("   %+v %+v", h.g.node.BasicStatus().HardState, h.g.node.BasicStatus().SoftState)
	}
	s.note("%d entries decided, %d letters, end %q", len(s.log), len(s.mail), end)
	s.fail("they do not come to agree; voters %x, %d hosts are none", s.voters(), s.lostNow())
	return
}

// agreed reports whether all have applied the same, up to that entry.
func (s *sim) agreed(last string) bool {
	for _, h := range s.hosts {
		if len(h.applied) != len(s.log) || !slices.Contains(slices.Collect(func(yield func(string) bool) {
			for _, text := range h.applied {
				if !yield(text) {
					return
				}
			}
		}), last) {
			return false
		}
	}
	return true
}

func TestSchedules(t *testing.T) {
	compactAfter, slack = 20, 5
	if *seed != 0 {
		fault, trace, _, _, _ := run(t, *seed, true)
		t.Logf("%s\n%s", strings.Join(trace, "\n"), fault)
		if fault != "" {
			t.Fail()
		}
		return
	}
	decided, confirmed, lost := 0, 0, 0
	for i := range *schedules {
		fault, trace, d, c, l := run(t, *first+uint64(i), true)
		if fault != "" && !t.Failed() {
			t.Errorf("seed %d: %s\n%s", *first+uint64(i), fault, strings.Join(trace[max(0, len(trace)-60):], "\n"))
		} else if fault != "" {
			t.Errorf("seed %d: %s", *first+uint64(i), fault)
		}
		decided, confirmed, lost = decided+d, confirmed+c, lost+l
	}
	t.Logf("%d schedules, %d entries decided, %d confirmations, %d stores lost", *schedules, decided, confirmed, lost)
	if decided < 10**schedules || confirmed < 2**schedules || lost < *schedules/4 {
		t.Error("too little happens")
	}
}

// A voter alone decides at once, without waiting for any clock.
func TestAlone(t *testing.T) {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(1, 1)), cut: map[[2]uint64]bool{}, log: map[uint64]string{}}
	h := &host{s: s, place: t.TempDir()}
	for start := range 3 {
		s.openStore(h)
		var initial []uint64
		if start == 0 {
			initial = []uint64{h.id}
		}
		s.up(h, initial)
		if err := h.g.Propose(fmt.Append(nil, start)); err != nil {
			t.Fatal(err)
		}
		h.asked[uint64(start)] = s.last
		if err := h.g.Confirm(uint64(start)); err != nil {
			t.Fatal(err)
		}
		if len(h.applied) != start+1 || h.answers != start+1 || len(s.mail) != 0 {
			t.Fatalf("start %d: applied %v, %d confirmations, %d messages", start, h.applied, h.answers, len(s.mail))
		}
		s.down(h)
	}
}

// trio is three voters with a leader.
func trio(t *testing.T) (s *sim, leader *host) {
	t.Helper()
	s = &sim{t: t, rng: rand.New(rand.NewPCG(1, 1)), cut: map[[2]uint64]bool{}, log: map[uint64]string{}}
	var initial []uint64
	for range 3 {
		h := &host{s: s, place: t.TempDir()}
		s.openStore(h)
		s.hosts = append(s.hosts, h)
		initial = append(initial, h.id)
	}
	for _, h := range s.hosts {
		s.up(h, initial)
		t.Cleanup(func() { _ = h.st.Close() })
	}
	s.pass(100, func(uint64, uint64) bool { return true })
	for _, h := range s.hosts {
		if h.g.Leader() == h.id {
			leader = h
		}
	}
	if leader == nil {
		t.Fatal("no leader")
	}
	return s, leader
}

// pass lets ticks pass. What may get through does, at once and in order.
func (s *sim) pass(ticks int, through func(from, to uint64) bool) {
	for range ticks {
		for _, h := range s.hosts {
			h.g.Tick()
		}
		for len(s.mail) > 0 {
			l := s.mail[0]
			s.mail = s.mail[1:]
			if h := s.byID(l.to); h != nil && through(l.from, l.to) {
				_ = h.g.Receive(l.from, l.data) // of a voter that is out of date
			}
		}
	}
}

func (h *host) term() uint64 {
	st, _, err := h.st.InitialState()
	if err != nil {
		h.s.t.Fatal(err)
	}
	return st.GetTerm()
}

// A voter that hears nobody asks before it stands for election, and nobody misses the
// leader: when it is heard again there is the same leader, of the same term.
func TestVoterThatWasDeaf(t *testing.T) {
	s, leader := trio(t)
	var deaf *host
	for _, h := range s.hosts {
		if h != leader {
			deaf = h
		}
	}
	term := leader.term()
	s.pass(20*electionTicks, func(_, to uint64) bool { return to != deaf.id })
	s.pass(5*electionTicks, func(uint64, uint64) bool { return true })
	if leader.g.Leader() != leader.id || leader.term() != term || deaf.g.Leader() != leader.id {
		t.Errorf("it led in term %d; now %x leads, in term %d, and the one that was deaf follows %x", term, leader.g.Leader(), leader.term(), deaf.g.Leader())
	}
}

// A leader whom no majority answers knows that it leads no more.
func TestLeaderCutOff(t *testing.T) {
	s, leader := trio(t)
	s.pass(4*electionTicks, func(from, to uint64) bool { return from != leader.id && to != leader.id })
	if leader.g.Leader() == leader.id {
		t.Error("it believes that it leads")
	}
	for _, h := range s.hosts {
		if h != leader && (h.g.Leader() == 0 || h.g.Leader() == leader.id) {
			t.Errorf("%x follows %x", h.id, h.g.Leader())
		}
	}
}
