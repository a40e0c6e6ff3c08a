package process

import (
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// Held is a tree that this process holds.
type Held struct {
	Root    proto.Root
	Assign  uint64
	Serving bool // false: installed, not yet activated
	Tree    *tree.Tree
}

// Walk visits the trees held here, for tests and inspection. fn must not change
// what it sees, keep it or call back into the process.
func (p *Process) Walk(fn func(h Held)) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for r := s.order.head; r != nil; r = r.next {
			t := r.tree
			if r.lent {
				x, _ := s.likeness(r)
				t = x.tree
			}
			if t != nil {
				fn(Held{r.key, r.assign, r.where == local, t})
			}
		}
		s.eachAsleep(func(r *root) { fn(Held{r.key, r.assign, true, r.tree}) })
		s.mu.Unlock()
	}
}
