package journal

import (
	"hash/crc32"
	"sync/atomic"
	"unsafe"
)

// commitSize is the size of a commit word in bytes.
const commitSize = 8

// castagnoli has instructions of its own on the processors that matter.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// layout is where the cells of a file are.
type layout struct {
	head int // bytes before the first cell of chunk 0; a multiple of 8
	body int // bytes of one record; a multiple of 8
}

func (y *layout) slot() int { return y.body + commitSize }
func (y *layout) cell() int { return 2 * y.slot() }

// inFirst and inOther are the numbers of cells in chunk 0 and in the others. No
// cell lies across two chunks.
func (y *layout) inFirst() int { return (ChunkSize - y.head) / y.cell() }
func (y *layout) inOther() int { return ChunkSize / y.cell() }

// count is the number of cells that fit in so many chunks.
func (y *layout) count(chunks int) int {
	if chunks == 0 {
		return 0
	}
	return y.inFirst() + (chunks-1)*y.inOther()
}

// place finds cell i: its chunk and the offset there.
func (y *layout) place(i int) (chunk, at int) {
	if i < y.inFirst() {
		return 0, y.head + i*y.cell()
	}
	i -= y.inFirst()
	return 1 + i/y.inOther(), i % y.inOther() * y.cell()
}

// each calls f with every cell in use and its body, until f returns false.
func (y *layout) each(m Memory, f func(i int, c cell, body []byte) bool) {
	i := 0
	for k, n := 0, m.Chunks(); k < n; k++ {
		b := m.Chunk(k)
		for end := y.count(k + 1); i < end; i++ {
			_, at := y.place(i)
			c := cell(b[at : at+y.cell()])
			if body := c.read(); body != nil && !f(i, c, body) {
				return
			}
		}
	}
}

// most is how many cells are in use at most.
func (y *layout) most(m Memory) (n int) {
	i := 0
	for k := range m.Chunks() {
		b := m.Chunk(k)
		for end := y.count(k + 1); i < end; i++ {
			_, at := y.place(i)
			if x, z := cell(b[at : at+y.cell()]).halves(); commit(x).Load()|commit(z).Load() != 0 {
				n++
			}
		}
	}
	return n
}

// cell is the bytes of one cell.
type cell []byte

// word is the 8 bytes at b, which must be aligned, as one piece.
func word(b []byte) *atomic.Uint64 {
	_ = b[7]
	return (*atomic.Uint64)(unsafe.Pointer(&b[0]))
}

func (c cell) halves() (cell, cell) {
	n := len(c) / 2
	return c[:n:n], c[n:]
}

func commit(slot []byte) *atomic.Uint64 { return word(slot[len(slot)-commitSize:]) }

// seal is the commit word for a body; never 0, as sequence numbers are not.
func seal(body []byte, seq uint32) uint64 {
	return uint64(seq)<<32 | uint64(crc32.Update(seq, castagnoli, body))
}

// valid gives the sequence number of a slot that was written completely, or 0.
func valid(slot []byte) uint32 {
	w := commit(slot).Load()
	seq := uint32(w >> 32)
	if seq == 0 || seal(slot[:len(slot)-commitSize], seq) != w {
		return 0
	}
	return seq
}

// later orders sequence numbers, which wrap around; 0 is before all.
func later(a, b uint32) bool {
	return a != 0 && (b == 0 || int32(a-b) > 0)
}

// read gives the newest complete body, nil when the cell is free.
func (c cell) read() []byte {
	a, b := c.halves()
	sa, sb := valid(a), valid(b)
	switch {
	case sa == 0 && sb == 0:
		return nil
	case later(sb, sa):
		return b[:len(b)-commitSize]
	}
	return a[:len(a)-commitSize]
}

// latest is the body that its own writer has written last.
func (c cell) latest() []byte {
	a, b := c.halves()
	if later(uint32(commit(b).Load()>>32), uint32(commit(a).Load()>>32)) {
		return b
	}
	return a
}

// begin gives the body to fill in for the next write, void as yet, and its
// sequence number for end. The writer's own commit words need no checksum test.
func (c cell) begin() (slot []byte, seq uint32) {
	a, b := c.halves()
	sa, sb := uint32(commit(a).Load()>>32), uint32(commit(b).Load()>>32)
	slot, seq = a, sb+1
	if later(sa, sb) {
		slot, seq = b, sa+1
	}
	if seq == 0 {
		seq = 1
	}
	commit(slot).Store(0)
	return slot, seq
}

// end makes a filled-in slot the cell's record.
func end(slot []byte, seq uint32) {
	commit(slot).Store(seal(slot[:len(slot)-commitSize], seq))
}

// byAge gives the slots, the one with the older record or none first.
func (c cell) byAge() (older, newer cell) {
	a, b := c.halves()
	if later(valid(a), valid(b)) {
		return b, a
	}
	return a, b
}

// wipe frees the cell. The older slot goes first, so that the older record is
// never seen again.
func (c cell) wipe() {
	older, newer := c.byAge()
	commit(older).Store(0)
	commit(newer).Store(0)
}
