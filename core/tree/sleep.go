package tree

import (
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Rest is all that must be known of a tree to have it again later, when it is private to
// its master, has one lock, which is granted, and nothing else: no sub-resource, no
// request that waits, nothing persistent, no doubt about its block.
type Rest struct {
	Assign  uint64
	Arrival uint64
	Seq     uint64
	Block   proto.Block
	Writes  uint32

	Since uint32
	Why   proto.Origin
	From  proto.ProcID
}

// Rest tells it, with its only lock; nil if there is more to the tree.
func (t *Tree) Rest() (rest Rest, l *Lock) {
	r := &t.root
	l = r.granted.head
	if t.locks != 1 || l == nil || l.next != nil || len(t.below) > 0 || r.foreign != 0 || r.journaled ||
		r.persist != nil || r.doubt != nil || l.fresh || l.Heard || l.Requested != l.Granted {
		return rest, nil
	}
	return Rest{
		Assign: t.Assign, Arrival: t.arrival, Seq: t.seq, Block: r.Block, Writes: r.writes,
		Since: t.Since, Why: t.Why, From: t.From,
	}, l
}

// Wake makes t, which is new, the tree that Rest told of. l is as it was then, save for
// where it stands.
func (t *Tree) Wake(root *proto.Root, rest *Rest, self proto.ProcID, sink Sink, journal Journal, l *Lock) {
	t.key, t.Self, t.sink, t.journal = root, self, sink, journal
	t.Assign, t.arrival, t.seq = rest.Assign, rest.Arrival, rest.Seq
	t.Since, t.Why, t.From = rest.Since, rest.Why, rest.From
	r := &t.root
	r.tree, r.Block, r.writes = t, rest.Block, rest.Writes
	t.locks, r.locks = 1, 1
	r.held[l.Granted] = 1
	if mode.Writer(l.Granted) {
		r.writer = l
	}
	l.Res = r
	r.place(l, InGranted)
}
