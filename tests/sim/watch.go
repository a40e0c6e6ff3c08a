package sim

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// serving is who masters a root now.
type serving struct {
	n      *node
	assign uint64
}

// watch looks at what a step of n has changed.
func (s *sim) watch(n *node) {
	if n.id == 0 {
		return
	}
	s.watchOwner(n)
	for i := range s.serving {
		if s.serving[i].n == n {
			s.serving[i].n = nil
		}
	}
	n.p.Walk(func(h process.Held) {
		if h.Serving {
			s.watchTree(n, &h)
		}
	})
}

// watchOwner compares what n knows of its locks with what its program was told.
func (s *sim) watchOwner(n *node) {
	for _, l := range n.locks {
		if l.id == 0 {
			continue
		}
		info, st := n.p.LockInfo(l.id)
		switch {
		case l.unlock != nil:
			if st != dlm.IvLockID {
				s.fail("%s is given up, but its handle is still one", l)
			}
			continue
		case l.ask != nil && l.ask.detached:
			continue
		case st != dlm.Success:
			s.fail("%s (%s): its owner does not know it: status %d", l, l.mode, st)
		case info.Granted != l.mode:
			s.fail("%s: its program was told %s, its owner says %s", l, l.mode, info.Granted)
		case (info.State == process.Granted) != (l.ask == nil):
			s.fail("%s: state %d, its program waits: %v", l, info.State, l.ask != nil)
		}
		if l.ask != nil && l.ask.told == 0 && (info.State == process.Waiting || info.State == process.Converting) {
			l.ask.told = s.ticks
		}
	}
}

// lockOf finds a master's lock among the programs' locks; nil when it is not.
func (s *sim) lockOf(t *tree.Lock) *lk {
	if t.Owner == proto.Keeper {
		return nil
	}
	n := s.byID[t.Owner]
	if n == nil {
		s.fail("a tree has a lock of process %x, which never was", uint64(t.Owner))
	}
	return n.byID[t.ID]
}

// watchTree looks at a tree that n masters.
func (s *sim) watchTree(n *node, h *process.Held) {
	ri := s.watchServing(n, h)
	s.looks++
	h.Tree.EachLock(func(t *tree.Lock) { s.watchLock(t) })
	removed := func(x *node) bool { return n.removed[x.given] || x.given == 0 }
	for _, r := range s.regs {
		if r.root != ri {
			continue
		}
		got := fresh
		if r.looked == s.looks {
			got = s.stateOf(r, &r.block)
		} else {
			r.found[0], r.found[1] = r.found[0][:0], r.found[1][:0]
		}
		r.buried(removed)
		r.observe(got)
		for q := range r.queue {
			s.inOrder(r, q, r.reign == h.Assign)
			r.queue[q] = append(r.queue[q][:0], r.found[q]...)
		}
		r.reign = h.Assign
	}
}

// watchServing looks at who serves a root, and under which assignment.
func (s *sim) watchServing(n *node, h *process.Held) (ri int) {
	ri = slices.Index(s.roots, h.Root)
	if ri < 0 {
		s.fail("%s masters a root that nobody asked for", n)
	}
	if other := s.serving[ri].n; other != nil && other != n && !h.Tree.Idle() {
		other.p.Walk(func(o process.Held) {
			if o.Root == h.Root && o.Serving && !o.Tree.Idle() {
				s.fail("%s and %s both master r%d", n, other, ri)
			}
		})
	}
	if s.serving[ri].assign > h.Assign {
		s.fail("%s masters r%d under assignment %x, after %x", n, ri, h.Assign, s.serving[ri].assign)
	}
	s.serving[ri] = serving{n, h.Assign}
	return ri
}

func (s *sim) stateOf(r *reg, b *proto.Block) state {
	w, ok := writeOf(&b.Value)
	if !ok {
		s.fail("%s contains what nobody wrote: %x", r.name, b.Value)
	}
	return state{w, b.Valid}
}

// watchLock notes one lock of a tree and its resource.
func (s *sim) watchLock(t *tree.Lock) {
	r := s.look(t.Res)
	for p := t.Res.Parent; p != nil; p = p.Parent {
		s.look(p)
	}
	if t.Granted != mode.None {
		// The master's own queues must exclude what excludes.
		if x := r.holders & mode.Incompatible(t.Granted); x != 0 {
			s.fail("%s: its master has %s granted beside modes %b", r.name, t.Granted, x)
		}
		r.holders |= mode.Bit(t.Granted)
	}
	l := s.lockOf(t)
	if l == nil || l.n.dead || l.unlock != nil {
		return
	}
	if o := l.ask; o != nil && !o.withdrawn() {
		if t.Place() != tree.InGranted || o.flags&dlm.NoQueue == 0 {
			l.present = true
		}
	}
	if l.ask != nil {
		switch t.Place() {
		case tree.InConverting:
			l.ask.reached = false
			r.found[0] = append(r.found[0], l.ask)
		case tree.InWaiting:
			l.ask.reached = false
			r.found[1] = append(r.found[1], l.ask)
		case tree.InGranted:
			l.ask.reached = l.ask.verb == askLock || t.Granted == l.ask.to
		}
	}
}

