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

// Now implements process.World. All processes of a host read the same clock.
func (w *world) Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return time.Now().UnixNano()
	}
	return t.Nano()
}

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
