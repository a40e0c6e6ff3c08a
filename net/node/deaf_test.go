package node

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// played is a host that the test plays: it says who it is, and hears what it is told.
type played struct {
	t     *testing.T
	h     *testHost
	id    proto.HostID
	opens chan *byHand // streams that the real host opens, behind its resume
}

// play takes the port of h, and introduces it to another host.
func play(t *testing.T, h *testHost, id proto.HostID, to *testHost) *played {
	t.Helper()
	p := &played{t: t, h: h, id: id, opens: make(chan *byHand, 10)}
	l, err := net.Listen("tcp", h.conf.Bind.String())
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-over
	})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			if b := p.accept(c); b != nil {
				p.opens <- b
			}
		}
	}()
	until(t, "the port is open", func() bool {
		c, err := net.Dial("tcp", to.conf.Bind.String())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	b, err := dialByHand(t, to.conf.Bind, h.conf.session())
	if err != nil {
		t.Fatal(err)
	}
	b.resume(link.StreamID{byte(id)})
	b.send(&proto.Msg{Kind: proto.KIntro, Host: id, Text: h.conf.Host, Number: 5, Data: []byte(h.conf.Bind.String()),
		Made: int64(h.conf.lease()), Flags: proto.IntroFresh})
	return p
}

// accept takes a socket up to the word which stream it is of, and says that it knows none.
func (p *played) accept(c net.Conn) *byHand {
	b, err := acceptByHand(p.t, c, p.h.conf.session())
	if err != nil {
		return nil
	}
	_, control, err := b.hear()
	if err != nil {
		return nil
	}
	if len(control) != 1+16+8 || control[0] != byHandResume || binary.BigEndian.Uint64(control[17:]) != 0 {
		p.t.Errorf("a stream begins with %x", control)
	}
	b.resume(link.StreamID(control[1:]))
	b.stream = link.StreamID(control[1:])
	return b
}

// next is the next stream that the real host opens.
func (p *played) next() *byHand {
	p.t.Helper()
	select {
	case b := <-p.opens:
		return b
	case <-time.After(patience):
		p.t.Fatalf("host %d: no stream comes", p.id)
		return nil
	}
}

// told takes messages that are told to a process, numbered from..to, and nothing else but
// the log's.
func (p *played) told(b *byHand, from, to uint64) {
	p.t.Helper()
	for want := from; want <= to; {
		m, control, err := b.hear()
		switch {
		case err != nil:
			p.t.Fatalf("host %d, message %d: %v", p.id, want, err)
		case control != nil || m.Kind == proto.KIntro || m.Kind == proto.KRaft:
		case m.Kind != proto.KDeliver || uint64(m.Proc) != want || len(m.Data) != told:
			p.t.Fatalf("host %d: kind %d of %d with %d bytes, want %d", p.id, m.Kind, m.Proc, len(m.Data), want)
		default:
			want++
		}
	}
}

// told is how many bytes a message has that a played host is told.
const told = 64 << 10

// A host that does not read is given up before it costs much: its stream ends, people are
// told, and with another stream it is told again, without the rest of what it has missed.
// To others everything goes.
func TestHostThatDoesNotRead(t *testing.T) {
	was := hostBacklog
	hostBacklog = 4 << 20
	t.Cleanup(func() { hostBacklog = was })
	hosts := newHosts(t, 3)
	a := hosts[0].inside()
	deaf, other := play(t, hosts[1], 101, hosts[0]), play(t, hosts[2], 102, hosts[0])
	r := a.role()
	until(t, "both are known", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.hosts.in[101] != nil && r.hosts.in[102] != nil
	})
	var silent, hears *byHand
	for silent == nil || silent.stream != r.streamTo(101) {
		silent = deaf.next()
	}
	for hears == nil || hears.stream != r.streamTo(102) {
		hears = other.next()
	}
	const count = 400 // 25 MiB
	tell := func(to proto.HostID, i uint64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hosts.send(to, &proto.Msg{Kind: proto.KDeliver, Proc: proto.ProcID(i), Data: bytes.Repeat([]byte{byte(i)}, told)})
		if n := r.hosts.to(r.hosts.known[to]).conn.Unacknowledged(); n > hostBacklog+2*told {
			t.Errorf("%d bytes wait for host %d", n, to)
		}
	}
	given := uint64(0)
	for i := uint64(1); i <= count; i++ {
		if given == 0 {
			tell(101, i)
			if a.log.count(line(hosts[1].conf.Bind, `"the other side does not read what it is sent"`)...) > 0 {
				given = i
			}
		}
		tell(102, i)
		r.n.Flush()
		other.told(hears, i, i)
		hears.ack()
		until(t, "it is known that the other host reads", func() bool { return r.unread(102) < hostBacklog/2 })
	}
	if given == 0 {
		t.Fatal("it is not given up")
	}
	if n := a.refused(link.ErrDeaf); n != 1 {
		t.Errorf("counted %d times", n)
	}
	again := deaf.next()
	if again.stream == silent.stream {
		t.Error("the stream goes on")
	}
	r.mu.Lock()
	suspected := !r.hosts.to(hosts[1].conf.Bind).deaf.IsZero()
	r.mu.Unlock()
	if !suspected {
		t.Error("it is not suspected")
	}
	if m, _, err := again.hear(); err != nil || m == nil || m.Kind != proto.KIntro {
		t.Fatalf("the new stream begins with %+v, %v", m, err)
	}
	tell(101, count+1)
	r.n.Flush()
	deaf.told(again, count+1, count+1)
	select {
	case b := <-other.opens:
		t.Errorf("the host that reads has lost its stream for %x", b.stream)
	default:
	}
}

// unread is how many bytes wait for another host.
func (r *role) unread(id proto.HostID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts.to(r.hosts.known[id]).conn.Unacknowledged()
}

// streamTo is the stream that this host has to another now.
func (r *role) streamTo(id proto.HostID) link.StreamID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts.to(r.hosts.known[id]).conn.Stream()
}

// role waits until the node is the agent.
func (in *inside) role() (r *role) {
	in.t.Helper()
	until(in.t, "it is the agent", func() bool { r = in.n.role.Load(); return r != nil })
	return r
}
