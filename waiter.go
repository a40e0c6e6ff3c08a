package godlm

import (
	"slices"
	"sync"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// waiter is where the answer to one request arrives. It is used again: its token tells
// an answer to this request from one to an earlier.
type waiter struct {
	index uint32
	token uint64
	lock  *Lock         // whose state the grant changes; nil for a question
	mode  Mode          // that is asked for
	ch    chan struct{} // receives once when res is there
	fired bool
	res   answer
}

// answer is what a request was answered.
type answer struct {
	status    dlm.Status
	read      bool
	value     Value
	info      proto.Info
	obstacles []proto.Obstacle
	number    uint64
}

// waiters are those of a session. Its mutex is taken by the sink, which holds one of core.
type waiters struct {
	mu   sync.Mutex
	all  []*waiter
	free []uint32
}

// take gives a waiter for one request.
func (t *waiters) take(l *Lock, m Mode) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	var w *waiter
	if n := len(t.free); n > 0 {
		w = t.all[t.free[n-1]]
		t.free = t.free[:n-1]
	} else {
		w = &waiter{index: uint32(len(t.all)), ch: make(chan struct{}, 1)}
		t.all = append(t.all, w)
	}
	w.token = (w.token>>32+1)<<32 | uint64(w.index)
	w.lock, w.mode, w.fired, w.res = l, m, false, answer{}
	return w
}

// put gives it back. No answer reaches it from here on.
func (t *waiters) put(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.fired, w.lock = true, nil
	select {
	case <-w.ch:
	default:
	}
	t.free = append(t.free, w.index)
}

// complete delivers an answer; only the first counts. The lock has its new state before its
// owner, or a notification about it, can look.
func (t *waiters) complete(c *process.Completion) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := uint32(c.Token)
	if int(i) >= len(t.all) {
		return
	}
	w := t.all[i]
	if w.token != c.Token || w.fired {
		return
	}
	w.res = answer{status: c.Status, read: c.Read, value: Value(c.Value), info: c.Info, obstacles: slices.Clone(c.Obstacles), number: c.Number}
	if w.lock != nil && granted(c.Status) {
		w.lock.take(w.mode, &w.res)
	}
	t.fire(w)
}

func (t *waiters) fire(w *waiter) {
	w.fired = true
	w.ch <- struct{}{}
}

// end answers all who still wait.
func (t *waiters) end(st Status) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.all {
		if !w.fired {
			w.res = answer{status: dlm.Status(st)}
			t.fire(w)
		}
	}
}

func granted(st dlm.Status) bool { return st >= dlm.Success && st <= dlm.SyncValNotValid }

func valid(st dlm.Status) bool { return st == dlm.Success || st == dlm.Synch }
