package node

import (
	"sync"
	"time"
)

// clock runs functions later, until it is stopped.
type clock struct {
	mu      sync.Mutex
	stopped bool
	timers  map[*time.Timer]struct{}
	running sync.WaitGroup
}

// after runs f in a goroutine of its own after d.
func (c *clock) after(d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	if c.timers == nil {
		c.timers = map[*time.Timer]struct{}{}
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		c.mu.Lock()
		if c.stopped {
			c.mu.Unlock()
			return
		}
		delete(c.timers, t)
		c.running.Add(1)
		c.mu.Unlock()
		defer c.running.Done()
		f()
	})
	c.timers[t] = struct{}{}
}

// halt drops what has not begun and waits for what has.
func (c *clock) halt() {
	c.mu.Lock()
	c.stopped = true
	for t := range c.timers {
		t.Stop()
	}
	c.timers = nil
	c.mu.Unlock()
	c.running.Wait()
}

// backoff doubles from first to last.
func backoff(d, first, last time.Duration) time.Duration {
	return min(max(2*d, first), last)
}
