package agent

import (
	"cmp"
	"slices"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/rebuild"
)

// reports is what the survivors say of trees without a master. Nothing in it points
// anywhere, since there may be as many as there are locks.
type reports struct {
	of    map[proto.Digest]int32 // in trees
	trees []reportedTree
	parts []report
	locks [][]proto.LockReport // in pieces of reportChunk
	used  int
}

// reportedTree has what was said of it chained.
type reportedTree struct {
	root  proto.Root
	first int32 // in parts; -1: none
}

// report is what one process says of a tree: locks that follow on one another.
type report struct {
	proc    proto.ProcID
	from, n int32
	next    int32 // of the tree; -1: none
}

const reportChunk = 512

func (r *reports) clear() { *r = reports{of: map[proto.Digest]int32{}} }

// put keeps what p says of a tree, in place of what it said before.
func (r *reports) put(d proto.Digest, p proto.ProcID, m *proto.Msg) {
	n, known := r.of[d]
	if !known {
		n = int32(len(r.trees))
		r.trees = append(r.trees, reportedTree{m.Root, -1})
		r.of[d] = n
	}
	t := &r.trees[n]
	said := report{p, int32(r.used), int32(len(m.Locks)), t.first}
	for i := t.first; i >= 0; i = r.parts[i].next {
		if r.parts[i].proc == p {
			r.parts[i].n = 0
		}
	}
	for left := m.Locks; len(left) > 0; {
		at := r.used % reportChunk
		if r.used == len(r.locks)*reportChunk {
			r.locks = append(r.locks, make([]proto.LockReport, reportChunk))
		}
		k := copy(r.locks[r.used/reportChunk][at:], left)
		r.used += k
		left = left[k:]
	}
	t.first = int32(len(r.parts))
	r.parts = append(r.parts, said)
}

// take gives the root of a tree and the reports, in the order of the processes. Their
// locks are in space, which is used again for the next tree.
func (r *reports) take(d proto.Digest, space *[]proto.LockReport, out []rebuild.Report) (proto.Root, []rebuild.Report) {
	n, known := r.of[d]
	if !known {
		return proto.Root{}, out
	}
	*space = (*space)[:0]
	for i := r.trees[n].first; i >= 0; i = r.parts[i].next {
		said := &r.parts[i]
		if said.n == 0 {
			continue
		}
		at := len(*space)
		for from, left := int(said.from), int(said.n); left > 0; {
			piece := r.locks[from/reportChunk][from%reportChunk:]
			piece = piece[:min(len(piece), left)]
			*space = append(*space, piece...)
			from, left = from+len(piece), left-len(piece)
		}
		out = append(out, rebuild.Report{Proc: said.proc, Locks: (*space)[at:]})
	}
	slices.SortFunc(out, func(x, y rebuild.Report) int { return cmp.Compare(x.Proc, y.Proc) })
	return r.trees[n].root, out
}
