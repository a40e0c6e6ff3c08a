package group

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// World is what the containers need from outside. The methods append to memory or
// write to files; none waits.
type World interface {
	// Send queues m for a process, as the agent.
	Send(to proto.ProcID, m *proto.Msg)
	// Carry queues m for a process, as the container.
	Carry(group, to proto.ProcID, role proto.Role, m *proto.Msg)
	// Reserve makes room for that many records; it fails when there is none.
	Reserve(records int) error
	// Note keeps records where the next agent finds them: all of them, or none and
	// an error.
	Note(records []*proto.Msg) error
	// Open lets processes reach the container, Close ends that.
	Open(group proto.ProcID)
	Close(group proto.ProcID)
	// Kill ends a process at once. It fails when it may not.
	Kill(p proto.ProcID) error
	// Self is the agent's own process.
	Self() proto.ProcID
	// Now, Alarm and Deadlock are those of process.World.
	Now() int64
	Alarm(at int64)
	Deadlock(c []process.Link)
}

// Registry is the agent.
type Registry interface {
	// JoinGroup names a new container, now or later.
	JoinGroup(named func(id proto.ProcID, view uint64))
	Connected(p proto.ProcID)
	Dead(p proto.ProcID)
	FromProcess(p proto.ProcID, m *proto.Msg)
	View() uint64
}

// Groups are the containers of a host.
type Groups struct {
	world     World
	registry  Registry
	past      *Notes
	count     uint32 // number of the latest container
	byProc    map[proto.ProcID]*container
	byNumber  map[uint32]*container
	memberOf  map[proto.ProcID]*container
	calls     map[callKey]*call
	byToken   map[uint64]*call
	lastToken uint64

	working bool
	changed []*call
	notes   []*proto.Msg
	owed    []*proto.Msg // could not be noted yet
	out     []outgoing
}

type callKey struct {
	proc   proto.ProcID
	number uint64
}

// call is a member's call until the member has heard the answer.
type call struct {
	callKey
	token uint64
	verb  proto.GroupVerb
	group proto.ProcID
	lock  proto.LockID
	again bool
	told  bool // that it waits
	noted bool
	done  bool
	reply proto.Reply
}

// lasting reports whether the call changes something, so that it must not be
// carried out twice.
func (c *call) lasting() bool { return c.verb <= proto.GroupCancel }

// outgoing is a message that leaves when everything is noted.
type outgoing struct {
	group   proto.ProcID // whose message; 0: the agent's
	to      proto.ProcID // 0: the agent
	role    proto.Role
	message *proto.Msg // nil: the end of the group
}

// New takes up what earlier agents have noted; past goes on being told of changes by
// World.Note. first is the number before that of the first container, if there was
// none before.
func New(w World, past *Notes, first uint32) *Groups {
	g := &Groups{
		world: w, past: past, count: first,
		byProc: map[proto.ProcID]*container{}, byNumber: map[uint32]*container{}, memberOf: map[proto.ProcID]*container{},
		calls: map[callKey]*call{}, byToken: map[uint64]*call{},
	}
	if past.count != 0 {
		g.count = past.count
	}
	return g
}

// Start brings the containers back to life; the agent already knows that they are.
// alive tells which processes are.
func (g *Groups) Start(r Registry, alive func(proto.ProcID) bool) {
	g.registry = r
	g.work(func() {
		for _, n := range g.past.groupsInOrder() {
			g.revive(n)
		}
		g.reviveCalls()
		for _, c := range g.inOrder() {
			g.world.Open(c.id)
			r.Connected(c.id)
		}
		for _, p := range g.strangers(alive) {
			g.died(p)
		}
	})
}

// FromMember takes a process's call.
func (g *Groups) FromMember(p proto.ProcID, m *proto.Call) {
	g.work(func() { g.take(p, m) })
}

// FromPeer takes what another process says to a container.
func (g *Groups) FromPeer(group, from proto.ProcID, role proto.Role, m *proto.Msg) {
	g.work(func() {
		if c := g.byProc[group]; c != nil {
			c.touch(m.Lock)
			c.proc.FromPeer(from, role, m)
		}
	})
}

// FromAgent takes a message of the agent for a container. The agent must not be at
// work.
func (g *Groups) FromAgent(group proto.ProcID, m *proto.Msg) {
	g.work(func() {
		if c := g.byProc[group]; c != nil {
			c.fromAgent(m)
		}
	})
}

// Died says that a process has ended.
func (g *Groups) Died(p proto.ProcID) { g.work(func() { g.died(p) }) }

// Reached says that a process has connected to this agent: what it was not there to
// be told is told now.
func (g *Groups) Reached(p proto.ProcID) {
	g.work(func() {
		for _, c := range g.inOrder() {
			for _, id := range c.lockIDs() {
				if l := c.locks[id]; l.userOf == p && l.notice != nil {
					g.send(p, l.notice)
				}
			}
		}
	})
}

// Broken says that a connection of a container to a process broke although both
// live: what was under way is lost, and so the container ends.
func (g *Groups) Broken(group proto.ProcID) {
	g.work(func() {
		if c := g.byProc[group]; c != nil {
			g.finish(c)
		}
	})
}

// Tick looks for deadlocks.
func (g *Groups) Tick() {
	g.work(func() {
		for _, c := range g.inOrder() {
			c.proc.Tick()
		}
	})
}

// IsGroup reports whether p is a container.
func (g *Groups) IsGroup(p proto.ProcID) bool { return g.byProc[p] != nil }

