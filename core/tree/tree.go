package tree

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// MaxDepth is the number of levels of a tree (D-40).
const MaxDepth = 127

// Sink hears what a decision does to others. The order of calls is the order
// in which owners must learn of them (D-46).
type Sink interface {
	// Granted: a request that had been queued is granted.
	Granted(l *Lock)
	// Blocking: l, granted, stands in the way of a request for m (spec §9.4).
	Blocking(l *Lock, m mode.Mode, hint uint64)
	// Unkept: a persistent resource is gone; nobody need remember it.
	Unkept(path []proto.Name)
	// Invalidated: a value block is not valid any more.
	Invalidated(kind proto.CauseKind)
	// Date is the calendar's, in seconds. It is for people only.
	Date() uint32
}

// Journal keeps the records of resources that other processes use (design §5).
type Journal interface {
	Open() (slot uint32, err error)
	Write(slot uint32, r *proto.Record)
	Close(slot uint32)
}

type child struct {
	parent *Resource
	name   proto.Name
}

// Tree is a root resource and everything below it.
type Tree struct {
	key    *proto.Root
	Self   proto.ProcID // the master
	Assign uint64

	// For people: since when the master is that, in seconds of the calendar, and why; who was
	// it before.
	Since uint32
	Why   proto.Origin
	From  proto.ProcID
	// Queued is how many requests wait; Used counts requests, and Looked is its value when
	// somebody looked last. These may begin again at 0.
	Queued, Used, Looked uint32

	root    Resource
	below   map[child]*Resource
	arrival uint64 // last arrival stamp given
	seq     uint64 // last change of a value block in this tree
	locks   uint32
	kept    uint32        // persistent resources
	line    *proto.Record // scratch, of a tree that others use

	sink    Sink
	journal Journal
}

// New makes an empty tree mastered by self under the assignment. root is the caller's
// and stays as it is.
func New(root *proto.Root, assign uint64, self proto.ProcID, sink Sink, journal Journal) *Tree {
	t := &Tree{key: root, Self: self, Assign: assign, sink: sink, journal: journal}
	t.Since = sink.Date()
	t.root.tree = t
	t.fresh(&t.root)
	return t
}

// Digest identifies the root resource.
func (t *Tree) Digest() proto.Digest { return t.root.Digest() }

// fresh gives r the block of a new resource: zero and valid (D-18).
func (t *Tree) fresh(r *Resource) {
	t.seq++
	r.Block = proto.Block{Stamp: proto.Stamp{Assign: t.Assign, Seq: t.seq}, Valid: true}
	r.believe()
	r.writes = 0
}

// Idle reports whether no lock or request refers to the tree.
func (t *Tree) Idle() bool { return t.locks == 0 }

// RootResource is the resource at the top.
func (t *Tree) RootResource() *Resource { return &t.root }

// Find is the sub-resource of that name, nil when there is none.
func (t *Tree) Find(parent *Resource, name *proto.Name) *Resource {
	return t.below[child{parent, *name}]
}

// Awaited reports whether requests wait for r.
func (r *Resource) Awaited() bool { return !r.converting.empty() || !r.waiting.empty() }

// sub finds or makes a sub-resource; nil when the tree would grow too deep.
func (t *Tree) sub(parent *Resource, name *proto.Name) *Resource {
	key := child{parent, *name}
	if r := t.below[key]; r != nil {
		return r
	}
	return t.add(key)
}

// add makes a sub-resource that is not there; nil when the tree would grow too deep.
func (t *Tree) add(key child) *Resource {
	parent := key.parent
	if parent.depth+1 >= MaxDepth {
		return nil
	}
	r := &Resource{tree: t, Parent: parent, name: key.name.Clone(), depth: parent.depth + 1}
	t.fresh(r)
	if t.below == nil {
		t.below = make(map[child]*Resource)
	}
	t.below[key] = r
	parent.children++
	return r
}

// retire ends a resource to which no lock refers. Persistent resources below it,
// and after a rebuild others, may be there still: then it stays until they go, and
// its block is that of a new one.
func (t *Tree) retire(r *Resource) {
	if r.locks == 0 && r.children > 0 {
		t.fresh(r)
		return
	}
	for r.locks == 0 && r.children == 0 {
		if r.Parent == nil {
			t.fresh(r)
			return
		}
		delete(t.below, child{r.Parent, *r.name})
		r.Parent.children--
		r = r.Parent
	}
}

