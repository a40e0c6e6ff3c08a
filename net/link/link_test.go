package link

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

func newLoop(t testing.TB) *Loop {
	t.Helper()
	l, err := New(Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); l.CloseEpoll() })
	return l
}

func run(l *Loop) { l.Run(l.Flush) }

// handler is a Handler made of functions.
type handler struct {
	message func(c *Conn, m *proto.Msg) error
	closed  func(err error)
}

func (h *handler) Message(c *Conn, m *proto.Msg) error {
	if h.message == nil {
		return nil
	}
	return h.message(c, m)
}

func (h *handler) Closed(_ *Conn, err error) {
	if h.closed != nil {
		h.closed(err)
	}
}

// pair gives the two ends of a connection.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func attach(t testing.TB, l *Loop, fd int, h Handler) *Conn {
	t.Helper()
	c := l.NewConn(h)
	if err := c.Attach(fd); err != nil {
		t.Fatal(err)
	}
	return c
}

func receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: nothing came", what)
	}
	return v
}

// blocking makes a raw end wait in reads and writes, with a limit.
func blocking(t testing.TB, fd int) {
	t.Helper()
	tv := unix.Timeval{Sec: int64(patience / time.Second)}
	if err := errors.Join(unix.SetNonblock(fd, false),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)); err != nil {
		t.Fatal(err)
	}
}

// writeFD and readFD go on after a signal: with a time limit on the socket the kernel
// does not.
func writeFD(fd int, b []byte) (n int, err error) {
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = unix.Write(fd, b)
	}
	return n, err
}

func readFD(fd int, b []byte) (n int, err error) {
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = unix.Read(fd, b)
	}
	return n, err
}

