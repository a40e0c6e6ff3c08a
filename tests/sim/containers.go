package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
	"github.com/godlm/godlm/tests/programs"
)

// Schedules of several hosts whose programs use group lock containers. What programs do and
// may be told is package programs'; here is how hosts treat them, and what has to be true
// of masters when everything has been delivered.

// What such a schedule reaches beyond what others do.
const (
	revived = iota
	reminded
	notesRefused
	membersKilled
	seats
	seatsWith
	awayLocks
	awayWaits
	crowdEnd
)

var crowdNames = [crowdEnd]string{
	revived:       "containers taken over by the next agent",
	reminded:      "  masters that met it",
	notesRefused:  "notes of containers for which there was no room",
	membersKilled: "members killed with their container",
	seats:         "coordinators",
	seatsWith:     "  of these, while there were containers",
	awayLocks:     "locks of containers seen at rest at masters of other hosts",
	awayWaits:     "  of these, still waiting",
}

// crowding is what a schedule with containers has beyond others.
type crowding struct {
	all      *programs.All // nil: there are none
	guests   []*node
	crowd    [crowdEnd]int
	troubled bool // faults may happen
	seat     uint32
}

// RunContainers runs the schedule of a seed with several hosts and containers. What is said
// of RunHosts holds for it.
func RunContainers(seed uint64, base string, tracing bool) Outcome {
	s := newSeveral(seed, 0xc047, tracing)
	defer s.lots(seed)()
	s.all = programs.New((*programWorld)(s), s.rng)
	s.found(base)
	return s.run()
}

// runPrograms runs the schedule that has been set up.
func (s *sim) runPrograms() {
	s.calm()
	s.all.Pin()
	s.calm()
	s.programsAtRest()
	for round := 0; round < s.plan.rounds; round++ {
		s.troubled = true
		s.trouble(s.calls + s.plan.calls)
		s.troubled = false
		s.calmPrograms()
		s.programsAtRest()
	}
	s.all.ReleaseAll(s.calmPrograms, s.leftContainers)
	s.nothingLeft()
}

// calmPrograms lets everything happen that is under way, and who waits for a time.
func (s *sim) calmPrograms() {
	s.calm()
	s.search()
}

// chooseCrowd is the plan where it differs.
func (s *sim) chooseCrowd() {
	s.plan.persistent = false
	s.plan.roots = 1 + s.rng.IntN(4)
	s.plan.rounds = 1 + s.rng.IntN(3)
	s.plan.calls = (100 + s.rng.IntN(160)) / s.plan.rounds
	s.plan.initial = 2*len(s.hosts) + s.rng.IntN(5) // containers are shared by the processes of a host
	s.plan.most = s.plan.initial + 4
	s.plan.kill = s.rng.IntN(40)
	s.plan.join += 50
	s.all.Stay, s.all.Keep = 20+s.rng.IntN(100), 100+s.rng.IntN(200)
	s.plan.program = 20 + s.rng.IntN(50)
}

func (s *sim) addProgramRoots() {
	for i := range s.plan.roots {
		root := proto.Root{Name: proto.MakeName(fmt.Appendf(nil, "r%d", i))}
		s.roots = append(s.roots, root)
		s.serving = append(s.serving, serving{})
		s.all.AddRoot(root)
	}
}

// actPrograms lets some program do something.
func (s *sim) actPrograms() bool {
	before := s.all.Calls
	s.all.KeepPinned()
	s.all.Act()
	s.calls += s.all.Calls - before
	return s.all.Calls > before
}

// tellPrograms hands on what a step of n has told its program.
func (s *sim) tellPrograms(n *node) {
	events := n.events
	n.events = nil
	for i := range events {
		s.all.Told(n, &events[i])
	}
	if n.dead || n.id == 0 {
		return
	}
	for i := range s.serving {
		if s.serving[i].n == n {
			s.serving[i].n = nil
		}
	}
	n.p.Walk(func(h process.Held) {
		if !h.Serving {
			return
		}
		s.watchServing(n, &h)
		var holders mode.Set
		h.Tree.EachLock(func(t *tree.Lock) {
			if t.Granted == mode.None {
				return
			}
			if x := holders & mode.Incompatible(t.Granted); x != 0 {
				s.fail("%s has %s granted beside modes %b", n, t.Granted, x)
			}
			holders |= mode.Bit(t.Granted)
		})
	})
}

