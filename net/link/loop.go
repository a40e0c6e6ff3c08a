package link

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Config is what a Loop needs.
type Config struct {
	// OpenFD and CloseFD, if set, are told of every descriptor that a forked
	// child must close.
	OpenFD, CloseFD func(fd int)
	// HoldForks, if set, keeps the program from forking until done is called, so
	// that no child gets a descriptor of which OpenFD has yet to be told.
	HoldForks func() (done func())
	// Yield, if set, is called by Run's goroutine when a descriptor that a caller
	// has put into the epoll set is ready. It returns when it no longer is.
	Yield func()
	// Callers, if set, are threads that wait on EpollFD for answers of their own.
	Callers Callers
	// After, if set, has f run after d, unless stop is called before; tests have a
	// clock of their own. Otherwise that is time.AfterFunc.
	After func(d time.Duration, f func()) (stop func() bool)
	Log   *slog.Logger
}

// Callers are threads that wait for answers and read the sockets meanwhile. If an answer
// comes before its caller waits, the kernel wakes Run's goroutine, and two threads do what
// one should. So while there are callers that goroutine stands aside: it waits on AsideFD,
// an epoll set of which EpollFD is a part, and that part is muted while a caller is about
// to read or does.
type Callers interface {
	// Waits counts how often callers have begun to wait.
	Waits() uint64
	// Reads says that a caller is about to look what has come, or has.
	Reads(yes bool)
	// Aside has EpollFD become a part of AsideFD, or no longer.
	Aside(yes bool)
}

// Loop is a set of sockets.
type Loop struct {
	cfg   Config
	epfd  int
	aside int // an epoll set; see Callers
	stop  int // eventfd; readable for ever once the loop is closed
	wg    sync.WaitGroup

	mu     sync.Mutex
	slots  []slot
	free   []uint32
	closed bool

	first atomic.Pointer[Conn] // has something to write; further ones are in dirty
	dirty struct {
		sync.Mutex
		conns []*Conn
		spare []*Conn
	}
	pending atomic.Bool // dirty.conns is not empty
	far     afar

	crowd crowd // of strangers

	moment moment
	turn   turn
	peers  atomic.Int32 // connections whose messages are kept in order,
	asked  atomic.Int32 // and those among them that were accepted
}

// slot is a place for a socket. Its generation tells an event of the present
// socket from one of an earlier.
type slot struct {
	src source
	gen uint32
}

// source is something in the epoll set.
type source interface {
	// announced takes an event during a turn.
	announced(events uint32)
}

// stopSlot marks the event of the eventfd. Other negative numbers are for
// descriptors that others have put into the epoll set.
const stopSlot = -1

func foreign(ev unix.EpollEvent) bool { return ev.Fd < stopSlot }

// New makes an empty loop. Run must be started for it to work without callers.
func New(cfg Config) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make an event descriptor: %w", err), unix.Close(epfd))
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: stopSlot}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, stop, &ev); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the event descriptor: %w", err), unix.Close(stop), unix.Close(epfd))
	}
	aside, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(aside, unix.EPOLL_CTL_ADD, stop, &ev)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make an epoll set: %w", err), unix.Close(stop), unix.Close(epfd))
	}
	l := &Loop{cfg: cfg, epfd: epfd, aside: aside, stop: stop}
	if err := l.moment.open(); err != nil {
		return nil, errors.Join(err, unix.Close(aside), unix.Close(stop), unix.Close(epfd))
	}
	l.opened(epfd)
	l.opened(aside)
	l.opened(stop)
	if l.moment.fd >= 0 {
		l.opened(l.moment.fd)
	}
	return l, nil
}

// holdForks is HoldForks of the configuration, if there is one.
func (l *Loop) holdForks() (done func()) {
	if l.cfg.HoldForks == nil {
		return func() {}
	}
	return l.cfg.HoldForks()
}

// after has f run later.
func (l *Loop) after(d time.Duration, f func()) (stop func() bool) {
	if l.cfg.After != nil {
		return l.cfg.After(d, f)
	}
	return time.AfterFunc(d, f).Stop
}

func (l *Loop) opened(fd int) {
	if l.cfg.OpenFD != nil {
		l.cfg.OpenFD(fd)
	}
}

// closeFD closes a descriptor of ours.
func (l *Loop) closeFD(fd int) {
	defer l.holdForks()()
	if l.cfg.CloseFD != nil {
		l.cfg.CloseFD(fd)
	}
	if err := unix.Close(fd); err != nil {
		l.cfg.Log.Error("close a socket", "error", err)
	}
}

// EpollFD is the descriptor that callers may wait on.
func (l *Loop) EpollFD() int { return l.epfd }

// AsideFD is for Callers.
func (l *Loop) AsideFD() int { return l.aside }

