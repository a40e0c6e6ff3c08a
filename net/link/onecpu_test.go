package link

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

// alone has this process take itself for one with one CPU.
func alone(t testing.TB) {
	was := oneCPU
	oneCPU = true
	t.Cleanup(func() { oneCPU = was })
}

// Several threads write in turns. What each has sent arrives once and in order, also when
// the socket is full now and then.
func TestWritersTakeTurns(t *testing.T) {
	alone(t)
	const writers, each = 4, 20000
	out, in := newLoop(t), newLoop(t)
	a, b := pair(t)
	done := make(chan bool, 1)
	var next [writers]uint32
	got := 0
	attach(t, in, b, &handler{message: func(_ *Conn, m *proto.Msg) error {
		if m.Op != next[m.Lock] {
			t.Errorf("writer %d: got %d, want %d", m.Lock, m.Op, next[m.Lock])
			return errors.New("order")
		}
		next[m.Lock]++
		if got++; got == writers*each {
			done <- true
		}
		return nil
	}})
	c := attach(t, out, a, &handler{})
	run(in)
	run(out)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range uint32(each) {
				c.Send(&proto.Msg{Kind: proto.KUnlocked, Lock: proto.LockID(w), Op: i})
				out.Flush()
			}
		})
	}
	all.Wait()
	receive(t, "messages", done)
}

// reading is a Callers that counts who reads.
type reading struct{ now, most int }

func (r *reading) Waits() uint64 { return 0 }
func (r *reading) Aside(bool)    {}
func (r *reading) Reads(yes bool) {
	if yes {
		r.now++
		r.most = max(r.most, r.now)
	} else {
		r.now--
	}
}

// Who lets others on reads what they send, and nobody else need wake up for it; without an
// answer it goes on.
func TestLettingOthersOn(t *testing.T) {
	alone(t)
	r := &reading{}
	l := newLoop(t)
	l.cfg.Callers = r
	a, b := pair(t)
	blocking(t, a)
	var got []uint32
	attach(t, l, b, &handler{message: func(_ *Conn, m *proto.Msg) error {
		got = append(got, m.Op)
		return nil
	}})
	l.LookAround(true) // nobody sends anything
	for i := range uint32(3) {
		if _, err := unix.Write(a, frame(t, &proto.Msg{Kind: proto.KUnlocked, Op: i})); err != nil {
			t.Fatal(err)
		}
		l.LookAround(i != 1)
		if len(got) != int(i)+1 || got[i] != i {
			t.Fatalf("after message %d: %v", i, got)
		}
	}
	if r.now != 0 || r.most != 1 {
		t.Errorf("%d read, at most %d", r.now, r.most)
	}
}

// Others get more time each time the timer is set, as long as they come; it is not set while it
// runs, and how long a wait is that it ends is never next to nothing.
func TestMomentsGrow(t *testing.T) {
	alone(t)
	m := &newLoop(t).moment
	start := func() time.Duration {
		t.Helper()
		left, err := m.start()
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	over := func() { m.ends = time.Now().Add(leastMoment / 2) }
	for _, want := range []time.Duration{firstMoment, 2 * firstMoment, 4 * firstMoment, lastMoment, lastMoment} {
		over()
		if left := start(); left < want || m.span != want {
			t.Fatalf("set for %v, wait for %v, want %v", m.span, left, want)
		}
	}
	m.ends = time.Now().Add(time.Hour)
	if left := start(); left < time.Hour/2 || m.span != lastMoment {
		t.Fatalf("it runs for an hour: set for %v, wait for %v", m.span, left)
	}
	m.late()
	over()
	if left := start(); left < firstMoment || m.span != firstMoment {
		t.Fatalf("nobody came: set for %v, wait for %v", m.span, left)
	}
}
