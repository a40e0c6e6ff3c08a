package journal

import (
	"bytes"
	"encoding/binary"

	"github.com/godlm/godlm/core/proto"
)

// Head is what the head of a process file tells.
type Head struct {
	Proc proto.ProcID // 0: not welcomed yet
	Pid  int
	// Birth is that of the membership of its host to which it belongs.
	Birth uint32
	// Program is its name; "" if nobody has said it.
	Program string
}

// ParseHead reads the first HeadSize bytes of a process file.
func ParseHead(b []byte) (Head, error) {
	if len(b) < HeadSize || binary.NativeEndian.Uint64(b) != processMagic+processVersion<<56 {
		return Head{}, ErrFormat
	}
	name, _, _ := bytes.Cut(b[nameOffset:HeadSize], []byte{0})
	return Head{
		Program: string(name),
		Proc:    proto.ProcID(binary.NativeEndian.Uint64(b[ProcOffset:])),
		Pid:     int(binary.NativeEndian.Uint32(b[pidOffset:])),
		Birth:   binary.NativeEndian.Uint32(b[BirthOffset:]),
	}, nil
}

// AppendBirth writes a birth as it stands at BirthOffset.
func AppendBirth(b []byte, birth uint32) []byte {
	return binary.NativeEndian.AppendUint32(b, birth)
}

// AppendProc writes a ProcID as it stands at ProcOffset.
func AppendProc(b []byte, p proto.ProcID) []byte {
	return binary.NativeEndian.AppendUint64(b, uint64(p))
}

// Records are the records of a process file that nobody writes any more.
func Records(m Memory) (out []proto.Record) {
	out = make([]proto.Record, 0, records.most(m))
	records.each(m, func(_ int, _ cell, body []byte) bool {
		out = append(out, decode(body))
		return true
	})
	return out
}

// Peers are the processes that may have used locks mastered by the file's
// process; all says that they did not fit and everybody may be one.
func Peers(m Memory) (peers []proto.ProcID, all bool) {
	if m.Chunks() == 0 {
		return nil, false
	}
	b := m.Chunk(0)
	for i := 0; i < maxPeers; i++ {
		p := word(b[peersOffset+8*i:]).Load()
		if p == 0 {
			break
		}
		peers = append(peers, proto.ProcID(p))
	}
	return peers, word(b[allOffset:]).Load() != 0
}

// Retire makes the records of one tree void.
func Retire(m Memory, tree proto.Digest) {
	records.each(m, func(_ int, c cell, body []byte) bool {
		if decode(body).Tree == tree {
			c.wipe()
		}
		return true
	})
}

// Trees retires the records of a process file tree by tree, without a look at all of
// them for each.
type Trees struct {
	mem   Memory
	first map[proto.Digest]uint32 // cell
	next  []uint32                // of each cell: the next of its tree; itself, if it is the last
}

// ReadTrees finds out which records are of which tree.
func ReadTrees(m Memory) *Trees {
	t := &Trees{m, map[proto.Digest]uint32{}, make([]uint32, records.count(m.Chunks()))}
	records.each(m, func(i int, _ cell, body []byte) bool {
		d := proto.Digest(body[atTree:])
		if first, any := t.first[d]; any {
			t.next[i] = first
		} else {
			t.next[i] = uint32(i)
		}
		t.first[d] = uint32(i)
		return true
	})
	return t
}

// Retire makes the records of one tree void.
func (t *Trees) Retire(tree proto.Digest) {
	i, any := t.first[tree]
	for any {
		k, at := records.place(int(i))
		cell(t.mem.Chunk(k)[at : at+records.cell()]).wipe()
		any = t.next[i] != i
		i = t.next[i]
	}
	delete(t.first, tree)
}
