package process

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// What people see of a process (design §11). A look goes through the shards a few steps
// at a time and holds a mutex for one Next only, so that callers hardly notice. What
// changes meanwhile may be seen as before or after, or be missed if it comes and goes.

// seeStep is how many roots, resources, locks and own locks one Next looks at. Of a tree it
// takes all resources' addresses at once, and of a resource all that is shown of its
// queues.
const seeStep = 512

// Look is one walk through a Process for an Inquiry. There must be no two at a time.
type Look struct {
	p     *Process
	q     proto.Inquiry
	shard int
	stage int
	slot  int              // of own locks
	of    *tree.Tree       // at the cursor, if it has been begun
	subs  []*tree.Resource // of that, yet to be seen
	left  int              // of the limit
	cut   bool             // there is more than that
	hot   []proto.SeenTree
	count proto.Counts
	steps int
}

// Stages of a Look at a shard.
const (
	lookBegin = iota
	lookAsleep
	lookTrees
	lookOwn
	lookDone
)

// seen is what a Look keeps in a shard.
type seen struct {
	root *root // the next one; drop moves it on
	at   int64 // of the last look at the rates; 0: never

	// Sleepers are seen before the others. While a look is on nobody falls asleep, and who
	// was seen asleep is not seen again: asleep is the number from which on they have yet
	// to be.
	on     bool
	asleep int
	round  uint32
	missed int // how many could not fall asleep
}

// watched reports whether nobody may fall asleep for the sake of a look. One that never
// ends must not keep everybody awake.
func (s *shard) watched() bool {
	if !s.seen.on {
		return false
	}
	if s.seen.missed++; s.seen.missed > 1<<14 {
		s.seen.on = false
	}
	return s.seen.on
}

// Look begins one.
func (p *Process) Look(q *proto.Inquiry) *Look {
	k := &Look{p: p, q: *q, left: int(q.Limit)}
	if q.What&proto.SeeLocks != 0 {
		k.q.What |= proto.SeeTrees
	}
	return k
}

