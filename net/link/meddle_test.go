package link

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/secure"
)

// Somebody sits between two hosts: he hears all, and says what he likes.

// middle is he. What he has heard of each socket he keeps, and hands on what meddle makes
// of it.
type middle struct {
	t      *testing.T
	listen net.Listener
	to     string
	meddle func(at int, b []byte) [][]byte // at: how many bytes of that direction went before

	mu    sync.Mutex
	heard []*heard
	busy  sync.WaitGroup
	conns []net.Conn
}

// heard is what was said on a socket.
type heard struct {
	mu       sync.Mutex
	up, down []byte // by the opener, by the accepter
}

func newMiddle(t *testing.T, to netip.AddrPort, meddle func(int, []byte) [][]byte) *middle {
	m := &middle{t: t, to: to.String(), meddle: meddle}
	var err error
	if m.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	m.busy.Add(1)
	go m.serve()
	t.Cleanup(func() {
		_ = m.listen.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			_ = c.Close() // some are closed already
		}
		m.mu.Unlock()
		m.busy.Wait()
	})
	return m
}

func (m *middle) addr() netip.AddrPort { return m.listen.Addr().(*net.TCPAddr).AddrPort() }

func (m *middle) serve() {
	defer m.busy.Done()
	for {
		a, err := m.listen.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", m.to)
		if err != nil {
			m.t.Error(err)
			return
		}
		h := &heard{}
		m.mu.Lock()
		m.heard = append(m.heard, h)
		m.conns = append(m.conns, a, b)
		m.mu.Unlock()
		m.busy.Add(2)
		go m.pass(a, b, h, &h.up)
		go m.pass(b, a, h, &h.down)
	}
}

func (m *middle) pass(from, to net.Conn, h *heard, log *[]byte) {
	defer m.busy.Done()
	defer func() { _, _ = from.Close(), to.Close() }() // the other direction may have done so
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		h.mu.Lock()
		at := len(*log)
		*log = append(*log, b[:n]...)
		h.mu.Unlock()
		for _, piece := range m.meddle(at, b[:n]) {
			if _, err := to.Write(piece); err != nil {
				return
			}
		}
	}
}

func honest(_ int, b []byte) [][]byte { return [][]byte{b} }

// A session that was recorded is worth nothing, not to the accepter and not to the
// opener, and the one that goes on takes no harm.
func TestReplayedSession(t *testing.T) {
	const half = 5000
	at := newFar(t, 2*half)
	h := newHosts(t, at)
	m := newMiddle(t, h.listen.Addr(), honest)
	from := newFar(t, 1)
	from.dial = h.dialAt(t, 1, m.addr())
	c := h.a.NewRemote(from)
	from.dial(c)
	for i := uint64(1); i <= half; i++ {
		c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: i})
	}
	h.a.Flush()
	until(t, "half of the messages are there", func() bool { return at.last() == half })
	h.mu.Lock()
	back := at.conn
	h.mu.Unlock()
	back.Send(&proto.Msg{Kind: proto.KQueued, Arrival: 1})
	h.b.Flush()
	<-from.done
	m.mu.Lock()
	rec := m.heard[0]
	m.mu.Unlock()
	rec.mu.Lock()
	up, down := bytes.Clone(rec.up), bytes.Clone(rec.down)
	rec.mu.Unlock()

	for i := range 3 {
		again, err := net.Dial("tcp", h.listen.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = again.Write(up)            // he may be shown out meanwhile
		_, _ = io.Copy(io.Discard, again) // until then
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		until(t, "the replay is noticed", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return len(h.failed) == i+1 && errors.Is(h.failed[i], secure.ErrKey)
		})
	}

	// To an opener: what the accepter has said to another.
	fooled := newFar(t, 1)
	d := h.a.NewRemote(fooled)
	d.Send(&proto.Msg{Kind: proto.KQueued, Arrival: 1})
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan []byte, 1)
	go func() {
		defer func() { _ = echo.Close() }()
		c, err := echo.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write(down)  // it may have gone
		b, _ := io.ReadAll(c) // the end may be a reset
		said <- b
	}()
	h.dialAt(t, 1, echo.Addr().(*net.TCPAddr).AddrPort())(d)
	until(t, "the opener notices", func() bool { return fooled.broke(secure.ErrKey) == 1 })
	if b := receive(t, "what the opener has said", said); len(b) > len(opener(t)) {
		t.Errorf("the opener has said %d bytes to who has not proven himself", len(b))
	}
	if fooled.last() != 0 {
		t.Error("the opener has taken a message of a recorded session")
	}
	d.Close()

	for i := uint64(half + 1); i <= 2*half; i++ {
		c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: i})
	}
	h.a.Flush()
	<-at.done
	if n := from.broke(nil) + at.broke(nil); n != 0 {
		t.Errorf("the real session broke %d times", n)
	}
}

