package main

/*
#include "internal.h"
*/
import "C"

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/node"
)

// sink hands outcomes to C: to the waiting thread, or to the notification queue.
type sink struct{}

// Complete implements node.Sink.
func (sink) Complete(c *process.Completion) {
	v := (*C.uint8_t)(unsafe.Pointer(&c.Value))
	if c.Group != nil {
		timers.done(c.Group.Over)
	}
	if !c.Async {
		if c.Group != nil && completeGroup(c) {
			return
		}
		if c.Obstacles != nil {
			blamed.Store(c.Token, slices.Clone(c.Obstacles))
		}
		if c.Info.Exists {
			n := info(&c.Info)
			C.godlm_complete(C.uint64_t(c.Token), C.int32_t(c.Status), 0, nil, &n, 0, 0)
			return
		}
		read := C.int32_t(0)
		if c.Read {
			read = 1
		}
		C.godlm_complete(C.uint64_t(c.Token), C.int32_t(c.Status), read, v, nil, C.uint64_t(c.Number), C.uint64_t(c.Lock))
		return
	}
	unanswered.Add(-1)
	timers.done(c.Token)
	if !c.Read {
		v = nil
	}
	C.godlm_push_completion(C.uint64_t(c.Lock), C.int32_t(c.Status), C.uint64_t(c.User.NotPrm),
		C.uint64_t(c.User.CplRtn), C.uint64_t(c.User.ValB), v)
}

// Blocking implements node.Sink.
func (sink) Blocking(n *process.Notice) {
	C.godlm_push_blocking(C.uint64_t(n.Lock), C.uint32_t(n.Mode), C.uint64_t(n.User.NotPrm),
		C.uint64_t(n.Hint), C.uint64_t(n.User.BlkRtn))
}

// Lost implements node.Sink.
func (sink) Lost() { C.godlm_push_lost() }

// Discard implements node.Sink.
func (sink) Discard(id proto.LockID) bool {
	return C.godlm_discard_blocking(C.uint64_t(id)) != 0
}

// timeouts are those of asynchronous requests; synchronous ones watch the clock
// themselves. A request with a timeout has an odd token.
type timeouts struct {
	last atomic.Uint64

	mu      sync.Mutex
	running map[uint64]*timeout
}

type timeout struct {
	after time.Duration
	timer *time.Timer // nil until the request is under way
}

var timers = timeouts{running: map[uint64]*timeout{}}

// token names an asynchronous request and notes its timeout, if it has one.
func (t *timeouts) token(u *process.User, flags dlm.Flags) uint64 {
	token := t.last.Add(1) << 1
	if u.Timeout == 0 || flags&dlm.NoQueue != 0 {
		return token
	}
	token |= 1
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running[token] = &timeout{after: time.Duration(u.Timeout) * 10 * time.Millisecond}
	return token
}

// started starts the clock of a request that has to wait.
func (t *timeouts) started(n *node.Node, lock proto.LockID, token uint64, st dlm.Status) {
	if token&1 == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.running[token]
	if w == nil {
		return // answered already
	}
	if st != dlm.Pending {
		delete(t.running, token)
		return
	}
	w.timer = time.AfterFunc(w.after, func() {
		defer guard(nil)
		n.Process().Expire(lock, token)
		n.Flush()
	})
}

// done stops the clock of an answered request.
func (t *timeouts) done(token uint64) {
	if token&1 == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.running[token]; w != nil {
		if w.timer != nil {
			w.timer.Stop()
		}
		delete(t.running, token)
	}
}
