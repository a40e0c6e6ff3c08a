package node

import (
	"slices"
	"sync"
	"time"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// laterPause is how long an answer that nobody waits for may stay here for something
// that takes it along.
const laterPause = 50 * time.Millisecond

// later is the connections with such answers. The timer runs only while there are any.
type later struct {
	mu    sync.Mutex
	conns []*link.Conn
}

// tell notes that an answer waits in c's outbox.
func (x *later) tell(t *peers, c *link.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.Contains(x.conns, c) {
		return
	}
	if x.conns = append(x.conns, c); len(x.conns) == 1 {
		t.n.clock.after(laterPause, func() {
			x.send()
			t.n.loop.Flush()
		})
	}
}

// send has them written.
func (x *later) send() {
	x.mu.Lock()
	conns := x.conns
	x.conns = nil
	x.mu.Unlock()
	for _, c := range conns {
		c.Touch()
	}
}

// prompt reports whether a request to a master is there before any that others make when
// this call of the program has returned: on this host, where requests are handled in the
// order in which they were made.
func (t *peers) prompt(to proto.ProcID) bool {
	t.mu.RLock()
	var c *link.Conn
	if x := t.byID[to]; x != nil {
		c = x.out
	}
	t.mu.RUnlock()
	return c != nil && c.Prompt()
}