// work does something and then all that follows from it: containers go on, changes
// are noted, and only then messages leave.
func (g *Groups) work(do func()) {
	if g.working {
		do()
		return
	}
	g.working = true
	do()
	for {
		for _, c := range g.inOrder() {
			c.settle()
		}
		if !g.note() {
			// What is not noted is not told, and tried again.
			g.world.Alarm(g.world.Now() + noteAgain)
			break
		}
		if len(g.out) == 0 && !g.due() {
			break
		}
		out := g.out
		g.out = nil
		for i := range out {
			g.leave(&out[i])
		}
	}
	g.working = false
}

// due reports whether a container has put something off until the notes are there.
func (g *Groups) due() bool {
	for _, c := range g.byProc {
		if len(c.later) > 0 {
			return true
		}
	}
	return false
}

func (g *Groups) leave(o *outgoing) {
	switch {
	case o.message == nil:
		g.world.Close(o.group)
		g.registry.Dead(o.group)
	case o.to == 0:
		g.registry.FromProcess(o.group, o.message)
	case o.group == 0:
		g.world.Send(o.to, o.message)
	default:
		g.world.Carry(o.group, o.to, o.role, o.message)
	}
}

// noteAgain is the pause before notes for which there was no room are tried again.
const noteAgain = 1e9

// room is how many records may become due without another call: one for each lock,
// two for each call that is not answered, and some for a call to come.
func (g *Groups) room() int {
	n := 8 + 2*len(g.byToken) + len(g.owed)
	for _, c := range g.byProc {
		n += len(c.locks)
	}
	return n
}

// note keeps what has changed. It reports false when it cannot.
func (g *Groups) note() bool {
	records := g.owed
	g.owed = nil
	for _, c := range g.changed {
		records = append(records, c.record())
	}
	g.changed = nil
	records = append(records, g.notes...)
	g.notes = nil
	for _, c := range g.inOrder() {
		records = c.records(records)
	}
	if len(records) > 0 && g.world.Note(records) != nil {
		g.owed = records
		return false
	}
	return true
}

func (c *call) record() *proto.Msg {
	n := &proto.NotedCall{Proc: c.proc, Token: c.token, Verb: c.verb, Group: c.group, Lock: c.lock, Done: c.done}
	n.Reply.Number = c.number
	if c.done {
		n.Reply = c.reply
	}
	return &proto.Msg{Kind: proto.KNoteCall, NotedCall: n}
}

// begin enters a call.
func (g *Groups) begin(p proto.ProcID, m *proto.Call, c *container) *call {
	g.lastToken++
	q := &call{callKey: callKey{p, m.Number}, token: g.lastToken, verb: m.Verb, lock: m.Lock, again: m.Again}
	if c != nil {
		q.group = c.id
	}
	g.calls[q.callKey] = q
	g.byToken[q.token] = q
	return q
}

// waits tells the member that its call is under way.
func (g *Groups) waits(q *call, lock proto.LockID) {
	q.lock, q.told = lock, true
	g.change(q)
	g.send(q.proc, &proto.Msg{Kind: proto.KGroupReply, Reply: &proto.Reply{Number: q.number, Waits: true, Lock: outside(lock)}})
}

// answer ends a call.
func (g *Groups) answer(q *call, r proto.Reply) {
	r.Number = q.number
	q.reply, q.done = r, true
	delete(g.byToken, q.token)
	if g.calls[q.callKey] != q {
		return // its caller has died
	}
	if q.lasting() {
		g.change(q)
	} else {
		delete(g.calls, q.callKey)
	}
	g.send(q.proc, &proto.Msg{Kind: proto.KGroupReply, Reply: &r})
}

func (g *Groups) status(q *call, st dlm.Status) { g.answer(q, proto.Reply{Status: int32(st)}) }

func (g *Groups) change(q *call) {
	if q.lasting() && !slices.Contains(g.changed, q) {
		q.noted = true
		g.changed = append(g.changed, q)
	}
}

// forget drops a call whose caller knows the answer, or is dead.
func (g *Groups) forget(q *call) {
	delete(g.calls, q.callKey)
	g.changed = slices.DeleteFunc(g.changed, func(x *call) bool { return x == q })
	if q.noted {
		g.notes = append(g.notes, &proto.Msg{Kind: proto.KDropCall, Proc: q.proc, Number: q.number})
	}
}

func (g *Groups) send(to proto.ProcID, m *proto.Msg) {
	g.out = append(g.out, outgoing{to: to, message: m})
}

// inOrder are the containers, the oldest first.
func (g *Groups) inOrder() (out []*container) {
	for _, c := range g.byProc {
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y *container) int { return int(int64(x.number) - int64(y.number)) })
	return out
}

// IDs are the containers, for the agent to take for alive.
func (n *Notes) IDs() (out []proto.ProcID) {
	for _, x := range n.groupsInOrder() {
		out = append(out, x.Proc)
	}
	return out
}

// IDs are the containers, also those of which it could not be noted yet that they have begun
// or ended: whoever is told who lives, or is told something, is one of these.
func (g *Groups) IDs() []proto.ProcID {
	out := g.past.IDs()
	for id := range g.byProc {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Inside and outside: within the container's process a lock's id has no mark.
func inside(id proto.LockID) proto.LockID { return id &^ proto.GroupBit }

func outside(id proto.LockID) proto.LockID {
	if id == 0 {
		return 0
	}
	return id | proto.GroupBit
}

// copyOf keeps a message beyond the call that brought it.
func copyOf(m *proto.Msg) *proto.Msg {
	c := new(proto.Msg)
	if err := proto.Parse(proto.Append(nil, m), c); err != nil {
		panic("group: a message does not survive its encoding: " + err.Error())
	}
	return c
}

// Process is the one that a container's locks belong to; nil if there is no such container.
func (g *Groups) Process(id proto.ProcID) *process.Process {
	if c := g.byProc[id]; c != nil {
		return c.proc
	}
	return nil
}
