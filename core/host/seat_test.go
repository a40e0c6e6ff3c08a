package host

import (
	"testing"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
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

// Whether a view was lost with the stream that it went on, either side notices: the
// coordinator sends it whole again, and who is told to take the last one and has none says
// anew which processes it has.
func TestViewsThatAreLost(t *testing.T) {
	w := flooded(t, true)
	p := proto.ProcID(w.h.state.Seat)<<32 + 50
	w.hear(2, proto.Append(nil, &proto.Msg{Kind: proto.KRoster, Epoch: w.h.state.Seat, Birth: view.Find(w.h.state, 2).Birth, Procs: []proto.ProcID{p}}))
	w.h.homes[p] = 2
	whole := proto.Msg{Kind: proto.KView, View: w.h.View()}
	again := func() bool { return (*world)(w.h).delivery(2, p, &whole).Flags == proto.DeliverAgain }
	if again() || !again() {
		t.Fatal("a view is told whole once")
	}
	if w.h.Broken(2); again() {
		t.Error("a view that may be lost is not sent again")
	}

	w = flooded(t, false)
	reached := proto.ProcID(w.h.state.Seat)<<32 + 50
	data := proto.Append(nil, &proto.Msg{Kind: proto.KView, View: w.h.View()})
	say := func(m *proto.Msg) int {
		w.asked = nil
		m.Kind, m.Proc = proto.KDeliver, reached
		w.hear(2, proto.Append(nil, m))
		return len(w.asked)
	}
	if say(&proto.Msg{Data: data}) != 1 || say(&proto.Msg{Flags: proto.DeliverAgain}) != 1 {
		t.Fatal("a view does not arrive")
	}
	w.h.Introduced(2, "b", false)
	if say(&proto.Msg{Flags: proto.DeliverAgain}) != 0 || w.h.told != 0 {
		t.Error("a view of an earlier stream is believed to be the last one")
	}
	w.h.Tick()
	if w.h.told != w.h.state.Seat {
		t.Error("the roster is not given anew")
	}
}

// A coordinator that is removed has nothing more to say to the processes of others: what its
// own dead have left is gone with its membership, and what it decides without that is wrong.
func TestRemovedCoordinatorIsSilent(t *testing.T) {
	w := flooded(t, true)
	epoch := w.h.state.Seat
	join := &proto.Msg{Kind: proto.KJoin, Epoch: epoch, Number: 1}
	w.hear(2, proto.Append(nil, join))
	p := proto.ProcID(w.h.agent.View())
	w.hear(2, proto.Append(nil, &proto.Msg{Kind: proto.KReached, Proc: p}))
	ask := func(name string) int {
		before := w.told
		root := proto.Root{Name: proto.MakeName([]byte(name))}
		lookup := proto.Append(nil, &proto.Msg{Kind: proto.KLookup, Root: root, Number: 1})
		w.hear(2, proto.Append(nil, &proto.Msg{Kind: proto.KForward, Proc: p, Data: lookup}))
		w.hear(2, proto.Append(nil, join))
		return w.told - before
	}
	if ask("R") == 0 {
		t.Fatal("a coordinator does not answer")
	}
	w.decideOut(fuzzMe)
	if w.h.settle(); w.h.in {
		t.Fatal("it is still a member")
	}
	if n := ask("S"); n != 0 {
		t.Errorf("%d bytes are said by a coordinator that is out", n)
	}
}
