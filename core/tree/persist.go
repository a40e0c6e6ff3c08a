package tree

import (
	"fmt"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// persistence makes a resource persistent: it belongs to a recovery domain, and
// while its block is not valid, or the domain is not, it outlives its locks
// (spec §12, D-62). The keeper's NL lock is what it lives by meanwhile; it stands
// there from the beginning, so that the resource is in the value journal.
type persistence struct {
	domain     proto.Digest
	keeper     *Lock
	doubted    bool   // the domain is invalid
	collection uint64 // the collection that the block, not valid, is in; 0: none
}

// admit decides whether l may be on r at all.
func (r *Resource) admit(l *Lock, domain proto.Digest) dlm.Status {
	wants := l.Flags&dlm.Persist != 0
	switch {
	case r.persist == nil && !wants:
		return dlm.Success
	case r.persist == nil && r.locks == 0:
		return dlm.Unkept
	case r.persist == nil:
		return dlm.NotPR
	case !wants && l.Flags&dlm.JoinPR != 0:
		return dlm.Success
	case !wants:
		return dlm.IsPR
	case r.persist.domain != domain:
		return dlm.PRRDMismatch
	}
	return dlm.Success
}

// Keep makes the resource at the end of path a persistent one, before its first
// lock. doubted: its domain is invalid, and so is the new block.
func (t *Tree) Keep(path []proto.Name, domain proto.Digest, doubted bool) error {
	r := &t.root
	for i := range path {
		if r = t.sub(r, &path[i]); r == nil {
			return fmt.Errorf("persistent resource: deeper than %d levels", MaxDepth)
		}
	}
	if r.persist != nil {
		return nil
	}
	if doubted {
		r.Block.Valid = false
		r.blame(proto.Cause{Kind: proto.CauseDomain, At: t.sink.Date()})
	}
	l := &Lock{Owner: proto.Keeper, ID: r.Digest().KeeperLock(), Requested: mode.NL}
	if err := r.enter(l); err != nil {
		t.retire(r)
		return err
	}
	r.persist = &persistence{domain: domain, keeper: l, doubted: doubted}
	t.kept++
	r.grant(l)
	return nil
}

// unkeep lets go of a persistent resource that no lock refers to and nobody has
// to recover.
func (r *Resource) unkeep() {
	p := r.persist
	if p == nil || r.locks > 1 || !r.Block.Valid || p.doubted {
		return
	}
	path := r.Path()
	r.persist = nil
	r.tree.kept--
	r.leave(p.keeper)
	r.tree.sink.Unkept(path)
}

// Path is the names on the way from the root down to r; none for the root.
func (r *Resource) Path() []proto.Name {
	path := make([]proto.Name, r.depth)
	for ; r.Parent != nil; r = r.Parent {
		path[r.depth-1] = *r.name
	}
	return path
}

// members visits the persistent resources of a domain.
func (t *Tree) members(domain proto.Digest, fn func(*Resource)) {
	t.some(func(r *Resource) bool { return r.persist != nil && r.persist.domain == domain }, fn)
}

// Collect puts the domain's blocks that are not valid into a collection.
func (t *Tree) Collect(domain proto.Digest, number uint64) {
	t.members(domain, func(r *Resource) {
		r.persist.collection = 0
		if !r.Block.Valid {
			r.persist.collection = number
		}
	})
}

// Validate makes the blocks of a collection that are still not valid zero and
// valid (D-66). It counts those of the domain that stay as they are.
func (t *Tree) Validate(domain proto.Digest, number uint64) (left uint32) {
	t.members(domain, func(r *Resource) {
		switch {
		case r.Block.Valid:
		case r.persist.collection != number:
			left++
		default:
			r.write(&proto.Value{})
			r.record()
			r.unkeep()
		}
	})
	return left
}

// Doubt makes all blocks of a domain not valid, and the domain invalid.
func (t *Tree) Doubt(domain proto.Digest) {
	t.members(domain, func(r *Resource) {
		r.persist.doubted = true
		r.invalidate(proto.Cause{Kind: proto.CauseDomain, At: t.sink.Date()})
		r.record()
	})
}

// Recovered says that a domain is valid again.
func (t *Tree) Recovered(domain proto.Digest) {
	t.members(domain, func(r *Resource) {
		r.persist.doubted = false
		r.unkeep()
	})
}

// Unkeep lets go of a persistent resource that Keep made and nobody used.
func (t *Tree) Unkeep(path []proto.Name) {
	if r := t.at(path); r != nil {
		r.unkeep()
	}
}

// Kept reports whether there is a persistent resource at the end of path.
func (t *Tree) Kept(path []proto.Name) bool {
	r := t.at(path)
	return r != nil && r.persist != nil
}

// EachKept visits the persistent resources.
func (t *Tree) EachKept(f func(path []proto.Name, domain proto.Digest)) {
	t.some(func(r *Resource) bool { return r.persist != nil }, func(r *Resource) {
		f(r.Path(), r.persist.domain)
	})
}

func (t *Tree) at(path []proto.Name) *Resource {
	r := &t.root
	for i := 0; i < len(path) && r != nil; i++ {
		r = t.Find(r, &path[i])
	}
	return r
}
