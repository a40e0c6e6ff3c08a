package sim

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// atRest checks what must be true when everything has arrived.
func (s *sim) atRest() {
	s.note("at rest")
	s.orphanedRounds()
	s.counts[rests]++
	s.welcomedAll()
	for _, n := range s.nodes {
		if !n.dead {
			s.ownerAtRest(n)
		}
	}
	for ri := range s.roots {
		s.rootAtRest(ri)
	}
	for _, r := range s.regs {
		if len(r.locks) > 0 || s.anyLive() == nil {
			continue
		}
		got := s.keptBlock(r)
		r.observe(got)
		if got != fresh && got.valid && !r.unsure() {
			s.fail("%s is kept though its block is valid", r.name)
		}
	}
	s.shaken = false
	for _, r := range s.regs {
		r.settle()
	}
	for _, n := range s.nodes {
		if !n.dead {
			s.journalAtRest(n)
		}
	}
	for d, e := range s.coordinator().dir {
		r := s.byDigest[d]
		if n := s.byID[e.Master]; n.dead {
			s.fail("the directory names %s as master of %s", n, r.name)
		}
	}
}

// welcomedAll: every live process is connected to its host's agent.
func (s *sim) welcomedAll() {
	for _, n := range s.nodes {
		if !n.dead && (n.id == 0 || n.link == nil || n.link.role != n.home.role || !n.link.welcomed) {
			s.fail("%s never reached the agent", n)
		}
	}
}

// keptBlock is the block of a resource without locks: as new, unless a master
// keeps it.
func (s *sim) keptBlock(r *reg) state {
	got := fresh
	for _, n := range s.nodes {
		if n.dead {
			continue
		}
		n.p.Walk(func(h process.Held) {
			h.Tree.EachLock(func(t *tree.Lock) {
				if t.Owner == proto.Keeper && t.Res.Digest() == r.digest {
					got = s.stateOf(r, &t.Res.Block)
				}
			})
		})
	}
	return got
}

// ownerAtRest checks a live process's requests.
func (s *sim) ownerAtRest(n *node) {
	for i := 0; i < len(n.locks); i++ {
		l := n.locks[i]
		o := l.ask
		switch {
		case l.unlock != nil:
			s.fail("unlock of %s is not answered", l)
		case o == nil:
		case o.detached && o.verb == askLock:
			if _, st := n.p.LockInfo(l.id); st != dlm.IvLockID {
				s.fail("%s is still there though nobody waits for it", l)
			}
			delete(n.ops, o.token)
			l.ask = nil
			s.end(l)
			i--
		case o.detached || o.expired:
			s.fail("%s of %s was withdrawn and is not answered", verbs[o.verb], l)
		}
	}
	for token := uint64(1); token <= s.nextToken; token++ {
		o := n.ops[token]
		if o == nil {
			continue
		}
		if o.verb == askUnlock || o.verb == askCancel || o.verb == askInfo || o.verb == askDomain {
			s.fail("%s: %s is not answered (%v)", n, verbs[o.verb], o.l)
		}
		if o.l.ask != o {
			s.fail("%s: a %s of %s was never answered", n, verbs[o.verb], o.l)
		}
	}
}

// rootAtRest compares the master's tree with what the owners know.
func (s *sim) rootAtRest(ri int) {
	var master *node
	var seen int
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
			byRes := map[*reg][]*tree.Lock{}
			h.Tree.EachLock(func(t *tree.Lock) {
				if t.Owner == proto.Keeper {
					return
				}
				s.agree(t)
				r := s.byDigest[t.Res.Digest()]
				byRes[r] = append(byRes[r], t)
				seen++
			})
			for _, r := range s.regs {
				if locks := byRes[r]; locks != nil {
					s.waitersAtRest(r, locks)
				}
			}
		})
	}
	for _, r := range s.regs {
		if r.root != ri {
			continue
		}
		if master == nil {
			r.buried(func(*node) bool { return true })
		}
		for _, l := range r.locks {
			if l.n.dead {
				s.fail("%s is still in the queues of %v though its owner is dead", l, master)
			}
			seen--
		}
	}
	if seen != 0 {
		s.fail("r%d: its master has %d locks too many", ri, seen)
	}
}

// agree compares a master's lock with its owner's program.
func (s *sim) agree(t *tree.Lock) {
	l := s.lockOf(t)
	if l == nil || l.n.dead || l.gone {
		s.fail("a master has lock %x of %s, whose program does not have it", uint64(t.ID), s.byID[t.Owner])
	}
	if t.Granted != l.mode {
		s.fail("%s: its master has %s granted, its program was told %s", l, t.Granted, l.mode)
	}
	if waits := t.Place() != tree.InGranted; waits != (l.ask != nil) {
		s.fail("%s: queued at the master: %v, program waits: %v", l, waits, l.ask != nil)
	}
	if l.ask != nil && t.Requested != l.ask.to {
		s.fail("%s: the master has %s queued, asked was %s", l, t.Requested, l.ask.to)
	}
	if s.byDigest[t.Res.Digest()] != l.r {
		s.fail("%s stands on another resource", l)
	}
}

