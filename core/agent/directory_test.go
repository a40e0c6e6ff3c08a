package agent

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/godlm/godlm/core/proto"
)

// The table of settled trees must answer like a map, whatever is done to it.
func TestDirectoryIsAMap(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var y directory
		y.init()
		want := map[proto.Digest]tree{}
		some := func() (d proto.Digest) {
			// Few parts and few places in them, so that searches meet.
			d[0] = byte(r.IntN(2))
			binary.BigEndian.PutUint64(d[1:], uint64(r.IntN(8))<<61|uint64(r.IntN(64)))
			return d
		}
		var left []Entry
		for range r.IntN(200) {
			e := Entry{some(), proto.ProcID(r.IntN(6)), r.Uint64()}
			left = append(left, e)
			if e.Master != 0 {
				want[e.Tree] = tree{digest: e.Tree, master: e.Master, assign: e.Assign}
			}
		}
		y.fill(left)
		for step := range 5000 {
			d := some()
			switch r.IntN(6) {
			case 0, 1, 2:
				if y.loose[d] == nil {
					x := tree{digest: d, master: proto.ProcID(1 + r.IntN(5)), assign: r.Uint64(), held: r.IntN(2) == 0}
					y.settle(d, x.master, x.assign, x.held)
					want[d] = x
				}
			case 3:
				y.remove(d)
				delete(want, d)
			case 4:
				if l := y.loosen(d); l != nil {
					l.assign++
					x := want[d]
					x.assign++
					want[d] = x
				} else if _, known := want[d]; known {
					t.Fatalf("seed %d, step %d: a tree is not to be found", seed, step)
				}
			case 5:
				// The trees of a dead master become loose one after the other.
				if r.IntN(50) == 0 {
					p := proto.ProcID(1 + r.IntN(5))
					y.died(p)
					for part := range y.parts {
						orphans, _ := y.orphans(part)
						for _, d := range orphans {
							if want[d].master != p || y.loosen(d) == nil {
								t.Fatalf("seed %d, step %d: a tree of %d is one of the dead's", seed, step, want[d].master)
							}
						}
					}
					if _, any := y.numbers[p]; any || y.orphaned != 0 {
						t.Fatalf("seed %d, step %d: %d trees of the dead are left", seed, step, y.orphaned)
					}
				}
			}
			d = some()
			got, known := y.of(d)
			x, should := want[d]
			if known != should || got.master != x.master || got.assign != x.assign || got.held != x.held {
				t.Fatalf("seed %d, step %d: %+v, %v instead of %+v, %v", seed, step, got, known, x, should)
			}
		}
		trees := map[proto.ProcID]int{}
		for d := range want {
			if y.loose[d] == nil {
				trees[want[d].master]++
			}
		}
		for p, n := range y.numbers {
			if y.masters[n].trees != trees[p] || trees[p] == 0 {
				t.Fatalf("seed %d: %d trees of %d are counted, there are %d", seed, y.masters[n].trees, p, trees[p])
			}
		}
	}
}
