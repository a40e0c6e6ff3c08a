package node

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/secure"
)

const (
	hostDialFirst = 20 * time.Millisecond
	hostDialLast  = 500 * time.Millisecond
	// raftBacklog is how many bytes may wait for a host before messages of the log,
	// which the log repeats, are not added.
	raftBacklog = 1 << 20
	// deafTime is how long a host is suspected that has not read what it was told.
	deafTime = 10 * time.Second
)

// hostBacklog is how many bytes may wait for a host before it counts as one that does not
// read, which tests lower.
var hostBacklog = 64 << 20

// hosts are the streams between this agent and those of other hosts. Each agent says
// what it has to say on the streams that it has opened. The agent mutex guards it.
type hosts struct {
	r      *role
	sock   *link.Listener
	out    map[netip.AddrPort]*hostOut
	known  map[proto.HostID]netip.AddrPort // that have introduced themselves, or are in the list
	in     map[proto.HostID]*hostIn
	stream accepted
}

// errLease: survivors of a host must know how long its lease may go on.
var errLease = errors.New("the hosts are configured with different leases")

// hostOut is a stream that this agent has opened.
type hostOut struct {
	h     *hosts
	addr  netip.AddrPort
	conn  *link.Conn
	dialn bool // a socket is being tried, or works
	next  time.Time
	pause time.Duration
	since time.Time // when it broke
	deaf  time.Time // when it was given up; zero: it reads, or nobody suspects otherwise
	// peer is the agent there that had introduced itself last when something was sent; 0:
	// none had.
	peer uint64
}

// hostIn handles a stream that another agent has opened.
type hostIn struct {
	h  *hosts
	id proto.HostID // 0 until it has introduced itself
	c  *link.Conn
	// heard is when it has said something.
	heard time.Time
}

func (h *hosts) init(r *role) {
	h.r = r
	h.out = map[netip.AddrPort]*hostOut{}
	h.known = map[proto.HostID]netip.AddrPort{}
	h.in = map[proto.HostID]*hostIn{}
}

func (h *hosts) node() *Node { return h.r.n }

// listen opens the port for other hosts, and looks for the voters.
func (h *hosts) listen() (err error) {
	n := h.node()
	if h.sock, err = n.loop.ListenTCP(n.cfg.Cluster.Bind, link.Entrance{Route: h.r.route, Failed: n.notLetIn}); err != nil {
		return err
	}
	for _, v := range h.r.n.cfg.Cluster.Voters {
		if v.Name != h.r.n.cfg.Cluster.Host {
			h.to(v.Addr)
		}
	}
	return nil
}

func (h *hosts) close() {
	if h.sock != nil {
		h.sock.Close()
	}
	for _, o := range h.out {
		o.conn.Close()
	}
	h.stream.close()
}

// session is what a stream's socket is covered with.
func (c *Cluster) session() secure.Config {
	return secure.Config{Key: c.Key, Cluster: c.Name, Version: proto.Version}
}

// to finds or makes the stream to an address.
func (h *hosts) to(addr netip.AddrPort) *hostOut {
	o := h.out[addr]
	if o == nil {
		o = &hostOut{h: h, addr: addr, since: time.Now()}
		h.out[addr] = o
		o.open()
	}
	return o
}

// open begins a stream with who this host is.
func (o *hostOut) open() {
	r, cfg := o.h.r, o.h.node().cfg.Cluster
	o.conn = r.n.loop.NewRemote(o)
	m := &proto.Msg{Kind: proto.KIntro, Host: r.host.ID(), Text: cfg.Host, Number: r.host.Nonce(), Data: []byte(cfg.advertise().String()), Made: int64(cfg.lease())}
	if r.host.Fresh() {
		m.Flags |= proto.IntroFresh
	}
	if r.host.Votes() {
		m.Flags |= proto.IntroVoter
	}
	o.conn.Send(m)
	o.dialn, o.next = false, time.Time{}
}

// dial connects the streams that are without a socket and due.
func (h *hosts) dial() {
	for _, o := range h.out {
		if !o.dialn && !time.Now().Before(o.next) {
			o.dial()
		}
		if !o.deaf.IsZero() && time.Since(o.deaf) > deafTime {
			o.deaf = time.Time{}
			o.each(func(id proto.HostID) { h.r.host.Suspect(id, false) })
		}
	}
}

func (o *hostOut) dial() {
	n := o.h.node()
	cfg := n.cfg.Cluster
	o.dialn = true
	o.pause = backoff(o.pause, hostDialFirst, hostDialLast)
	s, first, err := secure.Open(cfg.session())
	if err == nil {
		defer n.holdForks()()
		var fd int
		if fd, err = link.DialTCP(cfg.Bind.Addr(), o.addr); err == nil {
			err = o.conn.Redial(fd, s, append(link.Preamble(0), first...))
		}
	}
	if err != nil {
		o.dialn, o.next = false, time.Now().Add(o.pause)
		n.log.Debug("connect to a host", "addr", o.addr, "error", err)
	}
}

