package programs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Process is a simulated process as its program uses it.
type Process interface {
	fmt.Stringer
	ID() proto.ProcID // 0 until it is welcomed
	Dead() bool
	Stopped() bool
	Core() *process.Process
	// Host names the membership of the host to which it belongs: containers are shared by
	// those of one.
	Host() any
}

// World is the simulator that the programs run in.
type World interface {
	Steps() int
	// Step has p do something; it may be its last step. Answers that come in it and that
	// nobody will hear are Unheard.
	Step(p Process, do func())
	Unheard(p Process) bool
	// Token is the fencing token of a lock, of p's own or of the container of that number;
	// false when nobody can tell at once.
	Token(p Process, id proto.LockID, container uint32) (proto.Stamp, bool)
	Note(format string, args ...any)
	Fail(format string, args ...any)
}

// All are the programs of a schedule and what they know.
type All struct {
	w   World
	rng *rand.Rand

	list   []*Program
	of     map[Process]*Program
	res    []*resource
	locks  []*lk
	groups []*grp
	ops    map[uint64]*op // by token and by accept
	token  uint64
	write  uint32
	fences []fencing // not checked yet
	// Stay and Keep: how seldom a program leaves its container, or destroys one.
	Stay, Keep int
	// Calls counts what they have asked for.
	Calls int
	// Reached counts what has happened to them.
	Reached Counts
	// settled is the last step in which everybody knew who was dead.
	settled int
	// shaken: trees may be put together without the journals of their masters; shook is
	// the last step in which one may have been.
	shaken bool
	shook  int
}

// Counts is what a schedule has reached.
type Counts struct {
	Created, Attached, Detached, Destroyed int
	// OwnLocks and GroupLocks were granted; Survived: members died and left their container
	// with locks that it holds.
	OwnLocks, GroupLocks, Survived int
	// GoneHosts is how many containers have ended with their host, GoneWriters those of
	// their locks that were in PW or EX.
	GoneHosts, GoneWriters int
	Invalid, Old, Tokens   int
}

// Program is one program.
type Program struct {
	Process
	pin   bool
	group *grp // as it was told
	locks []*lk
}

// New makes the programs of a schedule.
func New(w World, rng *rand.Rand) *All {
	return &All{Stay: 14, Keep: 60, w: w, rng: rng, of: map[Process]*Program{}, ops: map[uint64]*op{}}
}

// Start is called with each new process.
func (s *All) Start(p Process) {
	x := &Program{Process: p}
	s.list = append(s.list, x)
	s.of[p] = x
}

func (s *All) fail(format string, args ...any) { s.w.Fail(format, args...) }
func (s *All) note(format string, args ...any) { s.w.Note(format, args...) }
func (s *All) one(n int) bool                  { return s.rng.IntN(n) == 0 }

func (s *All) alive() (out []*Program) {
	for _, p := range s.list {
		if !p.Dead() {
			out = append(out, p)
		}
	}
	return out
}

// Pinned reports whether p keeps the resources, and whether nobody else does.
func (s *All) Pinned(p Process) (pinned, alone bool) {
	if !s.of[p].pin {
		return false, false
	}
	n := 0
	for _, x := range s.alive() {
		if x.pin {
			n++
		}
	}
	return true, n == 1
}

// Pin has two processes keep NL locks, so that no resource is forgotten.
func (s *All) Pin() {
	for _, p := range s.alive()[:2] {
		s.pin(p)
	}
}

func (s *All) pin(p *Program) {
	p.pin = true
	for _, r := range s.res {
		if !p.Dead() {
			s.lockRoot(p, r)
		}
	}
}

// Settled: everybody knows who is dead.
func (s *All) Settled() { s.settled = s.w.Steps() }

// Shake: from now on until the next Rest what a master had may be put together without its
// journal, from older copies, and is not valid then (design §8 rule 3).
func (s *All) Shake() {
	s.shaken = true
	for _, r := range s.res {
		r.doubt = s.w.Steps()
	}
}

// Rest: all that had to be put together is.
func (s *All) Rest() {
	if s.shaken {
		s.shook = s.w.Steps()
		for _, r := range s.res {
			r.doubt = s.shook
		}
	}
	s.shaken = false
	s.settled = s.w.Steps() + 1
}

// lossy reports whether what was there in that step may have been lost since.
func (s *All) lossy(since int) bool { return s.shaken || s.shook >= since && s.shook > 0 }

// Deserted: no process of that host lives. Its containers may go on, for the next ones that
// start there.
func (s *All) Deserted(host any) {
	for _, g := range s.groups {
		if g.host == host && g.deserted == 0 {
			g.deserted = s.w.Steps()
			s.doubtAll(g)
		}
	}
}

// Gone: that membership of a host is over, and with it all of its containers.
func (s *All) Gone(host any) {
	for _, g := range s.groups {
		if g.host != host || g.over {
			continue
		}
		s.Reached.GoneHosts++
		for _, l := range s.locks {
			if l.grp == g && !l.gone && l.wrote() {
				s.Reached.GoneWriters++
			}
		}
		s.ended(g)
	}
}

