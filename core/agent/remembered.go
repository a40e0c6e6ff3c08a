package agent

import (
	"slices"
	"sort"

	"github.com/godlm/godlm/core/proto"
)

// Remembered is which persistent resources there are and which recovery domains
// are invalid: what a World has to keep of Keep, Unkeep and Doubt.
type Remembered struct {
	kept    map[proto.Digest]proto.Kept
	doubted map[proto.Digest]bool
}

// Keep adds a resource.
func (r *Remembered) Keep(k *proto.Kept) {
	if r.kept == nil {
		r.kept = map[proto.Digest]proto.Kept{}
	}
	r.kept[k.Digest()] = proto.Kept{Root: k.Root, Path: slices.Clone(k.Path), Domain: k.Domain}
}

// Unkeep takes a resource out.
func (r *Remembered) Unkeep(k *proto.Kept) { delete(r.kept, k.Digest()) }

// Doubt notes whether a domain is invalid.
func (r *Remembered) Doubt(domain proto.Digest, invalid bool) {
	if r.doubted == nil {
		r.doubted = map[proto.Digest]bool{}
	}
	delete(r.doubted, domain)
	if invalid {
		r.doubted[domain] = true
	}
}

// Fill puts everything into l, in an order of its own.
func (r *Remembered) Fill(l *Lasting) {
	for _, d := range inOrder(r.kept) {
		l.Kept = append(l.Kept, r.kept[d])
	}
	l.Doubted = append(l.Doubted, inOrder(r.doubted)...)
}

// Clone is an independent copy.
func (r *Remembered) Clone() *Remembered {
	c := &Remembered{}
	for _, k := range r.kept {
		c.Keep(&k)
	}
	for d := range r.doubted {
		c.Doubt(d, true)
	}
	return c
}

// inOrder is a map's keys in an order that does not depend on the map.
func inOrder[T any](m map[proto.Digest]T) []proto.Digest {
	out := make([]proto.Digest, 0, len(m))
	for d := range m {
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool { return string(out[i][:]) < string(out[j][:]) })
	return out
}
