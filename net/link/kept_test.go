package link

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// What is kept until it is acknowledged is what was added and not dropped, and what a burst
// needed is not kept for ever, though some bytes always wait.
func TestKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var k kept
	var want []byte
	for n := range 20000 {
		most := 4 << 10
		if n%1000 == 0 {
			most = 4 << 20
		}
		b := make([]byte, rng.IntN(most))
		for i := range b {
			b[i] = byte(n)
		}
		k.add(b)
		want = append(want, b...)
		gone := rng.IntN(len(want) + 1)
		if n%1000 == 500 {
			gone = max(0, len(want)-100)
		}
		k.drop(gone)
		want = want[gone:]
		if !bytes.Equal(k.bytes(), want) {
			t.Fatalf("step %d: %d bytes are kept, want %d, or others", n, k.len(), len(want))
		}
		if n%1000 == 500 && cap(k.buf) > keepOut {
			t.Fatalf("step %d: %d bytes of memory for %d", n, cap(k.buf), k.len())
		}
	}
}
