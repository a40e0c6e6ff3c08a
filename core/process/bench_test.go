package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// localPair returns a function that locks and unlocks a resource mastered by the
// calling process.
func localPair(t *testing.T) func() {
	_, m := newCluster(t, 1)
	p := m[0].p
	q := process.LockRequest{Name: proto.MakeName([]byte("R")), Mode: mode.EX}
	var r process.Result
	m[0].lock("R", mode.NL, 0)
	return func() {
		p.Lock(&q, &r)
		if r.Status != dlm.Success {
			t.Fatal(r.Status)
		}
		u := process.UnlockRequest{Lock: r.Lock}
		p.Unlock(&u, &r)
	}
}

func TestLocalPairAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, localPair(t)); n != 0 {
		t.Errorf("%v allocations per lock+unlock", n)
	}
}

func BenchmarkLocalPair(b *testing.B) {
	pair := localPair(&testing.T{})
	for b.Loop() {
		pair()
	}
}
