package node

import (
	"os"
	"time"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// Seeing what happens (design §11), the side of the process that is asked. A look runs in
// a goroutine of its own, one at a time, and never waits for who asks: who does not
// read what it has asked for is told that there is more, and no more of it.

// Release is the version of the library and of the command.
const Release = "1.0.0"

const (
	// lookPart is how many rows there are in a part of the answer, more or less, and
	// lookAlive how long it takes at most until there is one, so that who looks through
	// a million resources is not taken for silent.
	lookPart  = 1000
	lookAlive = 100 * time.Millisecond
	// lookBacklog is how many bytes of it may wait to be sent, lookPause how often that
	// is looked at again, and lookPatience for how long.
	lookBacklog  = 1 << 20
	lookPause    = 5 * time.Millisecond
	lookPatience = 2 * time.Second
)

// look answers an agent's question.
func (n *Node) look(c *link.Conn, number uint64, q *proto.Inquiry) {
	n.clock.after(0, func() {
		n.looking.Lock()
		defer n.looking.Unlock()
		n.see(n.proc.Look(q), q, func(s *proto.Sight) bool {
			if !n.drained(c) {
				s.Trees, s.Waits, s.Cut, s.Done = nil, nil, true, true
			}
			c.Send(&proto.Msg{Kind: proto.KSeen, Number: number, Sight: s})
			n.Flush()
			return !s.Done && !n.closed.Load()
		})
	})
}

// drained waits until who asks has read most of what it was sent. It reports false if it
// does not: what is to be sent then is left out.
func (n *Node) drained(c *link.Conn) bool {
	for end := time.Now().Add(lookPatience); c.Backlog() > lookBacklog; {
		if time.Now().After(end) || !n.pause(lookPause) {
			return false
		}
	}
	return true
}

// see has a look told part by part, until tell wants no more.
func (n *Node) see(k *process.Look, q *proto.Inquiry, tell func(*proto.Sight) bool) {
	for more := true; more; {
		s := &proto.Sight{Proc: proto.ProcID(n.me.Load()), Pid: uint32(os.Getpid()), Program: ownName(), Version: Release}
		for begun := time.Now(); more && rows(s) < lookPart && time.Since(begun) < lookAlive; {
			more = k.Next(s)
		}
		if s.Done = !more; s.Done {
			n.seeRest(s, q)
		}
		if !tell(s) {
			return
		}
	}
}

// seeRest adds what core does not know.
func (n *Node) seeRest(s *proto.Sight, q *proto.Inquiry) {
	if q.What&proto.SeeEvents != 0 {
		s.Events = n.recent.all()
	}
	for i := range s.Counts {
		if l := n.lease.Load(); l != nil {
			s.Counts[i].Lease = int64(max(l.left(), 0))
		}
	}
}

// rows is how much is in a part.
func rows(s *proto.Sight) int {
	n := len(s.Waits)
	for i := range s.Trees {
		n++
		for j := range s.Trees[i].Resources {
			n += 1 + len(s.Trees[i].Resources[j].Seen)
		}
	}
	return n
}
