package node

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/secure"
)

// Processes of different hosts talk to each other directly. The agent, who has the
// host's port, hands each socket to the process that it is for, through a datagram
// socket of that process.

// hand gives a copy of a socket to another process of this host.
func (n *Node) hand(to proto.ProcID, fd int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("hand over a socket: %w", err)
	}
	if err := unix.Sendmsg(s, []byte{0}, unix.UnixRights(fd), n.dir.HandSock(to), 0); err != nil {
		return errors.Join(fmt.Errorf("hand over a socket: %w", err), unix.Close(s))
	}
	return unix.Close(s)
}

// takeHanded opens the datagram socket of this process.
func (n *Node) takeHanded(id proto.ProcID) error {
	if err := n.dir.RemoveHandSock(id); err != nil {
		return err
	}
	defer n.holdForks()()
	err := n.loop.Receive(n.dir.HandSock(id), func(fd int) {
		n.peers.admit(fd)
	})
	if err != nil {
		return fmt.Errorf("open the socket for other hosts in %s: %w", n.dir.Path(), err)
	}
	return nil
}

// admit takes a socket of a process of another host.
func (t *peers) admit(fd int) {
	n := t.n
	s, err := secure.Accept(n.cfg.Cluster.session())
	if err != nil {
		n.log.Error("accept a process of another host", "error", err)
		n.loop.Discard(fd)
		return
	}
	var of link.StreamID
	n.loop.Admit(fd, link.Admission{
		Cover: s,
		Find: func(id link.StreamID, fresh bool) (link.RemoteHandler, *link.Conn, error) {
			of = id
			if c := t.streams.find(id); c != nil {
				return nil, c, nil
			}
			if !fresh {
				return nil, nil, link.ErrUnknown
			}
			return &toOwner{t: t}, nil, nil
		},
		Made:   func(c *link.Conn) { t.streams.add(of, c) },
		Failed: n.notLetIn,
	})
}

// place takes the agent's word where a process is.
func (t *peers) place(m *proto.Msg) {
	var addr netip.AddrPort
	if m.Text != "" {
		var err error
		if addr, err = netip.ParseAddrPort(m.Text); err != nil {
			t.n.log.Error("address of a process", "error", err)
			return
		}
	}
	t.mu.Lock()
	x := t.byID[m.Proc]
	if x == nil || x.placed || x.out == nil {
		t.mu.Unlock()
		return
	}
	x.placed, x.addr = true, addr
	c := x.out
	t.mu.Unlock()
	if addr.IsValid() {
		c.MakeRemote(&toMaster{t, x.id})
	}
	t.connect(x)
	t.n.loop.Flush()
}

// reach gives the stream to a process of another host a socket.
func (t *peers) reach(x *peer, c *link.Conn) error {
	n := t.n
	s, first, err := secure.Open(n.cfg.Cluster.session())
	if err != nil {
		return err
	}
	fd, err := link.DialTCP(n.cfg.Cluster.Bind.Addr(), x.addr)
	if err != nil {
		return err
	}
	return c.Redial(fd, s, append(link.Preamble(uint64(x.id)), first...))
}

// Broken implements link.RemoteHandler.
func (h *toMaster) Broken(c *link.Conn, err error) {
	t := h.t
	t.mu.Lock()
	x := t.byID[h.id]
	if x == nil || x.out != c {
		t.mu.Unlock()
		return
	}
	x.pause = backoff(x.pause, dialFirst, remoteLast)
	pause, addr := x.pause, x.addr
	t.mu.Unlock()
	if !t.n.unwelcome.tell(addr.String(), err) {
		t.n.log.Debug("stream to a process of another host", "proc", h.id, "error", err)
	}
	t.n.clock.after(pause, func() {
		t.connect(x)
		t.n.loop.Flush()
	})
}

// Broken implements link.RemoteHandler: the opener comes again.
func (h *toOwner) Broken(*link.Conn, error) {}