// Message implements link.Handler: nothing is said here but by the opener.
func (o *hostOut) Message(*link.Conn, *proto.Msg) error {
	return errors.New("a message on a stream of the other direction")
}

// Broken implements link.RemoteHandler.
func (o *hostOut) Broken(c *link.Conn, err error) {
	o.h.r.later(func() {
		if o.conn == c && o.dialn {
			o.dialn, o.since = false, time.Now()
			o.next = time.Now().Add(o.pause)
			o.h.tell(o.addr.String(), err)
		}
	})
}

// Closed implements link.Handler: that agent has ended, and another may have taken its
// place.
func (o *hostOut) Closed(c *link.Conn, err error) {
	o.h.r.later(func() {
		if o.conn == c {
			o.h.node().log.Debug("stream to a host ended", "addr", o.addr, "stream", fmt.Sprintf("%x", c.Stream()), "error", err)
			o.anew()
		}
	})
}

// anew begins another stream in place of one that has ended, with all that was under way.
func (o *hostOut) anew() {
	o.open()
	o.next = time.Now().Add(o.pause)
	o.each(o.h.r.host.Broken)
}

// each does something for each host that is there.
func (o *hostOut) each(do func(proto.HostID)) {
	for id, a := range o.h.known {
		if a == o.addr {
			do(id)
		}
	}
}

// giveUp ends the stream to a host that does not read. Nothing goes to it until it has
// another, with which what matters is said anew: of a gap it would know nothing.
func (o *hostOut) giveUp() {
	c := o.conn
	c.Close()
	o.h.tell(o.addr.String(), link.ErrDeaf)
	o.h.r.later(func() { // not within what the core is just doing
		if o.conn == c {
			o.deaf = time.Now()
			o.each(func(id proto.HostID) { o.h.r.host.Suspect(id, true) })
			o.anew()
		}
	})
}

// tell says why a host is not let in, or does not let us in.
func (h *hosts) tell(addr string, err error) {
	if n := h.node(); !n.unwelcome.tell(addr, err) {
		n.log.Debug("stream between hosts", "peer", addr, "error", err)
	}
}

// notLetIn says why a socket of the network was closed. What port it has there says
// nothing: it has another each time.
func (n *Node) notLetIn(from netip.AddrPort, err error) {
	if !n.unwelcome.tell(from.Addr().Unmap().String(), err) {
		n.log.Debug("a socket was refused", "peer", from, "error", err)
	}
}

// admit takes a socket of another agent.
func (h *hosts) admit(fd int) {
	n := h.node()
	s, err := secure.Accept(h.r.n.cfg.Cluster.session())
	if err != nil {
		n.log.Error("accept a host", "error", err)
		n.loop.Discard(fd)
		return
	}
	var of link.StreamID
	n.loop.Admit(fd, link.Admission{
		Cover: s,
		Find: func(id link.StreamID, fresh bool) (link.RemoteHandler, *link.Conn, error) {
			of = id
			if c := h.stream.find(id); c != nil {
				return nil, c, nil
			}
			if !fresh {
				return nil, nil, link.ErrUnknown
			}
			return &hostIn{h: h}, nil, nil
		},
		Made:   func(c *link.Conn) { h.stream.add(of, c) },
		Failed: n.notLetIn,
	})
}

// mostHosts bounds the hosts that are known, and the addresses to which there are streams.
// Tests lower it.
var mostHosts = 1000

// quietTime is how long one of too many hosts that is no member may say nothing. Who wants
// to be one asks all the time. Tests lower it.
var quietTime = 30 * time.Second

// errHosts: somebody who has the key makes up hosts.
var errHosts = errors.New("too many hosts")

// room reports whether there is some for a host at an address. Who is no member, and has no
// stream or says nothing, is forgotten if need be.
func (h *hosts) room(id proto.HostID, addr netip.AddrPort) bool {
	fits := func() bool {
		_, known := h.known[id]
		return (known || id == 0 || len(h.known) < mostHosts) && (h.out[addr] != nil || len(h.out) < mostHosts)
	}
	if !fits() {
		h.forgetSome()
	}
	return fits()
}

// forgetSome forgets hosts that are neither members nor here, and streams to addresses of
// nobody.
func (h *hosts) forgetSome() {
	wanted := map[netip.AddrPort]bool{}
	for _, v := range h.node().cfg.Cluster.Voters {
		wanted[v.Addr] = true
	}
	member := map[proto.HostID]bool{}
	for _, x := range h.r.host.State().Hosts {
		member[x.ID] = true
	}
	for id, i := range h.in {
		if !member[id] && time.Since(i.heard) > quietTime {
			i.c.Close()
			h.stream.drop(i.c)
			delete(h.in, id)
			h.r.host.Ended(id)
		}
	}
	for id, addr := range h.known {
		if h.in[id] != nil || member[id] {
			wanted[addr] = true
		} else {
			delete(h.known, id)
		}
	}
	for addr, o := range h.out {
		if !wanted[addr] {
			c := o.conn
			o.conn = nil // what it has yet to tell is of nobody
			c.Close()
			delete(h.out, addr)
		}
	}
}

