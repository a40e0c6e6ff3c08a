package link

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/secure"
)

// Back-pressure of streams between hosts.

// tenfold answers each request with ten messages of some size.
func tenfold(size int) func(c *Conn, m *proto.Msg) {
	return func(c *Conn, m *proto.Msg) {
		for i := range uint64(10) {
			c.Send(&proto.Msg{Kind: proto.KDeliver, Proc: proto.ProcID(10*m.Proc) + proto.ProcID(i), Data: make([]byte, size)})
		}
	}
}

// Answers that are sent faster than they are acknowledged do not have the accepter stop
// reading for good: the acknowledgements are among what it would not read.
func TestMoreAnswersThanMayWait(t *testing.T) {
	lower(t, &maxOut, 256<<10)
	const waves, each = 5, 1000
	at := newFar(t, 0)
	at.answer = tenfold(100)
	h := newHosts(t, at)
	answers := make(chan proto.ProcID, waves*each*10)
	from := newFar(t, 0)
	from.answer = func(_ *Conn, m *proto.Msg) { answers <- m.Proc }
	c := h.a.NewRemote(from)
	h.dial(t, 1)(c)
	want := proto.ProcID(0)
	for w := range waves {
		for i := range each {
			c.Send(&proto.Msg{Kind: proto.KReached, Proc: proto.ProcID(w*each + i)})
		}
		h.a.Flush()
		for range each * 10 {
			if got := receive(t, "answer", answers); got != want {
				t.Fatalf("answer %d, want %d", got, want)
			}
			want++
		}
	}
	if from.broke(nil) > 0 {
		t.Error(from.why)
	}
}

// rawStream opens a stream by hand.
type rawStream struct {
	t *testing.T
	c net.Conn
	s *secure.Session
}

func dialRaw(t *testing.T, h *hosts) *rawStream {
	t.Helper()
	c, err := net.Dial("tcp", h.listen.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // some tests have closed it
	s, first := cover(t, true, 1)
	r := &rawStream{t, c, s}
	r.write(append(Preamble(7), first...))
	b := make([]byte, 1000)
	for !s.Ready() {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		_, out, err := s.Feed(nil, b[:n])
		if err != nil {
			t.Fatal(err)
		}
		r.write(out)
	}
	id := StreamID{1}
	r.seal(appendControl(nil, ctlResume, id[:], 0))
	return r
}

func (r *rawStream) write(b []byte) {
	r.t.Helper()
	if _, err := r.c.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rawStream) seal(plain []byte) {
	r.t.Helper()
	b, err := r.s.Seal(nil, plain)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(b)
}

// A peer that asks and does not read is not listened to any more, costs bounded memory,
// and others go on.
func TestStreamThatIsNotRead(t *testing.T) {
	lower(t, &maxOut, 1<<20)
	at := newFar(t, 0)
	at.answer = tenfold(100)
	h := newHosts(t, at)
	r := dialRaw(t, h)
	ask := frame(t, &proto.Msg{Kind: proto.KReached, Proc: 1})
	full := make(chan struct{})
	go func() {
		defer close(full)
		for { // until nobody reads it any more, and the connection is closed under it
			b, err := r.s.Seal(nil, ask)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := r.c.Write(b); err != nil {
				return
			}
		}
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	conn := func() *Conn { h.mu.Lock(); defer h.mu.Unlock(); return at.conn }
	until(t, "the accepter does not read on", func() bool { c := conn(); return c != nil && c.stalled.Load() })
	runtime.ReadMemStats(&after)
	// On top comes what one read has asked for, and what is in the socket's buffers.
	if n := conn().Unacknowledged(); n > maxOut+8<<20 {
		t.Errorf("%d bytes wait", n)
	}
	t.Logf("%d bytes wait, %d kB of memory", conn().Unacknowledged(), (int(after.HeapInuse)-int(before.HeapInuse))>>10)

	other := newFar(t, 0)
	got := make(chan proto.ProcID, 10)
	other.answer = func(_ *Conn, m *proto.Msg) { got <- m.Proc }
	c := h.a.NewRemote(other)
	h.dial(t, 1)(c)
	c.Send(&proto.Msg{Kind: proto.KReached, Proc: 7})
	h.a.Flush()
	for i := range proto.ProcID(10) {
		if p := receive(t, "an answer for another peer", got); p != 70+i {
			t.Fatal(p)
		}
	}
	if err := r.c.Close(); err != nil {
		t.Fatal(err)
	}
	<-full
}

// A peer that reads and never says so is ended before it costs much.
func TestStreamThatIsNotAcknowledged(t *testing.T) {
	lower(t, &maxKept, 1<<20)
	at := newFar(t, 0)
	at.answer = tenfold(1000)
	h := newHosts(t, at)
	r := dialRaw(t, h)
	go func() { _, _ = io.Copy(io.Discard, r.c) }() // to the end
	ask := frame(t, &proto.Msg{Kind: proto.KReached, Proc: 1})
	for range 10000 {
		b, err := r.s.Seal(nil, ask)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.c.Write(b); err != nil {
			break
		}
	}
	<-at.done
	if !errors.Is(at.end, ErrDeaf) {
		t.Errorf("it ends with %v", at.end)
	}
}