// Request decides a new lock; l names its owner and carries the request in
// Requested, Flags, Hint and Op. parent nil means the root resource. The answer
// is dlm.Synch (granted), dlm.Pending (queued) or a refusal, after which l is in
// no queue. domain is for a persistent resource; dlm.Unkept says that Keep must
// come first.
func (t *Tree) Request(l *Lock, parent *Lock, name *proto.Name, domain proto.Digest) dlm.Status {
	t.Used++
	r := &t.root
	if parent != nil {
		if parent.Granted == mode.None || parent.Res == nil {
			return dlm.ParNotGrant
		}
		if r = t.sub(parent.Res, name); r == nil {
			return dlm.BadParam
		}
	}
	if r.persist != nil || l.Flags&dlm.Persist != 0 {
		if st := r.admit(l, domain); st != dlm.Success {
			t.retire(r)
			return st
		}
	}
	if err := r.enter(l); err != nil {
		t.retire(r)
		return dlm.InsfMem
	}
	expedite := l.Flags&dlm.Expedite != 0 && l.Requested == mode.NL
	if expedite || r.converting.empty() && r.waiting.empty() && r.compatible(nil, l.Requested) {
		r.grant(l)
		return dlm.Synch
	}
	if l.Flags&dlm.NoQueue != 0 {
		r.leave(l)
		return dlm.NotQueued
	}
	t.arrival++
	l.Arrival = t.arrival
	r.place(l, InWaiting)
	r.notifyHolders(l)
	return dlm.Pending
}

// grant makes l's request true.
func (r *Resource) grant(l *Lock) {
	r.place(l, InGranted)
	r.hold(l, l.Requested)
	l.Held = l.Flags
	r.tree.fence(l)
}

// fence gives l, just granted, a fencing token if it may write. Tokens are taken
// from the stamps' counter, so they only grow, whatever becomes of the tree.
func (t *Tree) fence(l *Lock) {
	l.Token = 0
	if mode.Writer(l.Granted) {
		t.seq++
		l.Token = t.seq
	}
}

// Conversion is a request to change a granted lock.
type Conversion struct {
	Mode  mode.Mode
	Flags dlm.Flags
	Hint  uint64
	Op    uint32
	Value *proto.Value // with dlm.ValB
}

// Convert decides a conversion: dlm.Synch, dlm.Pending, or a refusal that
// leaves the lock as it was. After dlm.Synch the caller tells the owner and then
// calls Settle, so that no notice overtakes the answer (D-46).
func (t *Tree) Convert(l *Lock, c *Conversion) dlm.Status {
	if l.place != InGranted {
		return dlm.CvtUngrant
	}
	t.Used++
	r := l.Res
	now := mode.NotHigher(l.Granted, c.Mode) ||
		(c.Flags&dlm.QueCvt == 0 || r.converting.empty()) && r.compatible(l, c.Mode)
	if !now {
		if c.Flags&dlm.NoQueue != 0 {
			return dlm.NotQueued
		}
		if c.Flags&dlm.NoDlckWt == 0 && l.Held&dlm.NoDlckBlk == 0 && r.deadlocks(l) {
			return dlm.Deadlock
		}
	}
	l.Requested, l.Flags, l.Hint, l.Op = c.Mode, c.Flags, c.Hint, c.Op
	if !now {
		t.arrival++
		l.Arrival = t.arrival
		r.place(l, InConverting)
		r.notifyHolders(l)
		return dlm.Pending
	}
	stamp := r.Block.Stamp
	if mode.OnConvert(l.Granted, c.Mode) == mode.Write {
		r.store(c.Flags, c.Value, l.Owner)
	}
	r.grant(l)
	if r.writer == l && r.Block.Stamp != stamp {
		r.record() // else the change of the writer has brought it
	}
	l.fresh = true
	return dlm.Synch
}

// deadlocks reports whether l, joining the end of the conversion queue, would
// wait for a conversion that waits for l's granted mode: a cycle on one
// resource, found at once (design §10). Conversions that asked not to be counted
// as waiting close no cycle.
func (r *Resource) deadlocks(l *Lock) bool {
	for q := r.converting.head; q != nil; q = q.next {
		if q.Flags&dlm.NoDlckWt == 0 && l.blocks(q.Requested) {
			return true
		}
	}
	return false
}

// Unlock takes l away, granted or not.
func (t *Tree) Unlock(l *Lock, flags dlm.Flags, v *proto.Value) {
	t.Used++
	r := l.Res
	if mode.Writer(l.Granted) {
		r.store(flags, v, l.Owner)
	}
	r.leave(l)
	r.scan()
}

