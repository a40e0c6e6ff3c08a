package agent

import (
	"slices"

	"github.com/godlm/godlm/core/index"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/rebuild"
)

// Step is how many trees are placed before others have their turn. Tests make it small.
var Step = 1024

// lost is the trees without a living master that have yet to be placed: first those that
// somebody waits for.
type lost struct {
	trees    []*tree
	gathered []*tree
	part     int     // of the directory: where to look for the next settled ones
	left     *estate // what the dead have left; nil before the first tree is placed
	due      bool    // the next step is under way
}

// lookParts is in how many parts of the directory one step looks.
const lookParts = 16

func (q *lost) any() bool { return len(q.trees)+len(q.gathered) > 0 }

// next is the tree to be placed next; there is one.
func (q *lost) next() (t *tree) {
	from := &q.trees
	if len(*from) == 0 {
		from = &q.gathered
	}
	t, *from = (*from)[0], (*from)[1:]
	t.lost = false
	return t
}

func (q *lost) add(t *tree) {
	if !t.lost {
		t.lost = true
		q.trees = append(q.trees, t)
	}
}

// sort puts them in an order that does not depend on a map's.
func (q *lost) sort() {
	slices.SortFunc(q.trees, func(x, y *tree) int { return slices.Compare(x.digest[:], y.digest[:]) })
}

// anyLost reports whether trees without a living master have yet to be placed.
func (a *Agent) anyLost() bool { return a.lost.any() || a.dir.orphaned > 0 }

// loosen is a tree to be changed; nil if there is none. Whoever asks for a tree of a dead
// master has it placed before those that nobody asks for.
func (a *Agent) loosen(d proto.Digest) *tree {
	if t := a.dir.loose[d]; t != nil {
		return t
	}
	t := a.dir.loosen(d)
	if t != nil && !a.live[t.master] {
		a.lost.add(t)
	}
	return t
}

// gather makes some settled trees of dead masters loose, if there are no others to place. A
// tree that nobody else has used ends with its master. It reports how many have.
func (a *Agent) gather() (ended int) {
	q := &a.lost
	for n := 0; n < lookParts && !q.any() && a.dir.orphaned > 0 && ended < Step; n++ {
		orphans, over := a.dir.orphans(q.part)
		for _, d := range over {
			if len(a.recovery.kept[d]) > 0 {
				orphans = append(orphans, d)
				continue
			}
			if len(a.dead) > 1 { // else there are no records of it
				a.retire(d)
			}
			a.world.Delete(d)
			a.dir.remove(d)
			ended++
		}
		for _, d := range orphans {
			t := a.dir.loosen(d)
			t.lost = true
			q.gathered = append(q.gathered, t)
		}
		q.part = (q.part + 1) % partCount
	}
	return ended
}

func (q *lost) forget() {
	for q.any() {
		q.next()
	}
	*q = lost{part: q.part, due: q.due}
}

// advance begins to place the lost trees once every needed report is here.
func (a *Agent) advance() {
	if !a.lost.due && a.complete() {
		a.step()
	}
}

// complete reports whether all is known that is needed to place the lost trees.
func (a *Agent) complete() bool {
	if len(a.awaited) > 0 || !a.open() || !a.anyLost() {
		return false
	}
	for d := range a.coming {
		_, settled := a.dir.numbers[d]
		its := func(t *tree) bool { return t.master == d }
		if settled || slices.ContainsFunc(a.lost.trees, its) || slices.ContainsFunc(a.lost.gathered, its) {
			return false
		}
	}
	return true
}

// step places some of the lost trees. Their new masters begin with these, and whoever
// asks for other trees is answered, before it goes on.
func (a *Agent) step() {
	q := &a.lost
	if q.left == nil {
		q.left = newEstate(a)
	}
	hasty := len(q.trees) > 0
	for n := 0; n < Step; n++ {
		if hasty && len(q.trees) == 0 {
			break // what somebody waits for need not wait for the rest
		}
		if n += a.gather(); !q.any() {
			if n < Step {
				break
			}
			continue
		}
		t := q.next()
		if a.live[t.master] {
			a.settle(t) // it has said so
		} else {
			a.placeTree(t, q.left)
		}
	}
	if a.anyLost() {
		q.due = true
		a.world.Later(a.later)
		return
	}
	q.forget()
	a.reports.clear()
	a.forgetDead()
}

func (a *Agent) later() {
	a.lost.due = false
	if a.complete() {
		a.step()
	}
	a.tellOpened()
}

// settle puts a tree among those with which nothing is under way, if that is so.
func (a *Agent) settle(t *tree) {
	if t != nil && a.live[t.master] && t.placing == 0 && !t.lost && len(t.asking) == 0 && a.dir.loose[t.digest] == t {
		delete(a.dir.loose, t.digest)
		a.dir.settle(t.digest, t.master, t.assign, t.held)
	}
}