// learn notes the address of a host.
func (h *hosts) learn(id proto.HostID, addr string) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		h.node().log.Error("address of a host", "host", uint64(id), "addr", addr, "error", err)
		return
	}
	h.known[id] = a
	h.to(a)
}

// send queues a message for a host. It is lost if the host is not known, or does not
// read.
func (h *hosts) send(to proto.HostID, m *proto.Msg) {
	addr, known := h.known[to]
	if !known {
		return
	}
	o := h.to(addr)
	switch wait := o.conn.Unacknowledged(); {
	case m.Kind == proto.KRaft && wait > raftBacklog:
	case wait > hostBacklog:
		o.giveUp()
	default:
		o.conn.Send(m)
	}
}

// backlog is how many bytes wait for a host.
func (h *hosts) backlog(to proto.HostID) int {
	if o := h.out[h.known[to]]; o != nil {
		return o.conn.Unacknowledged()
	}
	return 0
}

// Message implements link.Handler.
func (i *hostIn) Message(c *link.Conn, m *proto.Msg) error {
	r := i.h.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	i.heard = time.Now()
	if i.id == 0 {
		return i.intro(c, m)
	}
	if i.h.in[i.id] != i {
		return errors.New("a message of an agent that has a successor")
	}
	switch m.Kind {
	case proto.KInspect:
		r.inspectFor(i.id, m)
		return nil
	case proto.KSeen:
		r.seenHost(i.id, m.Number, m.Sight)
		return nil
	}
	if err := between(m, proto.KForward, proto.KEvicted); err != nil && m.Kind != proto.KWhere && m.Kind != proto.KRaft {
		return err
	}
	return r.host.Receive(i.id, m)
}

func (i *hostIn) intro(c *link.Conn, m *proto.Msg) error {
	if err := between(m, proto.KIntro, proto.KIntro); err != nil {
		return err
	}
	h := i.h
	addr, err := netip.ParseAddrPort(string(m.Data))
	if err != nil || m.Host == 0 || m.Host == h.r.host.ID() {
		return fmt.Errorf("host %x at %q cannot be one", uint64(m.Host), m.Data)
	}
	if own := h.node().cfg.Cluster.lease(); m.Made != int64(own) {
		err := fmt.Errorf("%w: host %s has %v, this one %v", errLease, m.Text, time.Duration(m.Made), own)
		h.tell(addr.String(), err)
		return err
	}
	if !h.room(m.Host, addr) {
		h.tell(addr.String(), errHosts)
		return errHosts
	}
	if old := h.in[m.Host]; old != nil && old.c != nil {
		// What a dead agent has left in the network may come late: if that one lives, it
		// comes again.
		old.c.Close()
		h.stream.drop(old.c)
	}
	h.stream.introduced(c)
	i.id, i.c = m.Host, c
	h.in[m.Host] = i
	h.known[m.Host] = addr
	h.succeeded(m.Host, h.to(addr), m.Number)
	h.r.host.Introduced(m.Host, m.Text, m.Flags&proto.IntroFresh != 0)
	h.to(addr).hurry()
	h.node().log.Debug("a host is here", "host", m.Text, "addr", addr)
	return nil
}

// succeeded: an agent has introduced itself. What its predecessor was sent is lost, and the
// rest of that stream would be: what this one is told must not go there.
func (h *hosts) succeeded(id proto.HostID, o *hostOut, agent uint64) {
	if o.peer == agent { // it comes with another stream: what it has said on the one before may be lost
		h.r.host.Broken(id)
		return
	}
	o.peer = agent
	o.conn.Close()
	o.open()
	h.r.host.Broken(id)
}

// hurry tries the next socket at once.
func (o *hostOut) hurry() {
	o.pause, o.next = 0, time.Time{}
	if !o.dialn {
		o.dial()
	}
}

// Broken implements link.RemoteHandler: the opener comes again.
func (i *hostIn) Broken(*link.Conn, error) {}

// Closed implements link.Handler.
func (i *hostIn) Closed(c *link.Conn, err error) {
	i.h.stream.drop(c)
	i.h.r.later(func() {
		if i.h.in[i.id] == i {
			delete(i.h.in, i.id)
			i.h.r.host.Ended(i.id)
		}
	})
}

// route gives a socket of another host to the process that it is for.
func (r *role) route(fd int, to uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.n
	switch {
	case r.closed:
		n.loop.Discard(fd)
	case to == 0:
		r.hosts.admit(fd)
	case to == n.me.Load():
		n.peers.admit(fd)
	default:
		if g := (*groupWorld)(r).groupHost(proto.ProcID(to)); g != nil {
			g.peers.admit(fd)
			return
		}
		var err error = unix.ESRCH
		if r.members[proto.ProcID(to)] != nil {
			err = n.hand(proto.ProcID(to), fd)
		}
		if err != nil {
			n.log.Debug("a socket of another host", "proc", to, "error", err)
		}
		n.loop.Discard(fd)
	}
}
