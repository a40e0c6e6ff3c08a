package node

import (
	"sync"
	"sync/atomic"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// queue is messages between the agent and its own process, as frames, so that
// they are copied like those on a socket.
type queue struct {
	mu    sync.Mutex
	bytes []byte
	spare []byte
	some  atomic.Bool
}

func (q *queue) put(m *proto.Msg) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, err := link.AppendFrame(q.bytes, m)
	q.bytes = b
	q.some.Store(len(b) > 0)
	return err
}

// take gives all frames; they are valid until the next take.
func (q *queue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.bytes
	q.bytes, q.spare = q.spare[:0], b
	q.some.Store(false)
	return b
}

// local is the way between the agent and its own process.
type local struct {
	toAgent   queue
	toProcess queue
	pumping   sync.Mutex
	msg       proto.Msg
}

// some reports whether a message is under way.
func (q *local) some() bool { return q.toAgent.some.Load() || q.toProcess.some.Load() }

// pump delivers the messages between the agent and its own process. One thread
// at a time does; it does not go while there are any.
func (n *Node) pump() {
	q := &n.local
	for {
		r := n.role.Load()
		if r != nil {
			r.pumpGroups()
		}
		if !q.some() {
			if r == nil || !n.groupsDue.Load() {
				return
			}
			continue
		}
		if !q.pumping.TryLock() {
			return
		}
		n.deliver(q.toAgent.take(), n.toOwnAgent)
		n.deliver(q.toProcess.take(), n.fromAgent)
		q.pumping.Unlock()
	}
}

func (n *Node) deliver(frames []byte, f func(*proto.Msg)) {
	if err := link.EachFrame(frames, &n.local.msg, f); err != nil {
		n.log.Error("message to or from the own agent", "error", err)
	}
}

func (n *Node) toOwnAgent(m *proto.Msg) {
	if r := n.role.Load(); r != nil {
		r.fromProcess(proto.ProcID(n.me.Load()), m)
	}
}
