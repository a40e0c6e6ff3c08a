package secure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// KeySize is the size of the cluster's key in bytes.
const KeySize = 32

// Key is what all hosts of a cluster share and nobody else knows.
type Key [KeySize]byte

// ErrExposed: others may read the key.
var ErrExposed = errors.New("others may read it")

// LoadKey reads a key file: 64 hexadecimal digits in one line. It must belong to root
// or this user, and nobody else may read or write it.
func LoadKey(path string) (k Key, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return k, fmt.Errorf("key: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return k, fmt.Errorf("key %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return k, fmt.Errorf("key %s is not a file", path)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return k, fmt.Errorf("key %s: %w: it belongs to user %d", path, ErrExposed, st.Uid)
	case st.Mode&0o077 != 0:
		return k, fmt.Errorf("key %s: %w: chmod go= it", path, ErrExposed)
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*KeySize+16))
	if err != nil {
		return k, fmt.Errorf("key %s: %w", path, err)
	}
	b = bytes.TrimSpace(b)
	if len(b) != 2*KeySize {
		return k, fmt.Errorf("key %s: not %d hexadecimal digits", path, 2*KeySize)
	}
	if _, err := hex.Decode(k[:], b); err != nil {
		return Key{}, fmt.Errorf("key %s: not %d hexadecimal digits", path, 2*KeySize)
	}
	if k == (Key{}) {
		return k, fmt.Errorf("key %s: all zero is no key", path)
	}
	return k, nil
}
