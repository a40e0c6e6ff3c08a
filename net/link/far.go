package link

import (
	"sync"
	"sync/atomic"
)

// Who sends one request after the other to another host and waits for none would have each
// written, sealed, read and answered by itself, and on both sides a thread woken for it. So
// what such a caller sends to other hosts waits until a goroutine gets to it, or
// anybody's Flush comes by; then all that has come together leaves with one write.

// farMost is how many bytes wait at most.
const farMost = 16 << 10

// afar is the connections to other hosts with something that waits to be written.
type afar struct {
	mu      sync.Mutex
	conns   []*Conn
	spare   []*Conn
	later   func()      // the goroutine
	some    atomic.Bool // conns is not empty
	due     bool        // a goroutine is about to write them
	running sync.WaitGroup
}

// FlushNear is Flush for connections within the host; what is for other hosts is written
// soon after.
func (l *Loop) FlushNear() { l.each(l.put) }

// put writes c, or has it written soon.
func (l *Loop) put(c *Conn) {
	c.mu.Lock()
	waits := c.rem != nil && c.size < farMost
	c.mu.Unlock()
	if !waits || !l.far.add(l, c) {
		c.flush()
	}
}

// add reports false when the loop is closed.
func (f *afar) add(l *Loop, c *Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.due {
		l.mu.Lock()
		closed := l.closed
		if !closed {
			f.running.Add(1)
		}
		l.mu.Unlock()
		if closed {
			return false
		}
		f.due = true
		if f.later == nil {
			f.later = func() {
				defer f.running.Done()
				f.write()
			}
		}
		go f.later()
	}
	f.conns = append(f.conns, c)
	f.some.Store(true)
	return true
}

// flushFar writes what waits.
func (l *Loop) flushFar() {
	if l.far.some.Load() {
		l.far.write()
	}
}

func (f *afar) write() {
	f.mu.Lock()
	conns := f.conns
	f.conns, f.spare, f.due = f.spare[:0], nil, false
	f.some.Store(false)
	f.mu.Unlock()
	for _, c := range conns {
		c.flush()
	}
	clear(conns)
	f.mu.Lock()
	f.spare = conns[:0]
	f.mu.Unlock()
}
