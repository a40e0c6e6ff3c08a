package sim

import (
	"os"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

// hostFault lets something go wrong with hosts or between them, sometimes.
func (s *sim) hostFault() bool {
	h := &s.harm
	m := s.hosts[s.rng.IntN(len(s.hosts))]
	x := s.rng.IntN(10000)
	for _, f := range [...]struct {
		often int
		do    func(*machine)
	}{{h.cut, s.cutSome}, {h.crash, s.crash}, {h.suspend, s.suspend}, {h.mend, s.mendSome},
		{h.flap, s.startFlap}, {h.leave, s.leave}, {h.evict, s.evict}, {h.vote, s.nameVoters}} {
		if x -= f.often; x < 0 {
			f.do(m)
			return true
		}
	}
	return false
}

// cutSome cuts ways: of one host, of a pair, one way only, or between two parts.
func (s *sim) cutSome(m *machine) {
	switch s.rng.IntN(4) {
	case 0:
		s.note("%s is cut off", m)
		s.counts[cutsOff]++
		s.cutParts(func(x *machine) bool { return x == m })
	case 1:
		var apart []*machine
		for _, x := range s.hosts {
			if s.one(2) {
				apart = append(apart, x)
			}
		}
		s.note("%v and the others are cut off from each other", apart)
		s.counts[cutsApart]++
		s.cutParts(func(x *machine) bool { return slices.Contains(apart, x) })
	case 2:
		y := s.hosts[s.rng.IntN(len(s.hosts))]
		s.note("%s and %s are cut off from each other", m, y)
		s.counts[cutsPair]++
		s.cut[way{m, y}], s.cut[way{y, m}] = true, true
	default:
		s.counts[cutsOneWay]++
		for _, y := range s.hosts {
			if s.one(2) {
				s.note("nothing gets from %s to %s", m, y)
				s.cut[way{m, y}] = true
			}
		}
	}
}

// flapping is a cut that comes and goes.
type flapping struct {
	ways []way
	next int64 // when it changes; 0: there is none
	left int   // changes to come
	on   bool
}

// startFlap has the ways of a host, or one way between two, come and go.
func (s *sim) startFlap(m *machine) {
	f := flapping{next: s.time + 1, left: 2 + 2*s.rng.IntN(8)}
	if y := s.hosts[s.rng.IntN(len(s.hosts))]; s.one(2) {
		f.ways = []way{{m, y}}
	} else {
		for _, y := range s.hosts {
			f.ways = append(f.ways, way{m, y}, way{y, m})
		}
	}
	s.counts[flaps]++
	s.flaps = f
}

// flap changes what comes and goes, when it is time.
func (s *sim) flap() {
	f := &s.flaps
	if f.next == 0 || f.next > s.time {
		return
	}
	f.on = !f.on
	s.note("cut, as one that comes and goes: %v", f.on)
	for _, w := range f.ways {
		if f.on {
			s.cut[w] = true
		} else {
			delete(s.cut, w)
		}
	}
	f.left--
	f.next = s.time + 1 + s.rng.Int64N(suspectTime)
	if f.left == 0 {
		s.flaps = flapping{}
	}
}

// evict has somebody remove a host by hand. That its programs have ended is said only if
// they have.
func (s *sim) evict(m *machine) {
	at := s.hosts[s.rng.IntN(len(s.hosts))]
	if at.role == nil || at.role.h == nil || !at.role.running() {
		return
	}
	for _, x := range s.hosts { // one from which something can be taken away
		if s.one(2) && s.crowded(x) {
			m = x
		}
	}
	ended := !s.inhabited(m) && s.one(2)
	for _, n := range s.nodes {
		if n.home == m && n != m.host() && n.running() && s.one(3) {
			s.note("%s is stopped", n)
			s.counts[stops]++
			n.stopped = true // it will not see at once what has happened
		}
	}
	s.note("%s is to be removed, says one at %s; that all its programs have ended: %v", m, at, ended)
	done := func(err error) {
		s.note("%s: removed by hand: %v", m, err)
		switch {
		case err == nil && ended:
			s.counts[evictionsEnded]++
		case err == nil:
			s.counts[evictionsWait]++
		}
	}
	s.agentStep(at.role, func() { at.role.h.Evict(m.name, ended, done) })
}

// crowded reports whether a host has processes beside its agent.
func (s *sim) crowded(m *machine) bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.home == m && !n.dead && n.given != 0 && n != m.host() })
}

// host is the process that is the agent; nil if there is none.
func (m *machine) host() *node {
	if m.role == nil {
		return nil
	}
	return m.role.host
}

