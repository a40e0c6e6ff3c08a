package tree

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Place tells on which queue a lock stands.
type Place uint8

// The places.
const (
	Nowhere Place = iota
	InGranted
	InConverting
	InWaiting
)

// Lock is a lock as its master knows it.
type Lock struct {
	Owner proto.ProcID
	ID    proto.LockID
	Party proto.Party // whose lock it is in the search for deadlocks
	Res   *Resource

	next, prev *Lock
	place      Place
	fresh      bool // granted by the scan in progress
	Heard      bool // the owner has made, or repeated, the queued request to this master

	Granted   mode.Mode
	Requested mode.Mode // of the queued request; equal to Granted when none is queued
	Held      dlm.Flags // flags of the request that was granted last
	Flags     dlm.Flags // flags of the latest request
	Hint      uint64    // of the latest request
	Op        uint32    // operation number of the latest request
	Arrival   uint64    // order in which queued requests were queued
	Token     uint64    // fencing token under the tree's assignment; 0 below PW
}

// Place is the queue on which l stands.
func (l *Lock) Place() Place { return l.place }

// Blocks reports whether l, granted, stands in the way of m.
func (l *Lock) blocks(m mode.Mode) bool { return !mode.Compatible(l.Granted, m) }

// queue is an intrusive FIFO.
type queue struct{ head, tail *Lock }

func (q *queue) empty() bool { return q.head == nil }

func (q *queue) push(l *Lock) {
	l.prev, l.next = q.tail, nil
	if q.tail == nil {
		q.head = l
	} else {
		q.tail.next = l
	}
	q.tail = l
}

func (q *queue) remove(l *Lock) {
	if l.prev == nil {
		q.head = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
}

// Resource is one named thing with its three queues and its value block.
type Resource struct {
	tree   *Tree
	Parent *Resource
	name   *proto.Name  // below the parent; nil for the root
	digest proto.Digest // zero until somebody asks
	depth  int

	Block  proto.Block
	doubt  *doubt // nil: the block is valid
	writes uint32

	granted    queue // held and not converting
	converting queue // held in Granted, wanting Requested
	waiting    queue
	held       [mode.Count]uint32 // locks granted or converting, by granted mode
	writer     *Lock              // the one lock held in PW or EX, if any
	locks      uint32
	children   uint32
	foreign    uint32       // locks and requests of other processes than the master
	persist    *persistence // of a persistent resource
	slot       uint32       // in the value journal
	journaled  bool
}

// Digest identifies the resource. A private one, which goes into no journal, has no
// use for it.
func (r *Resource) Digest() proto.Digest {
	if r.digest == (proto.Digest{}) {
		if r.Parent == nil {
			r.digest = r.tree.key.Digest()
		} else {
			r.digest = r.Parent.Digest().Child(r.name)
		}
	}
	return r.digest
}

// others is the set of modes granted on r to locks other than l.
func (r *Resource) others(l *Lock) (s mode.Set) {
	for m := mode.NL; m <= mode.EX; m++ {
		n := r.held[m]
		if l != nil && l.Granted == m {
			n--
		}
		if n > 0 {
			s |= mode.Bit(m)
		}
	}
	return s
}

func (r *Resource) compatible(l *Lock, m mode.Mode) bool {
	return r.others(l)&mode.Incompatible(m) == 0
}

func (r *Resource) queueOf(p Place) *queue {
	switch p {
	case InGranted:
		return &r.granted
	case InConverting:
		return &r.converting
	case InWaiting:
		return &r.waiting
	}
	return nil
}

func (r *Resource) place(l *Lock, p Place) {
	if l.place != Nowhere {
		r.queueOf(l.place).remove(l)
	}
	if l.Waiting() {
		r.tree.Queued--
	}
	l.place = p
	if p != Nowhere {
		r.queueOf(p).push(l)
	}
	if l.Waiting() {
		r.tree.Queued++
	}
}

// hold changes l's granted mode and what follows from it.
func (r *Resource) hold(l *Lock, m mode.Mode) {
	if l.Granted != mode.None {
		r.held[l.Granted]--
	}
	if m != mode.None {
		r.held[m]++
	}
	l.Granted = m
	switch {
	case mode.Writer(m):
		if r.writer != l {
			r.writer = l
			r.record()
		}
	case r.writer == l:
		r.writer = nil
		r.record()
	}
}

// record writes the resource's line in the value journal, if it has one.
func (r *Resource) record() {
	if !r.journaled {
		return
	}
	t := r.tree
	if t.line == nil {
		t.line = &proto.Record{}
	}
	*t.line = proto.Record{Tree: t.Digest(), Resource: r.Digest(), Block: r.Block}
	if r.writer != nil {
		t.line.Writer, t.line.Lock = r.writer.Owner, r.writer.ID
	}
	t.journal.Write(r.slot, t.line)
}

// enter counts l in. It fails when the value journal has no room.
func (r *Resource) enter(l *Lock) error {
	if l.Owner != r.tree.Self && !r.journaled {
		slot, err := r.tree.journal.Open()
		if err != nil {
			return err
		}
		r.slot, r.journaled = slot, true
		r.doubt.note(r)
		r.record()
	}
	if l.Owner != r.tree.Self {
		r.foreign++
	}
	r.locks++
	r.tree.locks++
	l.Res = r
	return nil
}

// leave takes l out, and the resource with it when nothing else refers to it.
func (r *Resource) leave(l *Lock) {
	r.place(l, Nowhere)
	r.hold(l, mode.None)
	l.Res = nil
	r.locks--
	r.tree.locks--
	if l.Owner != r.tree.Self {
		r.foreign--
		if r.foreign == 0 {
			r.unjournal()
		}
	}
	if r.locks == 0 {
		r.tree.retire(r)
	} else if r.persist != nil {
		r.unkeep()
	}
}

// changed gives the block a new stamp (design §4). Whoever calls it sees to it
// that the journal gets the change together with the change of the writer, in
// one record: a death between two would leave a block that nobody has written.
func (r *Resource) changed() {
	if r.persist != nil {
		r.persist.collection = 0 // what it was collected for is over
	}
	r.tree.seq++
	r.Block.Stamp = proto.Stamp{Assign: r.tree.Assign, Seq: r.tree.seq}
}

func (r *Resource) write(v *proto.Value) {
	r.Block.Value, r.Block.Valid = *v, true
	r.writes++
	r.believe()
	r.changed()
}

// invalidate makes the block not valid, for that reason.
func (r *Resource) invalidate(c proto.Cause) {
	r.Block.Valid = false
	r.changed()
	r.tree.sink.Invalidated(c.Kind)
	r.blame(c)
}

// store does what a holder's request says about the value block; D-50: of the
// two flags DLM_INVVALBLK wins. by is the holder.
func (r *Resource) store(flags dlm.Flags, v *proto.Value, by proto.ProcID) {
	switch {
	case flags&dlm.InvValBlk != 0:
		r.invalidate(proto.Cause{Kind: proto.CauseInvValBlk, Who: by, At: r.tree.sink.Date()})
	case flags&dlm.ValB != 0:
		r.write(v)
	}
}