// Cancel withdraws l's queued request (spec §4.11). After dlm.Success the
// caller tells the owner and then settles the resource if the lock still has one.
func (t *Tree) Cancel(l *Lock, flags dlm.Flags) dlm.Status {
	r := l.Res
	switch l.place {
	case InConverting:
		l.Requested = l.Granted
		l.Flags = l.Held
		l.Op = 0 // should the owner repeat the conversion, it is not the one that stands
		r.place(l, InGranted)
		l.fresh = true
		return dlm.Success
	case InWaiting:
		if flags&dlm.CancelWaitOK == 0 {
			return dlm.CancelWait
		}
		r.leave(l)
		r.scan()
		return dlm.Success
	}
	return dlm.CancelGrant
}

// Drop takes away the locks of owners that died: rule 2 of design §8, then what
// their going allows. Locks stand in any order. why is what an owner's death is as the cause.
func (t *Tree) Drop(locks []*Lock, why func(owner proto.ProcID) proto.Cause) {
	touched := make(map[*Resource]bool)
	for _, l := range locks {
		r := l.Res
		if mode.Writer(l.Granted) {
			r.invalidate(why(l.Owner))
		}
		r.leave(l)
		touched[r] = true
	}
	t.some(func(r *Resource) bool { return touched[r] }, (*Resource).scan)
}

// Settle does what a granted conversion or a cancelled one allows and requires:
// others are granted, and whoever now blocks is told.
func (r *Resource) Settle() { r.scan() }

// scan grants what can be granted after something was released (spec §6.4) and
// tells the newly granted what they block.
func (r *Resource) scan() {
	for l := r.converting.head; l != nil && r.compatible(l, l.Requested); l = r.converting.head {
		r.grant(l)
		l.fresh = true
		r.tree.sink.Granted(l)
	}
	if r.converting.empty() {
		for l := r.waiting.head; l != nil && r.compatible(nil, l.Requested); l = r.waiting.head {
			r.grant(l)
			l.fresh = true
			r.tree.sink.Granted(l)
		}
	}
	// Fresh locks are at the end of the granted queue.
	l := r.granted.tail
	for l != nil && l.prev != nil && l.prev.fresh {
		l = l.prev
	}
	for ; l != nil; l = l.next {
		if l.fresh {
			l.fresh = false
			r.notify(l)
		}
	}
}

// notify tells l of the first queued request that it blocks.
func (r *Resource) notify(l *Lock) {
	if l.Held&dlm.HasBlocking == 0 {
		return
	}
	for _, q := range [...]*Lock{r.converting.head, r.waiting.head} {
		for ; q != nil; q = q.next {
			if l.blocks(q.Requested) {
				r.tree.sink.Blocking(l, q.Requested, q.Hint)
				return
			}
		}
	}
}

// Remind tells l's owner again whom l blocks: it has only now learnt that the
// lock is granted, so that an earlier notice may have meant nothing to it.
func (r *Resource) Remind(l *Lock) { r.notify(l) }

// notifyHolders tells every granted lock that blocks the newly queued q. Locks
// that are converting are not told (spec §9.4).
func (r *Resource) notifyHolders(q *Lock) {
	if r.others(q)&mode.Incompatible(q.Requested) == 0 {
		return
	}
	for l := r.granted.head; l != nil; l = l.next {
		if l != q && l.Held&dlm.HasBlocking != 0 && l.blocks(q.Requested) {
			r.tree.sink.Blocking(l, q.Requested, q.Hint)
		}
	}
}

// Info describes r (dlm_rsbinfo_t).
func (r *Resource) Info() proto.Info {
	n := proto.Info{
		Exists: r.locks > 0 || r.children > 0, Block: r.Block,
		SubResources: r.children, Locks: r.locks, Writes: r.writes,
	}
	held := r.held
	if r.persist != nil { // the keeper is nobody
		n.Locks--
		held[mode.NL]--
	}
	for m := mode.EX; m >= mode.NL; m-- {
		if held[m] > 0 {
			n.GroupMode, n.AtGroupMode = m, held[m]
			break
		}
	}
	for _, q := range [...]*Lock{r.granted.head, r.converting.head} {
		for l := q; l != nil; l = l.next {
			if l.Held&dlm.HasBlocking != 0 {
				n.Blocking++
			}
		}
	}
	if l := r.converting.head; l != nil {
		n.ConvertMode = l.Requested
	}
	if l := r.waiting.head; l != nil {
		n.WaitMode = l.Requested
	}
	return n
}
