package host

import (
	"runtime"
	"testing"

	"github.com/godlm/godlm/core/proto"
)

// flooded is a host that coordinates, or that has a coordinator, with two others that are
// members.
func flooded(t *testing.T, coordinates bool) *someWorld {
	t.Helper()
	w := newSomeWorld(nil)
	w.sync, w.leader = true, fuzzMe
	first, second := proto.HostID(fuzzMe), proto.HostID(2)
	if !coordinates {
		first, second = second, first
	}
	if err := w.h.open(nil); err != nil {
		t.Fatal(err)
	}
	for i, id := range []proto.HostID{first, second, 3} {
		if id != fuzzMe {
			w.h.Introduced(id, string(rune('a'+id-1)), false)
		}
		e := proto.HostEntry{Verb: proto.HostUp, Epoch: 1000, Host: proto.Host{ID: id, Name: string(rune('a' + id - 1)), Asked: uint64(i + 1)}}
		if id == fuzzMe {
			w.h.ask = uint64(i + 1)
		}
		w.h.propose(&e)
	}
	for range 20 {
		w.now += w.h.cfg.Tick
		w.h.Tick()
	}
	for _, id := range []proto.HostID{2, 3} {
		if coordinates {
			w.hear(id, proto.Append(nil, &proto.Msg{Kind: proto.KRoster, Epoch: w.h.state.Seat, Birth: w.h.state.Hosts[id-1].Birth}))
		}
	}
	if w.h.Coordinates() != coordinates || !w.h.Ready() || !w.h.leased {
		t.Fatalf("coordinates: %v; %+v", w.h.Coordinates(), w.h.Report())
	}
	return w
}

// A member that sends one kind of message for ever, each a little different, does not fill
// the memory here.
func TestFloodOfOneKind(t *testing.T) {
	const count = 50_000
	for _, coordinates := range []bool{true, false} {
		for kind := proto.KForward; kind <= proto.KEvicted+2; kind++ {
			w := flooded(t, coordinates)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			m := proto.Msg{Kind: kind, HostState: &proto.HostState{}, HostEntry: &proto.HostEntry{Verb: proto.HostUp}}
			switch kind {
			case proto.KEvicted + 1:
				m.Kind = proto.KWhere
			case proto.KEvicted + 2:
				m.Kind = proto.KRaft
			}
			for i := range count {
				w.dice.b = nil
				m.Proc, m.Number, m.Epoch = proto.ProcID(1<<40+i), uint64(i), w.h.state.Seat
				m.Host, m.Birth = proto.HostID(i), w.h.state.Hosts[1].Birth
				m.Domain = proto.Digest{byte(i), byte(i >> 8), byte(i >> 16)}
				inner := proto.Msg{Kind: proto.KLookup, Number: uint64(i), Root: proto.Root{Name: proto.MakeName([]byte{byte(i), byte(i >> 8), byte(i >> 16)})}}
				m.Data = proto.Append(nil, &inner)
				if err := w.h.Receive(2, &m); err != nil {
					break // the stream ends
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			grown := int(after.HeapAlloc) - int(before.HeapAlloc)
			limit := 2 << 20 // fewer than 42 bytes a message: they are not kept
			if kind == proto.KJoin {
				limit = 8 << 20 // processes that live
			}
			if grown > limit {
				t.Errorf("coordinates %v: %d messages of kind %d need %d kB", coordinates, count, m.Kind, grown>>10)
			}
			runtime.KeepAlive(w)
		}
	}
}
