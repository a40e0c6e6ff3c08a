package rundir

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/journal"
)

// Mapping is a mapped file; a journal.Memory.
type Mapping struct {
	path string
	fd   int
	hook func(addr uintptr, n int)

	mu     sync.Mutex
	pieces [][]byte // as they were mapped
	chunks [][]byte
}

var _ journal.Memory = (*Mapping)(nil)

// newMapping maps what is there of the file. hook, if any, is told of each piece.
func newMapping(fd int, path string, hook func(addr uintptr, n int)) (*Mapping, error) {
	m := &Mapping{path: path, fd: fd, hook: hook}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	// A last piece that is not whole was being made when its maker died; nothing
	// is in it.
	if n := st.Size / journal.ChunkSize; n > 0 {
		if err := m.mapNext(int(n)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Chunks implements journal.Memory.
func (m *Mapping) Chunks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.chunks)
}

// Chunk implements journal.Memory.
func (m *Mapping) Chunk(i int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chunks[i]
}

// Grow implements journal.Memory. The space is allocated first: a full disk is
// an error here and never a signal on a later write to the memory.
func (m *Mapping) Grow() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := int64(len(m.chunks)) * journal.ChunkSize
	if err := reserve(m.fd, at, journal.ChunkSize); err != nil {
		return fmt.Errorf("make room in %s: %w", m.path, err)
	}
	return m.mapNext(1)
}

// mapNext maps the next n chunks in one piece: a new agent has thousands to map while all
// wait for it.
func (m *Mapping) mapNext(n int) error {
	at := int64(len(m.chunks)) * journal.ChunkSize
	b, err := unix.Mmap(m.fd, at, n*journal.ChunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", m.path, err)
	}
	if err := unix.Madvise(b, unix.MADV_DONTFORK); err != nil {
		return errors.Join(fmt.Errorf("keep the mapping of %s from children: %w", m.path, err), unix.Munmap(b))
	}
	if m.hook != nil {
		m.hook(uintptr(unsafe.Pointer(&b[0])), len(b))
	}
	m.pieces = append(m.pieces, b)
	for ; len(b) > 0; b = b[journal.ChunkSize:] {
		m.chunks = append(m.chunks, b[:journal.ChunkSize:journal.ChunkSize])
	}
	return nil
}

// Unmap gives the memory up; nobody may use it any more.
func (m *Mapping) Unmap() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, b := range m.pieces {
		if err := unix.Munmap(b); err != nil {
			errs = append(errs, fmt.Errorf("unmap %s: %w", m.path, err))
		}
	}
	m.pieces, m.chunks = nil, nil
	return errors.Join(errs...)
}

// reserve allocates n bytes at offset at.
func reserve(fd int, at, n int64) error {
	// Beyond this limit the kernel would send SIGXFSZ, which ends a program.
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &lim); err != nil {
		return fmt.Errorf("read the file size limit: %w", err)
	}
	if uint64(at+n) > lim.Cur {
		return fmt.Errorf("file size limit (ulimit -f) of %d bytes: %w", lim.Cur, unix.EFBIG)
	}
	for {
		switch err := unix.Fallocate(fd, 0, at, n); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EOPNOTSUPP:
			return fill(fd, at, n)
		default:
			return err
		}
	}
}

// fill does what fallocate would, on file systems that lack it.
func fill(fd int, at, n int64) error {
	zeros := make([]byte, n)
	for len(zeros) > 0 {
		k, err := unix.Pwrite(fd, zeros, at)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case k == 0:
			return unix.ENOSPC
		default:
			zeros, at = zeros[k:], at+int64(k)
		}
	}
	return nil
}
