package gossip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	is := func(kind eventKind, name string) event { return event{kind, Member{Name: name}} }
	with := func(meta string, port uint16) event {
		return event{appeared, Member{Name: "b", Meta: []byte(meta), Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}}
	}
	steps := []struct {
		e       event
		changed bool
		says    string // of b: state, age in seconds, meta, port
	}{
		{is(vanished, "b"), false, ""},
		{is(saidGoodbye, "b"), false, ""},
		{with("x", 1), true, "alive 0 x 1"},
		{with("x", 1), false, "alive 1 x 1"},
		{with("y", 1), true, "alive 2 y 1"},
		{with("y", 2), true, "alive 3 y 2"},
		{is(vanished, "b"), true, "failed 0 y 2"},
		{is(vanished, "b"), false, "failed 1 y 2"},
		{with("y", 2), true, "alive 0 y 2"},
		{is(vanished, "b"), true, "failed 0 y 2"},
		{is(saidGoodbye, "b"), true, "left 0 y 2"},
		{is(saidGoodbye, "b"), false, "left 1 y 2"},
		{is(vanished, "b"), false, "left 2 y 2"},
		{with("z", 3), false, "left 3 y 2"},
		{is(vanished, "self"), false, "left 4 y 2"},
		{is(saidGoodbye, "self"), false, "left 5 y 2"},
	}
	tab := table{self: "self", keep: time.Hour, most: 10}
	now := time.Unix(1000, 0)
	tab.apply(is(appeared, "self"), now)
	for i, s := range steps {
		now = now.Add(time.Second)
		changed := tab.apply(s.e, now)
		says := ""
		if m, ok := tab.members["b"]; ok {
			says = fmt.Sprintf("%s %d %s %d", m.State, now.Sub(m.Since)/time.Second, m.Meta, m.Addr.Port())
		}
		if changed != s.changed || says != s.says {
			t.Errorf("step %d: %v %q, not %v %q", i, changed, says, s.changed, s.says)
		}
	}
	if tab.members["self"].State != Alive {
		t.Error("it believes itself dead")
	}
}

func TestTableForgets(t *testing.T) {
	tab := table{self: "self", keep: 10 * time.Second, most: 3}
	begin := time.Unix(1000, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	names := []string{"self", "a", "b", "c", "d", "e"}
	for _, n := range names {
		tab.apply(event{appeared, Member{Name: n}}, begin)
	}
	for i, n := range names[1:] {
		kind := vanished
		if i%2 == 0 {
			kind = saidGoodbye
		}
		tab.apply(event{kind, Member{Name: n}}, at(i+1))
	}
	for _, s := range []struct {
		at      int
		dropped bool
		next    int
		left    string
	}{
		{5, true, 13, "c d e self"}, // too many
		{12, false, 13, "c d e self"},
		{13, true, 14, "d e self"},
		{20, true, 30, "self"},
		{21, false, 31, "self"},
	} {
		dropped, next := tab.forget(at(s.at))
		var left []string
		for _, m := range tab.list() {
			left = append(left, m.Name)
		}
		if got := strings.Join(left, " "); dropped != s.dropped || !next.Equal(at(s.next)) || got != s.left {
			t.Errorf("at %d: %v, next at %v, %q", s.at, dropped, next.Sub(begin), got)
		}
	}
	if n := tab.alive(); n != 1 {
		t.Errorf("%d are alive", n)
	}
}
