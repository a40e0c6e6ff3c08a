package host

import (
	"runtime"
	"testing"

	"github.com/godlm/godlm/core/proto"
)

// What waits for a coordination that never comes is bounded in bytes, too.
func TestHeldBytes(t *testing.T) {
	w := flooded(t, true)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := w.h.Receive(2, &proto.Msg{Kind: proto.KRoster, Epoch: 1<<32 - 1}); err != nil {
		return
	}
	m := proto.Msg{Kind: proto.KForward, Proc: 1, Data: make([]byte, 1<<20)}
	sent := 0
	for ; sent < 400; sent++ {
		if err := w.h.Receive(2, &m); err != nil {
			break
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int(after.HeapAlloc) - int(before.HeapAlloc); grown > 200<<20 {
		t.Errorf("%d messages of 1 MiB are held, %d MiB", sent, grown>>20)
	}
	runtime.KeepAlive(w)
}
