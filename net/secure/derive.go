package secure

import (
	"crypto/hkdf"
	"crypto/sha256"
)

// Derive is a key for another purpose, so that no two of them share one. It tells
// nothing about k.
func (k Key) Derive(purpose string) []byte {
	b, err := hkdf.Key(sha256.New, k[:], nil, "godlm "+purpose, KeySize)
	if err != nil {
		panic(err) // only of lengths
	}
	return b
}
