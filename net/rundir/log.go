package rundir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

const (
	// slack is how much a log may hold in vain, in bytes.
	slack = 256 << 10
	// recordHead is a record's length and checksum, 4 bytes each, little endian.
	recordHead = 8
)

// log is a file of records, one after the other for every change. A record that a
// death or a full disk has cut short is as if it had never been begun.
//
//	record = length | CRC-32 of the payload | payload
//	payload = messages, each length | proto.Append
type log struct {
	dir  *Dir
	name string
	fd   int
	size int64 // of all records
	room int64 // up to here the disk has room for certain
	live int64 // size when it was last written anew

	apply func(*proto.Msg)    // takes a record
	all   func() []*proto.Msg // what counts, as records

	opened, closed func(fd int)
}

// open reads the file and writes it anew; the caller has the agent role. opened and
// closed are told of its descriptors, for a forked child to close.
func (f *log) open() error {
	path := filepath.Join(f.dir.path, f.name)
	var err error
	if f.fd, err = openFile(f.dir.fd, f.name, path); err != nil {
		return err
	}
	f.opened(f.fd)
	b, err := readAll(f.fd)
	if err == nil {
		f.replay(b)
		err = f.compact()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), f.close())
	}
	return nil
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

// replay takes the records up to the first that is not whole. The bytes that are
// reserved behind the last are zero: a record without a message.
func (f *log) replay(b []byte) {
	for len(b) >= recordHead {
		n := uint64(binary.LittleEndian.Uint32(b))
		if n == 0 || n > uint64(len(b)-recordHead) {
			return
		}
		messages, ok := parseRecord(b[recordHead:recordHead+n], binary.LittleEndian.Uint32(b[4:]))
		if !ok {
			return
		}
		for i := range messages {
			f.apply(&messages[i])
		}
		b = b[recordHead+n:]
	}
}

func parseRecord(payload []byte, sum uint32) (out []proto.Msg, ok bool) {
	if crc32.ChecksumIEEE(payload) != sum {
		return nil, false
	}
	for len(payload) > 0 {
		if len(payload) < 4 {
			return nil, false
		}
		n := uint64(binary.LittleEndian.Uint32(payload))
		payload = payload[4:]
		if n > uint64(len(payload)) {
			return nil, false
		}
		out = append(out, proto.Msg{})
		if proto.Parse(payload[:n], &out[len(out)-1]) != nil {
			return nil, false
		}
		payload = payload[n:]
	}
	return out, true
}

// record appends messages as one record: it is there as a whole or not at all.
func record(b []byte, messages ...*proto.Msg) []byte {
	at := len(b)
	b = append(b, make([]byte, recordHead)...)
	for _, m := range messages {
		from := len(b)
		b = append(b, 0, 0, 0, 0)
		b = proto.Append(b, m)
		binary.LittleEndian.PutUint32(b[from:], uint32(len(b)-from-4))
	}
	payload := b[at+recordHead:]
	binary.LittleEndian.PutUint32(b[at:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[at+4:], crc32.ChecksumIEEE(payload))
	return b
}

// compact writes what counts into a new file, which then takes the old one's place.
func (f *log) compact() error {
	var b []byte
	for _, m := range f.all() {
		b = record(b, m)
	}
	fresh := f.name + ".new"
	if err := f.dir.remove(f.dir.fd, fresh); err != nil {
		return err
	}
	fd, err := openFile(f.dir.fd, fresh, filepath.Join(f.dir.path, fresh))
	if err != nil {
		return err
	}
	if err = writeAt(fd, b, 0); err == nil {
		err = unix.Renameat(f.dir.fd, fresh, f.dir.fd, f.name)
	}
	if err != nil {
		return errors.Join(err, closeFD(fd), f.dir.remove(f.dir.fd, fresh))
	}
	f.opened(fd)
	f.closed(f.fd)
	old := f.fd
	f.fd, f.size, f.room, f.live = fd, int64(len(b)), int64(len(b)), int64(len(b))
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

// reserve makes certain that the next n bytes have room. The file grows in larger
// steps; bytes behind the records are zero and read as the end.
func (f *log) reserve(n int64) error {
	if f.size+n <= f.room {
		return nil
	}
	const step = 64 << 10
	err := unix.Fallocate(f.fd, 0, f.size, n+step)
	for err == unix.EINTR {
		err = unix.Fallocate(f.fd, 0, f.size, n+step)
	}
	switch err {
	case nil:
		f.room = f.size + n + step
	case unix.EOPNOTSUPP: // a full disk is noticed when it is too late to refuse
		err = nil
	}
	return err
}

// add appends messages as one record before it returns. When there is no room the file is as
// before.
func (f *log) add(messages ...*proto.Msg) error {
	b := record(nil, messages...)
	if err := writeAt(f.fd, b, f.size); err != nil {
		f.room = f.size
		return errors.Join(err, unix.Ftruncate(f.fd, f.size))
	}
	f.size += int64(len(b))
	for _, m := range messages {
		f.apply(m)
	}
	if f.size > 4*f.live+slack && f.compact() != nil {
		f.live = f.size // the record is there; not again so soon
	}
	return nil
}

func (f *log) close() error {
	f.closed(f.fd)
	return closeFD(f.fd)
}
