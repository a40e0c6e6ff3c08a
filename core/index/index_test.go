package index

import (
	"math/rand/v2"
	"testing"
)

// An index must answer like a map, however badly the hashes fall.
func TestIndexIsAMap(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		spread := uint32(1) << (seed % 32)
		hash := func(n uint32) uint32 { return n * 2654435761 / spread * spread }
		var x Index
		want := map[uint32]bool{}
		most := 1 + r.IntN(2000)
		for step := range 20000 {
			n := uint32(r.IntN(most))
			got, found := x.Find(hash(n), func(m uint32) bool { return m == n })
			if found != want[n] || found && got != n {
				t.Fatalf("seed %d, step %d: %d is found: %v, as %d", seed, step, n, found, got)
			}
			growing := step/4000%2 == 0
			switch {
			case !found && (growing || r.IntN(4) == 0):
				x.Add(hash(n), n)
				want[n] = true
			case found && (!growing || r.IntN(4) == 0):
				x.Remove(hash(n), n)
				delete(want, n)
			}
			if r.IntN(500) == 0 {
				x.Grow(r.IntN(100))
			}
			if x.Len() != len(want) {
				t.Fatalf("seed %d, step %d: %d things, not %d", seed, step, x.Len(), len(want))
			}
		}
	}
}
