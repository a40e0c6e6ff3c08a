package node

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// crowd is somebody who has the key, and opens streams to a host.
type crowd struct {
	t    *testing.T
	from *testHost // whose key it has
	to   *testHost
	proc uint64 // 0: the agent
	n    uint64
}

// stream opens one more, and returns when the host knows it.
func (c *crowd) stream() *byHand {
	c.t.Helper()
	b, err := dialProcess(c.t, c.to.conf.Bind, c.proc, c.from.conf.session())
	if err != nil {
		c.t.Fatal(err)
	}
	c.n++
	var id link.StreamID
	binary.BigEndian.PutUint64(id[:], c.n)
	b.resume(id)
	if _, control, err := b.hear(); err != nil || len(control) == 0 || control[0] != byHandResume {
		c.t.Fatalf("stream %d: %x, %v", c.n, control, err)
	}
	return b
}

// introduce has it be a host, at an address where nobody is.
func (c *crowd) introduce(id proto.HostID) *byHand {
	c.t.Helper()
	b := c.stream()
	b.send(&proto.Msg{Kind: proto.KIntro, Host: id, Text: fmt.Sprint("h", id), Number: 5, Data: fmt.Appendf(nil, "127.0.0.1:%d", id),
		Made: int64(c.from.conf.lease()), Flags: proto.IntroFresh})
	return b
}

// Somebody who has the key opens streams and says nothing, or makes up hosts. What is kept
// of that is bounded, and a host that comes later is let in.
func TestCrowdOfHosts(t *testing.T) {
	const most, many = 20, 100
	hostsWere, silentWas, quietWas := mostHosts, mostSilent, quietTime
	mostHosts, mostSilent = most, most
	t.Cleanup(func() { mostHosts, mostSilent, quietTime = hostsWere, silentWas, quietWas })
	hosts := newHosts(t, 2)
	a := hosts[0].inside()
	r := a.role()
	until(t, "the port is open", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.hosts.sock != nil })
	c := &crowd{t: t, from: hosts[1], to: hosts[0]}
	kept := func() (streams, silent, known, out, in int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		h := &r.hosts
		h.stream.Lock()
		defer h.stream.Unlock()
		return len(h.stream.byID), len(h.stream.silent), len(h.known), len(h.out), len(h.in)
	}

	for range many {
		if err := c.stream().c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if streams, silent, _, _, _ := kept(); streams > most || silent > most {
		t.Fatalf("%d streams are kept, %d of whom nobody knows", streams, silent)
	}

	for id := proto.HostID(1000); id < 1000+many; id++ {
		b := c.introduce(id)
		if id < 1000+most/2 { // these stay as they are; the others are refused, or there is room
			until(t, "it is known", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.hosts.in[id] != nil })
		}
		if err := b.c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "some are refused", func() bool { return a.refused(errHosts) > many/2 })
	if streams, silent, known, out, in := kept(); streams > 2*most || silent > most || known > most || out > most || in > most {
		t.Fatalf("%d streams are kept, %d of whom nobody knows; %d hosts are known, %d are here, there are %d streams to them", streams, silent, known, in, out)
	}

	r.mu.Lock()
	quietTime = time.Nanosecond
	r.mu.Unlock()
	c.introduce(5000)
	until(t, "a host that comes later is let in", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.hosts.in[5000] != nil })
	if _, _, known, out, in := kept(); known > most || out > most || in > most {
		t.Errorf("%d hosts are known, %d are here, there are %d streams to them", known, in, out)
	}
}

// Processes that no view has are believed up to a number, those of a view always.
func TestProcessesMadeUp(t *testing.T) {
	const member = 77
	var p peers
	p.init(nil, party{})
	p.live[member] = true
	refused := 0
	for id := proto.ProcID(1 << 40); id < 1<<40+proto.ProcID(3*mostSilent); id++ {
		if _, _, err := p.former(&proto.Msg{Kind: proto.KConnect, Proc: id}); err != nil {
			refused++
		}
	}
	if len(p.byID) > mostSilent+1 || refused < 2*mostSilent-1 {
		t.Errorf("%d processes are kept, %d refused", len(p.byID), refused)
	}
	if _, _, err := p.former(&proto.Msg{Kind: proto.KConnect, Proc: member}); err != nil {
		t.Error(err)
	}
}

// Streams to a process, of whom it does not know: those of others, who have said who they
// are, stay.
func TestCrowdAtAProcess(t *testing.T) {
	const most = 5
	was := mostSilent
	mostSilent = most
	t.Cleanup(func() { mostSilent = was })
	h := newHosts(t, 1)[0]
	a := h.inside()
	until(t, "it has joined", func() bool { return a.n.me.Load() != 0 && a.n.lease.Load() != nil })
	c := &crowd{t: t, from: h, to: h, proc: a.n.me.Load()}
	p := &a.n.peers
	kept := func() (streams, silent int) {
		p.streams.Lock()
		defer p.streams.Unlock()
		return len(p.streams.byID), len(p.streams.silent)
	}
	var known []*byHand
	for i := range uint64(most - 1) {
		b := c.stream()
		b.send(&proto.Msg{Kind: proto.KConnect, Proc: proto.ProcID(c.proc + 1000 + i), Flags: proto.Version})
		known = append(known, b)
	}
	until(t, "they are known", func() bool { streams, silent := kept(); return streams == most-1 && silent == 0 })
	for range 10 * most {
		if err := c.stream().c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if streams, silent := kept(); streams > most-1+most || silent > most {
		t.Errorf("%d streams are kept, %d of whom nobody knows", streams, silent)
	}
	for i := range known {
		p.mu.RLock()
		x := p.byID[proto.ProcID(c.proc+1000+uint64(i))]
		if x == nil || x.in == nil {
			t.Errorf("the stream of process %d is gone", i)
		}
		p.mu.RUnlock()
	}
}
