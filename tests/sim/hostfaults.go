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
	}{{h.cut, s.cutSome}, {h.crash, s.crash}, {h.suspend, s.suspend}, {h.mend, s.mendSome}} {
		if x -= f.often; x < 0 {
			f.do(m)
			return true
		}
	}
	return false
}

// cutSome cuts ways: of one host, of a pair, one way only, or between two parts.
func (s *sim) cutSome(m *machine) {
	s.counts[cutsMade]++
	switch s.rng.IntN(4) {
	case 0:
		s.note("%s is cut off", m)
		s.cutParts(func(x *machine) bool { return x == m })
	case 1:
		var apart []*machine
		for _, x := range s.hosts {
			if s.one(2) {
				apart = append(apart, x)
			}
		}
		s.note("%v and the others are cut off from each other", apart)
		s.cutParts(func(x *machine) bool { return slices.Contains(apart, x) })
	case 2:
		y := s.hosts[s.rng.IntN(len(s.hosts))]
		s.note("%s and %s are cut off from each other", m, y)
		s.cut[way{m, y}], s.cut[way{y, m}] = true, true
	default:
		for _, y := range s.hosts {
			if s.one(2) {
				s.note("nothing gets from %s to %s", m, y)
				s.cut[way{m, y}] = true
			}
		}
	}
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
	m.down = true
	m.dir, m.remembered, m.file = map[proto.Digest]agent.Entry{}, &agent.Remembered{}, hostFile{s: s}
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
	s.shake()
	if s.one(3) {
		s.boot(m)
	}
}

// minority reports whether the disk of m may be lost: nobody can go on when most voters
// have lost their memory, and a new one needs time to be told everything.
func (s *sim) minority(m *machine) bool {
	return !slices.ContainsFunc(s.hosts, func(x *machine) bool { return x.wiped > 0 })
}

// boot starts a host again.
func (s *sim) boot(m *machine) {
	s.note("%s is booted", m)
	m.down, m.booted = false, s.time
	s.addNodeAt(m)
}

// suspend stops all that runs on a host; its clock goes on.
func (s *sim) suspend(m *machine) {
	s.note("%s is suspended", m)
	s.counts[suspensions]++
	for _, n := range s.nodes {
		if n.home == m && !n.dead {
			n.stopped = true
		}
	}
	if s.one(2) {
		s.pass(s.rng.Int64N(2 * leaseTime))
	}
}

// mendSome ends a trouble.
func (s *sim) mendSome(m *machine) {
	switch {
	case m.down:
		s.boot(m)
	case s.one(2):
		s.note("all ways are open")
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
	clear(s.cut)
	for _, m := range s.hosts {
		if m.down {
			s.boot(m)
		} else if !s.inhabited(m) {
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
