package node

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is the one timer that core has: it exists while requests wait.
type alarm struct {
	mu sync.Mutex
	at int64 // 0: none
}

// Now implements process.World. All processes of a host read the same clock,
// CLOCK_MONOTONIC. Go reads it without a system call, but tells only differences.
func (w *world) Now() int64 { return hostClock.zero + int64(time.Since(hostClock.start)) }

// hostClock is a moment on Go's clock, and what the host's clock was then. It is wrong by
// less than a system call takes; what one process does in answer to another comes later.
var hostClock = func() (c struct {
	start time.Time
	zero  int64
}) {
	c.start = time.Now()
	best := time.Duration(1<<63 - 1)
	for range 8 { // in one of them nothing comes between
		var t unix.Timespec
		before := time.Since(c.start)
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
			panic(err) // every Linux has it
		}
		if took := time.Since(c.start) - before; took < best {
			best, c.zero = took, t.Nano()-int64(before+took/2)
		}
	}
	return c
}()

// Date implements process.World.
func (w *world) Date() uint32 { return uint32(time.Now().Unix()) }

// Alarm implements process.World.
func (w *world) Alarm(at int64) {
	w.alarm.set((*Node)(w), at, func() {
		w.proc.Tick()
		(*Node)(w).Flush()
	})
}

// set has ring called at that time, unless an earlier call is still to come.
func (a *alarm) set(n *Node, at int64, ring func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at != 0 && a.at <= at {
		return
	}
	a.at = at
	n.clock.after(time.Duration(at-(*world)(n).Now()), func() {
		a.mu.Lock()
		current := a.at == at
		if current {
			a.at = 0
		}
		a.mu.Unlock()
		if current {
			ring()
		}
	})
}
