package sim

import (
	"slices"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// checkImageOfHosts checks rule 3 on a tree that was put together though nobody could read
// its master's journal: valid if and only if the newest copy is and somebody holds what
// has kept others from writing since.
func (s *sim) checkImageOfHosts(r *role, im *proto.Image) {
	if n := s.byID[r.m.dir[im.Root.Digest()].Master]; n != nil {
		if x := view.Find(r.h.State(), n.hostID); x != nil && x.Birth == n.admitted {
			return // its journal may have been read
		}
	}
	for i := range im.Resources {
		ir := &im.Resources[i]
		g := s.byDigest[ir.Digest]
		if g == nil {
			continue
		}
		any, protected := false, false
		for j := range im.Locks {
			if l := &im.Locks[j]; int(l.Resource) == i {
				any = true
				protected = protected || l.Granted >= mode.CW && l.Granted != mode.None
			}
		}
		if !any {
			continue
		}
		s.counts[imagesWithout]++
		if !protected {
			if ir.Block.Valid {
				s.fail("%s: put together as valid from copies that may be old", g.name)
			}
			continue
		}
		all := func(valid bool) bool {
			return !slices.ContainsFunc(g.sure, func(st state) bool { return st.valid != valid })
		}
		switch {
		case len(g.sure) == 0:
		case all(true):
			s.counts[keptValid]++
			if !ir.Block.Valid {
				s.fail("%s: put together as not valid, though it was valid and a holder has kept it", g.name)
			}
		case all(false):
			if ir.Block.Valid {
				s.fail("%s: put together as valid, though it was not", g.name)
			}
		}
	}
}