// Run waits for events and handles them in a goroutine of its own until Close;
// after each batch it calls after.
func (l *Loop) Run(after func()) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		var events [64]unix.EpollEvent
		var stand stand
		for {
			n, err := l.await(events[:], stand.aside)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				l.cfg.Log.Error("wait for sockets", "error", err)
				return
			}
			if !l.Handle(events[:n]) {
				return
			}
			after()
			if l.cfg.Yield != nil && slices.ContainsFunc(events[:n], foreign) {
				l.cfg.Yield()
			}
			if l.cfg.Callers != nil {
				stand.choose(l.cfg.Callers)
			}
		}
	}()
}

// await waits for events, aside or not.
func (l *Loop) await(events []unix.EpollEvent, aside bool) (int, error) {
	if aside {
		if _, err := unix.EpollWait(l.aside, events[:1], -1); err != nil {
			return 0, err
		}
		return l.ready(events), nil
	}
	return unix.EpollWait(l.epfd, events, -1)
}

// ready gives the events that are there.
func (l *Loop) ready(events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // a signal, at most: they are there the next time
	}
	return int(n)
}

// stand is whether Run's goroutine stands aside.
type stand struct {
	aside bool
	waits uint64 // of callers, when it was last looked at
	calm  int    // events since then
}

// asideFor is after how many events without callers the goroutine comes back.
const asideFor = 64

func (s *stand) choose(c Callers) {
	now := c.Waits()
	s.calm++
	if now != s.waits {
		s.waits, s.calm = now, 0
	}
	if aside := s.calm == 0 || s.aside && s.calm < asideFor; aside != s.aside {
		s.aside = aside
		c.Aside(aside)
	}
}

// buffers keeps event arrays for Poll.
var buffers = sync.Pool{New: func() any { return new([64]unix.EpollEvent) }}

// Poll handles what is ready now.
func (l *Loop) Poll() {
	b := buffers.Get().(*[64]unix.EpollEvent)
	defer buffers.Put(b)
	for {
		n, err := unix.EpollWait(l.epfd, b[:], 0)
		if n > 0 {
			l.Handle(b[:n])
		}
		if n < len(b) && err != unix.EINTR {
			return
		}
	}
}

// add puts a descriptor into the set; key is for later changes.
func (l *Loop) add(fd int, src source, events uint32) (key unix.EpollEvent, err error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return key, os.ErrClosed
	}
	var i uint32
	if n := len(l.free); n > 0 {
		i = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		i = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[i]
	s.gen++
	s.src = src
	key = unix.EpollEvent{Events: events, Fd: int32(i), Pad: int32(s.gen)}
	l.mu.Unlock()
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &key); err != nil {
		l.release(key)
		return key, fmt.Errorf("watch a socket: %w", err)
	}
	return key, nil
}

// release frees a slot.
func (l *Loop) release(key unix.EpollEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.slots[key.Fd]
	s.src = nil
	s.gen++
	l.free = append(l.free, uint32(key.Fd))
}

// markDirty notes that c has something to write.
func (l *Loop) markDirty(c *Conn) {
	if l.first.CompareAndSwap(nil, c) {
		return
	}
	l.dirty.Lock()
	l.dirty.conns = append(l.dirty.conns, c)
	l.pending.Store(true)
	l.dirty.Unlock()
}

// Pending reports whether Flush has something to do.
func (l *Loop) Pending() bool { return l.near() || l.far.some.Load() }

func (l *Loop) near() bool { return l.first.Load() != nil || l.pending.Load() }

// Flush writes what was sent since the last Flush. No mutex that a handler or a
// sender takes may be held.
func (l *Loop) Flush() {
	l.each((*Conn).flush)
	l.flushFar()
}

// each visits the connections that have something to write, and forgets them.
func (l *Loop) each(do func(*Conn)) {
	for l.near() {
		if c := l.first.Swap(nil); c != nil {
			do(c)
		}
		if !l.pending.Load() {
			continue
		}
		l.dirty.Lock()
		conns := l.dirty.conns
		l.dirty.conns = l.dirty.spare[:0]
		l.dirty.spare = nil
		l.pending.Store(false)
		l.dirty.Unlock()
		for i, c := range conns {
			do(c)
			conns[i] = nil
		}
		l.dirty.Lock()
		l.dirty.spare = conns[:0]
		l.dirty.Unlock()
	}
}

// Close ends Run and closes all sockets, without waiting for any peer. Handlers
// are not told.
func (l *Loop) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	var all []source
	for _, s := range l.slots {
		if s.src != nil {
			all = append(all, s.src)
		}
	}
	l.mu.Unlock()
	if _, err := unix.Write(l.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		l.cfg.Log.Error("end the reader", "error", err)
	}
	l.wg.Wait()
	l.far.running.Wait()
	for _, s := range all {
		switch s := s.(type) {
		case *Conn:
			s.Close()
		case *Listener:
			s.Close()
		case *stranger:
			s.Close()
		case *inbox:
			s.Close()
		}
	}
}

// CloseEpoll gives up the epoll descriptor, when nobody waits on it any more.
func (l *Loop) CloseEpoll() {
	l.closeFD(l.stop)
	l.closeFD(l.aside)
	l.closeFD(l.epfd)
	if l.moment.fd >= 0 {
		l.closeFD(l.moment.fd)
	}
}
