package agent

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/godlm/godlm/core/index"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/rebuild"
)

// reports is what the survivors say of trees without a master, in as many parts as the
// directory has: the trees of one are placed one after the other, and what is needed for
// that is close together.
type reports [partCount]reportsPart

// reportsPart is what is said of the trees of a part. There may be as many reports as there
// are locks: so they are kept as they travel, which is short, and nothing in them points
// anywhere.
type reportsPart struct {
	of     index.Index // in trees, by their digests
	trees  []reportedTree
	parts  []report
	pieces [][]byte // of roots' names, and of locks as proto.AppendReports writes them
}

// reportedTree has what was said of it chained.
type reportedTree struct {
	digest proto.Digest
	space  proto.Namespace
	name   place
	first  int32 // in parts; -1: none
}

// report is what one process says of a tree.
type report struct {
	proc  proto.ProcID
	asks  uint64 // number of its question who masters the tree; 0: none
	locks place
	next  int32 // of the tree; -1: none
}

// place is where some bytes are in the pieces. There are none if n is 0.
type place struct{ piece, at, n int32 }

const reportPiece = 4 << 10

func (r *reports) clear() { *r = reports{} }

func (r *reports) part(d *proto.Digest) *reportsPart { return &r[d[0]] }

func (r *reportsPart) bytes(p place) []byte { return r.pieces[p.piece][p.at : p.at+p.n] }

// room is a piece with room for n bytes.
func (r *reportsPart) room(n int) (piece int32) {
	if last := len(r.pieces) - 1; last >= 0 && cap(r.pieces[last])-len(r.pieces[last]) >= n {
		return int32(last)
	}
	r.pieces = append(r.pieces, make([]byte, 0, max(reportPiece, n)))
	return int32(len(r.pieces) - 1)
}

// write puts locks into a piece; many have one of their own.
func (r *reportsPart) write(locks []proto.LockReport) place {
	if most := len(locks) * proto.ReportMost; most <= reportPiece {
		k := r.room(most)
		at := len(r.pieces[k])
		r.pieces[k] = proto.AppendReports(r.pieces[k], locks)
		return place{k, int32(at), int32(len(r.pieces[k]) - at)}
	}
	b := proto.AppendReports(nil, locks)
	r.pieces = append(r.pieces, b)
	return place{int32(len(r.pieces) - 1), 0, int32(len(b))}
}

func digestHash(d *proto.Digest) uint32 { return binary.LittleEndian.Uint32(d[1:]) }

func (r *reportsPart) find(d *proto.Digest) (n uint32, known bool) {
	return r.of.Find(digestHash(d), func(n uint32) bool { return r.trees[n].digest == *d })
}

// root is the root of a tree that something was said of.
func (r *reportsPart) root(t *reportedTree) proto.Root {
	return proto.Root{Space: t.space, Name: proto.MakeName(r.bytes(t.name))}
}

// put keeps what p says of a tree, in place of what it said before.
func (r *reportsPart) put(d proto.Digest, p proto.ProcID, m *proto.Msg, asks uint64) {
	n, known := r.find(&d)
	if !known {
		n = uint32(len(r.trees))
		name := m.Root.Name.Bytes()
		k := r.room(len(name))
		t := reportedTree{d, m.Root.Space, place{k, int32(len(r.pieces[k])), int32(len(name))}, -1}
		r.pieces[k] = append(r.pieces[k], name...)
		r.trees = append(r.trees, t)
		r.of.Add(digestHash(&d), n)
	}
	t := &r.trees[n]
	for i := t.first; i >= 0; i = r.parts[i].next {
		if r.parts[i].proc == p {
			r.parts[i].locks.n, r.parts[i].asks = 0, 0
		}
	}
	r.parts = append(r.parts, report{p, asks, r.write(m.Locks), t.first})
	t.first = int32(len(r.parts) - 1)
}

// take gives the root of a tree, the reports, and who asks who masters it, in the order of
// the processes. Few locks are in space, which is used again for the next tree.
func (r *reportsPart) take(d proto.Digest, space *[]proto.LockReport, out []rebuild.Report) (root proto.Root, _ []rebuild.Report, asking []asker) {
	n, known := r.find(&d)
	if !known {
		return root, out, nil
	}
	t := &r.trees[n]
	root = r.root(t)
	*space = (*space)[:0]
	for i := t.first; i >= 0; i = r.parts[i].next {
		said := &r.parts[i]
		if said.asks != 0 {
			asking = append(asking, asker{said.proc, root, false, said.asks})
		}
		if said.locks.n == 0 {
			continue
		}
		into := *space
		if said.locks.n > reportPiece {
			into = nil
		}
		locks, err := proto.ParseReports(r.bytes(said.locks), into)
		if err != nil {
			continue // no message could have brought it
		}
		if said.locks.n <= reportPiece {
			*space = locks
		}
		if len(locks) > len(into) {
			out = append(out, rebuild.Report{Proc: said.proc, Locks: locks[len(into):]})
		}
	}
	slices.SortFunc(out, func(x, y rebuild.Report) int { return cmp.Compare(x.Proc, y.Proc) })
	slices.SortFunc(asking, func(x, y asker) int { return cmp.Compare(x.proc, y.proc) })
	return root, out, asking
}
