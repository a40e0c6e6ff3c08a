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
	if slices.ContainsFunc(im.Resources, func(x proto.ImageResource) bool { return x.Domain != (proto.Digest{}) }) {
		return // put together when its journal could be read, it may have waited for agreement
	}
	for i := range im.Resources {
		ir := &im.Resources[i]
		g := s.byDigest[ir.Digest]
		if g == nil {
			continue
		}
		used := slices.ContainsFunc(im.Locks, func(l proto.ImageLock) bool { return int(l.Resource) == i })
		protected, perhaps, writing := g.survivors()
		if !used || writing {
			continue // what is under way may have been done, or is done here
		}
		s.counts[imagesWithout]++
		perhaps = perhaps || slices.ContainsFunc(im.Locks, func(l proto.ImageLock) bool {
			n := s.byID[l.Owner]
			return int(l.Resource) == i && n != nil && n.dead && mode.ProtectsValue(l.Granted)
		})
		if perhaps && !protected {
			continue // it may have given up what has protected the block, or have died since it told
		}
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
			if !ir.Block.Valid && !g.unsure() { // its domain may just have been made invalid
				s.fail("%s: put together as not valid, though it was valid and a holder has kept it", g.name)
			}
		case all(false):
			if ir.Block.Valid {
				s.fail("%s: put together as valid, though it was not", g.name)
			}
		}
	}
}

// leaving looks at the blocks of a tree that its master lets go of: it may have changed
// them in the same step, and does not serve it any more.
func (s *sim) leaving(im *proto.Image) {
	for i := range im.Resources {
		ir := &im.Resources[i]
		if g := s.byDigest[ir.Digest]; g != nil {
			g.sure = append(g.sure[:0], s.stateOf(g, &ir.Block))
		}
	}
}

// survivors tells whether a live process holds what keeps others from writing, or may hold
// it, and whether one that may write has asked for something.
func (r *reg) survivors() (protected, perhaps, writing bool) {
	for _, l := range r.locks {
		if l.n.dead || l.gone || l.mode == mode.None {
			continue
		}
		busy := l.ask != nil || l.unlock != nil
		protected = protected || mode.ProtectsValue(l.mode) && !busy
		perhaps = perhaps || mode.ProtectsValue(l.mode)
		writing = writing || mode.Writer(l.mode) && busy
	}
	return protected, perhaps, writing
}
