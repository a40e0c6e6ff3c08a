package link

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	backlog = 4096 // connections that wait to be accepted; the kernel may lower it
	// retryAccept is the pause after descriptors or memory have run out.
	retryAccept = 100 * time.Millisecond
	// acceptAtOnce bounds how many connections of other hosts are accepted before
	// other sockets are looked at.
	acceptAtOnce = 64
)

// Accepted takes a new connection: the handler for it, or nil to refuse it. cred
// is the kernel's word for who the peer is.
type Accepted func(cred *unix.Ucred) Handler

// Listener is a listening socket.
type Listener struct {
	loop     *Loop
	accept   Accepted
	entrance *Entrance // of a socket for other hosts

	mu      sync.Mutex // held while accepting
	fd      int
	key     unix.EpollEvent
	retry   *time.Timer
	refused bool // that descriptors ran out has been logged
}

// Listen makes a socket at addr, which must not exist.
func (l *Loop) Listen(addr unix.Sockaddr, accept Accepted) (*Listener, error) {
	defer l.holdForks()()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Bind(fd, addr); err != nil {
		return nil, errors.Join(fmt.Errorf("bind a socket: %w", err), unix.Close(fd))
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), unix.Close(fd))
	}
	n := &Listener{loop: l, accept: accept, fd: fd}
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

// Close closes the socket.
func (n *Listener) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return
	}
	if n.retry != nil {
		n.retry.Stop()
	}
	n.loop.release(n.key)
	n.loop.closeFD(n.fd)
	n.fd = -1
}

// announced implements source.
func (n *Listener) announced(uint32) { n.takeAll() }

// takeAll accepts who has come.
func (n *Listener) takeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.loop.holdForks()()
	for taken := 0; n.fd >= 0; {
		if n.entrance != nil && taken == acceptAtOnce {
			n.again()
			return
		}
		fd, sa, err := unix.Accept4(n.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			n.refused = false
			taken++
			n.take(fd, sa)
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return
		default:
			if !n.refused {
				n.loop.cfg.Log.Error("accept a connection", "error", err)
				n.refused = true
			}
			n.retry = time.AfterFunc(retryAccept, func() { n.takeAll() })
			return
		}
	}
}

// again has an event come for what has not been accepted yet. mu is held.
func (n *Listener) again() {
	if err := unix.EpollCtl(n.loop.epfd, unix.EPOLL_CTL_MOD, n.fd, &n.key); err != nil {
		n.loop.cfg.Log.Error("watch a listening socket", "error", err)
	}
}

func (n *Listener) take(fd int, sa unix.Sockaddr) {
	if n.entrance != nil {
		n.greet(fd, sa)
		return
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	var h Handler
	if err == nil {
		h = n.accept(cred)
	}
	if h == nil {
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			n.loop.cfg.Log.Warn("refuse a connection", "error", err)
		}
		return
	}
	c := n.loop.NewConn(h)
	c.throttle = true
	if err := c.Attach(fd); err != nil && !errors.Is(err, os.ErrClosed) {
		n.loop.cfg.Log.Error("take a connection", "error", err)
	}
}

// Dial connects to addr without waiting. unix.EAGAIN: the peer has too many
// connections to accept; unix.ECONNREFUSED and unix.ENOENT: nobody is there.
func Dial(addr unix.Sockaddr) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Connect(fd, addr); err != nil {
		return -1, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	return fd, nil
}
