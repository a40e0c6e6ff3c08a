package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// How the sockets of other hosts come to their streams. Who listens reads from each the
// preamble, which says whom it is for, and may hand the socket to that process. There
// the peer proves itself and names the stream.

const (
	preambleMagic = "gdlm"
	// PreambleSize is the size of a preamble in bytes.
	PreambleSize = len(preambleMagic) + 8
	// A network that swallows everything is noticed after about this long, so that
	// the stream can try another socket.
	userTimeout = 3000 // milliseconds
)

// Preamble is what an opener sends first: the number of the process that it wants, 0 for
// the agent.
func Preamble(to uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(preambleMagic), to)
}

// Entrance is what becomes of the sockets that ListenTCP accepts.
type Entrance struct {
	// Route is given each socket that has sent its preamble, which has been read; the
	// socket is Route's.
	Route func(fd int, to uint64)
	// Failed is told why another was closed.
	Failed func(from netip.AddrPort, err error)
}

// ListenTCP makes a listening socket for other hosts.
func (l *Loop) ListenTCP(addr netip.AddrPort, e Entrance) (*Listener, error) {
	defer l.holdForks()()
	fd, err := unix.Socket(family(addr.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, sockaddr(addr))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind %s: %w", addr, err), unix.Close(fd))
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", addr, err), unix.Close(fd))
	}
	n := &Listener{loop: l, fd: fd, entrance: &e}
	l.opened(fd)
	n.mu.Lock() // an event may come before key is set
	defer n.mu.Unlock()
	if n.key, err = l.add(fd, n, unix.EPOLLIN|unix.EPOLLET); err != nil {
		n.fd = -1
		l.closeFD(fd)
		return nil, err
	}
	return n, nil
}

// Addr is the address of a socket made by ListenTCP.
func (n *Listener) Addr() netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	sa, err := unix.Getsockname(n.fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// DialTCP begins to connect. Whether it succeeds the stream learns that gets the socket.
func DialTCP(from netip.Addr, to netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(family(to.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if from.IsValid() && !from.IsUnspecified() {
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0)))
	}
	if err == nil {
		err = tune(fd)
	}
	if err == nil {
		if err = unix.Connect(fd, sockaddr(to)); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(fd))
	}
	return fd, nil
}

// tune sets what matters between hosts: no delay, and a short time until a silent
// network counts as broken.
func tune(fd int) error {
	for _, o := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set up a socket: %w", err)
		}
	}
	return nil
}

// unwatch takes a descriptor out of the epoll set without closing it.
func (l *Loop) unwatch(fd int) {
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		l.cfg.Log.Error("leave a socket alone", "error", err)
	}
}

// greet takes a new socket.
func (n *Listener) greet(fd int, sa unix.Sockaddr) {
	l := n.loop
	l.opened(fd)
	from := addrPort(sa)
	if err := tune(fd); err != nil {
		n.entrance.Failed(from, err)
		l.closeFD(fd)
		return
	}
	n.readPreamble(fd, from)
}

func (n *Listener) readPreamble(fd int, from netip.AddrPort) {
	l := n.loop
	var got []byte
	l.meet(fd, from, n.entrance.Failed, func(fd int) (next func()) {
		var b [PreambleSize]byte
		k, errno := recv(fd, b[:PreambleSize-len(got)])
		if errno == unix.EAGAIN || errno == unix.EINTR {
			return nil
		}
		got = append(got, b[:max(k, 0)]...)
		m := min(len(got), len(preambleMagic))
		switch {
		case errno != 0 || k == 0:
			return func() { l.closeFD(fd) } // it has gone without a word
		case string(got[:m]) != preambleMagic[:m]:
			return func() {
				n.entrance.Failed(from, ErrStranger)
				l.closeFD(fd)
			}
		case len(got) < PreambleSize:
			return nil // an edge tells when there is more
		}
		return func() {
			l.unwatch(fd)
			n.entrance.Route(fd, binary.BigEndian.Uint64(got[len(preambleMagic):]))
		}
	})
}

