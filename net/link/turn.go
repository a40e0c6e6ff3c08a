package link

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// turn is the handling of a batch of events. One thread at a time has it, so that
// messages are handled in an order that makes sense beyond one connection:
//
// What has come is read first, then handled. If A sends a request here, then does
// something that lets B act, and B asks something here too, or its answer to us
// lets ourselves act, A's request was here before, and it goes before. So requests
// go before answers, and requests of several processes as they were made.
type turn struct {
	sync.Mutex
	batch  []*Conn
	full   []*Conn // can be written again
	events [64]unix.EpollEvent
	stop   bool
}

// KeepOrder says that the order of c's messages and those of other such
// connections matters. That something has come on one which was accepted is told to all
// who ask, until it is read: it may have been told to a thread that waits for its turn.
func (c *Conn) KeepOrder() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.Load() || c.ordered {
		return
	}
	c.ordered = true
	c.loop.peers.Add(1)
	if c.throttle {
		c.loop.asked.Add(1)
		if c.rem == nil && c.fd >= 0 {
			c.key.Events &^= unix.EPOLLET
			c.watch(0)
		}
	}
}

// unordered takes a closed connection out of the count.
func (l *Loop) unordered(c *Conn) {
	l.peers.Add(-1)
	if c.throttle {
		l.asked.Add(-1)
	}
}

// Handle handles events of EpollFD. It reports false once the loop is closed.
func (l *Loop) Handle(events []unix.EpollEvent) bool {
	t := &l.turn
	t.Lock()
	t.stop = false
	l.note(events)
	l.serve()
	full, stop := t.full, t.stop
	t.full = nil
	t.Unlock()
	for _, c := range full {
		c.writable()
	}
	return !stop
}

// Look handles what has come, without waiting. When it returns everything is handled that
// was in the sockets of connections that keep order before it was called.
func (l *Loop) Look() {
	t := &l.turn
	t.Lock()
	t.stop = false
	l.look()
	l.serve()
	full := t.full
	t.full = nil
	t.Unlock()
	for _, c := range full {
		c.writable()
	}
}

// resume reads on from a connection whose peer has begun to read again.
func (l *Loop) resume(c *Conn) {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.enter(c)
	l.serve()
}

// note takes events into the batch.
func (l *Loop) note(events []unix.EpollEvent) {
	for i := range events {
		ev := &events[i]
		if ev.Fd < 0 { // not a source: our own stop, or what a caller has added for itself
			l.turn.stop = l.turn.stop || ev.Fd == stopSlot
			continue
		}
		l.mu.Lock()
		var src source
		if s := &l.slots[ev.Fd]; s.gen == uint32(ev.Pad) {
			src = s.src
		}
		l.mu.Unlock()
		if src != nil {
			src.announced(ev.Events)
		}
	}
}

// announced implements source.
func (c *Conn) announced(events uint32) {
	const end = unix.EPOLLHUP | unix.EPOLLERR
	if events&(unix.EPOLLRDHUP|end) != 0 {
		c.hup.Store(true)
	}
	if events&^unix.EPOLLOUT != 0 {
		c.loop.enter(c)
	}
	if events&(unix.EPOLLOUT|end) != 0 {
		c.loop.turn.full = append(c.loop.turn.full, c)
	}
}

// enter puts c into the batch. It may have been read already when something new
// came.
func (l *Loop) enter(c *Conn) {
	if c.noted {
		c.again = true
		return
	}
	c.noted = true
	l.turn.batch = append(l.turn.batch, c)
}

// look adds to the batch what has come since, without waiting.
func (l *Loop) look() {
	t := &l.turn
	l.note(t.events[:l.ready(t.events[:])])
}

// maxRounds bounds how often one turn reads from a connection. A peer that sends as fast
// as it is read must not keep the thread, and with it what is to be flushed, for ever.
const maxRounds = 16

// serve reads and handles the batch until nothing is left of it, or the turn is long
// enough.
func (l *Loop) serve() {
	t := &l.turn
	for round := 0; len(t.batch) > 0; round++ {
		if round == maxRounds {
			l.postpone()
			return
		}
		order := l.asked.Load() > 0 && l.peers.Load() > 1
		if len(t.batch) == 1 && !order {
			if c := t.batch[0]; !c.serveAlone() {
				c.noted = false
				t.batch = t.batch[:0]
			}
			continue
		}
		for i := 0; i < len(t.batch); i++ {
			c := t.batch[i]
			c.again = false
			c.reading.Lock()
			c.take()
			c.reading.Unlock()
			// An answer that was just read may be younger than a request that the
			// events did not tell of.
			if order && i == len(t.batch)-1 {
				l.look()
			}
		}
		if order {
			t.merge()
		}
		for _, c := range t.batch {
			if c.throttle {
				c.serve()
			}
		}
		for _, c := range t.batch {
			if !c.throttle {
				c.serve()
			}
		}
		t.batch = slices.DeleteFunc(t.batch, func(c *Conn) bool {
			c.noted = c.again
			return !c.noted
		})
	}
}

// postpone has events come, in a later turn, for what has not been read to the end.
func (l *Loop) postpone() {
	t := &l.turn
	for _, c := range t.batch {
		c.noted = false
		c.mu.Lock()
		if c.fd >= 0 && !c.closed.Load() {
			more := uint32(0)
			if c.full {
				more = unix.EPOLLOUT
			}
			c.watch(more)
		}
		c.mu.Unlock()
	}
	clear(t.batch)
	t.batch = t.batch[:0]
}

// serveAlone reads and handles a connection whose messages have no order with others. It
// reports whether there may be more.
func (c *Conn) serveAlone() bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.again = false
	c.take()
	c.finish()
	c.again = c.again || c.more && !c.ended
	return c.again
}

func (c *Conn) serve() {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.finish()
	c.again = c.again || c.more && !c.ended
}

// merge handles the requests of several processes in the order in which they were
// made, by the one clock of the host. What carries no time goes first.
func (t *turn) merge() {
	n := 0
	for _, c := range t.batch {
		if c.throttle {
			n++
		}
	}
	for n > 1 {
		var first *Conn
		var made int64
		for _, c := range t.batch {
			if !c.throttle {
				continue
			}
			c.reading.Lock()
			if c.parse() && (first == nil || c.msg.Made < made) {
				first, made = c, c.msg.Made
			}
			c.reading.Unlock()
		}
		if first == nil {
			return
		}
		first.reading.Lock()
		if first.parse() {
			first.handleOne()
		}
		first.reading.Unlock()
	}
}
