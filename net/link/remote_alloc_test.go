package link

import (
	"testing"

	"github.com/godlm/godlm/core/proto"
)

// A request to another host and its answer, sealed, sent, read, acknowledged now and then,
// cost the collector nothing, alone or many together, waited for or not.
func TestStreamsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	at := newFar(t, 0)
	reply := &proto.Msg{Kind: proto.KQueued, Arrival: 5}
	at.answer = func(c *Conn, _ *proto.Msg) { c.Send(reply) }
	h := newHosts(t, at)
	answers := make(chan bool, 1000)
	from := newFar(t, 0)
	from.answer = func(*Conn, *proto.Msg) { answers <- true }
	c := h.a.NewRemote(from)
	h.dial(t, 1)(c)
	ask := &proto.Msg{Kind: proto.KQueued, Arrival: 7}
	for _, far := range []bool{false, true} {
		for _, together := range []int{1, 100} {
			turn := func() {
				for range together {
					c.Send(ask)
					if far {
						h.a.FlushNear()
					}
				}
				h.a.Flush()
				for range together {
					<-answers
				}
			}
			for range 3000 {
				turn() // the buffers have grown
			}
			if n := testing.AllocsPerRun(3000, turn); n != 0 {
				t.Errorf("%d together, soon: %v: %v allocations", together, far, n)
			}
		}
	}
}