// afterHandshake is where meddling begins. Before, a byte that is missing has the peer
// wait until its time is over; see TestStrangersHaveLittleTime.
const afterHandshake = 400

// Bytes are changed, left out, doubled, put elsewhere: no wrong message is ever taken,
// none is lost, and the stream goes on.
func TestMeddledStream(t *testing.T) {
	for _, c := range []struct {
		what   string
		meddle func(r *rand.Rand, b []byte) [][]byte
	}{
		{"flipped", func(r *rand.Rand, b []byte) [][]byte {
			b = bytes.Clone(b)
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			return [][]byte{b}
		}},
		{"left out", func(r *rand.Rand, b []byte) [][]byte {
			i := r.IntN(len(b))
			return [][]byte{b[:i], b[i+1+r.IntN(len(b)-i):]}
		}},
		{"doubled", func(r *rand.Rand, b []byte) [][]byte {
			i := r.IntN(len(b))
			return [][]byte{b, b[i:]}
		}},
		{"exchanged", func(r *rand.Rand, b []byte) [][]byte {
			i := 1 + r.IntN(len(b)-1)
			return [][]byte{b[i:], b[:i]}
		}},
		{"invented", func(r *rand.Rand, b []byte) [][]byte {
			x := make([]byte, 1+r.IntN(100))
			for i := range x {
				x[i] = byte(r.Uint32())
			}
			return [][]byte{b, x}
		}},
		{"cut off", func(*rand.Rand, []byte) [][]byte { return nil }},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			testMeddled(t, c.meddle)
		})
	}
}

func testMeddled(t *testing.T, meddle func(r *rand.Rand, b []byte) [][]byte) {
	const count, times = 20000, 25
	at, from := newFar(t, count), newFar(t, count)
	h := newHosts(t, at)
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(7, 8))
	done := 0
	m := newMiddle(t, h.listen.Addr(), func(pos int, b []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if pos < afterHandshake || len(b) < 2 || done == times || r.IntN(3) != 0 {
			return [][]byte{b}
		}
		done++
		return slices.DeleteFunc(meddle(r, b), func(b []byte) bool { return len(b) == 0 })
	})
	from.dial = h.dialAt(t, 1, m.addr())
	c := h.a.NewRemote(from)
	from.dial(c)
	meddled := func() bool { mu.Lock(); defer mu.Unlock(); return done == times }
	// What is said last is said when nobody meddles any more, so that a gap shows.
	var sent uint64
	say := func(n uint64) {
		for range n {
			sent++
			c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: sent})
			h.mu.Lock()
			back := at.conn
			h.mu.Unlock()
			if back != nil {
				back.Send(&proto.Msg{Kind: proto.KQueued, Arrival: at.sent + 1})
				at.sent++
			}
		}
		h.a.Flush()
		h.b.Flush()
	}
	until(t, "he has meddled enough", func() bool {
		if sent < count-2000 {
			say(10)
		}
		return meddled()
	})
	say(count - sent)
	<-at.done
	h.mu.Lock()
	back := at.conn
	h.mu.Unlock()
	for ; at.sent < count; at.sent++ {
		back.Send(&proto.Msg{Kind: proto.KQueued, Arrival: at.sent + 1})
	}
	h.b.Flush()
	<-from.done
	if n := from.broke(secure.ErrKey) + at.broke(secure.ErrKey); n == 0 {
		t.Error("nobody has noticed anything")
	}
}
