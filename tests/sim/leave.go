package sim

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// leaveTime bounds how long a process that leaves waits for other hosts, in milliseconds.
const leaveTime = 5000

// leave ends the last process of a host cleanly: the host says goodbye. Others may just be
// asking for their names.
func (s *sim) leave(m *machine) {
	r := m.role
	if r == nil || r.h == nil || !r.running() || r.leaving || r.ends != 0 || !r.h.Leased() || r.host.id == 0 || r.host.doomed || s.overFor(r.host) {
		return
	}
	if len(r.containers()) > 0 {
		return
	}
	for _, n := range s.nodes {
		if n.home == m && !n.dead && n != r.host && n.given != 0 {
			return
		}
	}
	n := r.host
	s.note("%s, the last one on %s, ends and leaves", n, m)
	s.counts[leaves]++
	r.leaving, r.ends = true, s.time+leaveTime
	s.bury(n)
	r.known = slices.DeleteFunc(r.known, func(p proto.ProcID) bool { return p == n.given })
	r.dead = append(r.dead, n.given)
	s.agentStep(r, func() {
		r.h.Dead(n.given)
		if r.groups != nil {
			r.groups.Died(n.given)
		}
		r.goOnLeaving()
	})
}

// goOnLeaving says goodbye when nothing of the processes here is needed.
func (r *role) goOnLeaving() {
	if r.leaving && !r.asked && len(r.known)+len(r.dead) == 0 {
		r.asked = true
		r.s.later = append(r.s.later, func() {
			if r.m.role == r {
				if r.h.State().Coordinator == r.id {
					r.s.shake() // whoever has the directory next may not have it whole when a master dies
				}
				r.s.agentStep(r, r.h.Leave)
			}
		})
	}
}

func (m *machine) leaving() bool { return m.role != nil && m.role.leaving }
