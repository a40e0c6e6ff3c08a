// Package rebuild puts a tree together again after its master died: one pure
// function from what the survivors report and what the value journals say to a
// tree image (design §8). Who collects the reports and where the image goes is
// package agent's; what a grant is, package tree's.
//
// A survivor's knowledge can differ from the dead master's in one direction
// only: answers may be missing. What that means for each unanswered request:
//
//   - unlock, and conversions that can never be refused: taken as done. Had the
//     master not done it, it is done now; had it done so, nothing changes, save
//     that a value must not be written twice. A conversion wrote it already if and
//     only if the journal's stamp is newer than the holder's copy: nobody else
//     could write in between. An unlock did if and only if the journal does not
//     name the lock as the writer's any more.
//   - other conversions and new locks: taken as queued. If the master had granted
//     them, their owner does not know it and has done nothing under the grant.
//   - a conversion between CW and PR whose old mode contradicts another survivor's
//     lock: the contradiction shows that it had been granted.
//   - requests with DLM_NOQUEUE, and those that the master had yet to admit to a
//     persistent resource, or to make one: left out; their owner asks again.
package rebuild

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/index"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Report is one survivor's locks of the tree.
type Report struct {
	Proc  proto.ProcID
	Locks []proto.LockReport
}

// Input is everything that is known of a tree without a master.
type Input struct {
	Root     proto.Root
	Tree     proto.Digest // of the root
	Assign   uint64       // of the new master; newer than every stamp below
	Reports  []Report
	Records  []proto.Record                 // of this tree, from the journal of its dead master
	Alive    func(proto.ProcID) bool        // by the current view
	Kept     []proto.Kept                   // its persistent resources
	Doubted  func(domain proto.Digest) bool // the recovery domain is invalid
	HostLost bool                           // the journals were lost with the master's host (rule 3)
	Copies   []proto.Record                 // with HostLost: what others knew of the tree before, and have died

	// For people: who the dead master was, what is known of the dead, and the date.
	Master proto.ProcID
	Obit   func(proto.ProcID) proto.Obituary
	Date   uint32
}

// assembly is the work in progress.
type assembly struct {
	in    *Input
	im    *proto.Image
	below index.Index                   // resources but the root, by their digests
	kept  map[proto.Digest]proto.Digest // domains of the persistent resources
	// records and copies are the newest of each resource in those of the Input.
	records, copies newest

	notes []note  // per resource
	asked []asked // for each lock of the image
	seq   uint64
}

type owned struct {
	proc proto.ProcID
	lock proto.LockID
}

// asked is a lock's unanswered request, as far as the image does not say.
type asked struct {
	made  int64
	tried mode.Mode // of a conversion that was not to wait
	op    uint32    // of that
}

// note is what the reports say about one resource's value block.
type note struct {
	record  *proto.Record
	newest  proto.Block // the newest copy among survivors
	copied  bool        // newest is set
	guarded bool        // a survivor holds CW or more
	used    bool        // a lock remains
	writes  []write     // at most one has not been done: that of the lock which holds PW or EX
}

// write is a value-block change that an unanswered request carries.
type write struct {
	base  proto.Stamp // of the holder's copy
	frees owned       // the lock that no longer writes with the same record; zero: it goes on to
	by    proto.ProcID
	flags dlm.Flags
	value proto.Value
}

// Assemble makes the image. It has no locks when nobody needs the tree.
func Assemble(in *Input) *proto.Image {
	a := &assembly{
		in: in,
		im: &proto.Image{Root: in.Root, Assign: in.Assign, Why: proto.OriginRebuilt, From: in.Master},

		records: newestOf(in.Records),
		copies:  newestOf(in.Copies),
	}
	if len(in.Kept) > 0 {
		a.kept = map[proto.Digest]proto.Digest{}
	}
	for i := range in.Kept {
		a.kept[in.Kept[i].Digest()] = in.Kept[i].Domain
	}
	n := len(in.Kept)
	for i := range in.Reports {
		n += len(in.Reports[i].Locks)
	}
	a.im.Locks, a.asked = make([]proto.ImageLock, 0, n), make([]asked, 0, n)
	// A master has records of what others use; without them there may be more.
	n = 1 + min(n, len(in.Records)+len(in.Copies))
	a.im.Resources, a.notes = make([]proto.ImageResource, 0, n), make([]note, 0, n)
	a.resource(-1, &proto.Name{})
	for i := range in.Reports {
		a.report(&in.Reports[i])
	}
	for i := range in.Kept {
		a.keep(&in.Kept[i])
	}
	a.settleMiddle()
	a.order()
	a.values()
	a.prune()
	return a.im
}

