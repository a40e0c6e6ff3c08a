package proto

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest identifies the root resource.
func (r *Root) Digest() (d Digest) {
	var b [5 + MaxName]byte
	b[0] = byte(r.Space.Kind)
	binary.BigEndian.PutUint32(b[1:], r.Space.ID)
	n := copy(b[5:], r.Name.Bytes())
	sum := sha256.Sum256(b[:5+n])
	copy(d[:], sum[:])
	return d
}

// Child identifies the sub-resource of that name.
func (d Digest) Child(name *Name) (c Digest) {
	var b [len(d) + MaxName]byte
	copy(b[:], d[:])
	n := copy(b[len(d):], name.Bytes())
	sum := sha256.Sum256(b[:len(d)+n])
	copy(c[:], sum[:])
	return c
}

// DomainDigest identifies a recovery domain.
func DomainDigest(name string) (d Digest) {
	h := sha256.Sum256(append([]byte("recovery domain "), name...))
	copy(d[:], h[:])
	return d
}
