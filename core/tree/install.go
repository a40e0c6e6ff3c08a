package tree

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Install makes the tree of root that an image describes. Nothing is granted yet:
// Activate does that. lock is called for every lock and gives the structure to
// use for it, since the master's own locks live in its lock table. With an error
// the tree is as far as it came, for Discard.
func Install(root *proto.Root, im *proto.Image, self proto.ProcID, sink Sink, journal Journal, lock func(*proto.ImageLock) *Lock) (*Tree, error) {
	t := New(root, im.Assign, self, sink, journal)
	t.arrival = im.Arrival
	t.Why, t.From = im.Why, im.From
	var few [4]*Resource // most trees have no more
	res := few[:]
	if len(im.Resources) > len(few) {
		res = make([]*Resource, len(im.Resources))
		t.below = make(map[child]*Resource, len(im.Resources)-1)
	}
	res = res[:len(im.Resources)]
	for i := range im.Resources {
		ir := &im.Resources[i]
		switch {
		case i == 0 && ir.Parent == -1:
			res[i] = &t.root
		case i > 0 && ir.Parent >= 0 && int(ir.Parent) < i:
			if res[i] = t.add(child{res[ir.Parent], ir.Name}); res[i] == nil {
				return t, fmt.Errorf("image of tree %x: deeper than %d levels", t.Digest(), MaxDepth)
			}
			if len(t.below) != i {
				return t, fmt.Errorf("image of tree %x: resource %d is there twice", t.Digest(), i)
			}
		default:
			return t, fmt.Errorf("image of tree %x: resource %d has parent %d", t.Digest(), i, ir.Parent)
		}
		res[i].Block, res[i].writes = ir.Block, ir.Writes
		if c := ir.Cause; !ir.Block.Valid {
			if c.Kind == proto.CauseNone {
				c.Kind = proto.CauseEarlier
			}
			res[i].blame(c)
			if ir.Block.Stamp.Assign == t.Assign { // by the assembly
				sink.Invalidated(c.Kind)
			}
		}
		// A stamp of this assignment was given by the assembly; go on from it.
		if s := ir.Block.Stamp; s.Assign == t.Assign && s.Seq > t.seq {
			t.seq = s.Seq
		}
	}
	for i := range im.Locks {
		il := &im.Locks[i]
		if il.Resource < 0 || int(il.Resource) >= len(res) {
			return t, fmt.Errorf("image of tree %x: lock %d on resource %d", t.Digest(), i, il.Resource)
		}
		l := lock(il)
		l.Owner, l.ID, l.Party = il.Owner, il.Lock, il.Party
		l.Flags, l.Held = dlm.Flags(il.Flags), dlm.Flags(il.Held)
		l.Hint, l.Op, l.Arrival = il.Hint, il.Op, il.Arrival
		l.Granted, l.place = mode.None, Nowhere
		r := res[il.Resource]
		if err := r.enter(l); err != nil {
			return t, err
		}
		if il.Owner == proto.Keeper {
			ir := &im.Resources[il.Resource]
			r.persist = &persistence{domain: ir.Domain, keeper: l, doubted: ir.Doubted}
			t.kept++
		}
		if il.Granted != mode.None {
			r.hold(l, il.Granted)
			t.fence(l)
		}
		l.Requested = il.Requested
		switch {
		case il.Requested == mode.None:
			l.Requested = il.Granted
			r.place(l, InGranted)
		case il.Granted != mode.None:
			r.place(l, InConverting)
		default:
			r.place(l, InWaiting)
		}
	}
	return t, nil
}

// Activate grants what can be granted in an installed tree and tells holders
// again whom they block: notices may have died with the old master.
func (t *Tree) Activate() {
	t.some(func(r *Resource) bool {
		return !r.converting.empty() || !r.waiting.empty() || r.persist != nil
	}, func(r *Resource) {
		for l := r.granted.head; l != nil; l = l.next {
			l.fresh = true
		}
		r.scan()
		r.unkeep()
	})
}

// Discard takes the tree out of the value journal; it is not used afterwards.
func (t *Tree) Discard() {
	t.each(func(r *Resource) {
		if r.journaled {
			r.unjournal()
		}
	})
}

// each visits every resource in an order that does not depend on a map's.
func (t *Tree) each(fn func(*Resource)) {
	t.some(func(*Resource) bool { return true }, fn)
}

// some visits the resources that pick chooses, after it was asked about all, in an order that
// does not depend on a map's.
func (t *Tree) some(pick func(*Resource) bool, fn func(*Resource)) {
	var chosen []*Resource
	for _, r := range t.below {
		if pick(r) {
			chosen = append(chosen, r)
		}
	}
	inOrder(chosen)
	if pick(&t.root) {
		fn(&t.root)
	}
	for _, r := range chosen {
		fn(r)
	}
}

// inOrder sorts resources by their digests.
func inOrder(list []*Resource) {
	for _, r := range list {
		r.Digest()
	}
	slices.SortFunc(list, func(x, y *Resource) int { return bytes.Compare(x.digest[:], y.digest[:]) })
}

// EachLock visits every lock: granted, then converting, then waiting, in order.
func (t *Tree) EachLock(fn func(*Lock)) { t.each(func(r *Resource) { r.eachLock(fn) }) }

func (r *Resource) eachLock(fn func(*Lock)) {
	for _, q := range [...]*Lock{r.granted.head, r.converting.head, r.waiting.head} {
		for l := q; l != nil; {
			next := l.next
			fn(l)
			l = next
		}
	}
}

// LocksThat are the locks that pick chooses, in the order of their owners and names.
func (t *Tree) LocksThat(pick func(*Lock) bool) (out []*Lock) {
	choose := func(l *Lock) {
		if pick(l) {
			out = append(out, l)
		}
	}
	t.root.eachLock(choose)
	for _, r := range t.below {
		r.eachLock(choose)
	}
	slices.SortFunc(out, func(x, y *Lock) int {
		return cmp.Or(cmp.Compare(x.Owner, y.Owner), cmp.Compare(x.ID, y.ID))
	})
	return out
}
