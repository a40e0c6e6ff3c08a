package tree

import (
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// seeDeep is how many locks of a queue are looked at, since all of that happens while the
// tree stands still.
const seeDeep = 1 << 14

// Resources are all resources of the tree, the root first, the others in no order.
func (t *Tree) Resources() []*Resource {
	all := make([]*Resource, 1, len(t.below)+1)
	all[0] = &t.root
	for _, r := range t.below {
		all = append(all, r)
	}
	return all
}

// Has reports whether r, which was one of its Resources, still is.
func (t *Tree) Has(r *Resource) bool {
	for ; r.Parent != nil; r = r.Parent {
		if t.below[child{r.Parent, *r.name}] != r {
			return false
		}
	}
	return r == &t.root
}

// Locks is how many locks and requests there are in the tree.
func (t *Tree) Locks() uint32 { return t.locks }

// See describes r as an Inquiry wants it; false if it does not want it. Of the locks it
// tells no more than room, cut says whether there are more.
func (r *Resource) See(q *proto.Inquiry, room int) (s proto.SeenResource, wanted, cut bool) {
	queued := !r.converting.empty() || !r.waiting.empty()
	if q.Waiting && !queued || q.Invalid && r.Block.Valid || r.locks == 0 && r.children > 0 {
		return s, false, false
	}
	s = proto.SeenResource{
		Path: r.Path(), Block: r.Block, Cause: r.Cause(), Persistent: r.persist != nil, Locks: r.locks,
	}
	if r.writer != nil {
		s.Writer = r.writer.Owner
	}
	if p := r.persist; p != nil {
		s.Domain, s.Doubted = p.domain, p.doubted
		s.Locks-- // the keeper is nobody
	}
	for _, k := range [...]*queue{&r.converting, &r.waiting} {
		n := uint32(0)
		for l := k.head; l != nil && n < seeDeep; l = l.next {
			n++
		}
		s.Waiting += n
	}
	if q.What&proto.SeeLocks == 0 {
		return s, true, false
	}
	for _, k := range [...]*queue{&r.granted, &r.converting, &r.waiting} {
		at := uint32(0)
		for l := k.head; l != nil; l = l.next {
			if at++; at > seeDeep {
				cut = true
				break
			}
			if !l.seen(q) {
				continue
			}
			if len(s.Seen) >= room {
				return s, true, true
			}
			s.Seen = append(s.Seen, l.see(at))
		}
	}
	return s, len(s.Seen) > 0 || len(q.Owners) == 0 && q.Modes == 0, cut
}

// seen reports whether an Inquiry wants to see l.
func (l *Lock) seen(q *proto.Inquiry) bool {
	if l.Owner == proto.Keeper || q.Modes != 0 && q.Modes&(mode.Bit(l.Granted)|mode.Bit(l.Requested)) == 0 {
		return false
	}
	for _, p := range q.Owners {
		if p == l.Owner {
			return true
		}
	}
	return len(q.Owners) == 0
}

func (l *Lock) see(at uint32) proto.SeenLock {
	s := proto.SeenLock{
		Owner: l.Owner, Lock: l.ID, Op: l.Op, Party: l.Party, Granted: l.Granted, At: at, Flags: uint32(l.Flags),
	}
	if l.Waiting() {
		s.Requested = l.Requested
	}
	return s
}
