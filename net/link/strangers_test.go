package link

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/secure"
)

// stillClock is a clock that stands until the test lets all time pass.
type stillClock struct {
	mu    sync.Mutex
	due   map[int]func()
	last  int
	asked time.Duration // the longest time asked for
}

func (c *stillClock) after(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due == nil {
		c.due = map[int]func(){}
	}
	c.last++
	n := c.last
	c.due[n] = f
	c.asked = max(c.asked, d)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, was := c.due[n]
		delete(c.due, n)
		return was
	}
}

// state is how many timers were ever set, and how many are running.
func (c *stillClock) state() (set, running int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, len(c.due)
}

func (c *stillClock) pass() {
	c.mu.Lock()
	due := c.due
	c.due = map[int]func(){}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// port is a listening socket whose visitors are strangers to it until they prove
// themselves.
type port struct {
	t      *testing.T
	l      *Loop
	listen *Listener
	mu     sync.Mutex
	failed []error
	routed int
}

func newPort(t *testing.T, clock *stillClock) *port {
	p := &port{t: t}
	cfg := Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if clock != nil {
		cfg.After = clock.after
	}
	var err error
	if p.l, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.l.Close(); p.l.CloseEpoll() })
	p.listen, err = p.l.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), Entrance{Failed: p.fail, Route: func(fd int, _ uint64) {
		p.mu.Lock()
		p.routed++
		p.mu.Unlock()
		s, _ := cover(t, false, 1)
		p.l.Admit(fd, Admission{Cover: s, Failed: p.fail, Made: func(*Conn) {},
			Find: func(StreamID, bool) (RemoteHandler, *Conn, error) { return newFar(t, 1), nil, nil }})
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *port) fail(_ netip.AddrPort, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = append(p.failed, err)
}

// count is how many were turned away for a reason.
func (p *port) count(why error) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, err := range p.failed {
		if errors.Is(err, why) {
			n++
		}
	}
	return n
}

func (p *port) crowd() int {
	p.l.crowd.mu.Lock()
	defer p.l.crowd.mu.Unlock()
	return len(p.l.crowd.all)
}

// visit connects from an address of the loopback network, and says something.
func (p *port) visit(from byte, say []byte) (fd int) {
	p.t.Helper()
	fd, err := p.connect(from, say)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			p.t.Error(err)
		}
	})
	return fd
}

func (p *port) connect(from byte, say []byte) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	blocking(p.t, fd)
	to := p.listen.Addr()
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, from}}); err == nil {
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		}
	}
	if err == unix.EISCONN { // after a signal
		err = nil
	}
	if err == nil && len(say) > 0 {
		if _, err = writeFD(fd, say); err == unix.ECONNRESET || err == unix.EPIPE { // thrown out already
			err = nil
		}
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// ended reads to the end of a connection.
func ended(fd int) bool {
	for {
		n, err := readFD(fd, make([]byte, 1000))
		if err == unix.ECONNRESET || err == nil && n == 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
}

// open reports whether a connection has not been ended by the other side.
func open(t *testing.T, fd int) bool {
	t.Helper()
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_PEEK)
	if err != nil && err != unix.EAGAIN && err != unix.ECONNRESET {
		t.Fatal(err)
	}
	return err == unix.EAGAIN || n > 0
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// opener gives what a stream's opener with the key says first.
func opener(t *testing.T) []byte {
	t.Helper()
	_, first := cover(t, true, 1)
	return append(Preamble(7), first...)
}

// Who does not prove itself in time is shown out, however far it has come.
func TestStrangersHaveLittleTime(t *testing.T) {
	clock := &stillClock{}
	p := newPort(t, clock)
	run(p.l)
	first := opener(t)
	var all []int
	for _, say := range [][]byte{nil, first[:5], first[:PreambleSize], first[:len(first)-1], first} {
		all = append(all, p.visit(1, say))
	}
	until(t, "three are in the second stage", func() bool {
		set, running := clock.state()
		return set == 8 && running == 5
	})
	for _, fd := range all {
		if len(all) != p.crowd() || fd != all[4] && !open(t, fd) {
			t.Fatal("a stranger was shown out before its time")
		}
	}
	clock.pass()
	for i, fd := range all {
		if !ended(fd) {
			t.Errorf("stranger %d is still there", i)
		}
	}
	if n := p.count(ErrSlow); n != 5 || p.crowd() != 0 {
		t.Errorf("%d were too slow, %d are left", n, p.crowd())
	}
	if clock.asked > 5*time.Second {
		t.Errorf("a stranger has %v", clock.asked)
	}
}

// Who proves itself is no stranger: its timer is off.
func TestNoStrangerAfterProof(t *testing.T) {
	clock := &stillClock{}
	p := newPort(t, clock)
	run(p.l)
	a := newLoop(t)
	run(a)
	from := newFar(t, 1)
	c := a.NewRemote(from)
	dialPort(t, a, p, c, 1)
	until(t, "the stream is there", func() bool { _, running := clock.state(); return running == 0 && isUp(c) })
	clock.pass()
	c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: 1})
	a.Flush()
	until(t, "the message is acknowledged, or at least taken", func() bool { return p.crowd() == 0 && c.Unacknowledged() > 0 })
	if n := p.count(ErrSlow); n != 0 {
		t.Errorf("%d were too slow", n)
	}
}

