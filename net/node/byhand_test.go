package node

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/secure"
)

// logBook keeps what is logged.
type logBook struct {
	mu  sync.Mutex
	all strings.Builder
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// count is how many lines have all of that in them.
func (b *logBook) count(parts ...string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
lines:
	for line := range strings.Lines(b.all.String()) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue lines
			}
		}
		n++
	}
	return n
}

// inside is a node of a test host in the test's own process.
type inside struct {
	t    *testing.T
	h    *testHost
	log  *logBook
	n    *Node
	done chan error // its end, or that it has joined
}

// inside opens a node in the test's own process, without waiting for it to join.
func (h *testHost) inside() *inside {
	in := &inside{t: h.t, h: h, log: &logBook{}, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	conf := h.conf
	in.n = newNode(Config{Dir: h.dir, Sink: newSink(), Cluster: &conf, Context: ctx, Log: slog.New(slog.NewTextHandler(in.log, nil))})
	go func() { in.done <- in.n.open() }()
	h.t.Cleanup(func() {
		cancel()
		<-in.done
		in.n.Close()
		if h.t.Failed() {
			h.t.Logf("log of %s:\n%s", h.conf.Host, in.log.all.String())
		}
	})
	return in
}

// refused is how often the agent says that a connection was refused for a reason.
func (in *inside) refused(why error) int {
	r, err := AskStatus(in.h.dir)
	if errors.Is(err, ErrMute) {
		return 0 // it is not there yet
	}
	if err != nil {
		in.t.Fatal(err)
	}
	return r.Refused[why.Error()]
}

// byHand is one end of a stream between hosts, spoken by the test.
type byHand struct {
	t    *testing.T
	c    net.Conn
	s    *secure.Session
	said []byte // all that went over the wire from here
	in   []byte // frames that have come
	got  uint64 // bytes of messages among what was taken of them

	stream link.StreamID
}

// dialByHand connects to an agent and proves itself.
func dialByHand(t *testing.T, to netip.AddrPort, cfg secure.Config) (*byHand, error) {
	t.Helper()
	return dialProcess(t, to, 0, cfg)
}

// dialProcess does so with a process; 0: the agent.
func dialProcess(t *testing.T, to netip.AddrPort, proc uint64, cfg secure.Config) (*byHand, error) {
	t.Helper()
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // some tests have closed it
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	s, first, err := secure.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &byHand{t: t, c: c, s: s}
	b.write(append(link.Preamble(proc), first...))
	for !s.Ready() {
		if err := b.more(); err != nil {
			return b, err
		}
	}
	return b, nil
}

// acceptByHand takes a socket and has its peer prove itself.
func acceptByHand(t *testing.T, c net.Conn, cfg secure.Config) (*byHand, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	s, err := secure.Accept(cfg)
	if err != nil {
		return nil, err
	}
	b := &byHand{t: t, c: c, s: s}
	var preamble [link.PreambleSize]byte
	for at := 0; at < len(preamble); {
		n, err := c.Read(preamble[at:])
		if err != nil {
			return b, err
		}
		at += n
	}
	for !s.Ready() {
		if err := b.more(); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b *byHand) write(p []byte) {
	b.said = append(b.said, p...)
	_, _ = b.c.Write(p) // what it means that this fails, reading tells
}

// more reads once.
func (b *byHand) more() error {
	p := make([]byte, 64<<10)
	n, err := b.c.Read(p)
	if err != nil {
		return err
	}
	plain, out, err := b.s.Feed(nil, p[:n])
	if len(out) > 0 {
		b.write(out)
	}
	b.in = append(b.in, plain...)
	return err
}

// Control frames of net/link.
const (
	byHandControl = 1 << 31
	byHandResume  = 1
	byHandAck     = 2
)

// resume says which stream this socket is of, and that nothing of it has come yet.
func (b *byHand) resume(id link.StreamID) {
	f := binary.BigEndian.AppendUint32(nil, byHandControl|1+16+8)
	f = append(append(f, byHandResume), id[:]...)
	b.seal(binary.BigEndian.AppendUint64(f, 0))
}

// ack says that all messages that were heard are done with.
func (b *byHand) ack() {
	f := binary.BigEndian.AppendUint32(nil, byHandControl|1+8)
	b.seal(binary.BigEndian.AppendUint64(append(f, byHandAck), b.got))
}

func (b *byHand) seal(plain []byte) {
	b.t.Helper()
	wire, err := b.s.Seal(nil, plain)
	if err != nil {
		b.t.Error(err)
	}
	b.write(wire)
}

func (b *byHand) send(msgs ...*proto.Msg) {
	b.t.Helper()
	var plain []byte
	for _, m := range msgs {
		var err error
		if plain, err = link.AppendFrame(plain, m); err != nil {
			b.t.Error(err)
		}
	}
	b.seal(plain)
}

// hear takes the next frame: a message, or a control frame's kind and contents.
func (b *byHand) hear() (m *proto.Msg, control []byte, err error) {
	for {
		if len(b.in) >= 4 {
			head := binary.BigEndian.Uint32(b.in)
			n := int(head &^ byHandControl)
			if len(b.in) >= 4+n {
				f := b.in[4 : 4+n]
				b.in = b.in[4+n:]
				if head&byHandControl != 0 {
					return nil, f, nil
				}
				b.got += uint64(4 + n)
				m = &proto.Msg{}
				return m, nil, proto.Parse(f, m)
			}
		}
		if err := b.more(); err != nil {
			return nil, nil, err
		}
	}
}
