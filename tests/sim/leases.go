package sim

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// How processes learn that their host's membership has ended, and what has to be true of
// those that have not yet.

const (
	// noticeTime bounds, in milliseconds, how late a process sees that its lease was ended
	// before its time, and doomTime how long an agent whose host is out goes on.
	noticeTime = 100
	doomTime   = 200
)

// membership is a host's, of one birth.
type membership struct {
	id    proto.HostID
	birth uint32
}

// member reports whether n belongs to a membership of its host.
func (n *node) member() bool { return n.birth != 0 && len(n.s.hosts) > 1 }

// overFor reports whether the lease of n's host is over, as n sees when it looks.
func (s *sim) overFor(n *node) bool {
	return n.member() && !n.dead && n.home.file.lease(n.birth) <= n.home.now()
}

// expire has the processes of a host notice that their lease has ended: at its time, by a
// timer, or some time after it was ended before that. Who is stopped notices nothing.
func (s *sim) expire(m *machine) {
	for _, n := range s.nodes {
		if n.home != m || n.dead || !n.member() {
			continue
		}
		if m.file.birth == n.birth {
			n.until = m.file.until
		}
		switch now := m.now(); {
		case !s.overFor(n):
		case n.until <= now: // also of one that is stopped: it will look before it does anything
			s.expired(n)
		case n.stopped:
			n.notices = 0
		case n.notices == 0:
			n.notices = s.time + 1 + s.rng.Int64N(noticeTime)
		case n.notices <= s.time:
			s.counts[noticedLate]++
			s.expired(n)
		}
	}
}

// expired: n has learned that its locks are lost.
func (s *sim) expired(n *node) {
	s.note("the lease of %s on %s has ended", n, n.home)
	s.counts[leasesEnded]++
	s.bury(n)
	s.shake()
}

// lookOver notes which memberships have ended, as the state of an agent says. Nobody of
// such a one may be at work: each has ended, or its lease was over.
func (s *sim) lookOver(r *role) {
	if r.h == nil {
		return
	}
	if s.all != nil {
		s.countSeat(r)
	}
	st := r.h.State()
	if r.looked == st.Epoch {
		return
	}
	r.looked = st.Epoch
	for _, n := range s.nodes {
		if n.given == 0 || n.admitted > st.Epoch || slices.ContainsFunc(st.Hosts, func(x proto.Host) bool { return x.ID == n.hostID && x.Birth == n.admitted }) {
			continue
		}
		if k := (membership{n.hostID, n.admitted}); !s.over[k] {
			s.over[k] = true
			s.counts[overs]++
			s.guestsEnd(k)
		}
		if !n.dead && n.until > n.home.now() {
			s.fail("%s on %s is at work for %d ms more, and the hosts have agreed that nothing of its host is left", n, n.home, (n.until-n.home.now())/millisecond)
		}
	}
}

// doom ends an agent whose host is out, after a while.
func (s *sim) doom(m *machine) {
	r := m.role
	if r == nil || r.ends == 0 || r.ends > s.time {
		return
	}
	s.counts[dooms]++
	s.endRole(r)
}

// endRole ends an agent and its process.
func (s *sim) endRole(r *role) {
	if r.m.role != r {
		return
	}
	if !r.host.dead {
		s.bury(r.host)
		s.shake()
	}
	if r.m.role == r { // its process has ended before
		s.note("   the agent of %s ends", r.m)
		r.end()
		r.m.role = nil
	}
}

// running reports whether an agent can take a step. One that is leaving goes on when
// everything else in its process has ended.
func (r *role) running() bool { return r.host.running() || r.leaving && !r.host.stopped }
