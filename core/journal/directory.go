package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/godlm/godlm/core/index"
	"github.com/godlm/godlm/core/proto"
)

const (
	directoryMagic   = 0x317269646c6467 // "gdldir1"
	directoryVersion = 1
	directoryHead    = 64
	entryBody        = 32
)

var entries = layout{head: directoryHead, body: entryBody}

// Entry is one line of the directory: who masters a tree, under which
// assignment.
type Entry struct {
	Tree   proto.Digest
	Master proto.ProcID
	Assign uint64
}

// Directory is the lasting map from trees to masters. Only the holder of the
// agent role has one, and it calls one method at a time.
type Directory struct {
	mem    Memory
	places [256]index.Index // of cells, by the first byte of the digest
	free   []uint32
	used   int
}

// find is the cell of a tree.
func (d *Directory) find(tree *proto.Digest) (i int, known bool) {
	n, known := d.places[tree[0]].Find(hash(tree), func(n uint32) bool {
		return [16]byte(d.cell(int(n)).latest()) == *tree
	})
	return int(n), known
}

// hash is a part of the digest, which is as good as random.
func hash(tree *proto.Digest) uint32 { return binary.BigEndian.Uint32(tree[1:]) }

// Load takes over what an earlier agent left; empty memory is a new directory.
func Load(mem Memory) (*Directory, error) {
	d := &Directory{mem: mem}
	if mem.Chunks() == 0 {
		if err := mem.Grow(); err != nil {
			return nil, fmt.Errorf("make the directory: %w", err)
		}
	}
	switch w := word(mem.Chunk(0)); w.Load() {
	case directoryMagic + directoryVersion<<56:
	case 0: // new, or its maker died before the first entry
		w.Store(directoryMagic + directoryVersion<<56)
	default:
		return nil, ErrFormat
	}
	d.used = entries.count(mem.Chunks())
	inUse := make([]bool, d.used)
	for i := range d.places {
		d.places[i].Grow(d.used / len(d.places)) // most cells are in use
	}
	entries.each(mem, func(i int, c cell, body []byte) bool {
		e := decodeEntry(body)
		k, twice := d.find(&e.Tree)
		if twice && d.at(k).Assign >= e.Assign {
			c.wipe()
			return true
		} else if twice {
			d.places[e.Tree[0]].Remove(hash(&e.Tree), uint32(k))
			d.cell(k).wipe()
			inUse[k] = false
		}
		d.places[e.Tree[0]].Add(hash(&e.Tree), uint32(i))
		inUse[i] = true
		return true
	})
	for i := d.used - 1; i >= 0; i-- {
		if !inUse[i] {
			d.free = append(d.free, uint32(i))
		}
	}
	return d, nil
}

func (d *Directory) cell(i int) cell {
	k, at := entries.place(i)
	return cell(d.mem.Chunk(k)[at : at+entries.cell()])
}

func (d *Directory) at(i int) Entry { return decodeEntry(d.cell(i).read()) }

// Entries are all entries, in no order.
func (d *Directory) Entries() []Entry {
	n := 0
	for i := range d.places {
		n += d.places[i].Len()
	}
	out := make([]Entry, 0, n)
	entries.each(d.mem, func(_ int, _ cell, body []byte) bool {
		out = append(out, decodeEntry(body))
		return true
	})
	return out
}

// Put stores e, in place of the tree's entry if there is one: that needs no room.
func (d *Directory) Put(e Entry) error {
	i, known := d.find(&e.Tree)
	if !known {
		if len(d.free) == 0 {
			if err := d.grow(); err != nil {
				return err
			}
		}
		i = int(d.free[len(d.free)-1])
		d.free = d.free[:len(d.free)-1]
	}
	b, seq := d.cell(i).begin()
	copy(b, e.Tree[:])
	binary.LittleEndian.PutUint64(b[16:], uint64(e.Master))
	binary.LittleEndian.PutUint64(b[24:], e.Assign)
	end(b, seq)
	if !known {
		d.places[e.Tree[0]].Add(hash(&e.Tree), uint32(i))
	}
	return nil
}

func (d *Directory) grow() error {
	if err := d.mem.Grow(); err != nil {
		return fmt.Errorf("extend the directory: %w", err)
	}
	n := entries.count(d.mem.Chunks())
	for i := n - 1; i >= d.used; i-- {
		d.free = append(d.free, uint32(i))
	}
	d.used = n
	return nil
}

// Delete forgets a tree.
func (d *Directory) Delete(tree proto.Digest) {
	i, known := d.find(&tree)
	if !known {
		return
	}
	d.places[tree[0]].Remove(hash(&tree), uint32(i))
	d.cell(i).wipe()
	d.free = append(d.free, uint32(i))
}

func decodeEntry(b []byte) (e Entry) {
	copy(e.Tree[:], b)
	e.Master = proto.ProcID(binary.LittleEndian.Uint64(b[16:]))
	e.Assign = binary.LittleEndian.Uint64(b[24:])
	return e
}