// Empty is the image of a tree that nobody uses yet.
func Empty(root proto.Root, assign uint64) *proto.Image {
	return &proto.Image{
		Root: root, Assign: assign, Why: proto.OriginAgent,
		Resources: []proto.ImageResource{{Parent: -1, Digest: root.Digest(), Block: proto.Block{Stamp: proto.Stamp{Assign: assign, Seq: 1}, Valid: true}}},
	}
}

// resource finds or adds a resource.
func (a *assembly) resource(parent int32, name *proto.Name) int32 {
	d := a.in.Tree
	if parent >= 0 {
		d = a.im.Resources[parent].Digest.Child(name)
		hash := digestHash(&d)
		if i, ok := a.below.Find(hash, func(i uint32) bool { return a.im.Resources[i].Digest == d }); ok {
			return int32(i)
		}
		a.below.Add(hash, uint32(len(a.im.Resources)))
	}
	n := note{record: a.records.of(d)}
	if r := a.copies.of(d); r != nil {
		n.newest, n.copied = r.Block, true
	}
	a.im.Resources = append(a.im.Resources, proto.ImageResource{})
	r := &a.im.Resources[len(a.notes)]
	r.Parent, r.Name, r.Digest = parent, *name, d
	a.notes = append(a.notes, n)
	return int32(len(a.notes) - 1)
}

func digestHash(d *proto.Digest) uint32 { return binary.LittleEndian.Uint32(d[:]) }

// newest is the newest journal record of each resource.
type newest struct {
	records []proto.Record
	index   index.Index // of the newest ones, if there are many
}

// maxFew is how many records are looked through one by one.
const maxFew = 4

func newestOf(records []proto.Record) newest {
	n := newest{records: records}
	if len(records) <= maxFew {
		return n
	}
	n.index.Grow(len(records))
	for i := range records {
		r := &records[i]
		hash := digestHash(&r.Resource)
		before, any := n.find(hash, &r.Resource)
		if any && !records[before].Block.Stamp.Less(r.Block.Stamp) {
			continue
		}
		if any {
			n.index.Remove(hash, before)
		}
		n.index.Add(hash, uint32(i))
	}
	return n
}

func (n *newest) find(hash uint32, resource *proto.Digest) (i uint32, any bool) {
	return n.index.Find(hash, func(i uint32) bool { return n.records[i].Resource == *resource })
}

func (n *newest) of(resource proto.Digest) (best *proto.Record) {
	if len(n.records) > maxFew {
		if i, any := n.find(digestHash(&resource), &resource); any {
			best = &n.records[i]
		}
		return best
	}
	for i := range n.records {
		r := &n.records[i]
		if r.Resource == resource && (best == nil || best.Block.Stamp.Less(r.Block.Stamp)) {
			best = r
		}
	}
	return best
}

// report adds one survivor's locks. Parents stand before their sub-locks.
func (a *assembly) report(rep *Report) {
	parents := parentsIn(rep.Locks)
	for i := range rep.Locks {
		l := &rep.Locks[i]
		res := int32(0)
		if l.Parent != 0 {
			parent := parents[l.Parent]
			if parent < 0 {
				continue // its owner answers for a lock without a parent
			}
			res = a.resource(parent, &l.Name)
		}
		if _, is := parents[l.Lock]; is {
			parents[l.Lock] = res
		}
		a.lock(rep.Proc, res, l)
	}
}

// parentsIn is the locks that have sub-locks; their resources are not known yet.
func parentsIn(locks []proto.LockReport) map[proto.LockID]int32 {
	var parents map[proto.LockID]int32
	var last proto.LockID
	for i := range locks {
		p := locks[i].Parent
		if p == last { // of the same, or none
			continue
		}
		if last = p; p == 0 {
			continue
		}
		if parents == nil {
			parents = map[proto.LockID]int32{}
		}
		parents[p] = -1
	}
	return parents
}

// keep adds a persistent resource and the lock that it lives by.
func (a *assembly) keep(k *proto.Kept) {
	i := int32(0)
	for n := range k.Path {
		i = a.resource(i, &k.Path[n])
	}
	r := &a.im.Resources[i]
	r.Domain, r.Doubted = k.Domain, a.in.Doubted(k.Domain)
	a.im.Locks = append(a.im.Locks, proto.ImageLock{
		Resource: i, Owner: proto.Keeper, Lock: r.Digest.KeeperLock(), Granted: mode.NL, Requested: mode.None,
	})
	a.asked = append(a.asked, asked{})
}