// mournProgram: n has died.
func (s *sim) mournProgram(n *node) {
	s.all.Mourn(n)
	if n.given != 0 && !slices.ContainsFunc(s.nodes, func(x *node) bool { return !x.dead && x.given != 0 && x.Host() == n.Host() }) {
		s.all.Deserted(n.Host())
	}
}

// countSeat notes who coordinates.
func (s *sim) countSeat(r *role) {
	if seat := r.h.State().Seat; seat > s.seat {
		s.seat = seat
		s.crowd[seats]++
		if slices.ContainsFunc(s.guests, func(c *node) bool { return !c.dead }) {
			s.crowd[seatsWith]++
		}
	}
}

// noted finds a container by the membership of its host and its number; 0 if it is not
// there.
func (s *sim) noted(host any, number uint32) proto.ProcID {
	for _, m := range s.hosts {
		if r := m.role; r != nil && r.groups != nil && (membership{r.id, r.h.Birth()}) == host {
			return programs.ContainerOf(m.notes, number)
		}
	}
	return 0
}

// lockKey names a lock to masters.
type lockKey struct {
	owner proto.ProcID
	id    proto.LockID
}

// programsAtRest checks what must be true when everything has arrived.
func (s *sim) programsAtRest() {
	s.note("at rest")
	s.counts[rests]++
	s.welcomedAll()
	s.all.Exclusion()
	if t := s.all.Busy(); t != "" {
		s.fail("not answered: %s", t)
	}
	hosts, numbers := s.all.Lives()
	for i := range hosts {
		if s.noted(hosts[i], numbers[i]) == 0 {
			s.fail("container %d is gone, and its host and its members live", numbers[i])
		}
	}
	held := map[lockKey]programs.Held{}
	for _, h := range s.all.Held() {
		k := lockKey{id: h.ID &^ proto.GroupBit}
		if h.Process != nil {
			k.owner = h.Process.ID()
		} else if k.owner = s.noted(h.Host, h.Container); k.owner == 0 {
			continue
		}
		held[k] = h
	}
	for ri := range s.roots {
		s.programRootAtRest(ri, held)
	}
	for k, h := range held {
		if h.Sure && (h.Waits || h.Mode != mode.None) {
			s.fail("lock %x of %s on %s (%s) is at no master", uint64(k.id), s.names([]proto.ProcID{k.owner}), h.Name, h.Mode)
		}
	}
	s.shaken = false
	s.all.Rest()
}

// programRootAtRest compares a master's locks with what programs know, and takes them out of
// held.
func (s *sim) programRootAtRest(ri int, held map[lockKey]programs.Held) {
	var master *node
	for _, n := range s.nodes {
		if n.dead {
			continue
		}
		n.p.Walk(func(h process.Held) {
			if h.Root != s.roots[ri] {
				return
			}
			if !h.Serving {
				s.fail("%s has r%d installed and does not serve it", n, ri)
			}
			if h.Tree.Idle() {
				return
			}
			if master != nil {
				s.fail("%s and %s both master r%d", master, n, ri)
			}
			master = n
			if e := s.coordinator().dir[h.Root.Digest()]; e.Master != n.id || e.Assign != h.Assign {
				s.fail("%s masters r%d under %x, the directory says %s under %x",
					n, ri, h.Assign, s.names([]proto.ProcID{e.Master}), e.Assign)
			}
			var locks []*tree.Lock
			h.Tree.EachLock(func(t *tree.Lock) {
				locks = append(locks, t)
				s.agreeProgram(n, t, held)
			})
			s.blockedAll(ri, locks)
		})
	}
}

