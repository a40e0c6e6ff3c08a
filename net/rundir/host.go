package rundir

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync/atomic"
	"unsafe"
)

// hostName is the file by which the agent tells the processes of its host how long it
// is still a member of the cluster. It also tells the next agent which membership it
// was, and which directory the directory file belongs to.
const hostName = "host"

// HostFile is that file, mapped. Its contents are numbers that are written one by one:
//
//	birth of the host (0: never a member)
//	end of the lease, nanoseconds of CLOCK_BOOTTIME; negative: that was to be its end, and
//	it has ended before
//	epoch of the directory
//	since which start of the machine, 16 bytes: what is mapped here and in the files of
//	processes need not have reached a disk when that ended
type HostFile struct {
	*Mapping
	words []byte // the numbers, which are read with each message
}

// OpenHost maps the file, and makes it if there is none.
func (d *Dir) OpenHost(hook func(addr uintptr, n int)) (*HostFile, error) {
	path := filepath.Join(d.path, hostName)
	fd, err := openFile(d.fd, hostName, path)
	if err != nil {
		return nil, err
	}
	m, err := newMapping(fd, path, hook)
	if err == nil && m.Chunks() == 0 {
		err = m.Grow()
	}
	if err != nil {
		return nil, errors.Join(err, closeFD(fd))
	}
	return &HostFile{m, m.Chunk(0)}, nil
}

// FD is the file's descriptor, for a forked child to close.
func (f *HostFile) FD() int { return f.fd }

// Release closes the file. The memory stays mapped: a thread that comes late may still
// look at it.
func (f *HostFile) Release() error { return closeFD(f.fd) }

// Close lets go of the file.
func (f *HostFile) Close() error { return errors.Join(f.Unmap(), closeFD(f.fd)) }

func (f *HostFile) word(i int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&f.words[8*i]))
}

// Birth is the host's latest birth.
func (f *HostFile) Birth() uint32 { return uint32(f.word(0).Load()) }

// Until is to when the lease was proven.
func (f *HostFile) Until() int64 {
	until := f.lease()
	return max(until, -until)
}

func (f *HostFile) lease() int64 { return int64(f.word(1).Load()) }

// End ends the lease; Ended reports whether that was done.
func (f *HostFile) End() {
	if until := f.lease(); until > 0 {
		f.word(1).Store(uint64(-until))
	}
}

// Ended implements host.File.
func (f *HostFile) Ended() bool { return f.lease() < 0 }

// Lease is when the lease of that birth ends; not above 0 if it has ended before.
func (f *HostFile) Lease(birth uint32) int64 {
	// SetBirth ends the old lease before the new birth is there, and a new lease comes
	// after that.
	if f.Birth() != birth {
		return 0
	}
	until := f.lease()
	if f.Birth() != birth {
		return 0
	}
	return until
}

// SetBirth begins another membership; the lease of the one before is over.
func (f *HostFile) SetBirth(birth uint32) {
	f.word(1).Store(0)
	f.word(0).Store(uint64(birth))
}

// Extend sets the end of the lease. One that has ended does not come back.
func (f *HostFile) Extend(until int64) {
	if f.Ended() {
		until = -until
	}
	f.word(1).Store(uint64(until))
}

// Since notes since which start of the machine the file is used, and reports whether it was
// used before that.
func (f *HostFile) Since(boot [16]byte) (before bool) {
	b := f.words[bootOffset : bootOffset+len(boot)]
	before = !bytes.Equal(b, boot[:]) && f.Birth() != 0
	copy(b, boot[:])
	return before
}

const bootOffset = 24

// Directory is the epoch of the directory file, 0 if it was never written.
func (f *HostFile) Directory() uint32 { return uint32(f.word(2).Load()) }

// SetDirectory notes that.
func (f *HostFile) SetDirectory(epoch uint32) { f.word(2).Store(uint64(epoch)) }
