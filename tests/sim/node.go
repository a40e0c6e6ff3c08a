package sim

import (
	"errors"
	"fmt"

	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// node is a simulated process with its program.
type node struct {
	s        *sim
	home     *machine
	admitted uint32       // birth of the membership to which its file belongs
	hostID   proto.HostID // who its host was then
	birth    uint32       // of its host's membership, as it was told; 0: the host is alone
	until    int64        // to when the lease of that was proven, by its host's clock
	notices  int64        // when it will see that this was ended; 0: it was not
	name     string
	id       proto.ProcID // 0 until welcomed
	given    proto.ProcID // as the agent wrote it into the file
	p        *process.Process
	lent     *lent.Table // nil: it lends no tree
	file     *file
	dead     bool
	stopped  bool
	doomed   bool // the step under way will be cut
	link     *link
	removed  map[proto.ProcID]bool // by the views seen
	knows    knowledge
	out      map[proto.ProcID]*peerQueues

	events []process.Completion // of the step under way
	ops    map[uint64]*op
	locks  []*lk // not ended
	byID   map[proto.LockID]*lk
	undel  map[proto.LockID]bool // notices not yet delivered
	alarm  int64                 // when to call Tick; 0: never

	domains [len(domainNames)]recovering

	guest *guest                  // nil but of a container
	terms map[proto.ProcID]uint64 // of the agents that speak for containers, as it has met them
}

// peerQueues are the queues from one process to another.
type peerQueues struct{ requests, answers *queue }

func (n *node) String() string { return n.name }

// running reports whether n can take a step.
func (n *node) running() bool {
	if n.guest != nil {
		return n.played()
	}
	return !n.dead && !n.stopped
}

// addNode starts a process, on some host.
func (s *sim) addNode() *node { return s.addNodeAt(s.someMachine()) }

func (s *sim) addNodeAt(m *machine) *node {
	n := &node{
		s: s, home: m, name: fmt.Sprintf("P%d", len(s.nodes)+1),
		removed: map[proto.ProcID]bool{}, out: map[proto.ProcID]*peerQueues{},
		ops: map[uint64]*op{}, byID: map[proto.LockID]*lk{}, undel: map[proto.LockID]bool{},
	}
	n.file = &file{s: s, room: 1 << 20}
	if len(s.nodes)%2 == 0 {
		n.file.room = s.plan.journalRoom
	}
	n.p = process.New(n, n.file)
	if s.plan.awake >= 0 {
		n.p.KeepAwake(s.plan.awake)
	}
	if s.plan.lendAfter > 0 {
		n.lent = &lent.Table{}
		n.p.Lend(n.lent, uint8(s.plan.lendAfter), func() { s.fail("%s: a caller is at a cell", n) })
	}
	n.p.SetDeadlockWait(s.plan.patience)
	n.p.SetMoving(uint32(s.plan.moveAfter), s.plan.moveWait)
	s.nodes = append(s.nodes, n)
	if s.all != nil {
		s.all.Start(n)
	}
	s.counts[joins]++
	s.note("%s starts", n)
	return n
}

// step is one entry into n's core. If n is doomed it dies in it.
func (s *sim) step(n *node, do func()) {
	if s.overFor(n) { // it looks before it does anything
		s.expired(n)
		return
	}
	s.ticks++
	s.clock++
	s.mark(n)
	n.events = n.events[:0]
	if n.doomed {
		undo := []func(){}
		s.undo = &undo
		do()
		s.undo = nil
		s.cutStep(n, undo)
		return
	}
	do()
	if s.all != nil {
		s.tellPrograms(n)
		return
	}
	s.settleEvents(n)
	s.watch(n)
}

// mark remembers what n had sent before its next step.
func (s *sim) mark(n *node) {
	for _, q := range s.queues {
		if q.sentBy(n) {
			q.whole = len(q.msgs)
		}
	}
	for _, q := range s.mails {
		if q.src.host == n {
			q.whole = len(q.msgs)
		}
	}
}

func (n *node) queuesTo(to *node) *peerQueues {
	q := n.out[to.id]
	if q == nil {
		q = &peerQueues{}
		n.out[to.id] = q
	}
	return q
}

func (n *node) outAnswers(to *node) *queue {
	q := n.queuesTo(to)
	if q.answers == nil {
		q.answers = n.s.newQueue(answers, n, to)
	}
	return q.answers
}

func (n *node) outRequests(to *node) *queue {
	q := n.queuesTo(to)
	if q.requests == nil {
		q.requests = n.s.newQueue(requests, n, to)
		q.requests.msgs = append(q.requests.msgs, n.introduction())
	}
	return q.requests
}

// introduction is what a connection begins with.
func (n *node) introduction() *proto.Msg {
	m := &proto.Msg{Kind: proto.KConnect, Proc: n.id}
	if n.guest != nil {
		m.View = n.guest.role.term
	}
	return m
}

// Send implements process.World.
func (n *node) Send(id proto.ProcID, role proto.Role, m *proto.Msg) {
	s := n.s
	to := s.byID[id]
	if to == nil && len(s.hosts) > 1 {
		return // it is about to be told its name; this will be asked again
	}
	if to == nil {
		s.fail("%s sends to process %x, which never was", n, id)
	}
	if to == n {
		s.fail("%s sends to itself: %s", n, describe(m))
	}
	if n.removed[id] || to.dead {
		return
	}
	q := n.outRequests
	if role == proto.ToOwner {
		q = n.outAnswers
	}
	out := q(to)
	out.msgs = append(out.msgs, s.copyOf(m))
	if s.tracing && n.doomed {
		s.note("   (%s -> %s %s)", n, to, describe(m))
	}
}

// SendAgent implements process.World.
func (n *node) SendAgent(m *proto.Msg) {
	if n.link == nil || !n.link.welcomed {
		return
	}
	if m.Kind == proto.KMove {
		n.s.leaving(m.Image)
	}
	n.link.up.msgs = append(n.link.up.msgs, n.s.copyOf(m))
}

// Complete implements process.World.
func (n *node) Complete(c *process.Completion) { n.events = append(n.events, *c) }

// Blocking implements process.World.
func (n *node) Blocking(b *process.Notice) {
	if n.doomed || n.s.all != nil {
		return
	}
	l := n.byID[b.Lock]
	if l == nil {
		n.s.fail("%s is notified about lock %x, which it does not have", n, b.Lock)
	}
	if n.undel[b.Lock] {
		n.s.fail("%s: second undelivered notice for %s", n, l)
	}
	n.undel[b.Lock] = true
	l.noticed = n.s.steps
	n.s.counts[notices]++
	n.s.note("   %s notice for %s, %s wanted", n, l, b.Mode)
}

// Discard implements process.World.
func (n *node) Discard(id proto.LockID) bool {
	if n.s.all != nil {
		return true
	}
	had := n.undel[id]
	if !n.doomed {
		delete(n.undel, id)
	}
	return had
}

// file is what a process leaves in the runtime directory: its value journal.
type file struct {
	s     *sim
	lines []line
	used  int
	room  int
	short bool // there was none at some time
	peers []proto.ProcID
}

type line struct {
	used, written bool
	rec           proto.Record
}

var errNoRoom = errors.New("no room")

// change applies a write to shared memory and remembers how to undo it when the
// step is going to be cut.
func (s *sim) change(do, undo func()) {
	do()
	if s.undo != nil {
		*s.undo = append(*s.undo, undo)
	}
}

// Open implements process.Journal.
func (f *file) Open() (uint32, error) {
	if f.used >= f.room {
		f.s.counts[journalFull]++
		f.short = true
		return 0, errNoRoom
	}
	f.used++
	i := 0
	for i < len(f.lines) && f.lines[i].used {
		i++
	}
	if i == len(f.lines) {
		f.lines = append(f.lines, line{})
	}
	f.s.change(
		func() { f.lines[i] = line{used: true} },
		func() { f.lines[i] = line{} })
	return uint32(i), nil
}

// Write implements process.Journal.
func (f *file) Write(slot uint32, r *proto.Record) {
	if !f.lines[slot].used {
		f.s.fail("write to a journal slot that is not open")
	}
	old := f.lines[slot]
	fresh := line{used: true, written: true, rec: *r}
	f.s.change(func() { f.lines[slot] = fresh }, func() { f.lines[slot] = old })
}

// Close implements process.Journal.
func (f *file) Close(slot uint32) {
	if !f.lines[slot].used {
		f.s.fail("close of a journal slot that is not open")
	}
	f.used--
	old := f.lines[slot]
	f.s.change(func() { f.lines[slot] = line{} }, func() { f.lines[slot] = old })
}

// Peer implements process.Journal.
func (f *file) Peer(p proto.ProcID) error {
	n := len(f.peers)
	f.s.change(func() { f.peers = append(f.peers, p) }, func() { f.peers = f.peers[:n] })
	return nil
}

// records are the lines that hold something.
func (f *file) records() (out []proto.Record) {
	for i := range f.lines {
		if f.lines[i].written {
			out = append(out, f.lines[i].rec)
		}
	}
	return out
}