// Exclusion checks that whoever holds for certain is alone with those that are compatible.
// It is to be called after every step.
func (s *All) Exclusion() {
	s.locks = slices.DeleteFunc(s.locks, func(l *lk) bool { return l.gone })
	s.exclusion()
	s.fence()
	for _, r := range s.res {
		r.kept = false
	}
	for _, l := range s.locks {
		l.res.kept = l.res.kept || l.certain()
	}
	for _, r := range s.res {
		if !r.kept {
			r.empty = s.w.Steps()
		}
	}
}

// Busy reports whether something else than a lock is being waited for, and what.
func (s *All) Busy() string {
	for _, token := range slices.Sorted(maps.Keys(s.ops)) {
		if o := s.ops[token]; o.verb != askLock && o.verb != askConvert {
			return fmt.Sprintf("%s: verb %d, token %d", o.p, o.verb, token)
		}
	}
	return ""
}

// Held is a lock that its program knows.
type Held struct {
	Name      string  // of the resource
	Process   Process // of an own lock; else nil
	Container uint32
	Host      any // of the container
	ID        proto.LockID
	Mode      mode.Mode
	Waits     bool
	Want      mode.Mode
	Sure      bool // it is so
}

// Held lists the locks of which somebody may know.
func (s *All) Held() (out []Held) {
	for _, l := range s.locks {
		if l.gone || l.id == 0 {
			continue
		}
		h := Held{Name: l.res.name, ID: l.id, Mode: l.mode, Waits: l.busy != nil, Sure: !l.vague}
		if l.busy != nil {
			h.Want = l.busy.want
		}
		if l.grp != nil {
			h.Container, h.Host = l.grp.number, l.grp.host
			h.Sure = h.Sure && l.grp.ending == 0 && l.grp.deserted == 0
		} else {
			h.Process = l.owner.Process
		}
		out = append(out, h)
	}
	return out
}

// Lives lists the containers that have not ended.
func (s *All) Lives() (hosts []any, numbers []uint32) {
	for _, g := range s.groups {
		if g.ending == 0 && g.deserted == 0 && g.number != 0 {
			hosts, numbers = append(hosts, g.host), append(numbers, g.number)
		}
	}
	return hosts, numbers
}

// ContainerOf finds a container in what is noted; 0 if it is not there.
func ContainerOf(n *group.Notes, number uint32) proto.ProcID {
	all := n.All()
	i := slices.IndexFunc(all, func(m *proto.Msg) bool {
		return m.Kind == proto.KNoteGroup && m.NotedGroup.Number == number
	})
	if i < 0 {
		return 0
	}
	return all[i].NotedGroup.Proc
}

// AddRoot gives the programs one more resource.
func (s *All) AddRoot(r proto.Root) {
	s.res = append(s.res, &resource{root: r, name: string(r.Name.Bytes()), writes: map[uint32]bool{0: true}})
}

// KeepPinned has others keep the resources when too few do.
func (s *All) KeepPinned() {
	var able []*Program
	n := 0
	for _, p := range s.alive() {
		switch {
		case p.pin:
			n++
		case p.ID() != 0 && !p.Stopped() && p.group == nil && !s.moving(p):
			able = append(able, p)
		}
	}
	if n < 2 && len(able) > 0 {
		s.pin(able[s.rng.IntN(len(able))])
	}
}

// moving reports whether p is between two containers.
func (s *All) moving(p *Program) bool {
	for _, o := range s.ops {
		if o.p == p && o.verb >= askCreate {
			return true
		}
	}
	return false
}

// Reach is how often something was.
type Reach struct {
	N    int
	Name string
}

// List tells what was reached.
func (c *Counts) List() []Reach {
	return []Reach{
		{c.Created, "containers created"},
		{c.Attached, "  attached to"},
		{c.Detached, "  detached from"},
		{c.Destroyed, "  destroyed"},
		{c.OwnLocks, "locks granted to processes"},
		{c.GroupLocks, "locks granted to containers"},
		{c.Survived, "members that died and left the locks of their container"},
		{c.GoneHosts, "containers that ended with their host"},
		{c.GoneWriters, "  their locks in PW or EX"},
		{c.Invalid, "values told to be not valid"},
		{c.Old, "  older than the last one, after the loss of a host"},
		{c.Tokens, "fencing tokens"},
	}
}

// Add adds what another schedule has reached.
func (c *Counts) Add(x *Counts) {
	c.Created += x.Created
	c.Attached += x.Attached
	c.Detached += x.Detached
	c.Destroyed += x.Destroyed
	c.OwnLocks += x.OwnLocks
	c.GroupLocks += x.GroupLocks
	c.Survived += x.Survived
	c.GoneHosts += x.GoneHosts
	c.GoneWriters += x.GoneWriters
	c.Invalid += x.Invalid
	c.Old += x.Old
	c.Tokens += x.Tokens
}
