package process

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// A call into the lock manager costs more than what it decides. So a tree that is mastered here,
// that has one lock, an own one on the root resource, and that nobody else wants, is lent
// to the callers' side (package lent): there it is locked, converted and unlocked without a
// call. The root and the lock stay here as they were, and nobody may look at them: whoever
// comes to a root by its name or by a lock, or goes through all, takes it back first. So nothing
// else in this package need know of it. A tree that is lent is never asleep.
//
// Nothing that others must hear of happens to such a tree: nobody waits, nobody else holds
// a lock, and its value block, which goes with the last lock, is in no journal.

// LendAfter is a good number for Lend: small, and a tree that is used by turns is not lent in vain
// each time.
const LendAfter = 4

// lentPart is how many cells there are for the roots of a shard.
const lentPart = lent.Size / shardCount

// Lend gives p a table to lend trees in, each after so many own requests in a row that were decided
// at once. pause is called while a caller is at a cell that p wants. It is set before p is used.
func (p *Process) Lend(t *lent.Table, after uint8, pause func()) {
	p.lent, p.lendAfter, p.pause = t, after, pause
	for i := range p.shards {
		p.shards[i].lent = make([]*root, lentPart)
	}
}

// tryLend lends l's tree if it may. l's request has just been granted here, at once.
func (s *shard) tryLend(l *lock) {
	r := l.root
	if r.solo++; r.solo < s.p.lendAfter {
		return
	}
	r.solo = 0
	if r.ownCount != 1 || r.foreign.any() || r.asked != lookupNone || len(r.queries) > 0 || len(r.held) > 0 ||
		r.keep != nil || r.heir != 0 || r.use != nil && r.use.to != 0 || s.p.lost.Load() {
		return
	}
	if l.pending != &idle || l.position != &top || l.children != 0 || l.noticed != mode.None ||
		l.Party != (proto.Party{ID: uint64(s.p.me)}) {
		return
	}
	n, t := r.tree.Lend()
	if t != &l.Lock || l.granted != t.Granted || l.held != uint32(t.Held) || l.held != uint32(t.Flags) || l.block != n.Block ||
		l.token != (proto.Stamp{Assign: r.assign, Seq: t.Token}) {
		return
	}
	i := lent.Index(hashOf(&r.key))
	c := s.p.lent.Seize(i, s.p.pause)
	if x := s.lent[i/shardCount]; x != nil {
		stale := c.Stale()
		c.Release()
		if !stale {
			return
		}
		s.takeBack(x)
		c = s.p.lent.Seize(i, s.p.pause)
	}
	defer c.Release()
	c.Mode, c.Lock, c.Seq, c.Token, c.Flags = n.Mode, l.ID, n.Seq, t.Token, l.held
	c.Value, c.Writes = n.Block.Value, n.Writes
	c.NotPrm, c.Hint, c.BlkRtn, c.CplRtn, c.ValB, c.Timeout = l.user.NotPrm, l.user.Hint, l.user.BlkRtn, l.user.CplRtn, l.user.ValB, l.user.Timeout
	c.Plain = uint32(asByte(l.plain))
	s.p.lent.Lend(i, &r.key)
	s.lent[i/shardCount], r.lent = r, true
	s.locks.places[number(l.ID)] |= lentBit
}

// takeBack makes r what the callers have made of it.
func (s *shard) takeBack(r *root) {
	i := lent.Index(hashOf(&r.key))
	c := s.p.lent.Seize(i, s.p.pause)
	c.Return()
	n := *c
	c.Release()
	s.lent[i/shardCount], r.lent = nil, false
	if r.use != nil {
		r.use.own = uint32(min(uint64(r.use.own)+n.Locks+n.Converts, 1<<30))
	}
	s.counts.add(opLocal, proto.KRequest, n.Locks)
	s.counts.add(opLocal, proto.KConvert, n.Converts)
	s.counts.add(opLocal, proto.KUnlock, n.Unlocks)
	l := r.own.head
	k := number(l.ID)
	s.locks.places[k] &^= lentBit
	s.locks.seqs[k] = n.Last
	r.bring(l, &n)
	if n.Lock == 0 {
		s.freeLock(l)
	}
}

// bring does to r and its only lock what the callers did. If there is no lock any more l is in
// no queue.
func (r *root) bring(l *lock, n *lent.Cell) {
	r.ops += n.Locks + n.Converts
	back := tree.Lent{Seq: n.Seq, Block: l.block, Writes: n.Writes, Mode: n.Mode, Used: uint32(n.Locks + n.Converts + n.Unlocks)}
	back.Block.Value = n.Value
	if n.Stamp != 0 {
		back.Block.Stamp = proto.Stamp{Assign: r.assign, Seq: n.Stamp}
	}
	if n.Lock != 0 && n.Locks+n.Converts > 0 {
		if n.Lock != l.ID {
			l.ID, l.Arrival = n.Lock, 0
		}
		l.user = User{
			NotPrm: n.NotPrm, Hint: n.Hint, BlkRtn: n.BlkRtn, CplRtn: n.CplRtn, ValB: n.ValB, Timeout: n.Timeout,
		}
		l.Flags, l.Hint, l.Op, l.Token = dlm.Flags(n.Flags), n.Hint, uint32(r.ops), n.Token
		l.Held = l.Flags
		l.granted, l.held, l.block, l.plain = n.Mode, n.Flags, back.Block, n.Plain != 0
		l.fence()
	}
	r.tree.Return(&back, &l.Lock)
}

// likeness is r, which is lent, as it would be if it were taken back, to be looked at and no
// more, and its lock; nil if there is none.
func (s *shard) likeness(r *root) (*root, *lock) {
	c := s.p.lent.Seize(lent.Index(hashOf(&r.key)), s.p.pause)
	n := *c
	c.Release()
	rest, _ := r.tree.Rest()
	x, l := &root{}, &lock{}
	s.unpack(s.pack(r, r.own.head, &rest), x, l, &tree.Tree{})
	x.bring(l, &n)
	if n.Lock == 0 {
		return x, nil
	}
	return x, l
}

// all takes back whatever is lent and returns the oldest of all roots.
func (s *shard) all() *root {
	for _, r := range s.lent {
		if r != nil {
			s.takeBack(r)
		}
	}
	return s.order.head
}
