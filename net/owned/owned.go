// Package owned tells whether a file or a directory is this user's: that nobody but root
// and this user can have written it, can put another in its place, or, where it is
// secret, can read it. The key, the configuration and the state of a host are looked at
// with it. The runtime directory has rules of its own (net/rundir): it is made where
// everybody may write.
package owned

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrOthers: others can write, replace or read it.
var ErrOthers = errors.New("it is open to others")

// Modes that others must not have.
const (
	WrittenByOthers = 0o022
	OpenToOthers    = 0o077
)

const maxLinks = 40

// Open opens a file to be read, if nobody else has the forbidden rights on it, nor on
// what leads to it.
func Open(path string, forbidden uint32) (f *os.File, err error) {
	if err := way(path); err != nil {
		return nil, err
	}
	// A pipe must not be waited for.
	f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			err = errors.New("it is not a file")
		} else {
			err = check(&st, forbidden)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f, nil
}

// Directory makes a directory that is this user's alone, if there is none, and refuses
// one that is not.
func Directory(path string) error {
	err := way(path)
	if errors.Is(err, fs.ErrNotExist) { // what is there of it is as it should be
		if err = os.MkdirAll(path, 0o700); err == nil {
			err = way(path)
		}
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s: it is no directory, or a link", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s: %w: it belongs to user %d", path, ErrOthers, st.Uid)
	}
	if err := check(&st, OpenToOthers); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// check looks at owner and mode.
func check(st *unix.Stat_t, forbidden uint32) error {
	switch bad := st.Mode & forbidden; {
	case !trusted(st):
		return fmt.Errorf("%w: it belongs to user %d", ErrOthers, st.Uid)
	case bad == 0:
		return nil
	case forbidden == WrittenByOthers:
		return fmt.Errorf("%w (mode %#o): chmod go-w it", ErrOthers, st.Mode&0o7777)
	}
	return fmt.Errorf("%w (mode %#o): chmod go= it", ErrOthers, st.Mode&0o7777)
}

func trusted(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == os.Geteuid() }

// way refuses a path on which others can put something else in place of what it leads to:
// each directory, also behind links, is root's or this user's and cannot be written by
// others, or, as /tmp, lets them touch only what is theirs, and then what the path goes
// through there is not theirs.
func way(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	at, todo := "/", strings.Split(path[1:], "/")
	for links := 0; ; {
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return &os.PathError{Op: "look at", Path: at, Err: err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK { // of somebody who may write there, or the directory would have been refused
			if links++; links > maxLinks {
				return &os.PathError{Op: "look at", Path: path, Err: unix.ELOOP}
			}
			if !trusted(&st) {
				return fmt.Errorf("%s: %w: the link %s belongs to user %d", path, ErrOthers, at, st.Uid)
			}
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(at), to)
			}
			at, todo = "/", append(strings.Split(filepath.Clean(to)[1:], "/"), todo...)
			continue
		}
		for len(todo) > 0 && todo[0] == "" {
			todo = todo[1:]
		}
		if len(todo) == 0 {
			return nil // the caller looks at that itself
		}
		switch {
		case st.Mode&unix.S_IFMT != unix.S_IFDIR:
			return &os.PathError{Op: "look at", Path: at, Err: unix.ENOTDIR}
		case !trusted(&st):
			return fmt.Errorf("%s: %w: the directory %s belongs to user %d", path, ErrOthers, at, st.Uid)
		case st.Mode&WrittenByOthers != 0 && st.Mode&unix.S_ISVTX == 0:
			return fmt.Errorf("%s: %w: they may write in %s (mode %#o): chmod go-w that", path, ErrOthers, at, st.Mode&0o7777)
		}
		at, todo = filepath.Join(at, todo[0]), todo[1:]
	}
}
