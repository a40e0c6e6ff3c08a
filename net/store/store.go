// Package store keeps what an agent has promised to the other voters of its cluster: the
// log of views, its vote, and snapshots. What Save has accepted is there after the death
// of the process, and with Sync after that of the machine. Reading it does not wait for
// a Save or a Compact that another thread is in; there is one of these at a time.
//
// One file holds it all:
//
//	file   = head, record...
//	head   = "godlmraf" version(1) name length(1) name identity(16) CRC-32(4)
//	record = length(4) CRC-32(4) type(1) payload
//
// numbers big endian; the checksum is over type and payload. The file is written anew
// with each snapshot, and takes the old one's place in one step. An end that was cut off
// is as if that write had never begun; anything else that is wrong is refused, since a
// voter that has lost a part of its memory could break promises. A store that is new has
// a new identity, and so is a new voter: it never speaks for the one before.
package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Why a store is refused; errors.Is finds them.
var (
	// ErrForeign: the file is none of ours, or of another cluster.
	ErrForeign = errors.New("not a store of this cluster")
	// ErrDamaged: bytes in the middle are not what was written.
	ErrDamaged = errors.New("damaged store")
	// ErrInUse: another process has it open.
	ErrInUse = errors.New("in use")
)

const (
	magic      = "godlmraf"
	format     = 1
	fileName   = "views"
	lockName   = "views.lock"
	recordHead = 8
	// maxRecord bounds a payload, in bytes.
	maxRecord = 64 << 20
	// maxWaste is how many bytes beyond twice what counts a file may have.
	maxWaste = 16 << 20
	maxName  = 64
)

// Types of records.
const (
	typeState = 1 + iota
	typeEntry
	typeSnapshot
)

// Identity names a voter for ever.
type Identity [16]byte

// Options say how a store is used.
type Options struct {
	Cluster string
	// Sync has every Save that promises something wait for the disk. It is needed as soon
	// as there is more than one voter.
	Sync bool
	// Opened and Closed, if set, are told of the descriptors that a forked child must
	// close. HoldForks, if set, keeps the program from forking until done is called.
	Opened, Closed func(fd int)
	HoldForks      func() (done func())
}

// Store is an open store. It implements raft.Storage by what it has read and saved.
type Store struct {
	*raft.MemoryStorage
	dir   string
	lock  *os.File
	f     *os.File
	opt   Options
	id    Identity
	fresh bool
	size  int64 // of whole records
	least int64 // size when the file was written anew
	state *raftpb.HardState
	err   error // of a write that failed: nothing is promised any more
}

// Open opens the store in a directory, or makes one.
func Open(dir string, opt Options) (*Store, error) {
	if len(opt.Cluster) < 1 || len(opt.Cluster) > maxName {
		return nil, fmt.Errorf("store: cluster name of %d bytes", len(opt.Cluster))
	}
	s := &Store{MemoryStorage: raft.NewMemoryStorage(), dir: dir, opt: opt}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", filepath.Join(dir, fileName), err), s.Close())
	}
	return s, nil
}

func (s *Store) open() (err error) {
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err != nil {
		return err
	}
	s.note(s.lock)
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrInUse
		}
		return err
	}
	s.f, err = os.OpenFile(filepath.Join(s.dir, fileName), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return s.create()
	}
	if err != nil {
		return err
	}
	s.note(s.f)
	return s.read()
}

// holdForks brackets the making and closing of descriptors once the store is open, and
// never a wait for the disk.
func (s *Store) holdForks() (done func()) {
	if s.opt.HoldForks == nil {
		return func() {}
	}
	return s.opt.HoldForks()
}

// note tells of a file that was opened, shut closes one.
func (s *Store) note(f *os.File) {
	if s.opt.Opened != nil {
		s.opt.Opened(int(f.Fd()))
	}
}

func (s *Store) shut(f *os.File) error {
	if s.opt.Closed != nil {
		s.opt.Closed(int(f.Fd()))
	}
	return f.Close()
}

// Close lets go of the files.
func (s *Store) Close() error {
	var errs []error
	for _, f := range []*os.File{s.f, s.lock} {
		if f != nil {
			errs = append(errs, s.shut(f))
		}
	}
	s.f, s.lock = nil, nil
	return errors.Join(errs...)
}

// Identity is the voter's.
func (s *Store) Identity() Identity { return s.id }

// Fresh reports whether nothing has been promised when the store was opened.
func (s *Store) Fresh() bool { return s.fresh }