func (s *sim) look(t *tree.Resource) *reg {
	r := s.byDigest[t.Digest()]
	if r == nil {
		s.fail("a tree has a resource that nobody asked for")
	}
	if r.looked != s.looks {
		r.looked, r.block, r.holders = s.looks, t.Block, 0
		r.found[0], r.found[1] = r.found[0][:0], r.found[1][:0]
	}
	return r
}

// withdrawn reports whether somebody tries to end o: its former master may have
// done so and died before it could tell.
func (o *op) withdrawn() bool { return o.cancels > 0 || o.expired || o.detached || o.victim }

// inOrder compares a queue with what it was: whoever was granted stood before
// all who still wait. A new master keeps the order of those that had been told;
// what its dead predecessor granted at the last, unseen, is not its doing.
func (s *sim) inOrder(r *reg, q int, same bool) {
	was, is := r.queue[q], r.found[q]
	told := func(o *op) bool { return o.told != 0 && o.told < s.ticks }
	for i, x := range was {
		if slices.Contains(is, x) || !(x.answered && grantStatus(x.outcome) || !x.answered && x.reached) {
			continue
		}
		if !same && x.answered && x.ended < s.ticks {
			continue
		}
		for _, y := range was[:i] {
			if slices.Contains(is, y) && (same || told(x) && told(y) && !y.withdrawn()) {
				s.fail("%s: %s is granted before %s, which was queued earlier", r.name, x.l, y.l)
			}
		}
	}
	at := -1
	for _, x := range is {
		i := slices.Index(was, x)
		switch {
		case i < 0:
			if same {
				at = len(was)
			}
		case !same && !told(x):
		case i < at:
			s.fail("%s: %s has lost its place in the queue", r.name, x.l)
		default:
			at = i
		}
	}
}

// glimpse is a block of a master just before a view.
type glimpse struct {
	r      *reg
	block  proto.Block
	writer *node
}

// beforeView looks at the blocks that a view which removes somebody may change.
func (s *sim) beforeView(n *node, m *proto.Msg) (out []glimpse) {
	if n.id == 0 || n.doomed {
		return nil
	}
	n.p.Walk(func(h process.Held) {
		if !h.Serving {
			return
		}
		h.Tree.EachLock(func(t *tree.Lock) {
			r := s.byDigest[t.Res.Digest()]
			i := slices.IndexFunc(out, func(g glimpse) bool { return g.r == r })
			if i < 0 {
				i = len(out)
				out = append(out, glimpse{r: r, block: t.Res.Block})
			}
			if mode.Writer(t.Granted) {
				out[i].writer = s.byID[t.Owner]
			}
		})
	})
	return out
}

// afterView checks design §8 rule 2 exactly: invalid if and only if the master
// had PW or EX granted to one of the removed.
func (s *sim) afterView(n *node, before []glimpse) {
	if n.dead {
		return
	}
	n.p.Walk(func(h process.Held) {
		if !h.Serving {
			return
		}
		h.Tree.EachLock(func(t *tree.Lock) {
			for _, g := range before {
				if g.r.digest != t.Res.Digest() {
					continue
				}
				want := g.block
				if g.writer != nil && n.removed[g.writer.given] {
					want.Valid = false
					s.counts[invalidations]++
				}
				if b := t.Res.Block; b.Value != want.Value || b.Valid != want.Valid {
					s.fail("%s: %s before the view, %s after it, writer %v", g.r.name,
						s.stateOf(g.r, &g.block), s.stateOf(g.r, &b), g.writer)
				}
			}
		})
	})
}

// checkImage checks rule 2 on a tree put together from journals.
func (s *sim) checkImage(r *role, im *proto.Image) {
	if im.Why == proto.OriginMoved {
		s.counts[moves]++
		return
	}
	s.counts[images]++
	if len(s.hosts) > 1 {
		if r.h.Coordinates() && uint32(im.Assign>>32) == r.h.State().Seat {
			s.checkImageOfHosts(r, im)
		}
		for i := range im.Resources {
			if g := s.byDigest[im.Resources[i].Digest]; g != nil {
				g.sure = g.sure[:0] // its master may serve it and move it in one step, unseen
			}
		}
		return
	}
	for i := range im.Resources {
		ir := &im.Resources[i]
		var rec *proto.Record
		f := s.files[r.m.dir[im.Root.Digest()].Master]
		for j := 0; f != nil && j < len(f.lines); j++ {
			if l := &f.lines[j]; l.written && l.rec.Resource == ir.Digest {
				rec = &l.rec
			}
		}
		g := s.byDigest[ir.Digest]
		alone := !slices.ContainsFunc(im.Locks, func(l proto.ImageLock) bool { return int(l.Resource) == i })
		if rec == nil || g == nil || alone {
			continue // of a resource that stands there for the sake of another nothing is left
		}
		if w := s.byID[rec.Writer]; w != nil && !slices.Contains(r.known, w.given) {
			s.counts[rebuiltInvalid]++
			if ir.Block.Valid {
				s.fail("%s: rebuilt as valid though its writer %s is dead", g.name, w)
			}
			continue
		}
		if rec.Block.Valid && !ir.Block.Valid {
			inv := false
			for _, l := range g.locks {
				for _, o := range []*op{l.ask, l.unlock} {
					inv = inv || o != nil && o.flags&dlm.InvValBlk != 0
				}
			}
			if !inv {
				s.fail("%s: rebuilt as invalid, but the journal says valid and no writer died", g.name)
			}
		}
	}
}
