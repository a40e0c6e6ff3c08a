package journal

import (
	"encoding/binary"
	"fmt"

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
	places map[proto.Digest]int
	free   []int
	used   int
}

// Load takes over what an earlier agent left; empty memory is a new directory.
func Load(mem Memory) (*Directory, error) {
	d := &Directory{mem: mem, places: map[proto.Digest]int{}}
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
	entries.each(mem, func(i int, c cell, body []byte) bool {
		e := decodeEntry(body)
		if k, twice := d.places[e.Tree]; twice && d.at(k).Assign >= e.Assign {
			c.wipe()
			return true
		} else if twice {
			d.cell(k).wipe()
			inUse[k] = false
		}
		d.places[e.Tree] = i
		inUse[i] = true
		return true
	})
	for i := d.used - 1; i >= 0; i-- {
		if !inUse[i] {
			d.free = append(d.free, i)
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
	out := make([]Entry, 0, len(d.places))
	for _, i := range d.places {
		out = append(out, d.at(i))
	}
	return out
}

// Put stores e, in place of the tree's entry if there is one: that needs no room.
func (d *Directory) Put(e Entry) error {
	i, known := d.places[e.Tree]
	if !known {
		if len(d.free) == 0 {
			if err := d.grow(); err != nil {
				return err
			}
		}
		i = d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
		d.places[e.Tree] = i
	}
	b, seq := d.cell(i).begin()
	copy(b, e.Tree[:])
	binary.LittleEndian.PutUint64(b[16:], uint64(e.Master))
	binary.LittleEndian.PutUint64(b[24:], e.Assign)
	end(b, seq)
	return nil
}

func (d *Directory) grow() error {
	if err := d.mem.Grow(); err != nil {
		return fmt.Errorf("extend the directory: %w", err)
	}
	n := entries.count(d.mem.Chunks())
	for i := n - 1; i >= d.used; i-- {
		d.free = append(d.free, i)
	}
	d.used = n
	return nil
}

// Delete forgets a tree.
func (d *Directory) Delete(tree proto.Digest) {
	i, known := d.places[tree]
	if !known {
		return
	}
	d.cell(i).wipe()
	delete(d.places, tree)
	d.free = append(d.free, i)
}

func decodeEntry(b []byte) (e Entry) {
	copy(e.Tree[:], b)
	e.Master = proto.ProcID(binary.LittleEndian.Uint64(b[16:]))
	e.Assign = binary.LittleEndian.Uint64(b[24:])
	return e
}
