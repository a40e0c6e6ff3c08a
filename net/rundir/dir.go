package rundir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

// Names in the directory.
const (
	lockName      = "agent.lock"
	agentSockName = "agent.sock"
	directoryName = "directory"
	procName      = "proc"
	sockName      = "sock"
)

// maxSockPath is what fits into sockaddr_un, with the final 0.
const maxSockPath = 107

// Dir is an open runtime directory.
type Dir struct {
	path string
	fd   int
	proc int // descriptor of proc/
	lock int // of agent.lock
}

// Open checks and opens the runtime directory at path.
func Open(path string) (d *Dir, err error) {
	fd, err := openChecked(path)
	if err != nil {
		return nil, err
	}
	d = &Dir{path: filepath.Clean(path), fd: fd, proc: -1, lock: -1}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Dir) open() (err error) {
	// Tools that remove old temporary files leave locked directories alone. It
	// does not matter if this fails.
	_ = unix.Flock(d.fd, unix.LOCK_SH|unix.LOCK_NB)
	if d.proc, err = enter(d.fd, procName, d.file(procName)); err != nil {
		return err
	}
	sock, err := enter(d.fd, sockName, d.file(sockName))
	if err != nil {
		return err
	}
	if err := closeFD(sock); err != nil {
		return err
	}
	d.lock, err = openFile(d.fd, lockName, d.file(lockName))
	return err
}

// openFile opens a file of ours, making it if it is missing.
func openFile(dir int, name, path string) (int, error) {
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Openat(dir, name, flags|unix.O_CREAT, fileMode)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, errors.Join(fmt.Errorf("look at %s: %w", path, err), closeFD(fd))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, errors.Join(fmt.Errorf("%s is not a file: %w: remove it", path, ErrUnsafe), closeFD(fd))
	}
	return fd, nil
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// Identity names the directory itself, whatever path leads to it.
func (d *Dir) Identity() (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return 0, 0, fmt.Errorf("look at %s: %w", d.path, err)
	}
	return uint64(st.Dev), st.Ino, nil
}

// FDs are the descriptors that a forked child must close.
func (d *Dir) FDs() []int { return []int{d.fd, d.proc, d.lock} }

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// Close gives up the descriptors, and with them the agent role.
func (d *Dir) Close() error {
	var errs []error
	for _, fd := range []*int{&d.lock, &d.proc, &d.fd} {
		if *fd >= 0 {
			errs = append(errs, closeFD(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// TryAgent takes the agent role if nobody has it.
func (d *Dir) TryAgent() (bool, error) {
	free, err := tryLock(d.lock)
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", d.file(lockName), err)
	}
	return free, nil
}

// ReleaseAgent gives the agent role back.
func (d *Dir) ReleaseAgent() error {
	l := unix.Flock_t{Type: unix.F_UNLCK, Len: 1}
	if err := unix.FcntlFlock(uintptr(d.lock), unix.F_SETLK, &l); err != nil {
		return fmt.Errorf("unlock %s: %w", d.file(lockName), err)
	}
	return nil
}

// AgentPid is the process that has the agent role; 0 if nobody has it or the
// kernel does not show it here.
func (d *Dir) AgentPid() int {
	pid, _, err := lockHolder(d.lock)
	if err != nil {
		return 0
	}
	return pid
}

// AgentBegan is when the latest agent took the role, and wrote its generation.
func (d *Dir) AgentBegan() (time.Time, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.lock, &st); err != nil {
		return time.Time{}, fmt.Errorf("look at %s: %w", d.file(lockName), err)
	}
	return time.Unix(st.Mtim.Unix()), nil
}

// NextGeneration counts the agents of this directory; the caller has the role.
// The count of a new directory starts from the wall clock in seconds, so that it
// does not go back when the directory was lost.
func (d *Dir) NextGeneration() (uint32, error) {
	var b [8]byte
	n, err := unix.Pread(d.lock, b[:], 0)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", d.file(lockName), err)
	}
	gen := uint64(time.Now().Unix()) & 0xffffffff
	if n == len(b) {
		gen = binary.NativeEndian.Uint64(b[:]) + 1
	}
	if gen > 0xffffffff || gen == 0 {
		return 0, fmt.Errorf("%s holds generation %d: remove %s when no process uses it", d.file(lockName), gen-1, d.path)
	}
	binary.NativeEndian.PutUint64(b[:], gen)
	if n, err = unix.Pwrite(d.lock, b[:], 0); err != nil || n != len(b) {
		return 0, fmt.Errorf("write %s (%d bytes): %w", d.file(lockName), n, orShort(err))
	}
	return uint32(gen), nil
}

func orShort(err error) error {
	if err == nil {
		return unix.ENOSPC
	}
	return err
}

// tryLock takes the record lock on byte 0.
func tryLock(fd int) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	switch err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &l); err {
	case nil:
		return true, nil
	case unix.EAGAIN, unix.EACCES:
		return false, nil
	default:
		return false, err
	}
}

// lockHolder tells who else has the record lock on byte 0.
func lockHolder(fd int) (pid int, locked bool, err error) {
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &l); err != nil {
		return 0, false, err
	}
	return int(l.Pid), l.Type != unix.F_UNLCK, nil
}

// AgentSock is the address of the agent's socket.
func (d *Dir) AgentSock() *unix.SockaddrUnix { return d.sockaddr(agentSockName) }

// ProcSock is the address of a process's socket.
func (d *Dir) ProcSock(p proto.ProcID) *unix.SockaddrUnix {
	return d.sockaddr(sockName + "/" + strconv.FormatUint(uint64(p), 16))
}

// sockaddr goes through the open directory when the path is too long.
func (d *Dir) sockaddr(name string) *unix.SockaddrUnix {
	path := d.file(name)
	if len(path) > maxSockPath {
		path = "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + name
	}
	return &unix.SockaddrUnix{Name: path}
}

// RemoveAgentSock removes what an earlier agent left.
func (d *Dir) RemoveAgentSock() error { return d.remove(d.fd, agentSockName) }

// RemoveProcSock removes the socket of a process that is dead, or is to be made
// anew.
func (d *Dir) RemoveProcSock(p proto.ProcID) error {
	return d.remove(d.fd, sockName+"/"+strconv.FormatUint(uint64(p), 16))
}

// HandSock is where the agent hands over sockets of other hosts for a process.
func (d *Dir) HandSock(p proto.ProcID) *unix.SockaddrUnix {
	return d.sockaddr(sockName + "/" + strconv.FormatUint(uint64(p), 16) + ".in")
}

// RemoveHandSock removes the one of a process that is dead, or is to be made anew.
func (d *Dir) RemoveHandSock(p proto.ProcID) error {
	return d.remove(d.fd, sockName+"/"+strconv.FormatUint(uint64(p), 16)+".in")
}

func (d *Dir) remove(dir int, name string) error {
	if err := unix.Unlinkat(dir, name, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove %s in %s: %w", name, d.path, err)
	}
	return nil
}
