package host

import (
	"testing"

	"github.com/godlm/godlm/core/proto"
)

// Who is asked for and has ended before the answer is not asked for for ever.
func TestNobodyIsAskedForForEver(t *testing.T) {
	w := flooded(t, false)
	for i := range 1000 {
		p := proto.ProcID(1<<40 + i)
		w.h.Where(fuzzSelf, p)
		w.hear(2, proto.Append(nil, &proto.Msg{Kind: proto.KHome, Proc: p})) // nobody, says the coordinator
	}
	if n := len(w.h.where); n > 0 {
		t.Errorf("%d processes are asked for", n)
	}
	w.h.Where(fuzzSelf, 1<<41)
	if w.h.state.Hosts[1].ID != fuzzMe {
		t.Fatalf("%+v", w.h.state.Hosts)
	}
	w.decideOut(2)
	for id := proto.HostID(2); id <= 3; id++ {
		w.propose(proto.HostOver, id)
	}
	w.decideOut(3)
	w.propose(proto.HostOver, 3)
	if w.h.settle(); !w.h.Coordinates() {
		t.Fatalf("%+v", w.h.Report())
	}
	if n := len(w.h.where); n > 0 {
		t.Errorf("%d processes are asked for, and this host coordinates", n)
	}
}

func (w *someWorld) propose(verb proto.HostVerb, id proto.HostID) {
	e := proto.HostEntry{Verb: verb, Host: proto.Host{ID: id}}
	for _, x := range w.h.state.Hosts {
		if x.ID == id {
			e.Host.Birth = x.Birth
		}
	}
	w.h.propose(&e)
}