func (s *Store) head() []byte {
	b := append([]byte(magic), format, byte(len(s.opt.Cluster)))
	b = append(append(b, s.opt.Cluster...), s.id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func (s *Store) create() error {
	if _, err := rand.Read(s.id[:]); err != nil {
		return err
	}
	s.fresh = true
	return s.replace(nil)
}

// replace puts a file with these records into the old one's place.
func (s *Store) replace(records []byte) error {
	path := filepath.Join(s.dir, fileName)
	f, err := s.openNoted(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	b := append(s.head(), records...)
	_, err = f.Write(b)
	if err == nil && s.opt.Sync {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil && s.opt.Sync {
		err = s.syncDir()
	}
	if err != nil {
		return errors.Join(err, s.shutHeld(f))
	}
	old := s.f
	s.f, s.size, s.least = f, int64(len(b)), int64(len(b))
	if old != nil {
		return s.shutHeld(old)
	}
	return nil
}

func (s *Store) openNoted(path string, flag int) (*os.File, error) {
	defer s.holdForks()()
	f, err := os.OpenFile(path, flag, 0o600)
	if err == nil {
		s.note(f)
	}
	return f, err
}

func (s *Store) shutHeld(f *os.File) error {
	defer s.holdForks()()
	return s.shut(f)
}

func (s *Store) syncDir() error {
	d, err := s.openNoted(s.dir, os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), s.shutHeld(d))
}

// read takes the file's contents and cuts off an end that is not whole.
func (s *Store) read() error {
	b, err := io.ReadAll(s.f)
	if err != nil {
		return err
	}
	n := len(magic) + 2 + len(s.opt.Cluster) + len(s.id) + 4
	if len(b) < n || string(b[:len(magic)]) != magic {
		return fmt.Errorf("%w: it does not begin like one", ErrForeign)
	}
	if v := b[len(magic)]; v != format {
		return fmt.Errorf("%w: format %d, this program knows %d", ErrForeign, v, format)
	}
	at := len(magic) + 2 + len(s.opt.Cluster)
	if int(b[len(magic)+1]) != len(s.opt.Cluster) || string(b[len(magic)+2:at]) != s.opt.Cluster {
		return fmt.Errorf("%w: it is not of cluster %q", ErrForeign, s.opt.Cluster)
	}
	copy(s.id[:], b[at:])
	if !bytes.Equal(b[:n], s.head()) {
		return fmt.Errorf("%w: its head", ErrDamaged)
	}
	whole, err := s.replay(b[n:])
	if err != nil {
		return err
	}
	if s.state == nil {
		// Every first write ends with a state. Without one it was cut off, or there was
		// none: nothing has been promised.
		whole, s.fresh, s.MemoryStorage = 0, true, raft.NewMemoryStorage()
	}
	s.size = int64(n + whole)
	if s.size < int64(len(b)) {
		if err := s.f.Truncate(s.size); err != nil {
			return err
		}
	}
	return nil
}

// replay takes the records and tells how many bytes of them are whole.
func (s *Store) replay(b []byte) (whole int, err error) {
	for at := 0; ; {
		rest := b[at:]
		if len(rest) < recordHead {
			return at, nil
		}
		n := int(binary.BigEndian.Uint32(rest))
		if n < 1 || n > maxRecord || n > len(rest)-recordHead {
			// A length that was cut off, or one that promises more than was written.
			return at, s.tail(rest, at)
		}
		payload := rest[recordHead : recordHead+n]
		if crc32.ChecksumIEEE(payload) != binary.BigEndian.Uint32(rest[4:]) {
			return at, s.tail(rest, at)
		}
		if err := s.apply(payload[0], payload[1:]); err != nil {
			return at, fmt.Errorf("%w: record at byte %d: %w", ErrDamaged, at, err)
		}
		at += recordHead + n
	}
}

// tail judges a record that is not whole: the end of a write that was cut off, unless
// there are whole records behind it.
func (s *Store) tail(rest []byte, at int) error {
	for i := 1; i+recordHead < len(rest); i++ {
		n := int(binary.BigEndian.Uint32(rest[i:]))
		if n < 1 || n > len(rest)-i-recordHead {
			continue
		}
		payload := rest[i+recordHead : i+recordHead+n]
		if crc32.ChecksumIEEE(payload) == binary.BigEndian.Uint32(rest[i+4:]) && payload[0] >= typeState && payload[0] <= typeSnapshot {
			return fmt.Errorf("%w: record at byte %d, and there are others behind it", ErrDamaged, at)
		}
	}
	return nil
}

func (s *Store) apply(kind byte, payload []byte) error {
	switch kind {
	case typeState:
		st := &raftpb.HardState{}
		if err := proto.Unmarshal(payload, st); err != nil {
			return err
		}
		s.state = st
		return s.SetHardState(st)
	case typeEntry:
		e := &raftpb.Entry{}
		if err := proto.Unmarshal(payload, e); err != nil {
			return err
		}
		last, err := s.LastIndex()
		if err != nil || e.GetIndex() > last+1 {
			return fmt.Errorf("entry %d behind %d", e.GetIndex(), last)
		}
		return s.Append([]*raftpb.Entry{e})
	case typeSnapshot:
		snap := &raftpb.Snapshot{}
		if err := proto.Unmarshal(payload, snap); err != nil {
			return err
		}
		if err := s.ApplySnapshot(snap); err != nil && !errors.Is(err, raft.ErrSnapOutOfDate) {
			return err
		}
		return nil
	}
	return fmt.Errorf("type %d", kind)
}

func record(b []byte, kind byte, m proto.Message) ([]byte, error) {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		return b, err
	}
	payload := b[at+recordHead:]
	if len(payload) > maxRecord {
		return b, fmt.Errorf("record of %d bytes", len(payload))
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.BigEndian.PutUint32(b[at+4:], crc32.ChecksumIEEE(payload))
	return b, nil
}

// datasync waits until a disk has what was written to a file; tests count it.
var datasync = unix.Fdatasync

// Save keeps what raft wants to be kept before messages leave: a state (nil: as it was),
// entries, and a snapshot of another voter (nil: none). After an error nothing more is
// accepted: what is on the disk is not known.
func (s *Store) Save(state *raftpb.HardState, entries []*raftpb.Entry, snap *raftpb.Snapshot) error {
	if s.err != nil {
		return s.err
	}
	s.err = s.save(state, entries, snap)
	if s.err != nil {
		s.err = fmt.Errorf("store %s: %w", filepath.Join(s.dir, fileName), s.err)
	}
	return s.err
}

func (s *Store) save(state *raftpb.HardState, entries []*raftpb.Entry, snap *raftpb.Snapshot) (err error) {
	var b []byte
	if snap != nil {
		if b, err = record(b, typeSnapshot, snap); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if b, err = record(b, typeEntry, e); err != nil {
			return err
		}
	}
	if state != nil {
		if b, err = record(b, typeState, state); err != nil {
			return err
		}
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := s.f.WriteAt(b, s.size); err != nil {
		return errors.Join(err, s.f.Truncate(s.size))
	}
	if s.opt.Sync && (len(entries) > 0 || snap != nil || s.promises(state)) {
		if err := datasync(int(s.f.Fd())); err != nil {
			return err
		}
	}
	s.size += int64(len(b))
	if snap != nil {
		if err := s.ApplySnapshot(snap); err != nil && !errors.Is(err, raft.ErrSnapOutOfDate) {
			return err
		}
	}
	if err := s.Append(entries); err != nil {
		return err
	}
	if state != nil {
		s.state = state
		if err := s.SetHardState(state); err != nil {
			return err
		}
	}
	if s.size > 2*s.least+maxWaste {
		return s.rewrite() // votes, and entries that others have replaced
	}
	return nil
}

// promises reports whether a state does: what is decided, others tell again.
func (s *Store) promises(state *raftpb.HardState) bool {
	return state != nil && (state.GetTerm() != s.state.GetTerm() || state.GetVote() != s.state.GetVote())
}

// Compact makes a snapshot of what was applied up to index and forgets the entries
// before it, but for those that a slow voter may still want.
func (s *Store) Compact(index uint64, conf *raftpb.ConfState, data []byte, slack uint64) error {
	if s.err != nil {
		return s.err
	}
	if err := s.compact(index, conf, data, slack); err != nil {
		return fmt.Errorf("store %s: %w", filepath.Join(s.dir, fileName), err)
	}
	return nil
}

func (s *Store) compact(index uint64, conf *raftpb.ConfState, data []byte, slack uint64) error {
	if _, err := s.CreateSnapshot(index, conf, data); err != nil {
		return err
	}
	if index > slack {
		if err := s.MemoryStorage.Compact(index - slack); err != nil && !errors.Is(err, raft.ErrCompacted) {
			return err
		}
	}
	return s.rewrite()
}

// rewrite writes the file anew with what counts. The entries before the snapshot are gone
// there: it says all that they do.
func (s *Store) rewrite() error {
	snap, err := s.Snapshot()
	if err != nil {
		return err
	}
	var b []byte
	if !raft.IsEmptySnap(snap) {
		if b, err = record(b, typeSnapshot, snap); err != nil {
			return err
		}
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	if index := snap.GetMetadata().GetIndex(); last > index {
		entries, err := s.Entries(index+1, last+1, 1<<62)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if b, err = record(b, typeEntry, e); err != nil {
				return err
			}
		}
	}
	if s.state != nil {
		if b, err = record(b, typeState, s.state); err != nil {
			return err
		}
	}
	return s.replace(b)
}
