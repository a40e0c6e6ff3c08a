package link

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// What had come from everybody is handled in an order beyond one connection:
// requests first, as they were made, then answers.
func TestOrderOfATurn(t *testing.T) {
	l := newLoop(t)
	var got []uint32
	note := func(_ *Conn, m *proto.Msg) error { got = append(got, m.Op); return nil }
	open := func(accepted bool) int {
		a, b := pair(t)
		t.Cleanup(func() { _ = unix.Close(a) })
		c := l.NewConn(&handler{message: note})
		c.throttle = accepted
		c.KeepOrder()
		if err := c.Attach(b); err != nil {
			t.Fatal(err)
		}
		return a
	}
	write := func(fd int, m *proto.Msg) {
		if _, err := writeFD(fd, frame(t, m)); err != nil {
			t.Fatal(err)
		}
	}
	convert := func(made int64, op uint32) *proto.Msg {
		return &proto.Msg{Kind: proto.KConvert, Made: made, Op: op, Mode: mode.NL, Root: proto.Root{Name: proto.MakeName([]byte("R"))}}
	}
	master, x, y := open(false), open(true), open(true)
	// The master's first answer and y's first request came long ago and have made
	// their connections the first in line.
	write(master, &proto.Msg{Kind: proto.KUnlocked, Op: 90})
	write(y, convert(10, 1))
	write(x, convert(20, 2))
	write(y, convert(30, 3))
	write(x, convert(40, 4))
	write(master, &proto.Msg{Kind: proto.KUnlocked, Op: 91})
	l.Poll()
	if want := []uint32{1, 2, 3, 4, 90, 91}; !slices.Equal(got, want) {
		t.Fatalf("handled %v, want %v", got, want)
	}

	// The batch tells of the master's answer only; the request is looked for.
	got = nil
	write(master, &proto.Msg{Kind: proto.KUnlocked, Op: 92})
	var events [1]unix.EpollEvent
	if n, err := unix.EpollWait(l.epfd, events[:], -1); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	write(x, convert(50, 5))
	l.Handle(events[:])
	if want := []uint32{5, 92}; !slices.Equal(got, want) {
		t.Fatalf("handled %v, want %v", got, want)
	}

	// More than a buffer takes.
	got = nil
	var many []byte
	for i := uint32(0); i < 1000; i++ {
		many = append(many, frame(t, convert(int64(1000+2*i), 2*i))...)
	}
	if n, err := writeFD(x, many); n != len(many) || err != nil {
		t.Fatal(n, err)
	}
	for i := uint32(0); i < 10; i++ {
		write(y, convert(int64(1001+2*i), 2*i+1))
	}
	l.Poll()
	if len(got) != 1010 || !slices.IsSorted(got[:20]) {
		t.Fatalf("%d messages, first %v", len(got), got[:min(20, len(got))])
	}
}

// A peer that sends as fast as it is read has one turn after the other, but not one
// that never ends: others are read, and what is to be flushed is.
func TestFlood(t *testing.T) {
	l := newLoop(t)
	raw, mine := pair(t)
	x, y := pair(t)
	one := frame(t, &proto.Msg{Kind: proto.KRaft, Data: make([]byte, 4000)})
	flooding := true
	pour := func(atMost int) {
		for range atMost {
			if n, err := writeFD(raw, one); err == unix.EAGAIN {
				return
			} else if err != nil || n != len(one) {
				t.Fatal(n, err)
			}
		}
	}
	handled := 0
	attach(t, l, mine, &handler{message: func(*Conn, *proto.Msg) error {
		if handled++; flooding {
			pour(2)
		}
		return nil
	}})
	other := 0
	attach(t, l, y, &handler{message: func(*Conn, *proto.Msg) error { other++; return nil }})
	pour(8 * firstBuffer / len(one))
	turn := func() {
		t.Helper()
		done := make(chan struct{})
		go func() { defer close(done); l.Poll() }()
		receive(t, "the end of the turn", done)
	}
	for i := range 5 {
		if _, err := writeFD(x, one); err != nil {
			t.Fatal(err)
		}
		before := handled
		if turn(); handled-before < firstBuffer/len(one) {
			t.Errorf("in turn %d, %d messages were taken from the peer that sends on", i, handled-before)
		}
		if other < i { // at the latest in the next turn
			t.Errorf("after turn %d, another peer's message %d waits", i, other)
		}
	}
	flooding = false
	for last := -1; last != handled; {
		last = handled
		turn()
	}
	for range 2 {
		if err := unix.Close(raw); err != nil {
			t.Fatal(err)
		}
		raw = x
	}
}