// nameVoters names another host as voter in the place of one, in the files of all hosts,
// which an agent reads when it begins.
func (s *sim) nameVoters(m *machine) {
	founded := slices.ContainsFunc(s.hosts, func(x *machine) bool { return x.role != nil && x.role.h != nil && x.role.h.Leased() })
	if !founded || m.gone || slices.Contains(s.voters, m.name) || slices.ContainsFunc(s.hosts, func(x *machine) bool { return x.gone || x.wiped > 0 }) {
		return
	}
	at := s.rng.IntN(len(s.voters))
	old := s.voters[at]
	s.voters = slices.Clone(s.voters)
	s.voters[at] = m.name
	slices.Sort(s.voters)
	s.note("%s is to vote in the place of %s", m, old)
	s.counts[reconfigured]++
	for _, x := range s.hosts {
		if x.name == old && s.one(2) {
			s.counts[retired]++
			if !x.down {
				s.crash(x)
			}
			if !x.down { // it was booted again
				s.crashNow(x)
			}
			x.gone = true
		}
	}
}

// votesAsNamed reports whether an agent knows exactly those voters that the configuration
// names.
func (s *sim) votesAsNamed(r *role) bool {
	rep, named := r.h.Report(), 0
	for _, l := range rep.Hosts {
		if l.Vote == "voter" {
			if !slices.Contains(s.voters, l.Name) {
				return false
			}
			named++
		}
	}
	return named == len(s.voters) && rep.Voters == named
}

func (s *sim) cutParts(side func(*machine) bool) {
	for _, x := range s.hosts {
		for _, y := range s.hosts {
			if side(x) != side(y) {
				s.cut[way{x, y}] = true
			}
		}
	}
}

// crash ends a host; what was in its memory is gone, and sometimes its disk.
func (s *sim) crash(m *machine) {
	if m.down {
		return
	}
	s.crashNow(m)
	if s.percent(s.harm.wipe) && s.minority(m) {
		s.note("   and loses its disk")
		s.counts[storesLost]++
		if err := os.RemoveAll(m.store); err != nil {
			s.panics(err)
		}
		if err := os.Mkdir(m.store, 0o700); err != nil {
			s.panics(err)
		}
		m.wiped = s.time
	}
	if s.one(3) {
		s.boot(m)
	}
}

func (s *sim) crashNow(m *machine) {
	s.note("%s crashes", m)
	s.counts[hostCrashes]++
	for _, n := range s.nodes {
		if n.home != m {
			continue
		}
		if !n.dead {
			s.kill(n)
		}
		delete(s.files, n.given)
	}
	if m.role != nil {
		s.endRole(m.role)
	}
	s.guestsEnd(membership{m.id, m.file.birth})
	m.down = true
	m.dir, m.remembered, m.file = map[proto.Digest]agent.Entry{}, &agent.Remembered{}, hostFile{s: s}
	s.shake()
}

// minority reports whether the disk of m may be lost: nobody can go on when most voters
// have lost their memory, and a new one needs time to be told everything.
func (s *sim) minority(m *machine) bool {
	return !slices.ContainsFunc(s.hosts, func(x *machine) bool { return x.wiped > 0 || x.gone })
}

// boot starts a host again.
func (s *sim) boot(m *machine) {
	if m.gone {
		return
	}
	s.note("%s is booted", m)
	m.down, m.booted = false, s.time
	s.addNodeAt(m)
}

// suspend stops all that runs on a host; its clock goes on.
func (s *sim) suspend(m *machine) {
	if m.leaving() {
		return
	}
	s.note("%s is suspended", m)
	s.counts[suspensions]++
	for _, n := range s.nodes {
		if n.home == m && !n.dead {
			n.stopped = true
		}
	}
	if s.one(2) {
		d := s.rng.Int64N(2 * leaseTime)
		if d > leaseTime {
			s.counts[longStops]++
		}
		s.pass(d)
	}
}

// mendSome ends a trouble.
func (s *sim) mendSome(m *machine) {
	switch {
	case m.down:
		s.boot(m)
	case s.one(2):
		s.note("all ways are open")
		s.flaps = flapping{}
		clear(s.cut)
	default:
		for _, n := range s.nodes {
			if n.home == m {
				s.resumeNode(n)
			}
		}
	}
}

// mend ends all trouble of hosts.
func (s *sim) mend() {
	if len(s.hosts) == 1 {
		return
	}
	s.flaps = flapping{}
	clear(s.cut)
	for _, m := range s.hosts {
		if m.role != nil && !slices.Equal(m.role.voters, s.voters) {
			s.endRole(m.role) // the next one reads the file
		}
		if m.down {
			s.boot(m)
		} else if !m.leaving() && !s.inhabited(m) {
			s.addNodeAt(m)
		}
		if r := m.role; r != nil {
			for _, x := range r.ended {
				s.agentStep(r, func() { r.reopen(x) })
			}
			r.ended = nil
		}
	}
}
