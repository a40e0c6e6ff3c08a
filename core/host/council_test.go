package host

import (
	"regexp"
	"strings"
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

// The lease runs from when the majority was asked, not from when it has answered.
func TestLeaseFromTheQuestion(t *testing.T) {
	w := flooded(t, false)
	w.sync, w.leader = false, 2
	w.tokens = nil
	for len(w.tokens) == 0 {
		w.tick()
	}
	asked, token := w.now, w.tokens[0]
	before := w.until
	w.now += second
	if w.h.Confirmed(token + 1); w.until != before {
		t.Error("an answer to another question extends the lease")
	}
	if w.h.Confirmed(token); w.until != asked+w.h.cfg.Lease {
		t.Errorf("the lease ends %.1f s after the question, want %.1f", float64(w.until-asked)/1e9, float64(w.h.cfg.Lease)/1e9)
	}
	w.now += second
	if w.h.Confirmed(token); w.until != asked+w.h.cfg.Lease {
		t.Error("the same answer once more extends the lease")
	}
}

// reports waits until the report tells of something, and checks since when.
func (w *someWorld) reports(t *testing.T, what string) {
	t.Helper()
	for range 50 {
		w.tick()
		for _, s := range w.h.Report().Stalls {
			if !strings.Contains(s, what) {
				continue
			}
			if !regexp.MustCompile(`(since|ago|within|in|heard) [0-9.]+ s`).MatchString(s) {
				t.Errorf("not since when: %s", s)
			}
			return
		}
	}
	t.Errorf("nothing like %q in %q", what, w.h.Report().Stalls)
}

// A report tells of what keeps programs waiting, and since when.
func TestStalls(t *testing.T) {
	w := flooded(t, false)
	w.h.Broken(2) // what the coordinator was told is lost
	w.leader = 0
	w.h.state.Seat++ // it has another agent, whom this host has told nothing
	w.reports(t, "no quorum")

	w = flooded(t, false)
	w.h.in = false
	w.leader = 2
	w.former = new(bool)
	w.sync = false
	w.reports(t, "is not a member yet")
	w.broken = true
	w.reports(t, "takes no part")

	w = flooded(t, false)
	w.h.Join(func(proto.ProcID, uint64) {})
	w.reports(t, "has yet to name 1 new programs")
	w.decideOut(3)
	w.reports(t, "host c was removed")
}

// While resources are rebuilt the report names who has yet to tell what it has, and whose
// remains have yet to come.
func TestRebuildStalls(t *testing.T) {
	w := flooded(t, true)
	e := w.h.state.Seat
	p, q := proto.ProcID(e)<<32+50, proto.ProcID(e)<<32+51
	s := w.successor(t)
	s.leader, s.sync = fuzzMe, true
	s.directory = 0 // what it had is not to be believed
	for !s.h.leased {
		s.tick()
	}
	for _, id := range []proto.HostID{2, 3} {
		m := &proto.Msg{Kind: proto.KRoster, Epoch: s.h.state.Seat, Birth: view.Find(s.h.state, id).Birth}
		if id == 2 {
			m.Procs, m.Dead = []proto.ProcID{p}, []proto.ProcID{q}
		}
		s.hear(id, proto.Append(nil, m))
	}
	if !s.h.Coordinates() {
		t.Fatalf("%+v", s.h.Report())
	}
	s.leader = 2 // so that nobody is removed
	s.hear(2, proto.Append(nil, &proto.Msg{Kind: proto.KReached, Proc: p}))
	s.reports(t, "has yet to report")
	s.reports(t, "has yet to come")
}
