package rundir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

const (
	recoveryName = "recovery"
	// slack is how much a recovery file may hold in vain, in bytes.
	slack = 256 << 10
	// recordHead is a record's length and checksum, 4 bytes each, little endian.
	recordHead = 8
)

// RecoveryFile is where the agents keep which persistent resources there are and
// which recovery domains are invalid: one record after the other for every change.
// A record that a death or a full disk has cut short is as if it had never been
// begun.
//
//	record = length | CRC-32 of the payload | payload (proto.Append: KKeep, KUnkeep, KRound)
type RecoveryFile struct {
	dir  *Dir
	fd   int
	size int64 // of all records
	live int64 // when it was last written anew
	now  agent.Remembered

	opened, closed func(fd int)
}

// OpenRecovery reads the file and writes it anew; the caller has the agent role.
// The functions are told of its descriptors, for a forked child to close.
func (d *Dir) OpenRecovery(opened, closed func(fd int)) (*RecoveryFile, error) {
	path := filepath.Join(d.path, recoveryName)
	f := &RecoveryFile{dir: d, opened: opened, closed: closed}
	var err error
	if f.fd, err = openFile(d.fd, recoveryName, path); err != nil {
		return nil, err
	}
	opened(f.fd)
	b, err := readAll(f.fd)
	if err == nil {
		f.replay(b)
		err = f.compact()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("recovery domains in %s: %w", path, err), f.Close())
	}
	return f, nil
}

func readAll(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	b := make([]byte, st.Size)
	for at := 0; at < len(b); {
		n, err := unix.Pread(fd, b[at:], int64(at))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return b[:at], nil
		}
		at += n
	}
	return b, nil
}

// replay takes the records up to the first that is not whole.
func (f *RecoveryFile) replay(b []byte) {
	var m proto.Msg
	for len(b) >= recordHead {
		n := uint64(binary.LittleEndian.Uint32(b))
		if n > uint64(len(b)-recordHead) {
			return
		}
		payload := b[recordHead : recordHead+n]
		if crc32.ChecksumIEEE(payload) != binary.LittleEndian.Uint32(b[4:]) || proto.Parse(payload, &m) != nil {
			return
		}
		f.apply(&m)
		b = b[recordHead+n:]
	}
}

func (f *RecoveryFile) apply(m *proto.Msg) {
	k := proto.Kept{Root: m.Root, Path: m.Path, Domain: m.Domain}
	switch m.Kind {
	case proto.KKeep:
		f.now.Keep(&k)
	case proto.KUnkeep:
		f.now.Unkeep(&k)
	case proto.KRound:
		f.now.Doubt(m.Domain, m.Flags == proto.DomainInvalidate)
	}
}

func record(b []byte, m *proto.Msg) []byte {
	at := len(b)
	b = append(b, make([]byte, recordHead)...)
	b = proto.Append(b, m)
	payload := b[at+recordHead:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.ChecksumIEEE(payload))
	return b
}

func keepMsg(k *proto.Kept) *proto.Msg {
	return &proto.Msg{Kind: proto.KKeep, Root: k.Root, Path: k.Path, Domain: k.Domain}
}

func doubtMsg(domain proto.Digest, invalid bool) *proto.Msg {
	m := &proto.Msg{Kind: proto.KRound, Domain: domain, Flags: proto.DomainRecovered}
	if invalid {
		m.Flags = proto.DomainInvalidate
	}
	return m
}

// compact writes what counts into a new file, which then takes the old one's place.
func (f *RecoveryFile) compact() error {
	var all agent.Lasting
	f.now.Fill(&all)
	var b []byte
	for i := range all.Kept {
		b = record(b, keepMsg(&all.Kept[i]))
	}
	for _, d := range all.Doubted {
		b = record(b, doubtMsg(d, true))
	}
	const fresh = recoveryName + ".new"
	if err := f.dir.remove(f.dir.fd, fresh); err != nil {
		return err
	}
	fd, err := openFile(f.dir.fd, fresh, filepath.Join(f.dir.path, fresh))
	if err != nil {
		return err
	}
	if err = writeAt(fd, b, 0); err == nil {
		err = unix.Renameat(f.dir.fd, fresh, f.dir.fd, recoveryName)
	}
	if err != nil {
		return errors.Join(err, closeFD(fd), f.dir.remove(f.dir.fd, fresh))
	}
	f.opened(fd)
	f.closed(f.fd)
	old := f.fd
	f.fd, f.size, f.live = fd, int64(len(b)), int64(len(b))
	return closeFD(old)
}

func writeAt(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// add appends a record before it returns. When there is no room the file is as
// before.
func (f *RecoveryFile) add(m *proto.Msg) error {
	b := record(nil, m)
	if err := writeAt(f.fd, b, f.size); err != nil {
		return errors.Join(err, unix.Ftruncate(f.fd, f.size))
	}
	f.size += int64(len(b))
	f.apply(m)
	if f.size > 4*f.live+slack && f.compact() != nil {
		f.live = f.size // the record is there; not again so soon
	}
	return nil
}

// Keep notes a persistent resource.
func (f *RecoveryFile) Keep(k *proto.Kept) error { return f.add(keepMsg(k)) }

// Unkeep forgets one.
func (f *RecoveryFile) Unkeep(k *proto.Kept) error {
	return f.add(&proto.Msg{Kind: proto.KUnkeep, Root: k.Root, Path: k.Path})
}

// Doubt notes whether a domain is invalid.
func (f *RecoveryFile) Doubt(domain proto.Digest, invalid bool) error {
	return f.add(doubtMsg(domain, invalid))
}

// Fill puts what the file says into l.
func (f *RecoveryFile) Fill(l *agent.Lasting) { f.now.Fill(l) }

// Close lets go of the file.
func (f *RecoveryFile) Close() error {
	f.closed(f.fd)
	return closeFD(f.fd)
}
