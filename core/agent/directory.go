package agent

import (
	"encoding/binary"
	"math/bits"

	"github.com/godlm/godlm/core/proto"
)

// directory is who masters which tree. Most trees have a living master, and nothing is
// under way with them: they are settled, and stand in a table that has no pointers. The
// others are loose. When a master dies its trees become loose a few at a time.
type directory struct {
	loose   map[proto.Digest]*tree
	parts   [partCount]part
	masters []landlord // by the numbers in the table; the first is nobody
	numbers map[proto.ProcID]uint32
	vacant  []uint32 // numbers of masters without a settled tree
	// orphaned counts the settled trees of dead masters.
	orphaned int
}

// landlord is the master of settled trees.
type landlord struct {
	proc  proto.ProcID
	trees int
	dead  bool
	// alone: dead, and nobody else has had locks of its trees.
	alone bool
}

// partCount is in how many parts the table is, so that none takes long to grow.
const partCount = 256

// part is an open hash table with linear probing. Digests are as good as random, so
// they are their own hash: the first byte says which part, the next eight where.
type part struct {
	slots []settled
	used  int
}

// settled is a line of the table.
type settled struct {
	digest proto.Digest
	assign uint64
	master uint32 // number; 0: the line is free
	held   bool   // the master has said that it holds the tree
}

func (y *directory) init() {
	y.loose = map[proto.Digest]*tree{}
	y.masters = []landlord{{}}
	y.numbers = map[proto.ProcID]uint32{}
}

func (y *directory) part(d *proto.Digest) *part { return &y.parts[d[0]] }

// home is where the search for d begins.
func (t *part) home(d *proto.Digest) int {
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(d[1:]), uint64(len(t.slots)))
	return int(hi)
}

func (t *part) next(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

// find is d's line, or the free one where it belongs.
func (t *part) find(d *proto.Digest) *settled {
	if len(t.slots) == 0 {
		return nil
	}
	for i := t.home(d); ; i = t.next(i) {
		if s := &t.slots[i]; s.master == 0 || s.digest == *d {
			return s
		}
	}
}

// line is the line of a settled tree; nil if d is none.
func (y *directory) line(d *proto.Digest) *settled {
	if s := y.part(d).find(d); s != nil && s.master != 0 {
		return s
	}
	return nil
}

// of describes a tree that is known, loose or settled.
func (y *directory) of(d proto.Digest) (t tree, known bool) {
	if l := y.loose[d]; l != nil {
		return *l, true
	}
	if s := y.line(&d); s != nil {
		return tree{digest: d, master: y.masters[s.master].proc, assign: s.assign, held: s.held}, true
	}
	return tree{}, false
}

// loosen is a tree to be changed; nil if there is none.
func (y *directory) loosen(d proto.Digest) *tree {
	if t := y.loose[d]; t != nil {
		return t
	}
	t, known := y.of(d)
	if !known {
		return nil
	}
	y.unsettle(d)
	y.loose[d] = &t
	return &t
}

// add makes a loose tree that is not known yet.
func (y *directory) add(d proto.Digest) *tree {
	t := &tree{digest: d}
	y.loose[d] = t
	return t
}

// remove forgets a tree.
func (y *directory) remove(d proto.Digest) {
	delete(y.loose, d)
	y.unsettle(d)
}

// settle puts a tree into the table, in place of what is there.
func (y *directory) settle(d proto.Digest, master proto.ProcID, assign uint64, held bool) {
	t := y.part(&d)
	s := t.find(&d)
	if s == nil || s.master == 0 {
		if (t.used+1)*5 > len(t.slots)*4 {
			t.resize(max(16, len(t.slots)*5/4))
		}
		s = t.find(&d)
		t.used++
	} else {
		y.leaves(s.master)
	}
	n, ok := y.numbers[master]
	switch {
	case ok:
	case len(y.vacant) > 0:
		n = y.vacant[len(y.vacant)-1]
		y.vacant = y.vacant[:len(y.vacant)-1]
	default:
		n = uint32(len(y.masters))
		y.masters = append(y.masters, landlord{})
	}
	y.numbers[master] = n
	y.masters[n].proc = master
	y.masters[n].trees++
	*s = settled{d, assign, n, held}
}

// fill settles many trees: those of a part one after the other, so that what is needed for
// one is close to what was needed for the last.
func (y *directory) fill(entries []Entry) {
	var first [partCount + 1]int // in order, of each part
	for i := range entries {
		first[int(entries[i].Tree[0])+1]++
	}
	for i := range y.parts {
		if n := first[i+1]; n > 0 && y.parts[i].used == 0 {
			y.parts[i].resize(max(16, n*5/4+1))
		}
		first[i+1] += first[i]
	}
	order, next := make([]Entry, len(entries)), first
	for i := range entries {
		k := &next[entries[i].Tree[0]]
		order[*k] = entries[i]
		*k++
	}
	for i := range order {
		if e := &order[i]; e.Master != 0 {
			y.settle(e.Tree, e.Master, e.Assign, false)
		}
	}
}

func (y *directory) leaves(number uint32) {
	l := &y.masters[number]
	if l.dead {
		y.orphaned--
	}
	if l.trees--; l.trees == 0 {
		delete(y.numbers, l.proc)
		*l = landlord{}
		y.vacant = append(y.vacant, number)
	}
}

func (t *part) resize(n int) {
	old := t.slots
	t.slots = make([]settled, n)
	for i := range old {
		if old[i].master != 0 {
			*t.find(&old[i].digest) = old[i]
		}
	}
}

// unsettle takes a tree out of the table, if it is there.
func (y *directory) unsettle(d proto.Digest) {
	s := y.line(&d)
	if s == nil {
		return
	}
	y.leaves(s.master)
	t := y.part(&d)
	hole := t.home(&d)
	for t.slots[hole].digest != d || t.slots[hole].master == 0 {
		hole = t.next(hole)
	}
	// What stands behind the hole moves up, unless its search begins behind it.
	for i := t.next(hole); t.slots[i].master != 0; i = t.next(i) {
		n := len(t.slots)
		if home := t.home(&t.slots[i].digest); (i-home+n)%n >= (i-hole+n)%n {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = settled{}
	t.used--
	if t.used == 0 {
		t.slots = nil
	} else if n := len(t.slots); n > 64 && t.used*4 < n {
		t.resize(n / 2)
	}
}

// died says that a master is dead: its settled trees are lost.
func (y *directory) died(master proto.ProcID) {
	if n, any := y.numbers[master]; any && !y.masters[n].dead {
		y.masters[n].dead = true
		y.orphaned += y.masters[n].trees
	}
}

// orphans are the settled trees of dead masters in one part; over are those of masters
// whose trees nobody else has used.
func (y *directory) orphans(part int) (out, over []proto.Digest) {
	for i := range y.parts[part].slots {
		s := &y.parts[part].slots[i]
		switch l := &y.masters[s.master]; {
		case l.alone:
			over = append(over, s.digest)
		case l.dead:
			out = append(out, s.digest)
		}
	}
	return out, over
}

// alone says that nobody else has had locks of a dead master's trees.
func (y *directory) alone(master proto.ProcID) {
	if n, any := y.numbers[master]; any {
		y.masters[n].alone = true
	}
}