func (s *sim) agreeProgram(n *node, t *tree.Lock, held map[lockKey]programs.Held) {
	owner := s.byID[t.Owner]
	if owner == nil || owner.dead {
		s.fail("%s has lock %x of %s, which is no more", n, uint64(t.ID), s.names([]proto.ProcID{t.Owner}))
	}
	waits := t.Place() != tree.InGranted
	if owner.guest != nil && owner.home != n.home {
		s.crowd[awayLocks]++
		if waits {
			s.crowd[awayWaits]++
		}
	}
	k := lockKey{t.Owner, t.ID}
	h, known := held[k]
	delete(held, k)
	switch {
	case !known && owner.guest == nil:
		s.fail("%s has lock %x of %s, whose program does not have it", n, uint64(t.ID), owner)
	case !known || !h.Sure: // who has asked for it has died
	case t.Granted != h.Mode:
		s.fail("%s has %s granted to lock %x of %s on %s, its program was told %s", n, t.Granted, uint64(t.ID), owner, h.Name, h.Mode)
	case waits != h.Waits:
		s.fail("lock %x of %s on %s waits at its master: %v, program waits: %v", uint64(t.ID), owner, h.Name, waits, h.Waits)
	case waits && t.Requested != h.Want:
		s.fail("lock %x of %s on %s: the master has %s queued, asked was %s", uint64(t.ID), owner, h.Name, t.Requested, h.Want)
	}
}

// blockedAll checks that whoever waits first on a root waits for somebody who holds.
func (s *sim) blockedAll(ri int, locks []*tree.Lock) {
	var first *tree.Lock
	for _, t := range locks { // granted, converting, waiting
		if t.Place() != tree.InGranted && first == nil {
			first = t
		}
	}
	if first == nil {
		return
	}
	for _, t := range locks {
		if t != first && t.Granted != mode.None && !mode.Compatible(t.Granted, first.Requested) {
			return
		}
	}
	s.fail("r%d: lock %x of %s waits for nothing", ri, uint64(first.ID), s.names([]proto.ProcID{first.Owner}))
}

// leftContainers are those that are noted, with a process that can destroy each.
func (s *sim) leftContainers() (out []programs.Left) {
	for _, m := range s.hosts {
		if m.role == nil || m.role.groups == nil {
			continue
		}
		at := slices.IndexFunc(s.nodes, func(n *node) bool {
			return n.home == m && !n.dead && n.id != 0 && n.admitted == m.role.h.Birth()
		})
		for _, rec := range m.notes.All() {
			if rec.Kind == proto.KNoteGroup && !rec.NotedGroup.Ended && at >= 0 {
				out = append(out, programs.Left{Process: s.nodes[at], Container: rec.NotedGroup.Number})
			}
		}
	}
	return out
}

// nothingLeft: all locks are given up and all containers have ended.
func (s *sim) nothingLeft() {
	for _, m := range s.hosts {
		if m.role == nil || m.role.groups == nil {
			continue
		}
		for _, rec := range m.notes.All() {
			if rec.Kind == proto.KNoteLock || rec.Kind == proto.KNoteGroup {
				s.fail("a note is left at %s: %+v %+v", m, rec.NotedLock, rec.NotedGroup)
			}
		}
	}
	for _, n := range s.nodes {
		if n.dead {
			continue
		}
		n.p.Walk(func(h process.Held) {
			if h.Serving && !h.Tree.Idle() {
				s.fail("%s still masters %d locks on %s", n, h.Tree.RootResource().Info().Locks, h.Root.Name.Bytes())
			}
		})
	}
}

// ReportCrowd prints what schedules with containers have reached, one a line.
func ReportCrowd(crowd *[crowdEnd]int, c *programs.Counts) string {
	var b strings.Builder
	for i, n := range crowd {
		fmt.Fprintf(&b, "%9d %s\n", n, crowdNames[i])
	}
	for _, x := range c.List() {
		fmt.Fprintf(&b, "%9d %s\n", x.N, x.Name)
	}
	return b.String()
}
