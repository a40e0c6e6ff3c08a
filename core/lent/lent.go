// Package lent is the memory in which a process's callers lock and unlock, without a call of
// the lock manager, on trees that nobody else uses. A Process lends such a tree, with its one
// lock or none, to a cell; callers change the cell; the Process takes the tree back, as the
// callers have left it, before it does anything with it itself.
//
// Here are the layout of the cells, which the callers' side (cgo/lent.h) shares, and what the
// Process does with one. Which tree is lent, and when, is core/process's business; what a
// request does to a lent tree is the callers' side's alone.
package lent

import (
	"sync/atomic"
	"unsafe"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Size is how many cells there are. A tree has one place, by its hash, so that a caller finds
// it with one look.
const Size = 1024

// numbers is the size of the list from locks to cells.
const numbers = 2048

// Table is all that the two sides share. It is struct godlm_lent of cgo/lent.h: a test
// compares them.
type Table struct {
	// closed: nobody may use a cell any more. always are flags that every request has. Until
	// lease the host is a member, in nanoseconds of CLOCK_BOOTTIME; 0: it is alone.
	closed uint32
	always uint32
	lease  int64
	_      [48]byte

	byNumber [numbers]uint32 // index of the cell in which the lock may be, by the low half of its handle
	cells    [Size]Cell
}

// Cell holds a tree that is lent. Whoever has seized it may read and write it.
type Cell struct {
	busy    uint32
	lent    uint32
	kind    uint8
	nameLen uint8
	Mode    mode.Mode // of the lock; None: there is none
	used    uint8     // a caller was here since the Process last looked
	space   uint32
	Lock    proto.LockID // 0: there is none
	Number  uint32       // low half of the handles of locks in this cell
	Last    uint32       // high half of the latest
	Seq     uint64       // of the tree
	Token   uint64
	Stamp   uint64 // of the value block, as Seq; 0: it is as it was when it was lent
	Flags   uint32 // of the latest grant
	Timeout uint32
	name    [proto.MaxName]byte
	Value   proto.Value
	NotPrm  uint64
	Hint    uint64
	BlkRtn  uint64
	CplRtn  uint64
	ValB    uint64
	Writes  uint32
	Plain   uint32

	// What callers have done since it was lent.
	Locks, Converts, Unlocks uint64
	_                        [24]byte
}

// Index is the place of a tree with that hash.
func Index(hash uint32) int { return int(hash % Size) }

// Always sets flags that every request is to have, as if the caller had given them.
func (t *Table) Always(flags uint32) { atomic.StoreUint32(&t.always, flags) }

// Lease says until when this host is a member at least, in nanoseconds of CLOCK_BOOTTIME. From
// then on callers use no cell until it is said anew.
func (t *Table) Lease(until int64) {
	if atomic.LoadInt64(&t.lease) != until {
		atomic.StoreInt64(&t.lease, until)
	}
}

// Close ends the callers' use of cells. One who has seized a cell before may finish.
func (t *Table) Close() { atomic.StoreUint32(&t.closed, 1) }

// Seize takes hold of a cell. A caller keeps one for a few instructions; pause is called while one
// does, for it may have lost the processor.
func (t *Table) Seize(i int, pause func()) *Cell {
	c := &t.cells[i]
	for !atomic.CompareAndSwapUint32(&c.busy, 0, 1) {
		pause()
	}
	return c
}

// Release ends it.
func (c *Cell) Release() { atomic.StoreUint32(&c.busy, 0) }

// Lend makes the cell, which is seized and free, that of a tree with one lock. The caller has
// set all fields that others than Lend know of.
func (t *Table) Lend(i int, root *proto.Root) {
	c := &t.cells[i]
	c.kind, c.space = uint8(root.Space.Kind), root.Space.ID
	c.nameLen, c.name = root.Name.Len, root.Name.Buf
	c.Number, c.Last = uint32(c.Lock), uint32(c.Lock>>32)
	c.Stamp, c.Locks, c.Converts, c.Unlocks = 0, 0, 0, 0
	c.lent, c.used = 1, 1
	atomic.StoreUint32(&t.byNumber[c.Number%numbers], uint32(i))
}

// Return takes the tree out of the cell, which is seized.
func (c *Cell) Return() { c.lent = 0 }

// Stale reports whether no caller was at the cell, which is seized, since the last time.
func (c *Cell) Stale() bool {
	stale := c.used == 0
	c.used = 0
	return stale
}

// Hash is that of a root. The callers' side computes it too.
func Hash(r *proto.Root) uint32 {
	h := (uint64(r.Space.Kind)<<32 | uint64(r.Space.ID)) ^ uint64(r.Name.Len)<<40
	b := r.Name.Bytes()
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h, uint64(b[0])|uint64(b[1])<<8|uint64(b[2])<<16|uint64(b[3])<<24|
			uint64(b[4])<<32|uint64(b[5])<<40|uint64(b[6])<<48|uint64(b[7])<<56)
	}
	w := uint64(0)
	for i := len(b) - 1; i >= 0; i-- {
		w = w<<8 | uint64(b[i])
	}
	return uint32(mix(h, w))
}

func mix(h, w uint64) uint64 {
	h = (h ^ w) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}

// Layout is the size of the table and the offsets of the parts that both sides use, for the
// test that compares them.
func Layout() []uintptr {
	var c Cell
	var t Table
	return []uintptr{
		unsafe.Sizeof(t), unsafe.Offsetof(t.byNumber), unsafe.Offsetof(t.cells), unsafe.Sizeof(c),
		unsafe.Offsetof(c.lent), unsafe.Offsetof(c.kind), unsafe.Offsetof(c.space), unsafe.Offsetof(c.Lock),
		unsafe.Offsetof(c.Number), unsafe.Offsetof(c.Seq), unsafe.Offsetof(c.Flags), unsafe.Offsetof(c.name),
		unsafe.Offsetof(c.Value), unsafe.Offsetof(c.NotPrm), unsafe.Offsetof(c.Writes), unsafe.Offsetof(c.Locks),
		unsafe.Offsetof(c.Unlocks),
	}
}