// Next adds some of what is there to be seen. It reports false when that was the last.
func (k *Look) Next(out *proto.Sight) bool {
	if k.shard == shardCount {
		k.finish(out)
		return false
	}
	s := &k.p.shards[k.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if out.Cut = out.Cut || k.cut; k.cut && k.q.What&proto.SeeCounts == 0 {
		s.seen.root, s.seen.on = nil, false
		k.shard = shardCount // it has all that it wants
		return true
	}
	k.steps = seeStep
	for k.steps > 0 && k.stage != lookDone {
		switch k.stage {
		case lookBegin:
			s.seen.on, s.seen.asleep, s.seen.missed = true, 0, 0
			s.seen.round++
			k.stage, k.slot = lookAsleep, 0
		case lookAsleep:
			if !k.sleepers(s, out) {
				k.stage = lookTrees
				s.seen.root = s.order.head
			}
		case lookTrees:
			if !k.tree(s, out) {
				k.stage, k.slot = lookOwn, 0
			}
		case lookOwn:
			if !k.own(s, out) {
				k.stage = lookDone
			}
		}
	}
	if k.stage == lookDone {
		s.seen.root, s.seen.on = nil, false
		k.end(s)
		k.stage = lookBegin
		k.shard++
	}
	return true
}

// sleepers sees some of the trees that are asleep.
func (k *Look) sleepers(s *shard, out *proto.Sight) bool {
	for ; k.slot < len(s.locks.places) && k.steps > 0; k.slot++ {
		k.steps--
		s.seen.asleep = k.slot + 1
		p := s.locks.places[k.slot]
		if p&asleepBit == 0 {
			continue
		}
		r := s.dream(p)
		k.count.Trees++
		switch {
		case !k.wants(r):
		case k.q.Hot > 0:
			k.heat(s, r)
		default:
			k.steps++ // for its one resource
			k.subs = r.tree.Resources()
			k.resources(s, r, out)
			k.subs = nil
		}
	}
	return k.slot < len(s.locks.places)
}

// tree sees the tree at the cursor, or some of it, and goes on to the next.
func (k *Look) tree(s *shard, out *proto.Sight) bool {
	r := s.seen.root
	if r == nil {
		return false
	}
	k.steps--
	if r.lent {
		s.takeBack(r)
	}
	t := r.tree
	if t == nil || r.sighted == s.seen.round {
		s.seen.root = r.next
		return true
	}
	if k.of != t {
		k.of, k.subs = t, nil
		k.count.Queued += uint64(t.Queued)
		if r.where != installing {
			k.count.Trees++
		}
		if !k.wants(r) {
			s.seen.root = r.next
			return true
		}
		if k.q.Hot > 0 {
			k.heat(s, r)
			s.seen.root = r.next
			return true
		}
		k.subs = t.Resources()
	}
	k.resources(s, r, out)
	if len(k.subs) == 0 {
		s.seen.root = r.next
	}
	return true
}

// wants reports whether the Inquiry is about the tree.
func (k *Look) wants(r *root) bool {
	q := &k.q
	switch name := q.Name.Bytes(); {
	case q.What&proto.SeeTrees == 0, q.InSpace && r.key.Space != q.Space, q.Waiting && r.tree.Queued == 0:
		return false
	case r.tree.Idle() && q.Hot == 0: // remembered, and used by nobody
		return false
	case q.Prefix:
		return bytes.HasPrefix(r.key.Name.Bytes(), name)
	default:
		return len(name) == 0 || bytes.Equal(r.key.Name.Bytes(), name)
	}
}

// resources sees some of a tree's resources.
func (k *Look) resources(s *shard, r *root, out *proto.Sight) {
	var seen *proto.SeenTree
	for len(k.subs) > 0 && k.steps > 0 {
		x := k.subs[0]
		k.subs = k.subs[1:]
		k.steps--
		if !r.tree.Has(x) {
			continue
		}
		n, wanted, cut := x.See(&k.q, k.left)
		out.Cut = out.Cut || cut
		if !wanted {
			continue
		}
		if k.left == 0 {
			k.cut, out.Cut = true, true
			k.subs = nil
			return
		}
		if seen == nil {
			out.Trees = append(out.Trees, r.see())
			seen = &out.Trees[len(out.Trees)-1]
		}
		seen.Resources = append(seen.Resources, n)
		k.left = max(0, k.left-max(1, len(n.Seen)))
		k.steps -= len(n.Seen)
	}
}

func (r *root) see() proto.SeenTree {
	t := r.tree
	return proto.SeenTree{
		Before: r.shard.p.obituary(t.From),
		Root:   r.key, Assign: r.assign, Serving: r.where == local || r.where == keeping, Since: t.Since, Why: t.Why, From: t.From,
		Locks: t.Locks(), Queued: t.Queued,
	}
}

// heat keeps the trees with the most requests.
func (k *Look) heat(s *shard, r *root) {
	t := r.tree
	used := t.Used - t.Looked
	t.Looked = t.Used
	n := r.see()
	if since := k.p.world.Now() - s.seen.at; s.seen.at != 0 && since > 0 {
		n.Rate = uint64(float64(used) * 1e12 / float64(since))
	}
	at, _ := slices.BinarySearchFunc(k.hot, n, func(x, y proto.SeenTree) int { return cmp.Compare(y.Rate, x.Rate) })
	if at < int(k.q.Hot) {
		k.hot = slices.Insert(k.hot, at, n)
		k.hot = k.hot[:min(len(k.hot), int(k.q.Hot))]
	}
}

// own sees some of the process's own requests.
func (k *Look) own(s *shard, out *proto.Sight) bool {
	for ; k.slot < len(s.locks.places) && k.steps > 0; k.slot++ {
		k.steps--
		l := s.locks.at(k.slot)
		if l == nil || l.ask.kind == proto.PendingNothing && !l.unlock.active {
			continue
		}
		k.count.Asking++
		if k.q.What&proto.SeeWaits == 0 || !k.mine(l) {
			continue
		}
		if k.left == 0 {
			k.cut, out.Cut = true, true
			continue
		}
		k.left--
		out.Waits = append(out.Waits, l.seeWait())
	}
	return k.slot < len(s.locks.places)
}

// mine reports whether the Inquiry is about an own lock.
func (k *Look) mine(l *lock) bool {
	q, key := &k.q, &l.root.key
	if q.InSpace && key.Space != q.Space || q.Modes != 0 && q.Modes&(mode.Bit(l.granted)|mode.Bit(l.ask.mode)) == 0 ||
		len(q.Owners) > 0 && !slices.Contains(q.Owners, k.p.me) {
		return false
	}
	name := q.Name.Bytes()
	if q.Prefix {
		return bytes.HasPrefix(key.Name.Bytes(), name)
	}
	return len(name) == 0 || bytes.Equal(key.Name.Bytes(), name)
}

// seeWait describes a request without an answer.
func (l *lock) seeWait() proto.SeenWait {
	r, a := l.root, &l.ask
	w := proto.SeenWait{
		Kind: a.kind, Lock: l.ID, Op: uint32(a.op), Party: l.Party, Root: r.key, Granted: l.granted, Wanted: a.mode, Age: -1,
	}
	for x := l; x.parent != nil; x = x.parent {
		w.Path = append(w.Path, x.name)
	}
	slices.Reverse(w.Path)
	if l.unlock.active {
		w.Kind, w.Op, w.Wanted = proto.PendingUnlock, uint32(l.unlock.op), mode.None
	} else if since := max(a.since, a.made); since != 0 {
		w.Age = max(0, r.shard.p.world.Now()-since)
	}
	switch {
	case r.where == local || r.where == keeping || r.where == remote:
		w.Master = r.master
		if !a.queued && r.where == remote || l.unlock.active {
			w.State = proto.WaitSent
		}
	case r.where == orphan || r.where == installing:
		w.State = proto.WaitRebuild
	default:
		w.State = proto.WaitLookup
	}
	return w
}

// end adds what the shard has counted.
func (k *Look) end(s *shard) {
	if k.q.Hot > 0 {
		s.seen.at = k.p.world.Now()
	}
	s.all() // what is lent has counts of its own
	n, c := &k.count, &s.counts
	for way := range c.ops {
		for op := range c.ops[way] {
			n.Requests[way][op] += c.ops[way][op]
		}
	}
	for i := range c.waits {
		n.Waits[i] += c.waits[i]
	}
	for i := range c.invalid {
		n.Invalid[i] += c.invalid[i]
	}
	n.WaitNanos += c.waited
	n.Blocking += c.blocking
	n.Locks += uint64(s.locks.len())
}

// finish tells what is known only at the end.
func (k *Look) finish(out *proto.Sight) {
	out.Trees = append(out.Trees, k.hot...)
	if k.q.What&proto.SeeCounts == 0 {
		return
	}
	p := k.p
	p.hunt.Lock()
	k.count.Deadlocks = p.hunt.found
	p.hunt.Unlock()
	p.members.Lock()
	k.count.Views = p.members.views
	p.members.Unlock()
	out.Counts = append(out.Counts, k.count)
}
