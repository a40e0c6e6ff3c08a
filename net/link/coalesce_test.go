package link

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

// Many messages leave with few writes.

// seals counts what goes out: a write carries at least one sealed piece, so there are not
// more writes than pieces.
type seals struct {
	Cover
	n *atomic.Int64
}

func (s seals) Seal(dst, plain []byte) ([]byte, error) {
	s.n.Add(1)
	return s.Cover.Seal(dst, plain)
}

// A stream under load, as it is used: requests that are made together leave together, so
// do their answers, and so do acknowledgements. No write carries fewer than ten messages
// in the mean.
func TestStreamCoalesces(t *testing.T) {
	const waves, each, least = 20, 1000, 10
	a, b := newLoop(t), newLoop(t)
	a.Run(a.Flush)
	b.Run(b.Flush)
	var asks, answers atomic.Int64
	at, from := newFar(t, 0), newFar(t, 0)
	at.answer = func(c *Conn, m *proto.Msg) {
		c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: m.Arrival})
	}
	wave := make(chan struct{})
	from.answer = func(_ *Conn, m *proto.Msg) {
		if m.Arrival == each {
			wave <- struct{}{}
		}
	}
	fail := func(_ netip.AddrPort, err error) { t.Error(err) }
	l, err := b.ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"), Entrance{Failed: fail, Route: func(fd int, _ uint64) {
		s, _ := cover(t, false, 1)
		b.Admit(fd, Admission{Cover: seals{s, &answers}, Failed: fail, Made: func(*Conn) {},
			Find: func(StreamID, bool) (RemoteHandler, *Conn, error) { return at, nil, nil }})
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := a.NewRemote(from)
	fd, err := DialTCP(netip.Addr{}, l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s, first := cover(t, true, 1)
	if err := c.Redial(fd, seals{s, &asks}, append(Preamble(7), first...)); err != nil {
		t.Fatal(err)
	}
	for range waves {
		for i := uint64(1); i <= each; i++ {
			c.Send(&proto.Msg{Kind: proto.KQueued, Arrival: i})
		}
		a.Flush()
		receive(t, "the answers", wave)
	}
	t.Logf("%d requests in at most %d writes, their answers in at most %d", waves*each, asks.Load(), answers.Load())
	if n := asks.Load(); n*least > waves*each {
		t.Errorf("%d requests in %d pieces", waves*each, n)
	}
	if n := answers.Load(); n*least > waves*each {
		t.Errorf("%d answers in %d pieces", waves*each, n)
	}
}

// Within the host: what is sent in one turn is one write, whoever it answers.
func TestTurnIsOneWrite(t *testing.T) {
	const count = 1000
	l := newLoop(t)
	asker, mine := pair(t)
	packets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := attach(t, l, packets[0], &handler{}) // a socket that keeps writes apart
	attach(t, l, mine, &handler{message: func(_ *Conn, m *proto.Msg) error {
		to.Send(m)
		return nil
	}})
	var all []byte
	for i := range uint64(count) {
		all = append(all, frame(t, &proto.Msg{Kind: proto.KQueued, Arrival: i})...)
	}
	if n, err := writeFD(asker, all); err != nil || n != len(all) {
		t.Fatal(n, err)
	}
	l.Poll()
	l.Flush()
	buf := make([]byte, 2*len(all))
	n, err := readFD(packets[1], buf)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	var m proto.Msg
	if err := EachFrame(buf[:n], &m, func(*proto.Msg) { got++ }); err != nil {
		t.Fatal(err)
	}
	if _, err := readFD(packets[1], buf); got != count || err != unix.EAGAIN {
		t.Errorf("the first write has %d of %d messages, then %v", got, count, err)
	}
	if err := errors.Join(unix.Close(asker), unix.Close(packets[1])); err != nil {
		t.Fatal(err)
	}
}
