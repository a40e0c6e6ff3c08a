package rebuild

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// nowhere is a sink and a journal of which nothing is needed.
type nowhere struct{}

func (nowhere) Granted(*tree.Lock)                     {}
func (nowhere) Blocking(*tree.Lock, mode.Mode, uint64) {}
func (nowhere) Unkept([]proto.Name)                    {}
func (nowhere) Invalidated(proto.CauseKind)            {}
func (nowhere) Date() uint32                           { return 0 }
func (nowhere) Open() (uint32, error)                  { return 0, nil }
func (nowhere) Write(uint32, *proto.Record)            {}
func (nowhere) Close(uint32)                           {}

// forest is what survivors say of a large tree: locks on resources and below them, some of
// which several survivors have, in an order of arrival of which some know nothing.
func forest(r *rand.Rand) *Input {
	root := proto.Root{Name: proto.MakeName([]byte("tree"))}
	in := &Input{
		Root: root, Tree: root.Digest(), Assign: assign,
		Alive: func(proto.ProcID) bool { return true },
	}
	arrivals := r.IntN(2) == 0
	for p := range proto.ProcID(2 + r.IntN(3)) {
		rep := Report{Proc: p + 1}
		digests := []proto.Digest{in.Tree}
		n := 1 + r.IntN(300)
		for i := range n {
			l := proto.LockReport{Lock: proto.LockID(i + 1), Granted: mode.CR, Requested: mode.CR}
			d := in.Tree
			if i > 0 && r.IntN(50) > 0 {
				parent := r.IntN(min(i, 20)) // also of locks that have none
				l.Parent, l.Name = rep.Locks[parent].Lock, proto.MakeName(fmt.Appendf(nil, "r%d", r.IntN(200)))
				d = digests[parent].Child(&l.Name)
			}
			digests = append(digests[:i], d)
			if r.IntN(4) == 0 {
				l.Pending, l.Requested, l.Made = proto.PendingConvert, mode.PR, int64(r.IntN(100))
				if arrivals && r.IntN(2) == 0 {
					l.Arrival = 1 + uint64(r.IntN(1000))
				}
			}
			rep.Locks = append(rep.Locks, l)
			for range r.IntN(3) {
				seq := 1 + uint64(r.IntN(1000000))
				in.Records = append(in.Records, proto.Record{Tree: in.Tree, Resource: d, Block: block(byte(seq), seq, true)})
			}
		}
		in.Reports = append(in.Reports, rep)
	}
	return in
}

// TestLargeTree: every lock is on its resource, every resource is there once and has what the
// newest record says, locks are in queue order, and a master can take the image.
func TestLargeTree(t *testing.T) {
	for seed := range uint64(200) {
		in := forest(rand.New(rand.NewPCG(seed, 5)))
		im := Assemble(in)
		locks := map[owned]proto.ImageLock{}
		for _, l := range im.Locks {
			locks[owned{l.Owner, l.Lock}] = l
		}
		resources, made := map[proto.Digest]bool{}, map[owned]int64{}
		total := 0
		for _, rep := range in.Reports {
			digests := map[proto.LockID]proto.Digest{0: in.Tree}
			for _, l := range rep.Locks {
				d := in.Tree
				if l.Parent != 0 {
					d = digests[l.Parent].Child(&l.Name)
				}
				digests[l.Lock], resources[d] = d, true
				o := owned{rep.Proc, l.Lock}
				got, any := locks[o]
				if !any || im.Resources[got.Resource].Digest != d {
					t.Fatalf("seed %d: lock %v is in the image: %v, on resource %d", seed, o, any, got.Resource)
				}
				if made[o] = l.Made; l.Arrival != 0 {
					made[o] = int64(l.Arrival) - 1<<40
				} else if l.Pending == proto.PendingNothing {
					made[o] = 0
				}
				total++
			}
		}
		if total != len(im.Locks) || len(resources) != len(im.Resources) {
			t.Fatalf("seed %d: %d locks of %d, %d resources of %d", seed, len(im.Locks), total, len(im.Resources), len(resources))
		}
		if !slices.IsSortedFunc(im.Locks, func(x, y proto.ImageLock) int {
			return cmp.Compare(made[owned{x.Owner, x.Lock}], made[owned{y.Owner, y.Lock}])
		}) {
			t.Fatalf("seed %d: locks are not in queue order", seed)
		}
		newest := map[proto.Digest]proto.Block{}
		for _, r := range in.Records {
			if newest[r.Resource].Stamp.Less(r.Block.Stamp) {
				newest[r.Resource] = r.Block
			}
		}
		for i := range im.Resources {
			r := &im.Resources[i]
			if want, any := newest[r.Digest]; any && r.Block != want {
				t.Fatalf("seed %d: resource %d has %v, not %v", seed, i, r.Block, want)
			}
		}
		lock := func(*proto.ImageLock) *tree.Lock { return &tree.Lock{} }
		if _, err := tree.Install(&in.Root, im, 1, nowhere{}, nowhere{}, lock); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if last := len(im.Resources) - 1; last > 1 {
			im.Resources[last] = im.Resources[1]
			if _, err := tree.Install(&in.Root, im, 1, nowhere{}, nowhere{}, lock); err == nil {
				t.Fatalf("seed %d: an image with a resource twice was taken", seed)
			}
		}
	}
}
