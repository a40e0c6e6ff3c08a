package secure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/godlm/godlm/net/owned"
)

// KeySize is the size of the cluster's key in bytes.
const KeySize = 32

// Key is what all hosts of a cluster share and nobody else knows.
type Key [KeySize]byte

// ErrExposed: others may read the key, or put another in its place.
var ErrExposed = errors.New("it may be known to others")

// LoadKey reads a key file: 64 hexadecimal digits in one line. It must belong to root
// or this user, and nobody else may read, write or replace it.
func LoadKey(path string) (k Key, err error) {
	f, err := owned.Open(path, owned.OpenToOthers)
	if errors.Is(err, owned.ErrOthers) {
		return k, fmt.Errorf("key: %w: %w", ErrExposed, err)
	}
	if err != nil {
		return k, fmt.Errorf("key: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
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
