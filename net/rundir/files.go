package rundir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
)

// nameBytes is how much randomness is in a process file's name.
const nameBytes = 8

// ProcFile is this process's own file: its lock says that the process lives.
type ProcFile struct {
	*Mapping
	Name string
}

// FD is the file's descriptor, for a forked child to close.
func (f *ProcFile) FD() int { return f.fd }

// Release closes the file and so tells the host that this process is gone. The
// memory stays mapped: a thread that comes late may still write to it.
func (f *ProcFile) Release() error { return closeFD(f.fd) }

// CreateProc makes and locks this process's file. hook, if any, is told of each
// piece that gets mapped.
func (d *Dir) CreateProc(hook func(addr uintptr, n int)) (*ProcFile, error) {
	for {
		var b [nameBytes]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("choose a name: %w", err)
		}
		name := hex.EncodeToString(b[:])
		path := d.file(procName + "/" + name)
		fd, err := unix.Openat(d.proc, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, fileMode)
		if err == unix.EEXIST {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("make %s: %w", path, err)
		}
		// Before the lock is there an agent may take the file for a dead one's.
		mine, err := tryLock(fd)
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), closeFD(fd), d.remove(d.proc, name))
		}
		if !mine || st.Nlink == 0 {
			if err := closeFD(fd); err != nil {
				return nil, err
			}
			continue
		}
		m, err := newMapping(fd, path, hook)
		if err != nil {
			return nil, errors.Join(err, closeFD(fd), d.remove(d.proc, name))
		}
		return &ProcFile{Mapping: m, Name: name}, nil
	}
}

// RemoveProc removes a process file by name.
func (d *Dir) RemoveProc(name string) error { return d.remove(d.proc, name) }

// ValidName reports whether name can be that of a process file.
func ValidName(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == nameBytes && hex.EncodeToString(b) == name
}

// State is what a process file tells about its process.
type State struct {
	Name   string
	Proc   proto.ProcID // 0: not welcomed yet
	Birth  uint32       // of its host's membership to which it belongs
	Pid    int          // who has the lock, as the kernel shows it here; 0: not shown
	Locked bool         // the process lives
	// Program is what it has called itself.
	Program string
}

// Look examines another process's file. It must never be this process's own:
// closing it would drop the lock.
func (d *Dir) Look(name string) (s State, err error) {
	fd, err := d.openProc(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, closeFD(fd)) }()
	s.Name = name
	if s.Pid, s.Locked, err = lockHolder(fd); err != nil {
		return s, fmt.Errorf("look at the lock of %s: %w", d.file(procName+"/"+name), err)
	}
	var b [journal.HeadSize]byte
	if n, err := unix.Pread(fd, b[:], 0); err != nil {
		return s, fmt.Errorf("read %s: %w", d.file(procName+"/"+name), err)
	} else if n == 0 {
		return s, nil // just made
	}
	// Without a complete head the process has not said hello yet.
	if h, err := journal.ParseHead(b[:]); err == nil {
		s.Proc, s.Birth, s.Program = h.Proc, h.Birth, h.Program
	}
	return s, nil
}

func (d *Dir) openProc(name string) (int, error) {
	path := d.file(procName + "/" + name)
	if !ValidName(name) {
		return -1, fmt.Errorf("%q is not the name of a process file", name)
	}
	fd, err := unix.Openat(d.proc, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// SetProc writes the ProcID into another process's file, and first to which membership of
// its host it belongs.
func (d *Dir) SetProc(name string, p proto.ProcID, birth uint32) (err error) {
	fd, err := d.openProc(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFD(fd)) }()
	for _, w := range [...]struct {
		at int64
		b  []byte
	}{{journal.BirthOffset, journal.AppendBirth(nil, birth)}, {journal.ProcOffset, journal.AppendProc(nil, p)}} {
		if n, err := unix.Pwrite(fd, w.b, w.at); err != nil || n != len(w.b) {
			return fmt.Errorf("write %s: %w", d.file(procName+"/"+name), orShort(err))
		}
	}
	return nil
}

// Scan examines all process files but own, in order of ProcID.
func (d *Dir) Scan(own string) ([]State, error) {
	fd, err := unix.Openat(d.proc, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.file(procName), err)
	}
	f := os.NewFile(uintptr(fd), d.file(procName))
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %s: %w", d.file(procName), err)
	}
	var out []State
	for _, name := range names {
		if name == own || !ValidName(name) {
			continue
		}
		s, err := d.Look(name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Proc < out[j].Proc })
	return out, nil
}

// Dead is the file of a dead process. It is locked, so that nobody takes it.
type Dead struct {
	*Mapping
	dir   *Dir
	name  string
	trees *journal.Trees // once something of it was retired
}

// Retire makes its records of one tree void.
func (f *Dead) Retire(tree proto.Digest) {
	if f.trees == nil {
		f.trees = journal.ReadTrees(f)
	}
	f.trees.Retire(tree)
}

// OpenDead maps a dead process's file.
func (d *Dir) OpenDead(name string) (*Dead, error) {
	fd, err := d.openProc(name)
	if err != nil {
		return nil, err
	}
	path := d.file(procName + "/" + name)
	free, err := tryLock(fd)
	if err == nil && !free {
		err = unix.EBUSY
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), closeFD(fd))
	}
	m, err := newMapping(fd, path, nil)
	if err != nil {
		return nil, errors.Join(err, closeFD(fd))
	}
	return &Dead{Mapping: m, dir: d, name: name}, nil
}

// Close lets go of the file and leaves it.
func (f *Dead) Close() error { return errors.Join(f.Unmap(), closeFD(f.fd)) }

// Unlink removes the file's name. Close must follow.
func (f *Dead) Unlink() error { return f.dir.RemoveProc(f.name) }

// Remove lets go of the file and removes it.
func (f *Dead) Remove() error { return errors.Join(f.dir.RemoveProc(f.name), f.Close()) }

// DirectoryFile is the mapped directory of masters.
type DirectoryFile struct{ *Mapping }

// OpenDirectory maps the directory; the caller has the agent role.
func (d *Dir) OpenDirectory(hook func(addr uintptr, n int)) (*DirectoryFile, error) {
	path := filepath.Join(d.path, directoryName)
	fd, err := openFile(d.fd, directoryName, path)
	if err != nil {
		return nil, err
	}
	m, err := newMapping(fd, path, hook)
	if err != nil {
		return nil, errors.Join(err, closeFD(fd))
	}
	return &DirectoryFile{m}, nil
}

// FD is the file's descriptor, for a forked child to close.
func (f *DirectoryFile) FD() int { return f.fd }

// Close lets go of the file.
func (f *DirectoryFile) Close() error { return errors.Join(f.Unmap(), closeFD(f.fd)) }