// peerAddr is where the peer of a socket is; zero if it has gone.
func peerAddr(fd int) netip.AddrPort {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

// Admission is what a socket needs to become part of a stream.
type Admission struct {
	Cover Cover
	// Find gives the handler of a new stream, or the connection that the stream has
	// already. An error ends the socket, and tells the peer that the stream is over.
	Find func(id StreamID, fresh bool) (RemoteHandler, *Conn, error)
	// Made is told of the connection of a new stream before anything of it is handled.
	Made func(c *Conn)
	// Failed is told why a peer was not let in.
	Failed func(from netip.AddrPort, err error)
}

// Opened takes note of a socket that was made elsewhere, and Discard closes one.
func (l *Loop) Opened(fd int) { l.opened(fd) }

// Discard closes a socket that the loop has taken note of.
func (l *Loop) Discard(fd int) { l.closeFD(fd) }

// Admit takes a socket behind its preamble, of which the loop has taken note. It is the
// loop's from now on.
func (l *Loop) Admit(fd int, a Admission) {
	from := peerAddr(fd)
	var plain []byte
	l.meet(fd, from, a.Failed, func(fd int) (next func()) {
		for len(plain) < resumeSize {
			p, wait, err := hear(fd, a.Cover)
			switch {
			case wait:
				return nil
			case err != nil:
				return func() {
					if !errors.Is(err, io.EOF) {
						a.Failed(from, err)
					}
					l.closeFD(fd)
				}
			}
			plain = append(plain, p...)
		}
		return func() {
			l.unwatch(fd)
			if err := l.join(fd, &a, plain); err != nil {
				if !errors.Is(err, os.ErrClosed) {
					a.Failed(from, err)
				}
				// If it does not arrive the peer asks again.
				if b, err := a.Cover.Seal(nil, append(binary.BigEndian.AppendUint32(nil, controlBit|1), ctlUnknown)); err == nil {
					_, _ = send(fd, b)
				}
				l.closeFD(fd)
			}
		}
	})
}

// hear reads once from a peer that proves itself, and answers. wait: nothing has come.
func hear(fd int, cover Cover) (plain []byte, wait bool, err error) {
	b := wireBuffers.Get().(*[]byte)
	defer wireBuffers.Put(b)
	k, errno := recv(fd, *b)
	switch {
	case errno == unix.EAGAIN:
		return nil, true, nil
	case errno == unix.EINTR:
		return nil, false, nil
	case errno != 0 || k == 0:
		return nil, false, io.EOF
	}
	plain, owed, err := cover.Feed(nil, (*b)[:k])
	for len(owed) > 0 { // some dozen bytes on a fresh socket
		k, errno := send(fd, owed)
		if errno != 0 && errno != unix.EINTR {
			return plain, false, errors.Join(err, errors.New("the peer does not read"))
		}
		owed = owed[max(k, 0):]
	}
	return plain, false, err
}

// join gives a socket that has proven itself to its stream. With an error the socket is
// still the caller's.
func (l *Loop) join(fd int, a *Admission, plain []byte) error {
	if binary.BigEndian.Uint32(plain) != controlBit|uint32(resumeSize-headerSize) || plain[headerSize] != ctlResume {
		return errors.New("it does not say which stream it is")
	}
	var id StreamID
	copy(id[:], plain[headerSize+1:])
	got := binary.BigEndian.Uint64(plain[headerSize+17:])
	fresh := got&metBit == 0
	got &^= metBit
	h, c, err := a.Find(id, fresh)
	if err != nil {
		return err
	}
	if c == nil {
		c = l.NewConn(h)
		c.throttle = true
		c.rem = &remote{id: id, handler: h}
		a.Made(c)
	}
	defer l.holdForks()()
	if l.cfg.CloseFD != nil {
		l.cfg.CloseFD(fd) // Attach takes note of it anew
	}
	if err := c.adopt(fd, a.Cover, nil, plain[resumeSize:], got); err != nil {
		l.cfg.Log.Warn("take a socket", "error", err)
		return nil // it has been closed
	}
	l.enter(c)
	return nil
}

// inbox is a datagram socket by which another process hands over sockets.
type inbox struct {
	loop *Loop
	take func(fd int)
	mu   sync.Mutex
	fd   int
	key  unix.EpollEvent
}

// Receive opens a datagram socket at addr, which must not exist, and gives take every
// socket that comes. take must have checked that only trusted users can reach addr.
func (l *Loop) Receive(addr unix.Sockaddr, take func(fd int)) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Bind(fd, addr); err != nil {
		return errors.Join(fmt.Errorf("bind a socket: %w", err), unix.Close(fd))
	}
	b := &inbox{loop: l, take: take, fd: fd}
	l.opened(fd)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key, err = l.add(fd, b, unix.EPOLLIN|unix.EPOLLET); err != nil {
		b.fd = -1
		l.closeFD(fd)
	}
	return err
}

// announced implements source.
func (b *inbox) announced(uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.fd >= 0 {
		done := b.loop.holdForks()
		fds, err := b.receive()
		for _, fd := range fds {
			b.loop.opened(fd)
		}
		done()
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				b.loop.cfg.Log.Warn("take a socket from the agent", "error", err)
			}
			return
		}
		for _, fd := range fds {
			b.take(fd)
		}
	}
}

func (b *inbox) receive() (fds []int, err error) {
	var data [16]byte
	var oob [64]byte
	_, n, _, _, err := unix.Recvmsg(b.fd, data[:], oob[:], unix.MSG_CMSG_CLOEXEC)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, nil // not from the agent
	}
	for i := range messages {
		if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds, nil
}

// Close closes the socket.
func (b *inbox) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd < 0 {
		return
	}
	b.loop.release(b.key)
	b.loop.closeFD(b.fd)
	b.fd = -1
}
