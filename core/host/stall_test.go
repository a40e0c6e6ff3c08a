package host

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// sinceWhen is how a text says it.
var sinceWhen = regexp.MustCompile(`(since|removed at least|removed|asked for) [0-9.]+ [sh]\b`)

// Every kind of stall tells since when, in its text and for programs, and goes on counting.
func TestEachStallSaysSinceWhen(t *testing.T) {
	const wait = 70 * second // more than any time after which something is asked again
	former := true
	member := func(w *someWorld, make func(h *Host)) *someWorld { make(w.h); return w }
	outside := func(h *Host) { h.in = false }
	leads := func(w *someWorld, id uint64) *someWorld { w.leader = id; return w }
	cases := map[string]func() *someWorld{
		NoCluster: func() *someWorld { return newSomeWorld(nil) },
		NoLog:     func() *someWorld { w := flooded(t, false); w.broken = true; return w },
		NoQuorum:  func() *someWorld { return leads(flooded(t, false), 0) },
		Leaving: func() *someWorld {
			return member(flooded(t, false), func(h *Host) { outside(h); h.bye = h.world.Now() })
		},
		Former: func() *someWorld {
			w := member(flooded(t, false), func(h *Host) { outside(h); h.refused = true })
			w.former = &former
			return w
		},
		Namesake: func() *someWorld {
			return member(flooded(t, false), func(h *Host) { outside(h); h.cfg.Name = "c" })
		},
		Outside: func() *someWorld { return member(flooded(t, false), outside) },
		HostOut: func() *someWorld { w := flooded(t, false); w.now += wait; w.decideOut(3); return w },
		Unnamed: func() *someWorld {
			return member(flooded(t, false), func(h *Host) { h.Join(func(proto.ProcID, uint64) {}) })
		},
		Untold: func() *someWorld { return member(flooded(t, false), func(h *Host) { h.state.Seat++ }) },
		Gathering: func() *someWorld {
			return member(flooded(t, true), func(h *Host) { h.agent = nil; delete(h.rosters, 2) })
		},
		Undecided: func() *someWorld {
			w := flooded(t, true)
			w.sync = false
			w.h.remember(proto.HostKeep, &proto.Kept{Root: w.root()})
			return w
		},
		Rebuilding: func() *someWorld { return rebuilder(t) },
	}
	for _, kind := range StallKinds {
		if cases[kind] == nil {
			t.Errorf("%s has no case", kind)
			continue
		}
		w := cases[kind]()
		if w.h.log != nil && w.h.log.Leader() == 0 {
			w.h.missing = w.now
		}
		w.h.stalledSince(w.now)
		if w.h.rebuilding == 0 {
			w.h.watchRebuild(w.now)
		}
		begun := w.now
		w.now += wait
		if kind == Undecided {
			w.h.goOnRemembering() // it is asked for once more
			w.now += wait
		}
		r := w.h.Report()
		i := slices.IndexFunc(r.Reasons, func(s Stall) bool { return s.Kind == kind })
		if i < 0 {
			t.Errorf("%s: not among %+v", kind, r.Reasons)
			continue
		}
		s := r.Reasons[i]
		if !sinceWhen.MatchString(s.Text) || s.Since < w.now-begun || s.Since > w.now-w.h.began || s.Bound == "" || (s.Bound == AtLeast) != strings.Contains(s.Text, "at least") {
			t.Errorf("%s: %+v", kind, s)
		}
		if !slices.Contains(r.Stalls, s.Text) || len(r.Stalls) != len(r.Reasons) {
			t.Errorf("%s: %q, %+v", kind, r.Stalls, r.Reasons)
		}
		t.Logf("%s: %s", kind, s.Text)
	}
}

// An agent that has begun since a host was removed knows a part of the time only.
func TestRemovedBeforeTheAgentBegan(t *testing.T) {
	w := flooded(t, false)
	w.decideOut(3)
	w.h.began = w.now
	w.now += 5 * second
	for _, s := range w.h.Report().Reasons {
		if s.Kind == HostOut && (s.Bound != AtLeast || !strings.Contains(s.Text, "removed at least 5.0 s ago")) {
			t.Errorf("%+v", s)
		}
	}
}

// rebuilder is a coordinator's host that waits for reports of processes.
func rebuilder(t *testing.T) *someWorld {
	t.Helper()
	w := flooded(t, true)
	p := proto.ProcID(w.h.state.Seat)<<32 + 50
	s := w.successor(t)
	s.leader, s.sync = fuzzMe, true
	s.directory = 0 // what it had is not to be believed
	for !s.h.leased {
		s.tick()
	}
	for _, id := range []proto.HostID{2, 3} {
		m := &proto.Msg{Kind: proto.KRoster, Epoch: s.h.state.Seat, Birth: view.Find(s.h.state, id).Birth}
		if id == 2 {
			m.Procs = []proto.ProcID{p}
		}
		s.hear(id, proto.Append(nil, m))
	}
	s.leader = 2 // so that nobody is removed
	s.hear(2, proto.Append(nil, &proto.Msg{Kind: proto.KReached, Proc: p}))
	return s
}