// lock adds one lock in the state that its owner's unanswered request leads to.
func (a *assembly) lock(owner proto.ProcID, res int32, l *proto.LockReport) {
	n := &a.notes[res]
	flags := dlm.Flags(l.Flags)
	granted := l.Granted
	requested := mode.None
	held, op := l.Held, l.Op
	last := asked{made: l.Made}
	if granted != mode.None && (!n.copied || n.newest.Stamp.Less(l.Block.Stamp)) {
		n.newest, n.copied = l.Block, true
	}
	switch l.Pending {
	case proto.PendingUnlock:
		if mode.Writer(granted) && flags&(dlm.ValB|dlm.InvValBlk) != 0 {
			n.writes = append(n.writes, write{l.Block.Stamp, owned{owner, l.Lock}, owner, flags, l.Write})
		}
		return
	case proto.PendingConvert:
		switch {
		case mode.NotHigher(granted, l.Requested):
			if mode.OnConvert(granted, l.Requested) == mode.Write && flags&(dlm.ValB|dlm.InvValBlk) != 0 {
				w := write{l.Block.Stamp, owned{}, owner, flags, l.Write}
				if !mode.Writer(l.Requested) {
					w.frees = owned{owner, l.Lock}
				}
				n.writes = append(n.writes, w)
			}
			granted, held = l.Requested, l.Flags
		case flags&dlm.NoQueue == 0:
			requested = l.Requested
		default:
			last.tried, last.op = l.Requested, op
			op = 0 // not done: the owner asks again
		}
	case proto.PendingLock:
		if flags&dlm.NoQueue != 0 || l.Arrival == 0 && l.Domain != a.kept[a.im.Resources[res].Digest] {
			return
		}
		requested = l.Requested
	}
	a.im.Locks = append(a.im.Locks, proto.ImageLock{
		Resource: res, Owner: owner, Lock: l.Lock,
		Granted: granted, Requested: requested,
		Flags: l.Flags, Held: held, Hint: l.Hint, Arrival: l.Arrival, Op: op, Party: l.Party,
	})
	a.asked = append(a.asked, last)
}

// settleMiddle turns conversions between CW and PR that must have been granted
// into grants.
func (a *assembly) settleMiddle() {
	held := make([]mode.Set, len(a.im.Resources))
	for i := range a.im.Locks {
		l := &a.im.Locks[i]
		if !middle(l.Granted, a.wanted(i)) {
			held[l.Resource] |= mode.Bit(l.Granted)
		}
	}
	for i := range a.im.Locks {
		l := &a.im.Locks[i]
		to := a.wanted(i)
		if !middle(l.Granted, to) || held[l.Resource]&mode.Incompatible(l.Granted) == 0 {
			continue
		}
		if l.Requested == mode.None {
			l.Op = a.asked[i].op
		}
		l.Granted, l.Requested, l.Held = to, mode.None, l.Flags
	}
}

// wanted is the mode of a lock's unanswered conversion, also of one that is not
// queued; None if there is none.
func (a *assembly) wanted(i int) mode.Mode {
	if to := a.asked[i].tried; to != mode.None {
		return to
	}
	return a.im.Locks[i].Requested
}

func middle(from, to mode.Mode) bool {
	return from == mode.CW && to == mode.PR || from == mode.PR && to == mode.CW
}

// order puts locks in queue order: as the master told it, then those that it
// never acknowledged, as they were made. Arrival stamps go on from there.
func (a *assembly) order() {
	a.sort()
	locks := a.im.Locks
	for i := range locks {
		if locks[i].Arrival > a.im.Arrival {
			a.im.Arrival = locks[i].Arrival
		}
	}
	for i := range locks {
		l := &locks[i]
		a.notes[l.Resource].used = true
		if l.Arrival == 0 && l.Requested != mode.None {
			a.im.Arrival++
			l.Arrival = a.im.Arrival
		}
		if mode.ProtectsValue(l.Granted) {
			a.notes[l.Resource].guarded = true
		}
	}
}

// sort puts the locks in order, and equal ones as they stand. Mostly they do already.
func (a *assembly) sort() {
	type key struct {
		arrival uint64
		made    int64
		i       int
	}
	compare := func(x, y key) int {
		switch {
		case x.arrival != y.arrival:
			return cmp.Compare(x.arrival-1, y.arrival-1) // 0 is the last
		case x.made != y.made:
			return cmp.Compare(x.made, y.made)
		}
		return x.i - y.i
	}
	order := make([]key, len(a.im.Locks))
	sorted := true
	for i := range order {
		order[i] = key{a.im.Locks[i].Arrival, 0, i}
		if order[i].arrival == 0 {
			order[i].made = a.asked[i].made
		}
		sorted = sorted && (i == 0 || compare(order[i-1], order[i]) < 0)
	}
	if sorted {
		return
	}
	slices.SortFunc(order, compare)
	locks, was := make([]proto.ImageLock, len(order)), make([]asked, len(order))
	for to := range order {
		from := order[to].i
		locks[to], was[to] = a.im.Locks[from], a.asked[from]
	}
	a.im.Locks, a.asked = locks, was
}

