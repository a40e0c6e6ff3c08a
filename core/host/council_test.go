package host

import (
	"testing"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// ups are the HostUps of this host that it has asked for and that are not decided yet.
func (w *someWorld) ups(t *testing.T) (out []*proto.Host) {
	t.Helper()
	for _, b := range w.decided {
		var m proto.Msg
		if err := proto.Parse(b, &m); err != nil {
			t.Fatal(err)
		}
		if e := m.HostEntry; e.Verb == proto.HostUp && e.Host.ID == fuzzMe {
			out = append(out, &e.Host)
		}
	}
	return out
}

// decideOut has the log say that a host is out.
func (w *someWorld) decideOut(ids ...proto.HostID) {
	for _, id := range ids {
		x := view.Find(w.h.state, id)
		e := proto.HostEntry{Verb: proto.HostOut, Host: proto.Host{ID: id, Birth: x.Birth, Why: "silent"}}
		w.decided = append(w.decided, proto.Append(nil, &proto.Msg{Kind: proto.KHostEntry, HostEntry: &e}))
	}
	w.decide()
	w.h.settle()
}

// successor is the next agent of the same host, which knows what was decided.
func (w *someWorld) successor(t *testing.T) *someWorld {
	t.Helper()
	n := *w
	n.decided, n.draws = nil, 1000
	n.h = New(&n, (*someFile)(&n), w.h.cfg, fuzzMe)
	if err := n.h.Start(true); err != nil {
		t.Fatal(err)
	}
	n.h.Restore(n.applied, w.h.Snapshot())
	n.h.settle()
	return &n
}

func (w *someWorld) tick() {
	w.now += w.h.cfg.Tick
	w.h.Tick()
}

// A host that was removed comes back only when nobody there can go on with what others
// have been given: each process has ended, or the lease that was proven is over.
func TestComesBackWithProof(t *testing.T) {
	left := true
	begin := func() (*someWorld, uint32) {
		left = true
		w := flooded(t, false)
		w.sync, w.former, w.leader = false, &left, 2
		birth := w.h.birth
		w.decideOut(fuzzMe)
		return w, birth
	}
	w, _ := begin()
	until := w.until
	if !w.ended || until <= w.now || w.h.Leased() {
		t.Fatalf("ended %v, until %d, now %d", w.ended, until, w.now)
	}
	left = false
	for range 200 {
		w.tick()
	}
	if list := w.ups(t); len(list) > 0 {
		t.Fatalf("an agent that ends with its host's membership asks for another: %+v", list[0])
	}

	w, birth := begin()
	next := w.successor(t)
	for next.now < until {
		if list := next.ups(t); len(list) > 0 {
			t.Fatalf("%.3f s before the lease is over: %+v", float64(until-next.now)/1e9, list[0])
		}
		next.tick()
	}
	next.now = until + w.h.cfg.Over - w.h.cfg.Lease
	next.tick()
	if list := next.ups(t); len(list) != 1 || list[0].Birth != 0 || list[0].Former != birth {
		t.Fatalf("when the lease is over: %+v", list)
	}

	w, birth = begin()
	next = w.successor(t)
	next.tick()
	if list := next.ups(t); len(list) > 0 {
		t.Fatalf("while somebody is left: %+v", list[0])
	}
	left = false
	next.tick()
	if list := next.ups(t); len(list) != 1 || list[0].Birth != 0 || list[0].Former != birth {
		t.Fatalf("when nobody is left: %+v", list)
	}
}

// Of hosts that were removed together each one's lease is waited for, also if the one
// that waits has been among them.
func TestEachLeaseIsWaitedFor(t *testing.T) {
	w := flooded(t, true)
	w.sync = false
	w.decideOut(fuzzMe, 2)
	begin := w.now
	for over := 0; over == 0; {
		w.tick()
		for _, b := range w.decided {
			var m proto.Msg
			if err := proto.Parse(b, &m); err != nil {
				t.Fatal(err)
			}
			if m.HostEntry.Verb == proto.HostOver {
				over++
			}
		}
		if early := w.now < begin+w.h.cfg.Over; (over > 0) == early {
			t.Fatalf("%.1f s after the removal, leases that count as over: %d", float64(w.now-begin)/1e9, over)
		}
	}
}

// Who leads since just now does not know who is silent.
func TestNewLeaderBelievesNobodyDead(t *testing.T) {
	w := flooded(t, true)
	w.sync, w.leader = false, 2
	w.tick()
	w.now += 10 * second // the others talk to the leader
	w.h.ticked = w.now
	try := func() (err error) {
		w.h.Evict("b", true, func(e error) { err = e })
		return err
	}
	w.leader = fuzzMe
	if try() == nil || len(w.decided) > 0 {
		t.Fatal("believed before the first tick")
	}
	for range int(second/w.h.cfg.Tick) - 1 {
		w.tick()
		if try() == nil {
			t.Fatal("believed early")
		}
	}
	for range 10 {
		w.tick()
	}
	if err := try(); err != nil {
		t.Fatal(err)
	}
	w.now += 10 * second // it was stopped itself
	if try() == nil {
		t.Fatal("believed after a stop")
	}
}
