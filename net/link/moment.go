package link

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// oneCPU: all threads of this process share one, and perhaps with their peers. Tests set it.
var oneCPU = runtime.NumCPU() == 1

// How long others are let on: not shorter than leastMoment, and not longer than what the
// timer is set for. That is firstMoment, and twice as long each time while somebody always
// came within soon. Who comes later had something else to do meanwhile than to wait for the
// processor, and is not waited for so long again.
const (
	leastMoment = 20 * time.Microsecond
	firstMoment = 50 * time.Microsecond
	lastMoment  = 400 * time.Microsecond
	soon        = 30 * time.Microsecond
)

// moment is the time for which others are let on. Where the kernel has to ask a hypervisor
// for the next event of the CPU's clock, to set a timer and to take it back takes several
// times as long as all the rest of a short wait. So there is a timer of which nobody is told,
// and when somebody comes it goes on: a wait that would end right after it sets nothing.
type moment struct {
	fd int // a timer; -1: none is needed

	mu   sync.Mutex
	ends time.Time     // the timer
	span time.Duration // what it was set for; 0: nobody has come soon
}

func (m *moment) open() (err error) {
	m.fd = -1
	if !oneCPU {
		return nil
	}
	if m.fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		m.fd = -1
		return fmt.Errorf("make a timer: %w", err)
	}
	return nil
}

// start sees to it that the timer ends soon, but not at once, and says how long a wait is
// that ends right after it.
func (m *moment) start() (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	left := m.ends.Sub(now)
	if left < leastMoment {
		m.span = min(max(2*m.span, firstMoment), lastMoment)
		left, m.ends = m.span, now.Add(m.span)
		if err := unix.TimerfdSettime(m.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}, nil); err != nil {
			return 0, err
		}
	}
	return left + time.Microsecond, nil
}

// late says that nobody has come soon.
func (m *moment) late() {
	m.mu.Lock()
	m.span = 0
	m.mu.Unlock()
}

// LookAround is Look. With letOn it gives others a moment to send something, if there is
// no other CPU on which they could have done so already. sched_yield would let on those too
// who have nothing to do with it, each for milliseconds.
func (l *Loop) LookAround(letOn bool) {
	if letOn && l.moment.fd >= 0 {
		l.letOn()
	}
	l.Look()
}

// letOn waits a moment for something to come, and handles it. Nobody else need wake up for it.
func (l *Loop) letOn() {
	if c := l.cfg.Callers; c != nil {
		c.Reads(true)
		defer c.Reads(false)
	}
	left, err := l.moment.start()
	if err != nil {
		l.cfg.Log.Error("set a timer", "error", err)
		return
	}
	b := buffers.Get().(*[64]unix.EpollEvent)
	defer buffers.Put(b)
	limit := unix.NsecToTimespec(int64(left))
	began := time.Now()
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno != 0 { // a signal, or an old kernel
		return
	}
	if n == 0 || time.Since(began) > soon {
		l.moment.late()
	}
	if n > 0 {
		l.Handle(b[:n])
	}
}