func isUp(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rem.up
}

func dialPort(t *testing.T, l *Loop, p *port, c *Conn, key byte) {
	t.Helper()
	fd, err := DialTCP(netip.Addr{}, p.listen.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s, first := cover(t, true, key)
	if err := c.Redial(fd, s, append(Preamble(7), first...)); err != nil {
		t.Fatal(err)
	}
	l.Flush()
}

// Something that is not this protocol is shown out at its first wrong byte.
func TestNotAHost(t *testing.T) {
	p := newPort(t, &stillClock{})
	run(p.l)
	bad := opener(t)
	bad[len(bad)-50] = 0xff // the length of the handshake's record: 65 thousand bytes are to be kept
	for _, say := range [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), []byte("gdlX"), append(Preamble(7), "GET /"...), bad} {
		if !ended(p.visit(1, say)) {
			t.Errorf("%q is let in", say)
		}
	}
	until(t, "all are counted", func() bool { return p.count(ErrStranger) == 2 && p.count(secure.ErrProtocol) == 2 })
}

// A flood from one address throws out its own, and nobody else.
func TestFloodFromOne(t *testing.T) {
	p := newPort(t, &stillClock{})
	other := p.visit(3, opener(t)[:PreambleSize+3])
	const extra = 70
	var flood []int
	for range maxFromOne + extra { // more than are accepted at once: the loop is not running yet
		flood = append(flood, p.visit(2, []byte("gd")))
	}
	run(p.l)
	for i, fd := range flood[:extra] {
		if !ended(fd) {
			t.Fatalf("stranger %d is still there", i)
		}
	}
	until(t, "all were accepted", func() bool { return p.count(ErrCrowd) == extra && p.crowd() == maxFromOne+1 })
	for i, fd := range append(slices.Clone(flood[extra:]), other) {
		if !open(t, fd) {
			t.Errorf("stranger %d was thrown out", i)
		}
	}
	a := newLoop(t)
	run(a)
	c := a.NewRemote(newFar(t, 1))
	dialPort(t, a, p, c, 1)
	until(t, "who has the key is let in", func() bool { return isUp(c) })
}

// A flood from many addresses leaves room for who comes from another, and uses no more
// descriptors than it may.
func TestFloodFromMany(t *testing.T) {
	p := newPort(t, &stillClock{})
	run(p.l)
	other := p.visit(3, opener(t)[:PreambleSize+3])
	done := make(chan struct{})
	var flooders sync.WaitGroup
	for i := range byte(8) {
		flooders.Add(1)
		go func() {
			defer flooders.Done()
			var fds []int
			for {
				select {
				case <-done:
					for _, fd := range fds {
						_ = unix.Close(fd)
					}
					return
				default:
				}
				if len(fds) == maxFromOne {
					_ = unix.Close(fds[0])
					fds = fds[1:]
				}
				fd, err := p.connect(10+i, []byte("gd"))
				if err != nil {
					t.Error(err)
					continue
				}
				fds = append(fds, fd)
				if n := p.crowd(); n > maxStrangers+1 {
					t.Errorf("%d strangers", n)
				}
			}
		}()
	}
	until(t, "the place is full", func() bool { return p.count(ErrCrowd) > 2*maxStrangers })
	if !open(t, other) {
		t.Error("a stranger of another address was thrown out")
	}
	a := newLoop(t)
	run(a)
	for range 5 {
		c := a.NewRemote(newFar(t, 1))
		dialPort(t, a, p, c, 1)
		until(t, "who has the key is let in", func() bool { return isUp(c) })
	}
	close(done)
	flooders.Wait()
}