// values decides every value block by design §8.
func (a *assembly) values() {
	for i := range a.im.Resources {
		n := &a.notes[i]
		b, why := &a.im.Resources[i].Block, &a.im.Resources[i].Cause
		copies := a.in.HostLost && n.record == nil && n.copied // are all there is
		switch {
		case !n.used: // there for the sake of what is below it: as new
			*b = proto.Block{Valid: true}
			a.stamp(b)
			continue
		case n.record != nil: // rule 4: the journal is the truth
			*b = n.record.Block
			if !b.Valid {
				*why = a.cause(&a.records, i)
			}
			if w := n.record.Writer; w != 0 && !a.in.Alive(w) {
				b.Valid = false // rule 2
				*why = a.death(w, proto.CauseHolderDied)
				a.stamp(b)
			}
		case !a.in.HostLost: // the master had nobody else's lock on it: it is new
			*b = proto.Block{Valid: !a.im.Resources[i].Doubted}
			*why = proto.Cause{Kind: proto.CauseDomain, At: a.in.Date}
			a.stamp(b)
		case copies: // rule 3
			*b = n.newest
			if !b.Valid {
				*why = a.cause(&a.copies, i)
			}
			if b.Valid && a.im.Resources[i].Doubted { // that no lock prevents
				b.Valid = false
				*why = proto.Cause{Kind: proto.CauseDomain, At: a.in.Date}
				a.stamp(b)
			}
		default:
			*b = proto.Block{}
			*why = a.death(a.in.Master, proto.CauseNoCopy)
			a.stamp(b)
		}
		now := b.Stamp
		if copies {
			now = n.newest.Stamp
		}
		for _, w := range n.writes {
			if n.written(&w, now) {
				continue
			}
			if w.flags&dlm.InvValBlk != 0 {
				b.Valid = false
				*why = proto.Cause{Kind: proto.CauseInvValBlk, Who: w.by, At: a.in.Date}
			} else {
				b.Value, b.Valid = w.value, true
			}
			a.stamp(b)
		}
		if copies && !n.guarded && b.Valid { // somebody who is lost may have written after all of that
			b.Valid = false
			*why = a.death(a.in.Master, proto.CauseHostLost)
			a.stamp(b)
		}
		if b.Valid {
			*why = proto.Cause{}
		}
	}
}

// death is that of a process as a cause.
func (a *assembly) death(p proto.ProcID, kind proto.CauseKind) proto.Cause {
	o := proto.Obituary{Proc: p}
	if a.in.Obit != nil {
		o = a.in.Obit(p)
	}
	return o.Cause(kind, a.in.Date)
}

// cause is what a journal says of why the block is not valid, if it is not.
func (a *assembly) cause(of *newest, resource int) proto.Cause {
	if r := of.of(a.im.Resources[resource].Digest.CauseLine()); r != nil {
		return proto.CauseOf(r)
	}
	return proto.Cause{Kind: proto.CauseEarlier}
}

// written reports whether the dead master did w: the journal says so. Who gives up
// PW or EX with the write is then not the writer any more. Of who goes on to write the
// contents must be there: a newer stamp alone may be that of an invalidation or a
// validation of the recovery domain.
func (n *note) written(w *write, now proto.Stamp) bool {
	r := n.record
	switch {
	case r == nil:
		return w.base.Less(now)
	case w.frees != owned{}:
		return w.frees != owned{r.Writer, r.Lock}
	case w.flags&dlm.InvValBlk != 0:
		return w.base.Less(now) && !r.Block.Valid
	}
	return w.base.Less(now) && r.Block.Value == w.value
}

// stamp marks a change made by the assembly itself.
func (a *assembly) stamp(b *proto.Block) {
	a.seq++
	b.Stamp = proto.Stamp{Assign: a.in.Assign, Seq: a.seq}
}

// prune leaves out resources that no lock needs, whose time is over.
func (a *assembly) prune() {
	res := a.im.Resources
	keep := make([]bool, len(res))
	keep[0] = true
	all := true
	for i := len(res) - 1; i > 0; i-- {
		if a.notes[i].used {
			keep[i] = true
		}
		if keep[i] {
			keep[res[i].Parent] = true
		} else {
			all = false
		}
	}
	if all {
		return
	}
	moved := make([]int32, len(res))
	out := res[:0]
	for i := range res {
		if !keep[i] {
			continue
		}
		r := res[i]
		if r.Parent >= 0 {
			r.Parent = moved[r.Parent]
		}
		moved[i] = int32(len(out))
		out = append(out, r)
	}
	a.im.Resources = out
	for i := range a.im.Locks {
		a.im.Locks[i].Resource = moved[a.im.Locks[i].Resource]
	}
}
