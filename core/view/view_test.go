package view

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/godlm/godlm/core/proto"
)

var asked uint64

func entry(verb proto.HostVerb, id proto.HostID, birth uint32) *proto.HostEntry {
	asked++
	return &proto.HostEntry{Verb: verb, Host: proto.Host{Asked: asked, ID: id, Birth: birth, Name: fmt.Sprint("h", id)}, Epoch: 1000}
}

// anew is HostUp of a host that has no process of its former membership.
func anew(id proto.HostID, former uint32) *proto.HostEntry {
	e := entry(proto.HostUp, id, 0)
	e.Host.Former = former
	return e
}

func show(s *proto.HostState) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d by %d since %d seat %d:", s.Epoch, s.Coordinator, s.Since, s.Seat)
	for _, h := range s.Hosts {
		fmt.Fprintf(&b, " %d/%d", h.ID, h.Birth)
		if h.Out {
			b.WriteString("!")
		}
	}
	return b.String()
}

func TestHosts(t *testing.T) {
	s := &proto.HostState{}
	for i, step := range []struct {
		e       *proto.HostEntry
		changes bool
		want    string
	}{
		{entry(proto.HostOut, 1, 0), false, "0 by 0 since 0 seat 0:"},
		{entry(proto.HostUp, 1, 0), true, "1001 by 1 since 1001 seat 1001: 1/1001"},
		{entry(proto.HostUp, 2, 0), true, "1002 by 1 since 1001 seat 1001: 1/1001 2/1002"},
		{entry(proto.HostUp, 3, 7), false, "1002 by 1 since 1001 seat 1001: 1/1001 2/1002"},
		{entry(proto.HostUp, 2, 1002), true, "1003 by 1 since 1001 seat 1001: 1/1001 2/1002"}, // another agent
		{entry(proto.HostUp, 1, 1001), true, "1004 by 1 since 1001 seat 1004: 1/1001 2/1002"}, // of the coordinator
		{entry(proto.HostOver, 2, 1002), false, "1004 by 1 since 1001 seat 1004: 1/1001 2/1002"},
		{entry(proto.HostOut, 1, 1001), true, "1005 by 1 since 1001 seat 1004: 1/1001! 2/1002"},
		{entry(proto.HostOut, 1, 1001), false, "1005 by 1 since 1001 seat 1004: 1/1001! 2/1002"},
		{entry(proto.HostUp, 1, 1001), false, "1005 by 1 since 1001 seat 1004: 1/1001! 2/1002"}, // too late
		{entry(proto.HostOver, 1, 1001), true, "1006 by 2 since 1006 seat 1006: 2/1002"},
		{entry(proto.HostUp, 1, 0), true, "1007 by 2 since 1006 seat 1006: 2/1002 1/1007"},
		{entry(proto.HostBye, 1, 1001), false, "1007 by 2 since 1006 seat 1006: 2/1002 1/1007"},
		{anew(2, 1003), false, "1007 by 2 since 1006 seat 1006: 2/1002 1/1007"},             // it vouches for another
		{entry(proto.HostUp, 2, 0), false, "1007 by 2 since 1006 seat 1006: 2/1002 1/1007"}, // or for none
		{anew(2, 1002), true, "1008 by 1 since 1008 seat 1008: 1/1007 2/1008"},              // it was started anew
		{entry(proto.HostBye, 1, 1007), true, "1009 by 2 since 1009 seat 1009: 2/1008"},
		{entry(proto.HostOut, 2, 1008), true, "1010 by 2 since 1009 seat 1009: 2/1008!"},
		{entry(proto.HostUp, 3, 0), true, "1011 by 2 since 1009 seat 1009: 2/1008! 3/1011"},
		{entry(proto.HostUp, 2, 0), false, "1011 by 2 since 1009 seat 1009: 2/1008! 3/1011"},
		{anew(2, 1008), true, "1012 by 3 since 1012 seat 1012: 3/1011 2/1012"},
	} {
		before := Clone(s)
		if got := Apply(s, step.e); got != step.changes || show(s) != step.want {
			t.Fatalf("step %d: %v, %s; want %v, %s", i, got, show(s), step.changes, step.want)
		}
		if !step.changes && show(before) != show(s) {
			t.Fatalf("step %d changes something", i)
		}
		if Apply(s, step.e) && step.e.Verb == proto.HostUp {
			t.Fatalf("step %d is done twice", i)
		}
	}
}

