package link

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets whose peers have not proven anything yet. Anybody who reaches the port can
// make as many as he likes, so they have little time, and there are few at once. When
// there is no room the newcomer gets that of the oldest of the address that has the
// most: who comes from few addresses throws out himself, and a host that does come in,
// within a round trip or two, is not kept out by those that never will.

// Limits, which tests lower.
var (
	// maxStrangers bounds the sockets of other hosts that have not said what they are
	// for, or not proven themselves; maxFromOne those of one address among them.
	maxStrangers = 256
	maxFromOne   = 64
)

// greetTime is how long a stranger has to say whom it wants, and then as long again to
// prove itself.
const greetTime = 5 * time.Second

// Why a stranger was turned away.
var (
	ErrStranger = errors.New("it does not begin like a godlm host")
	ErrSlow     = errors.New("it does not say in time who it is")
	ErrCrowd    = errors.New("too many at once do not say who they are")
)

// stranger is an accepted socket whose peer has not proven anything.
type stranger struct {
	loop *Loop
	from netip.Addr // see source
	// step is called when there may be something to read, until it is done with the
	// socket: then it gives what is to be done next.
	step   func(fd int) (next func())
	failed func(err error)

	mu   sync.Mutex
	fd   int // -1: not ours any more
	key  unix.EpollEvent
	stop func() bool // of its timer
}

// crowd are the strangers of a loop, oldest first.
type crowd struct {
	mu  sync.Mutex // after stranger.mu
	all []*stranger
}

// sourceOf is what counts as one source: an address, and of IPv6 the network of it, which
// is what one machine has.
func sourceOf(a netip.AddrPort) netip.Addr {
	ip := a.Addr().Unmap()
	if p, err := ip.Prefix(64); err == nil && ip.Is6() {
		return p.Addr()
	}
	return ip
}

// add takes s in, and names who has to go for it.
func (c *crowd) add(s *stranger) (victim *stranger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own, most := 0, 0
	count := map[netip.Addr]int{}
	for _, x := range c.all {
		count[x.from]++
		most = max(most, count[x.from])
		if x.from == s.from {
			own++
		}
	}
	c.all = append(c.all, s)
	switch {
	case own >= maxFromOne:
		return c.oldest(func(x *stranger) bool { return x.from == s.from })
	case len(c.all) > maxStrangers:
		return c.oldest(func(x *stranger) bool { return count[x.from] == most })
	}
	return nil
}

// oldest takes the oldest stranger of that kind out. mu is held.
func (c *crowd) oldest(of func(*stranger) bool) *stranger {
	at := slices.IndexFunc(c.all, of)
	s := c.all[at]
	c.all = slices.Delete(c.all, at, at+1)
	return s
}

func (c *crowd) remove(s *stranger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := slices.Index(c.all, s); at >= 0 {
		c.all = slices.Delete(c.all, at, at+1)
	}
}

// meet watches a new socket. failed is told if it is closed before step is done with it.
func (l *Loop) meet(fd int, from netip.AddrPort, failed func(from netip.AddrPort, err error), step func(fd int) (next func())) {
	s := &stranger{loop: l, from: sourceOf(from), step: step, fd: fd}
	s.failed = func(err error) { failed(from, err) }
	s.mu.Lock()
	var err error
	if s.key, err = l.add(fd, s, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET); err != nil {
		s.fd = -1
		s.mu.Unlock()
		l.closeFD(fd)
		return
	}
	s.stop = l.after(greetTime, func() { s.turnAway(ErrSlow) })
	victim := l.crowd.add(s)
	s.mu.Unlock()
	if victim != nil {
		victim.turnAway(ErrCrowd)
	}
}

// announced implements source.
func (s *stranger) announced(uint32) {
	s.mu.Lock()
	var next func()
	if s.fd >= 0 {
		if next = s.step(s.fd); next != nil {
			s.leave()
		}
	}
	s.mu.Unlock()
	if next != nil { // it may have the socket watched anew, as another stranger
		next()
	}
}

// leave takes the socket out of the set. mu is held.
func (s *stranger) leave() {
	s.stop()
	s.loop.release(s.key)
	s.loop.crowd.remove(s)
	s.fd = -1
}

// Close closes the socket. It reports false if that was not s's any more.
func (s *stranger) Close() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return false
	}
	fd := s.fd
	s.leave()
	s.loop.closeFD(fd)
	return true
}

// turnAway closes the socket and says why.
func (s *stranger) turnAway(why error) {
	if s.Close() {
		s.failed(why)
	}
}
