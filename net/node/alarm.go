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

// Alarm implements process.World.
func (w *world) Alarm(at int64) {
	a := &w.alarm
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at != 0 && a.at <= at {
		return
	}
	a.at = at
	w.clock.after(time.Duration(at-w.Now()), func() {
		a.mu.Lock()
		current := a.at == at
		if current {
			a.at = 0
		}
		a.mu.Unlock()
		if current {
			w.proc.Tick()
			(*Node)(w).Flush()
		}
	})
}
