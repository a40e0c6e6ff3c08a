package sim

import (
	"github.com/godlm/godlm/core/proto"
)

// lane tells what a queue carries.
type lane uint8

const (
	requests lane = iota // an owner's messages to a master
	answers              // a master's messages to an owner
	toAgent
	fromAgent
	toGuest // the agent's to a container that it plays
)

// queue carries messages of one kind between two parties, in order.
type queue struct {
	lane     lane
	from, to *node
	carrier  *node // of a container's queue: the process of the agent that plays it
	link     *link // of the agent's queues
	msgs     []*proto.Msg
	whole    int  // messages that were there before the sender's latest step
	open     bool // answers: the owner has connected
	slow     int  // how seldom it moves
	shut     bool // nothing of it will arrive any more
}

// copyOf is m as the receiver will decode it.
func (s *sim) copyOf(m *proto.Msg) *proto.Msg {
	s.wire = proto.Append(s.wire[:0], m)
	c := new(proto.Msg)
	if err := proto.Parse(s.wire, c); err != nil {
		s.fail("message %d does not survive its encoding: %v", m.Kind, err)
	}
	return c
}

func (s *sim) newQueue(l lane, from, to *node) *queue {
	q := &queue{lane: l, from: from, to: to, slow: 1}
	switch s.rng.IntN(12) {
	case 0, 1:
		q.slow = 1 + s.rng.IntN(40)
	case 2:
		q.slow = 1000
	}
	if from.guest != nil {
		q.carrier = from.guest.role.host
	}
	s.queues = append(s.queues, q)
	return q
}

// deliverable reports whether the head of q could arrive now.
func (q *queue) deliverable() bool {
	if q.shut || len(q.msgs) == 0 || !q.to.running() || q.from.home != q.to.home && q.from.s.cut[way{q.from.home, q.to.home}] {
		return false
	}
	switch q.lane {
	case answers:
		return q.open && !q.to.removed[q.from.id]
	case requests:
		return !q.to.removed[q.from.id]
	}
	return true
}

// sweep forgets queues through which nothing will come any more.
func (s *sim) sweep() {
	kept := s.queues[:0]
	for _, q := range s.queues {
		if q.to.dead {
			q.shut = true
		}
		if q.from.dead && len(q.msgs) == 0 {
			q.shut = true
		}
		if !q.shut {
			kept = append(kept, q)
		}
	}
	clear(s.queues[len(kept):])
	s.queues = kept
}

// deliver hands the head of q to its receiver.
func (s *sim) deliver(q *queue) {
	m := q.msgs[0]
	q.msgs = q.msgs[1:]
	if q.whole > 0 {
		q.whole--
	}
	switch q.lane {
	case toAgent:
		s.atAgent(q.link, m)
	case fromAgent:
		s.fromAgent(q, m)
	case toGuest:
		s.atGuest(q, m)
	default:
		s.fromPeer(q, m)
	}
}

func (s *sim) fromPeer(q *queue, m *proto.Msg) {
	n := q.to
	if m.Kind == proto.KConnect {
		s.note("%s <- %s connects", n, q.from)
		if q.from.guest != nil {
			s.connectedGuest(q, m)
			return
		}
		n.outAnswers(q.from).open = true
		return
	}
	role := proto.ToMaster
	if q.lane == answers {
		role = proto.ToOwner
	}
	if n.guest != nil {
		if s.tracing {
			s.note("%s <- %s %s", n, q.from, describe(m))
		}
		r := n.guest.role
		s.agentStep(r, func() { r.groups.FromPeer(n.id, q.from.id, role, m) })
		return
	}
	s.step(n, func() {
		if s.tracing {
			s.note("%s <- %s %s", n, q.from, describe(m))
		}
		if m.Kind == proto.KRequest || m.Kind == proto.KConvert {
			key := asked{q.from.id, m.Lock}
			if s.heard[key] == m.Op {
				s.counts[repeats]++
			}
			s.heard[key] = m.Op
		}
		if m.Kind == proto.KBlame && s.all == nil {
			s.markCycles()
		}
		n.p.FromPeer(q.from.id, role, m)
	})
}

// progress lets one thing happen that nobody decides: a delivery, a connection,
// a death noticed, the role taken. calm says that nothing may stay undone.
func (s *sim) progress(calm bool) bool {
	if s.tick(calm) {
		return true
	}
	if mail := s.readyMail(); len(mail) > 0 && s.one(2) {
		s.deliverMail(mail[s.rng.IntN(len(mail))])
		return true
	}
	var ready []*queue
	for _, q := range s.queues {
		if q.deliverable() {
			ready = append(ready, q)
		}
	}
	if (len(ready) == 0 || s.one(6)) && s.connect(calm) {
		return true
	}
	if (len(ready) == 0 || s.one(8)) && s.ring(calm) {
		return true
	}
	if s.all != nil && (len(ready) == 0 || s.one(8)) && s.ringGroups(calm) {
		return true
	}
	if len(ready) == 0 {
		if mail := s.readyMail(); len(mail) > 0 {
			s.deliverMail(mail[s.rng.IntN(len(mail))])
			return true
		}
		return false
	}
	q := ready[s.rng.IntN(len(ready))]
	for i := 0; i < 4 && q.slow > 1 && !s.one(q.slow); i++ {
		q = ready[s.rng.IntN(len(ready))]
	}
	// Sometimes several messages arrive in one go.
	for n := 1 + s.rng.IntN(3); n > 0 && q.deliverable(); n-- {
		s.deliver(q)
	}
	return true
}

// asked names a request as its master knows it.
type asked struct {
	owner proto.ProcID
	lock  proto.LockID
}
