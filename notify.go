package godlm

import (
	"slices"
	"sync"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Blocking says that somebody waits for a lock of this program: a request for Mode is in its way.
type Blocking struct {
	Lock *Lock
	Mode Mode   // that is asked for
	Hint uint64 // that came with the request, see Hint
}

// notices are blocking notifications that the program has yet to be told of.
type notices struct {
	mu     sync.Mutex // taken by the sink, which holds one of core
	some   sync.Cond
	list   []notice
	closed bool

	// locks are those that have a function, by the number that core gives back.
	locks map[uint64]*Lock
	last  uint64
}

type notice struct {
	id   proto.LockID
	key  uint64
	mode Mode
	hint uint64
}

func (q *notices) init() {
	q.some.L = &q.mu
	q.locks = map[uint64]*Lock{}
}

// add enters a lock; its number is never 0.
func (q *notices) add(l *Lock) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	q.locks[q.last] = l
	return q.last
}

func (q *notices) remove(key uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.locks, key)
}

func (q *notices) push(n *process.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, notice{n.Lock, n.User.BlkRtn, Mode(n.Mode), n.Hint})
	q.some.Signal()
}

func (q *notices) discard(id proto.LockID) (found bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = slices.DeleteFunc(q.list, func(n notice) bool {
		if n.id == id {
			found = true
		}
		return n.id == id
	})
	return found
}

// pop waits for a notice; false when there will be no more.
func (q *notices) pop() (n notice, l *Lock, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return n, nil, false
	}
	n = q.list[0]
	q.list = slices.Delete(q.list, 0, 1)
	return n, q.locks[n.key], true
}

func (q *notices) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

// notify runs the program's functions, one after the other, until the session ends.
func (s *session) notify() {
	for {
		n, l, ok := s.notices.pop()
		if !ok {
			return
		}
		if s.enter() == nil {
			s.node.Process().Delivered(n.id) // from here on there can be another one
			s.leave()
		}
		if l != nil {
			l.submit.Lock() // the request that the notice is about has been noted
			//lint:ignore SA2001 it is waited for only
			l.submit.Unlock()
			l.blocking(Blocking{l, n.mode, n.hint})
		}
	}
}