// placeTree puts one tree together and sends it to its new master.
func (a *Agent) placeTree(t *tree, left *estate) {
	var im *proto.Image
	root, reports, asking := a.reports.part(&t.digest).take(t.digest, &left.locks, left.in.Reports[:0])
	if len(reports) > 0 {
		t.root = root
	}
	asking = slices.DeleteFunc(asking, func(q asker) bool { // who has asked once more since waits for that answer
		return slices.ContainsFunc(t.asking, func(x asker) bool { return x.proc == q.proc && x.number > q.number })
	})
	kept := a.recovery.keptOf(t.digest)
	if len(kept) > 0 {
		t.root = kept[0].Root
	}
	if len(reports) > 0 || len(kept) > 0 {
		in := &left.in
		in.Root, in.Tree, in.Kept, in.Reports = t.root, t.digest, kept, reports
		// Only the journal of the master that the directory names is whole: who
		// died while the tree was being installed may have written half of it.
		in.Records, in.Copies = in.Records[:0], in.Copies[:0]
		in.HostLost = !a.dead[t.master]
		if in.HostLost {
			for _, d := range left.dead {
				in.Copies = left.records(in.Copies, d, t.digest)
			}
		} else {
			in.Records = left.records(in.Records, t.master, t.digest)
		}
		a.assign++
		in.Assign, in.Master, in.Date = a.assign, t.master, a.world.Date()
		im = rebuild.Assemble(in)
	}
	if im == nil || len(im.Locks) == 0 {
		t.asking = append(t.asking, asking...)
		a.free(t)
		return
	}
	to := a.roomiest(t, im)
	for _, q := range asking {
		if q.proc != to { // who gets it is told so
			t.asking = append(t.asking, q)
		}
	}
	if to == 0 {
		return // it waits for the next process
	}
	t.placing, t.next = to, im.Assign
	install := func() {
		if t.placing == to && t.next == im.Assign {
			a.send(to, proto.Msg{Kind: proto.KInstall, Image: im})
		}
	}
	if len(kept) == 0 {
		install()
		return
	}
	// Persistent resources may have been asked for just before, and nobody may have one that
	// a successor would not know.
	a.world.Agree(install)
}

// estate is what the dead have left in their value journals, read once for all trees.
type estate struct {
	a    *Agent
	dead []proto.ProcID // those whose journals are here
	of   map[proto.ProcID]*will

	in    rebuild.Input // of the tree in hand
	locks []proto.LockReport
}

// will is one journal, in as many parts as the directory has.
type will [partCount]willPart

// willPart is the records of the trees of a part.
type willPart struct {
	records []proto.Record
	first   index.Index // of each tree
	indexed bool
	next    []int32 // of the same tree; -1: it was the last
}

func newWill(records []proto.Record) *will {
	w := &will{}
	var n [partCount]int
	for i := range records {
		n[records[i].Tree[0]]++
	}
	space := make([]proto.Record, len(records))
	for i, k := range n {
		w[i].records, space = space[:0:k], space[k:]
	}
	for i := range records {
		p := &w[records[i].Tree[0]]
		p.records = append(p.records, records[i])
	}
	return w
}

func (w *willPart) find(tree *proto.Digest) (n uint32, any bool) {
	return w.first.Find(digestHash(tree), func(n uint32) bool { return w.records[n].Tree == *tree })
}

// chain finds out which records are of the same tree.
func (w *willPart) chain() {
	w.indexed = true
	w.next = make([]int32, len(w.records))
	last := make([]int32, len(w.records)) // of the tree whose first it is
	for i := range w.records {
		w.next[i] = -1
		d := &w.records[i].Tree
		n, any := w.find(d)
		if !any {
			n = uint32(i)
			w.first.Add(digestHash(d), n)
		} else {
			w.next[last[n]] = int32(i)
		}
		last[n] = int32(i)
	}
}

func newEstate(a *Agent) *estate {
	e := &estate{a: a, of: map[proto.ProcID]*will{}}
	for _, d := range sorted(a.dead) {
		if !a.coming[d] {
			e.dead = append(e.dead, d)
		}
	}
	e.in.Alive = func(p proto.ProcID) bool { return a.live[p] }
	e.in.Obit = a.obits.of
	e.in.Doubted = func(d proto.Digest) bool { return a.recovery.doubted[d] }
	return e
}

// records appends a dead process's records of a tree.
func (e *estate) records(out []proto.Record, dead proto.ProcID, tree proto.Digest) []proto.Record {
	w := e.of[dead]
	if w == nil {
		w = newWill(e.a.world.Records(dead))
		e.of[dead] = w
	}
	p := &w[tree[0]]
	if !p.indexed {
		p.chain()
	}
	n, any := p.find(&tree)
	for i := int32(n); any && i >= 0; i = p.next[i] {
		out = append(out, p.records[i])
	}
	return out
}

// roomiest is who is to master the image: the owner of the most locks, then
// anybody, the oldest among equals, but nobody who has refused. 0 when all have.
func (a *Agent) roomiest(t *tree, im *proto.Image) (best proto.ProcID) {
	if self := a.world.Self(); a.central && a.connected[self] && !t.refused[self] {
		return self
	}
	if only := im.Locks[0].Owner; a.able(t, only) && len(im.Locks) == 1 {
		return only
	}
	count := map[proto.ProcID]int{}
	for i := range im.Locks {
		count[im.Locks[i].Owner]++
	}
	for p := range count {
		if a.able(t, p) && (best == 0 || count[p] > count[best] || count[p] == count[best] && p < best) {
			best = p
		}
	}
	if best != 0 {
		return best
	}
	return a.anybody(t)
}

// anybody is the oldest process that can master a tree and has not refused to; 0 when there
// is none.
func (a *Agent) anybody(t *tree) proto.ProcID {
	for _, p := range sorted(a.connected) {
		if a.able(t, p) {
			return p
		}
	}
	return 0
}

func (a *Agent) able(t *tree, p proto.ProcID) bool {
	return a.connected[p] && !a.groups[p] && !t.refused[p]
}

// free ends a tree that nobody needs; who asks for it starts a new one.
func (a *Agent) free(t *tree) {
	a.retire(t.digest)
	a.world.Delete(t.digest)
	a.dir.remove(t.digest)
	for _, q := range t.asking {
		a.lookup(q)
	}
	a.serveDomains()
}

func (a *Agent) retire(d proto.Digest) {
	for _, p := range sorted(a.dead) {
		a.world.Retire(p, d)
	}
}
