// Package index finds things that are kept in arrays: a hash table from hashes to
// numbers without a pointer, so that it costs the collector nothing and a few bytes for
// each thing. What the numbers stand for, and when two things are the same, its users
// know. It knows nothing of locks; everybody in core may import it.
package index

// Index is the table: open addressing with linear probing.
type Index struct {
	slots []slot
	used  int
}

// slot is a line of the table.
type slot struct {
	tag uint32 // of the hash
	ref uint32 // the number plus 1; 0: the line is free
}

// least is the size of a small table.
const least = 8

// Len is how many things there are.
func (x *Index) Len() int { return x.used }

// home is where the search for a tag begins.
func (x *Index) home(tag uint32) int { return int(uint64(tag) * uint64(len(x.slots)) >> 32) }

func (x *Index) next(i int) int {
	if i++; i == len(x.slots) {
		return 0
	}
	return i
}

// Find is the number of the thing with that hash that same confirms.
func (x *Index) Find(hash uint32, same func(n uint32) bool) (n uint32, found bool) {
	if x.used == 0 {
		return 0, false
	}
	for i := x.home(hash); x.slots[i].ref != 0; i = x.next(i) {
		if s := x.slots[i]; s.tag == hash && same(s.ref-1) {
			return s.ref - 1, true
		}
	}
	return 0, false
}

// Grow makes room for n more things.
func (x *Index) Grow(n int) {
	if n = (x.used + n) * 5 / 4; n >= len(x.slots) {
		x.resize(max(least, n+1))
	}
}

// Add puts a thing in that is not there yet.
func (x *Index) Add(hash, n uint32) {
	if (x.used+1)*5 > len(x.slots)*4 {
		x.resize(max(least, len(x.slots)*5/4))
	}
	x.used++
	x.put(slot{hash, n + 1})
}

func (x *Index) put(s slot) {
	i := x.home(s.tag)
	for x.slots[i].ref != 0 {
		i = x.next(i)
	}
	x.slots[i] = s
}

func (x *Index) resize(n int) {
	old := x.slots
	x.slots = make([]slot, n)
	for _, s := range old {
		if s.ref != 0 {
			x.put(s)
		}
	}
}

// Remove takes a thing out that is there.
func (x *Index) Remove(hash, n uint32) {
	hole := x.home(hash)
	for x.slots[hole] != (slot{hash, n + 1}) {
		hole = x.next(hole)
	}
	// What stands behind the hole moves up, unless its search begins behind it.
	size := len(x.slots)
	for i := x.next(hole); x.slots[i].ref != 0; i = x.next(i) {
		if home := x.home(x.slots[i].tag); (i-home+size)%size >= (i-hole+size)%size {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = slot{}
	if x.used--; size > 8*least && x.used*3 < size {
		x.resize(size / 2)
	}
}