// An agent's question for membership may come once more, long after it was decided: it
// ends nothing that has begun since.
func TestLateUp(t *testing.T) {
	s := &proto.HostState{}
	Apply(s, entry(proto.HostUp, 1, 0))
	first := entry(proto.HostUp, 2, 0)
	Apply(s, first)
	birth := Find(s, 2).Birth
	if !Apply(s, entry(proto.HostUp, 2, birth)) {
		t.Fatal("another agent cannot go on with the host's processes")
	}
	if was := show(s); Apply(s, first) {
		t.Fatalf("%s, and then %s", was, show(s))
	}
}

// Whatever the entries: epochs go up with each change, there is a coordinator if there
// is a member and none on the way out, and no birth comes twice.
func TestHostsByChance(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		s := &proto.HostState{}
		births := map[uint32]proto.HostID{}
		for range 40 {
			id := proto.HostID(1 + r.IntN(4))
			var birth uint32
			if h := Find(s, id); h != nil && r.IntN(4) > 0 {
				birth = h.Birth
			}
			before := Clone(s)
			e := entry(proto.HostVerb(1+r.IntN(4)), id, birth)
			if h := Find(s, id); h != nil && r.IntN(2) > 0 {
				e.Host.Former = h.Birth
			}
			changed := Apply(s, e)
			if changed != (s.Epoch > before.Epoch) {
				t.Fatalf("%s after %s", show(s), show(before))
			}
			c := Find(s, s.Coordinator)
			if len(s.Hosts) > 0 && c == nil && !allOut(s) {
				t.Fatalf("nobody coordinates: %s after %s", show(s), show(before))
			}
			if old := Find(before, before.Coordinator); old != nil && old.Out && s.Coordinator != before.Coordinator && Find(s, old.ID) != nil && Find(s, old.ID).Birth == old.Birth {
				t.Fatalf("a successor while the coordinator is on the way out: %s after %s", show(s), show(before))
			}
			for _, h := range s.Hosts {
				if was, ok := births[h.Birth]; ok && was != h.ID {
					t.Fatalf("birth %d twice", h.Birth)
				}
				births[h.Birth] = h.ID
			}
		}
	}
}

func allOut(s *proto.HostState) bool {
	for _, h := range s.Hosts {
		if !h.Out {
			return false
		}
	}
	return true
}

// What a coordinator has noted is there for the next; what one before it asks for late is not.
func TestNotes(t *testing.T) {
	s := &proto.HostState{}
	Apply(s, entry(proto.HostUp, 1, 0))
	Apply(s, entry(proto.HostUp, 2, 0))
	note := func(verb proto.HostVerb, epoch uint32, name, domain string) bool {
		return Apply(s, &proto.HostEntry{Verb: verb, Epoch: epoch, Kept: proto.Kept{Root: proto.Root{Name: proto.MakeName([]byte(name))}, Domain: proto.DomainDigest(domain)}})
	}
	seat, epoch := s.Seat, s.Epoch
	for i, step := range []struct {
		done, want bool
	}{
		{note(proto.HostKeep, seat, "r", "d"), true},
		{note(proto.HostKeep, seat, "r", "d"), false},
		{note(proto.HostKeep, seat-1, "q", "d"), false},
		{note(proto.HostDoubt, seat, "r", "d"), true},
		{note(proto.HostBelieve, seat-1, "r", "d"), false},
	} {
		if step.done != step.want {
			t.Errorf("step %d: changed: %v", i, step.done)
		}
	}
	if len(s.Kept) != 1 || len(s.Doubted) != 1 || s.Epoch != epoch {
		t.Fatalf("%+v", s)
	}
	// The coordinator is lost, and nothing with it.
	Apply(s, entry(proto.HostOut, 1, s.Hosts[0].Birth))
	Apply(s, entry(proto.HostOver, 1, s.Hosts[0].Birth))
	if s.Coordinator != 2 || len(s.Kept) != 1 || len(s.Doubted) != 1 {
		t.Fatalf("%+v", s)
	}
	if note(proto.HostBelieve, seat, "r", "d") || !note(proto.HostBelieve, s.Seat, "r", "d") || !note(proto.HostUnkeep, s.Seat, "r", "d") {
		t.Fatal("the new coordinator's word does not count, or the former one's does")
	}
	if len(s.Kept)+len(s.Doubted) != 0 {
		t.Fatalf("%+v", s)
	}
}
