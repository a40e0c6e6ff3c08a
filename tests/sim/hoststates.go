package sim

import (
	"hash/fnv"

	"github.com/godlm/godlm/core/view"
)

// lookHosts notes the state that the hosts are in, as far as their agreement goes: who runs,
// who is a member, who coordinates, who waits for whom, and what is cut.
func (s *sim) lookHosts() {
	if len(s.hosts) == 1 || s.steps%8 != 0 {
		return
	}
	h := fnv.New64a()
	bit := func(b bool) byte {
		if b {
			return 1
		}
		return 0
	}
	var b []byte
	for _, m := range s.hosts {
		b = append(b, bit(m.down), bit(m.role != nil), bit(s.inhabited(m)))
		if r := m.role; r != nil && r.h != nil {
			st := r.h.State()
			b = append(b, bit(r.host.stopped), bit(r.h.Fresh()), bit(r.h.Leased()), bit(r.h.Ready()), bit(r.h.Coordinates()), bit(st.Coordinator == r.id))
			for _, x := range s.hosts {
				host := view.Find(st, x.id)
				b = append(b, bit(host != nil), bit(host != nil && host.Out), bit(st.Coordinator == x.id))
			}
		}
		for _, x := range s.hosts {
			b = append(b, bit(s.cut[way{m, x}]))
		}
	}
	_, _ = h.Write(b) // it never fails
	if s.states == nil {
		s.states = map[uint64]struct{}{}
	}
	s.states[h.Sum64()] = struct{}{}
}
