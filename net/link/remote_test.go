package link

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/secure"
)

// far is one end of a stream in a test.
type far struct {
	t    *testing.T
	mu   sync.Mutex
	conn *Conn
	got  uint64 // number of the last message
	want uint64
	done chan struct{}
	end  error
	cond *sync.Cond
	dial func(c *Conn) // opener only
	sent uint64
	why  []error // its sockets broke
	// answer, if set, takes the messages instead.
	answer func(c *Conn, m *proto.Msg)
}

func newFar(t *testing.T, want uint64) *far {
	f := &far{t: t, want: want, done: make(chan struct{})}
	f.cond = sync.NewCond(&f.mu)
	return f
}

func (f *far) Message(c *Conn, m *proto.Msg) error {
	if f.answer != nil {
		f.answer(c, m)
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Arrival != f.got+1 {
		f.t.Errorf("message %d after %d", m.Arrival, f.got)
	}
	f.got = m.Arrival
	if f.got == f.want {
		close(f.done)
	}
	f.cond.Broadcast()
	return nil
}

func (f *far) Closed(_ *Conn, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end = err
	close(f.done)
}

func (f *far) Broken(c *Conn, err error) {
	f.mu.Lock()
	f.why = append(f.why, err)
	f.mu.Unlock()
	if f.dial != nil {
		go f.dial(c)
	}
}

// broke is how often a socket broke for a reason; nil: for any.
func (f *far) broke(why error) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, err := range f.why {
		if why == nil || errors.Is(err, why) {
			n++
		}
	}
	return n
}

// hosts are two loops with a listening socket at the second.
type hosts struct {
	a, b   *Loop
	listen *Listener
	mu     sync.Mutex
	known  map[StreamID]*Conn
	failed []error
}

func cover(t *testing.T, opens bool, key byte) (*secure.Session, []byte) {
	cfg := secure.Config{Key: secure.Key{key}, Cluster: "test", Version: 1}
	if opens {
		s, first, err := secure.Open(cfg)
		if err != nil {
			t.Error(err)
		}
		return s, first
	}
	s, err := secure.Accept(cfg)
	if err != nil {
		t.Error(err)
	}
	return s, nil
}

func newHosts(t *testing.T, at *far) *hosts {
	h := &hosts{a: newLoop(t), b: newLoop(t), known: map[StreamID]*Conn{}}
	h.a.Run(h.a.Flush)
	h.b.Run(h.b.Flush)
	var err error
	fail := func(_ netip.AddrPort, err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.failed = append(h.failed, err)
	}
	h.listen, err = h.b.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), Entrance{Failed: fail, Route: func(fd int, to uint64) {
		if to != 7 {
			t.Errorf("a socket for %d", to)
		}
		s, _ := cover(t, false, 1)
		var made StreamID
		h.b.Admit(fd, Admission{
			Cover: s,
			Find: func(id StreamID, fresh bool) (RemoteHandler, *Conn, error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				made = id
				if c := h.known[id]; c != nil {
					return at, c, nil
				}
				if !fresh {
					return nil, nil, errors.New("no such stream")
				}
				return at, nil, nil
			},
			Made: func(c *Conn) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.known[made] = c
				at.conn = c
			},
			Failed: fail,
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hosts) dial(t *testing.T, key byte) func(*Conn) { return h.dialAt(t, key, h.listen.Addr()) }

func (h *hosts) dialAt(t *testing.T, key byte, addr netip.AddrPort) func(*Conn) {
	return func(c *Conn) {
		fd, err := DialTCP(netip.Addr{}, addr)
		if err != nil {
			t.Error(err)
			return
		}
		s, first := cover(t, true, key)
		if err := c.Redial(fd, s, append(Preamble(7), first...)); err == nil {
			h.a.Flush()
		}
	}
}

// A stream loses, doubles and reorders nothing however often its sockets break.
func TestStreamOutlivesSockets(t *testing.T) {
	const count = 20000
	at, from := newFar(t, count), newFar(t, count)
	h := newHosts(t, at)
	from.dial = h.dial(t, 1)
	c := h.a.NewRemote(from)
	from.dial(c)
	rng := rand.New(rand.NewPCG(1, 2))
	m := &proto.Msg{Kind: proto.KQueued}
	for i := uint64(1); i <= count; i++ {
		m.Arrival = i
		c.Send(m)
		if rng.IntN(20) == 0 {
			h.a.Flush()
		}
		if rng.IntN(500) == 0 {
			cut(c)
		}
		if i == count/2 {
			h.a.Flush()
		}
		h.mu.Lock()
		back := at.conn
		h.mu.Unlock()
		if back != nil {
			for at.sent < i {
				at.sent++
				back.Send(&proto.Msg{Kind: proto.KQueued, Arrival: at.sent})
			}
			if rng.IntN(500) == 0 {
				cut(back)
			}
			h.b.Flush()
		}
	}
	h.a.Flush()
	<-at.done
	h.mu.Lock()
	back := at.conn
	h.mu.Unlock()
	for at.sent < count {
		at.sent++
		back.Send(&proto.Msg{Kind: proto.KQueued, Arrival: at.sent})
	}
	h.b.Flush()
	<-from.done
	// A socket that was cut at the end has taken the latest acknowledgement with it; the next
	// one brings it.
	for end := time.Now().Add(patience); c.Unacknowledged() > 2*ackEvery; {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are kept", c.Unacknowledged())
		}
		runtime.Gosched()
	}
}

// last is the number of the last message that has come.
func (f *far) last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got
}

// cut breaks the present socket as a network does.
func cut(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

// However many threads send while a stream proves itself, the proof goes first.
func TestProofGoesFirst(t *testing.T) {
	for range 30 {
		const count = 500
		at, from := newFar(t, count), newFar(t, 1)
		h := newHosts(t, at)
		c := h.a.NewRemote(from)
		h.dial(t, 1)(c)
		stop := make(chan struct{})
		var flushers sync.WaitGroup
		for range 2 {
			flushers.Add(1)
			go func() {
				defer flushers.Done()
				for {
					select {
					case <-stop:
						return
					default:
						c.touch()
						h.a.Flush()
					}
				}
			}()
		}
		for i := uint64(1); i <= count; i++ {
			c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: i})
		}
		until(t, "all is there, or the stream has broken", func() bool { return at.last() == count || from.broke(nil) > 0 })
		close(stop)
		flushers.Wait()
		if from.broke(nil) > 0 {
			t.Fatalf("%v", from.why)
		}
	}
}
