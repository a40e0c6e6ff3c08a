package node

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
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

// Deadlock implements process.World.
func (w *world) Deadlock(c []process.Link) {
	go (*Node)(w).logDeadlock(c)
}

// logDeadlock tells of a cycle with the names of programs.
func (n *Node) logDeadlock(c []process.Link) {
	pids := map[proto.ProcID]int{proto.ProcID(n.me.Load()): os.Getpid()}
	if states, err := n.dir.Scan(n.file.Name); err == nil {
		for _, s := range states {
			pids[s.Proc] = s.Pid
		}
	}
	var steps []string
	for i := range c {
		steps = append(steps, describeLink(&c[i], pids))
	}
	n.log.Info("deadlock", "cycle", strings.Join(steps, "; "))
}

func describeLink(l *process.Link, pids map[proto.ProcID]int) string {
	name := fmt.Sprintf("%q", l.Root.Name.Bytes())
	if l.Name.Len > 0 {
		name += fmt.Sprintf(".../%q", l.Name.Bytes())
	}
	has := "has"
	if l.Queued {
		has = "waits earlier for"
	}
	s := fmt.Sprintf("%s waits for %s on %s, on which %s %s %s",
		describe(pids[l.Waiter]), l.Wanted, name, describe(pids[l.Holder]), has, l.Holds)
	if l.Victim {
		s += " (refused)"
	}
	return s
}