func frame(t testing.TB, m *proto.Msg) []byte {
	t.Helper()
	b, err := AppendFrame(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessagesArriveInOrder(t *testing.T) {
	l := newLoop(t)
	a, b := pair(t)
	const n = 100000
	done := make(chan uint32, 1)
	next := uint32(0)
	attach(t, l, b, &handler{message: func(_ *Conn, m *proto.Msg) error {
		if m.Op != next {
			t.Errorf("got %d, want %d", m.Op, next)
			return errors.New("order")
		}
		if next++; next == n {
			done <- next
		}
		return nil
	}})
	c := l.NewConn(&handler{})
	for i := uint32(0); i < n; i++ { // far more than the socket takes
		if i == 10 {
			if err := c.Attach(a); err != nil {
				t.Fatal(err)
			}
		}
		c.Send(&proto.Msg{Kind: proto.KUnlocked, Op: i})
	}
	run(l)
	l.Flush()
	receive(t, "messages", done)
}

func TestFrameInPieces(t *testing.T) {
	l := newLoop(t)
	a, b := pair(t)
	blocking(t, a)
	got := make(chan string, 1)
	attach(t, l, b, &handler{message: func(_ *Conn, m *proto.Msg) error { got <- m.Text; return nil }})
	run(l)
	for _, x := range frame(t, &proto.Msg{Kind: proto.KReject, Text: "piecemeal"}) {
		if _, err := writeFD(a, []byte{x}); err != nil {
			t.Fatal(err)
		}
	}
	if s := receive(t, "message", got); s != "piecemeal" {
		t.Fatal(s)
	}
	if err := unix.Close(a); err != nil {
		t.Fatal(err)
	}
}

// lower changes a limit for a test; call it before the loop is made, so that it
// is set back after the loop's end.
func lower(t *testing.T, limit *int, n int) {
	whole := *limit
	t.Cleanup(func() { *limit = whole })
	*limit = n
}

func TestLargeFrame(t *testing.T) {
	lower(t, &maxFrame, 16<<20)
	l := newLoop(t)
	a, b := pair(t)
	got := make(chan int, 2)
	attach(t, l, b, &handler{message: func(_ *Conn, m *proto.Msg) error {
		if m.Kind == proto.KInstall {
			got <- len(m.Image.Locks)
		} else {
			got <- 0
		}
		return nil
	}})
	c := attach(t, l, a, &handler{})
	run(l)
	image := func(locks int) *proto.Image {
		return &proto.Image{Root: proto.Root{Name: proto.MakeName([]byte("R"))}, Locks: make([]proto.ImageLock, locks)}
	}
	c.Send(&proto.Msg{Kind: proto.KInstall, Image: image(200000)})
	c.Send(&proto.Msg{Kind: proto.KInstall, Image: image(1600000)}) // too large: not sent
	c.Send(&proto.Msg{Kind: proto.KUnlocked})
	l.Flush()
	if n := receive(t, "image", got); n != 200000 {
		t.Fatalf("%d locks", n)
	}
	if n := receive(t, "next", got); n != 0 {
		t.Fatalf("%d locks", n)
	}
}

func TestGarbageClosesTheConnection(t *testing.T) {
	huge := binary.BigEndian.AppendUint32(nil, uint32(maxFrame+1))
	for name, bytes := range map[string][]byte{
		"too long":     huge,
		"empty":        {0, 0, 0, 0},
		"no message":   {0, 0, 0, 1, 0xc1},
		"bomb":         {0, 0, 0, 5, 0xdd, 0xff, 0xff, 0xff, 0xff},
		"handler says": frame(t, &proto.Msg{Kind: proto.KReportEnd}),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t)
			a, b := pair(t)
			blocking(t, a)
			closed := make(chan error, 1)
			attach(t, l, b, &handler{
				message: func(*Conn, *proto.Msg) error { return errors.New("not now") },
				closed:  func(err error) { closed <- err },
			})
			run(l)
			if _, err := writeFD(a, bytes); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, "Closed", closed); err == nil {
				t.Fatal("closed without a reason")
			}
			if n, err := readFD(a, make([]byte, 1)); n > 0 || err == unix.EAGAIN {
				t.Fatalf("the peer sees %d, %v", n, err)
			}
			if err := unix.Close(a); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A large frame that is announced and never comes costs nothing.
func TestBufferGrowsWithWhatArrives(t *testing.T) {
	l := newLoop(t)
	a, b := pair(t)
	c := attach(t, l, b, &handler{})
	if _, err := writeFD(a, binary.BigEndian.AppendUint32(nil, uint32(maxFrame))); err != nil {
		t.Fatal(err)
	}
	l.Poll()
	if len(c.in) > firstBuffer {
		t.Fatalf("buffer of %d bytes", len(c.in))
	}
	if err := unix.Close(a); err != nil {
		t.Fatal(err)
	}
}

func TestLastWordsComeBeforeTheEnd(t *testing.T) {
	l := newLoop(t)
	a, b := pair(t)
	var got []uint32
	closed := make(chan error, 1)
	attach(t, l, b, &handler{
		message: func(_ *Conn, m *proto.Msg) error { got = append(got, m.Op); return nil },
		closed:  func(err error) { closed <- err },
	})
	var bytes []byte
	for i := uint32(0); i < 2000; i++ {
		bytes = append(bytes, frame(t, &proto.Msg{Kind: proto.KUnlocked, Op: i})...)
	}
	if n, err := writeFD(a, bytes); n != len(bytes) {
		t.Fatal(n, err)
	}
	if err := unix.Close(a); err != nil {
		t.Fatal(err)
	}
	l.Poll()
	if err := receive(t, "Closed", closed); err != nil || len(got) != 2000 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
}

func TestDrainHandlesWhatIsThere(t *testing.T) {
	l := newLoop(t)
	a, b := pair(t)
	n := 0
	c := attach(t, l, b, &handler{
		message: func(*Conn, *proto.Msg) error { n++; return nil },
		closed:  func(error) { t.Error("Closed after Drain") },
	})
	f := frame(t, &proto.Msg{Kind: proto.KUnlocked})
	for i := 0; i < 10; i++ {
		if _, err := writeFD(a, f); err != nil {
			t.Fatal(err)
		}
	}
	c.Drain()
	if n != 10 {
		t.Fatalf("%d messages handled", n)
	}
	if _, err := writeFD(a, f); err != unix.EPIPE {
		t.Fatalf("after Drain: %v", err)
	}
	l.Poll()
	if n != 10 {
		t.Fatal("handled after Drain")
	}
	if err := unix.Close(a); err != nil {
		t.Fatal(err)
	}
}

// A peer that asks and never reads the answers is not listened to any more, and
// costs bounded memory; when it reads, it gets everything.
func TestPeerThatStopsReading(t *testing.T) {
	lower(t, &maxOut, 1<<20)
	l := newLoop(t)
	a, b := pair(t)
	blocking(t, a)
	c := l.NewConn(&handler{message: func(c *Conn, m *proto.Msg) error {
		for i := 0; i < 100; i++ {
			c.Send(&proto.Msg{Kind: proto.KUnlocked, Op: m.Op})
		}
		return nil
	}})
	c.throttle = true
	if err := c.Attach(b); err != nil {
		t.Fatal(err)
	}
	run(l)
	// Another connection goes on meanwhile.
	x, y := pair(t)
	other := make(chan uint32)
	attach(t, l, y, &handler{message: func(_ *Conn, m *proto.Msg) error { other <- m.Op; return nil }})

	const asked = 10000
	written := make(chan error, 1)
	go func() {
		for i := uint32(0); i < asked; i++ {
			b, err := AppendFrame(nil, &proto.Msg{Kind: proto.KUnlocked, Op: i})
			for err == nil && len(b) > 0 {
				var n int
				n, err = writeFD(a, b)
				b = b[max(n, 0):]
			}
			if err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	deadline := time.Now().Add(patience)
	for !c.stalled.Load() {
		if time.Now().After(deadline) {
			t.Fatal("never throttled")
		}
		l.Poll()
	}
	c.mu.Lock()
	size := c.size
	c.mu.Unlock()
	// One read's worth of requests may come on top.
	if size > maxOut+8*firstBuffer*100 {
		t.Fatalf("%d bytes wait", size)
	}
	if _, err := writeFD(x, frame(t, &proto.Msg{Kind: proto.KUnlocked, Op: 5})); err != nil {
		t.Fatal(err)
	}
	if op := receive(t, "another connection", other); op != 5 {
		t.Fatal(op)
	}
	answers, at, buf := 0, 0, make([]byte, 1<<20)
	var m proto.Msg
	for answers < asked*100 {
		n, err := readFD(a, buf[at:])
		if err != nil || n == 0 {
			t.Fatalf("after %d answers: %d, %v", answers, n, err)
		}
		at += n
		done := 0
		for at-done >= headerSize {
			n := headerSize + int(binary.BigEndian.Uint32(buf[done:]))
			if at-done < n {
				break
			}
			if err := proto.Parse(buf[done+headerSize:done+n], &m); err != nil || m.Op != uint32(answers/100) {
				t.Fatalf("answer %d: %d, %v", answers, m.Op, err)
			}
			answers++
			done += n
		}
		at = copy(buf, buf[done:at])
	}
	if err := receive(t, "writer", written); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Close(a), unix.Close(x)); err != nil {
		t.Fatal(err)
	}
}

func TestListenAndDial(t *testing.T) {
	l := newLoop(t)
	addr := &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")}
	if _, err := Dial(addr); !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	n, err := l.Listen(addr, func(cred *unix.Ucred) Handler {
		if int(cred.Pid) != unix.Getpid() || int(cred.Uid) != unix.Geteuid() {
			t.Errorf("%+v", cred)
		}
		return &handler{message: func(c *Conn, m *proto.Msg) error { c.Send(m); return nil }}
	})
	if err != nil {
		t.Fatal(err)
	}
	run(l)
	fd, err := Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	echo := make(chan uint32)
	c := attach(t, l, fd, &handler{message: func(_ *Conn, m *proto.Msg) error { echo <- m.Op; return nil }})
	c.Send(&proto.Msg{Kind: proto.KUnlocked, Op: 3})
	l.Flush()
	if op := receive(t, "echo", echo); op != 3 {
		t.Fatal(op)
	}
	n.Close()
	if _, err := Dial(addr); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatal(err)
	}
}

func TestCloseInEveryState(t *testing.T) {
	for i := 0; i < 200; i++ {
		l := newLoop(t)
		a, b := pair(t)
		x := attach(t, l, a, &handler{message: func(c *Conn, m *proto.Msg) error { c.Send(m); return nil }})
		y := attach(t, l, b, &handler{message: func(c *Conn, m *proto.Msg) error { c.Send(m); return nil }})
		run(l)
		x.Send(&proto.Msg{Kind: proto.KUnlocked})
		l.Flush()
		switch i % 4 {
		case 0:
			x.Close()
			y.Close()
		case 1:
			go x.Close()
			y.Drain()
		case 2:
			y.Close()
		}
		l.Close()
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := newLoop(t)
	a, b := pair(t)
	attach(t, l, b, &handler{message: func(c *Conn, m *proto.Msg) error { c.Send(m); return nil }})
	n := 0
	c := attach(t, l, a, &handler{message: func(*Conn, *proto.Msg) error { n++; return nil }})
	m := &proto.Msg{Kind: proto.KRequest, Root: proto.Root{Name: proto.MakeName([]byte("name"))}}
	turn := func() {
		for at := n; n == at; {
			c.Send(m)
			l.Flush()
			l.Poll()
			l.Flush()
			l.Poll()
		}
	}
	turn()
	if k := testing.AllocsPerRun(1000, turn); k != 0 {
		t.Fatalf("%v allocations", k)
	}
}

// FuzzFrames: whatever a peer sends, the connection is served or closed.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0xc1}, int64(1))
	f.Add(frame(f, &proto.Msg{Kind: proto.KView, Procs: []proto.ProcID{1, 2, 3}}), int64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed int64) {
		l := newLoop(t)
		a, b := pair(t)
		ended := false
		c := attach(t, l, b, &handler{closed: func(error) { ended = true }})
		rnd := rand.New(rand.NewSource(seed))
		for len(data) > 0 && !ended {
			n := min(1+rnd.Intn(64), len(data))
			if _, err := writeFD(a, data[:n]); err != nil && !ended {
				break
			}
			data = data[n:]
			l.Poll()
		}
		if err := unix.Close(a); err != nil {
			t.Fatal(err)
		}
		l.Poll()
		if !ended || cap(c.in) > firstBuffer {
			t.Fatalf("ended %v, buffer of %d bytes", ended, cap(c.in))
		}
	})
}

// BenchmarkRoundTrip: a request and its answer, without waiting.
func BenchmarkRoundTrip(b *testing.B) {
	l := newLoop(b)
	x, y := pair(b)
	attach(b, l, y, &handler{message: func(c *Conn, m *proto.Msg) error { c.Send(m); return nil }})
	n := 0
	c := attach(b, l, x, &handler{message: func(*Conn, *proto.Msg) error { n++; return nil }})
	m := &proto.Msg{Kind: proto.KRequest, Root: proto.Root{Name: proto.MakeName([]byte("name"))}}
	b.ReportAllocs()
	for b.Loop() {
		for at := n; n == at; {
			c.Send(m)
			l.Flush()
			l.Poll()
			l.Flush()
			l.Poll()
		}
	}
}
