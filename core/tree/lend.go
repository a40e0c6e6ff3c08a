package tree

import (
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Lent is what others change of a tree like that of Rest, while it is lent to them.
type Lent struct {
	Seq    uint64
	Block  proto.Block
	Writes uint32
	Mode   mode.Mode // of the only lock; None: it has been given up
	Used   uint32    // requests since the tree was lent
}

// Lend tells what there is to lend, with the only lock; nil if the tree cannot be lent. Until
// Return it must be left alone.
func (t *Tree) Lend() (Lent, *Lock) {
	rest, l := t.Rest()
	if l == nil || !rest.Block.Valid {
		return Lent{}, nil
	}
	return Lent{Seq: rest.Seq, Block: rest.Block, Writes: rest.Writes, Mode: l.Granted}, l
}

// Return brings the tree back, with the only lock or without. What else there is to the
// lock is for the caller to set before.
func (t *Tree) Return(n *Lent, l *Lock) {
	r := &t.root
	t.seq = n.Seq
	t.Used += n.Used
	r.Block, r.writes = n.Block, n.Writes
	if n.Mode == mode.None {
		r.leave(l)
		return
	}
	r.hold(l, n.Mode)
	l.Requested = n.Mode
}
