package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// The head of a process file, offsets in bytes:
//
//	 0 magic and version
//	 8 ProcID; written by the agent before it welcomes the process
//	16 pid, for people
//	20 birth of its host's membership; written by the agent, before the ProcID
//	24 1: more peers than fit; everybody may be one
//	32 the program's name, for people; ends with 0
//	64 peers, a ProcID each, 0 = free
const (
	processMagic   = 0x636f72706c6467 // "gdlproc"
	processVersion = 1

	// ProcOffset is where the ProcID stands in the file.
	ProcOffset = 8
	// BirthOffset is where the birth of its host's membership stands.
	BirthOffset = 20
	// HeadSize is how much of a file ParseHead needs.
	HeadSize = 64

	pidOffset   = 16
	allOffset   = 24
	nameOffset  = 32
	peersOffset = HeadSize
	maxPeers    = 1024
)

// The body of a record, offsets in bytes.
const (
	atTree     = 0
	atResource = 16
	atValue    = 32
	atAssign   = 64
	atSeq      = 72
	atWriter   = 80
	atLock     = 88
	atValid    = 96
	recordBody = 104
)

var records = layout{head: peersOffset + 8*maxPeers, body: recordBody}

// ErrFormat says that bytes are not a file of this kind and version.
var ErrFormat = errors.New("not a godlm file of this version")

// File is the value journal of this process. Open, Close and Peer take its
// mutex; Write takes none, as each cell belongs to one resource and the shard's
// mutex of that resource is held.
type File struct {
	chunks atomic.Pointer[[][]byte] // those of mem, for Write

	mu    sync.Mutex
	mem   Memory
	free  []uint32
	used  int // cells that were ever open
	peers int
	all   bool
}

var _ process.Journal = (*File)(nil)

// Create writes the head of a new process file into empty memory.
func Create(mem Memory, pid int) (*File, error) {
	if mem.Chunks() != 0 {
		return nil, errors.New("journal: the memory is not empty")
	}
	f := &File{mem: mem}
	f.chunks.Store(&[][]byte{})
	if err := f.grow(); err != nil {
		return nil, err
	}
	b := mem.Chunk(0)
	binary.NativeEndian.PutUint32(b[pidOffset:], uint32(pid))
	word(b).Store(processMagic + processVersion<<56)
	return f, nil
}

func (f *File) grow() error {
	if err := f.mem.Grow(); err != nil {
		return fmt.Errorf("extend the value journal: %w", err)
	}
	old := *f.chunks.Load()
	chunks := append(old[:len(old):len(old)], f.mem.Chunk(len(old)))
	f.chunks.Store(&chunks)
	return nil
}

func (f *File) cell(slot uint32) cell {
	k, at := records.place(int(slot))
	return cell((*f.chunks.Load())[k][at : at+2*(recordBody+commitSize)])
}

// Open implements process.Journal.
func (f *File) Open() (slot uint32, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		slot = f.free[n-1]
		f.free = f.free[:n-1]
		return slot, nil
	}
	if f.used == records.count(f.mem.Chunks()) {
		if err := f.grow(); err != nil {
			return 0, err
		}
	}
	slot = uint32(f.used)
	f.used++
	return slot, nil
}

// Write implements process.Journal.
func (f *File) Write(slot uint32, r *proto.Record) {
	b, seq := f.cell(slot).begin()
	encode(b, r)
	end(b, seq)
}

// Close implements process.Journal.
func (f *File) Close(slot uint32) {
	f.cell(slot).wipe()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = append(f.free, slot)
}

// Peer implements process.Journal. It never fails: what does not fit is noted as
// "everybody".
func (f *File) Peer(p proto.ProcID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.mem.Chunk(0)
	switch {
	case f.all:
	case f.peers == maxPeers:
		f.all = true
		word(b[allOffset:]).Store(1)
	default:
		word(b[peersOffset+8*f.peers:]).Store(uint64(p))
		f.peers++
	}
	return nil
}

// SetProc notes the ProcID in the process's own file, and to which membership of its host
// it belongs.
func (f *File) SetProc(p proto.ProcID, birth uint32) {
	binary.NativeEndian.PutUint32(f.mem.Chunk(0)[BirthOffset:], birth)
	word(f.mem.Chunk(0)[ProcOffset:]).Store(uint64(p))
}

// SetProgram notes the program's name, before others know the file.
func (f *File) SetProgram(name string) {
	b := f.mem.Chunk(0)[nameOffset:HeadSize]
	clear(b)
	copy(b[:len(b)-1], name)
}

func encode(b []byte, r *proto.Record) {
	_ = b[recordBody-1]
	copy(b[atTree:], r.Tree[:])
	copy(b[atResource:], r.Resource[:])
	copy(b[atValue:], r.Block.Value[:])
	binary.LittleEndian.PutUint64(b[atAssign:], r.Block.Stamp.Assign)
	binary.LittleEndian.PutUint64(b[atSeq:], r.Block.Stamp.Seq)
	binary.LittleEndian.PutUint64(b[atWriter:], uint64(r.Writer))
	binary.LittleEndian.PutUint64(b[atLock:], uint64(r.Lock))
	valid := uint64(0)
	if r.Block.Valid {
		valid = 1
	}
	binary.LittleEndian.PutUint64(b[atValid:], valid)
}

func decode(b []byte) (r proto.Record) {
	copy(r.Tree[:], b[atTree:])
	copy(r.Resource[:], b[atResource:])
	copy(r.Block.Value[:], b[atValue:])
	r.Block.Stamp.Assign = binary.LittleEndian.Uint64(b[atAssign:])
	r.Block.Stamp.Seq = binary.LittleEndian.Uint64(b[atSeq:])
	r.Writer = proto.ProcID(binary.LittleEndian.Uint64(b[atWriter:]))
	r.Lock = proto.LockID(binary.LittleEndian.Uint64(b[atLock:]))
	r.Block.Valid = b[atValid] == 1
	return r
}
