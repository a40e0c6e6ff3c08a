package tree

import (
	"github.com/godlm/godlm/core/proto"
)

// MaxMoved is the number of locks and requests up to which a tree can move: its image
// travels in one message, and nobody is served meanwhile.
const MaxMoved = 16384

// Movable reports whether the tree can go to another master while it is in use.
// Persistent resources stay where they are: what is done with a recovery domain is
// done where its trees are, and one that is under way would be missed.
func (t *Tree) Movable() bool { return t.kept == 0 && t.locks <= MaxMoved }

// Image describes the tree for Install. It has all that the master knows, so the next
// one goes on as if it had been there from the beginning.
func (t *Tree) Image() *proto.Image {
	im := &proto.Image{Root: *t.key, Arrival: t.arrival, Why: proto.OriginMoved, From: t.Self}
	index := map[*Resource]int32{}
	var add func(r *Resource) int32
	add = func(r *Resource) int32 {
		if i, ok := index[r]; ok {
			return i
		}
		ir := proto.ImageResource{Parent: -1, Block: r.Block, Digest: r.Digest(), Cause: r.Cause(), Writes: r.writes}
		if r.Parent != nil {
			ir.Parent, ir.Name = add(r.Parent), *r.name
		}
		i := int32(len(im.Resources))
		index[r] = i
		im.Resources = append(im.Resources, ir)
		return i
	}
	t.each(func(r *Resource) {
		i := add(r)
		for _, q := range [...]*Lock{r.granted.head, r.converting.head, r.waiting.head} {
			for l := q; l != nil; l = l.next {
				il := proto.ImageLock{
					Resource: i, Owner: l.Owner, Lock: l.ID, Granted: l.Granted, Flags: uint32(l.Flags), Held: uint32(l.Held),
					Hint: l.Hint, Arrival: l.Arrival, Op: l.Op, Party: l.Party,
				}
				if l.place != InGranted {
					il.Requested = l.Requested
				}
				im.Locks = append(im.Locks, il)
			}
		}
	})
	return im
}

// Renew puts the tree, which stays here, under a newer assignment. Its owners repeat to that
// what has not been answered.
func (t *Tree) Renew(assign uint64) {
	t.Assign = assign
	t.EachLock(func(l *Lock) { l.Heard = false })
}

// Owners visits who has locks or requests in the tree, each once, in an order that
// does not depend on a map's.
func (t *Tree) Owners(fn func(proto.ProcID)) {
	seen := map[proto.ProcID]bool{}
	t.EachLock(func(l *Lock) {
		if !seen[l.Owner] {
			seen[l.Owner] = true
			fn(l.Owner)
		}
	})
}