// waitersAtRest checks that whoever waits on a resource is blocked, and that
// whoever blocks has been told (spec §9.4).
func (s *sim) waitersAtRest(r *reg, locks []*tree.Lock) {
	var head [2]*tree.Lock
	for _, t := range locks {
		switch {
		case t.Place() == tree.InConverting && head[0] == nil:
			head[0] = t
		case t.Place() == tree.InWaiting && head[1] == nil:
			head[1] = t
		}
	}
	blocked := func(q *tree.Lock) bool {
		for _, t := range locks {
			if t != q && t.Granted != mode.None && !mode.Compatible(t.Granted, q.Requested) {
				return true
			}
		}
		return false
	}
	if head[0] != nil && !blocked(head[0]) {
		s.fail("%s: the conversion of %s waits for nothing", r.name, s.lockOf(head[0]))
	}
	if head[0] == nil && head[1] != nil && !blocked(head[1]) {
		s.fail("%s: %s waits for nothing", r.name, s.lockOf(head[1]))
	}
	for _, q := range locks {
		if q.Place() == tree.InGranted {
			continue
		}
		for _, t := range locks {
			if t.Place() != tree.InGranted || mode.Compatible(t.Granted, q.Requested) {
				continue
			}
			l, w := s.lockOf(t), s.lockOf(q)
			if !l.blk || l.n.undel[l.id] {
				continue
			}
			if since := max(l.grantAsk, w.ask.asked); l.noticed < since {
				s.fail("%s: %s blocks %s and was not told", r.name, l, w)
			}
		}
	}
}

// journalAtRest compares n's value journal with its trees.
func (s *sim) journalAtRest(n *node) {
	want := map[proto.Digest]proto.Record{}
	n.p.Walk(func(h process.Held) {
		h.Tree.EachLock(func(t *tree.Lock) {
			rec, ok := want[t.Res.Digest()]
			rec.Tree, rec.Resource, rec.Block = h.Tree.Digest(), t.Res.Digest(), t.Res.Block
			if mode.Writer(t.Granted) {
				rec.Writer, rec.Lock = t.Owner, t.ID
			}
			if ok || t.Owner != n.id {
				want[t.Res.Digest()] = rec
			}
		})
		// A foreign lock may stand behind an own one: look again.
		h.Tree.EachLock(func(t *tree.Lock) {
			if rec, ok := want[t.Res.Digest()]; ok && mode.Writer(t.Granted) {
				rec.Writer, rec.Lock = t.Owner, t.ID
				want[t.Res.Digest()] = rec
			}
		})
	})
	// A block that is not valid has a line that says why.
	causes := map[proto.Digest]string{}
	n.p.Walk(func(h process.Held) {
		for _, r := range h.Tree.Resources() {
			if rec, ok := want[r.Digest()]; ok && !rec.Block.Valid {
				why := r.Cause()
				want[r.Digest().CauseLine()] = why.Record(h.Tree.Digest(), r.Digest(), r.Block.Stamp)
				causes[r.Digest().CauseLine()] = "the cause at " + s.byDigest[r.Digest()].name
			}
		}
	})
	for _, rec := range n.file.records() {
		w, ok := want[rec.Resource]
		if name := causes[rec.Resource]; name != "" {
			if w != rec {
				s.fail("%s: journal says %+v of %s, the tree %+v", n, rec, name, w)
			}
			delete(want, rec.Resource)
			continue
		}
		if !ok && s.byDigest[rec.Resource] == nil {
			s.fail("%s: journal record %+v of a cause, but the block is valid", n, rec)
		}
		if !ok {
			s.fail("%s: journal record for %s, on which nobody else has a lock", n, s.byDigest[rec.Resource].name)
		}
		if w != rec {
			s.fail("%s: journal says %+v of %s, the tree %+v", n, rec, s.byDigest[rec.Resource].name, w)
		}
		delete(want, rec.Resource)
	}
	for d := range want {
		if causes[d] != "" {
			if n.file.short {
				continue // there was no room for it
			}
			s.fail("%s: no journal record for %s", n, causes[d])
		}
		s.fail("%s: no journal record for %s", n, s.byDigest[d].name)
	}
}

// releaseAll lets every program give everything up, without faults: everybody
// who waits must then be granted, and in the end nothing may be left.
func (s *sim) releaseAll() {
	for round := 0; ; round++ {
		if round > 500 {
			s.fail("locks are never all released")
		}
		s.steps++
		var free, stuck []*lk
		left := 0
		for _, n := range s.nodes {
			if n.dead {
				continue
			}
			for _, l := range n.locks {
				left++
				switch {
				case l.ask == nil && !hasChildren(l):
					free = append(free, l)
				case l.ask != nil && l.mode != mode.None && !hasChildren(l):
					stuck = append(stuck, l)
				}
			}
		}
		if left == 0 {
			break
		}
		if len(free) == 0 {
			free = stuck
		}
		if len(free) == 0 {
			s.fail("%d requests wait though nobody holds anything", left)
		}
		l := free[s.rng.IntN(len(free))]
		s.callUnlock(l.n, l)
		s.calm()
		s.atRest()
	}
	for _, n := range s.nodes {
		if !n.dead && len(n.ops) > 0 {
			s.fail("%s: %d requests were never answered", n, len(n.ops))
		}
	}
	s.recoverAll()
	s.lookFresh()
}

func hasChildren(l *lk) bool {
	for _, c := range l.n.locks {
		if c.parent == l {
			return true
		}
	}
	return false
}

// lookFresh reads every root: all must be as new.
func (s *sim) lookFresh() {
	for ri := range s.roots {
		n := s.anyLive()
		if n == nil {
			return
		}
		o := s.lockCall(n, nil, ri, 0, mode.PR, dlm.ValB, false)
		s.calm()
		if o.outcome == dlm.InsfMem {
			continue
		}
		if !o.answered || !grantStatus(o.outcome) {
			s.fail("r%d cannot be locked though nobody has a lock", ri)
		}
	}
}
