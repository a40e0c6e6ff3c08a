// Package cluster runs a few processes and an agent in one goroutine, for tests
// that say step by step what happens: a call, then every message that follows
// from it, until nothing is under way. All messages pass through the codec, value
// journals and directory are the real byte layouts.
//
// Package sim is its opposite: there the order of things is left to chance.
package cluster

import (
	"fmt"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// Cluster is the processes of one host.
type Cluster struct {
	agent      *agent.Agent
	generation uint64
	later      []func() // of the agent
	members    []*Member
	byProc     map[proto.ProcID]*Member
	queue      []delivery
	directory  *journal.Directory
	lastToken  uint64
	remembered agent.Remembered
	traffic    Traffic

	// Prepare, if set, is called for each process before it is used.
	Prepare func(p *process.Process)
}

// Traffic counts what was said.
type Traffic struct{ Messages, Bytes int }

// Traffic is what was said since the last call.
func (c *Cluster) Traffic() (t Traffic) {
	t, c.traffic = c.traffic, t
	return t
}

// send puts a message under way.
func (c *Cluster) send(d delivery) {
	c.traffic.Messages++
	c.traffic.Bytes += len(d.frame)
	c.queue = append(c.queue, d)
}

// delivery is a message under way, in its encoding.
type delivery struct {
	from, to *Member // nil: the agent
	role     proto.Role
	frame    []byte
}

// Member is one process.
type Member struct {
	*process.Process
	Name string
	ID   proto.ProcID

	c         *Cluster
	dead      bool
	forgotten bool // its file is removed
	memory    *journal.Plain
	events    []Event
}

// Event is something a process's program is told.
type Event struct {
	Completion *process.Completion
	Notice     *process.Notice
}

// New makes a cluster without processes.
func New() *Cluster {
	d, err := journal.Load(journal.NewMemory())
	if err != nil {
		panic(err)
	}
	c := &Cluster{directory: d, byProc: map[proto.ProcID]*Member{}}
	c.RestartAgent()
	return c
}

// RestartAgent replaces the agent by a new one that knows what the runtime
// directory tells, and introduces every process to it.
func (c *Cluster) RestartAgent() {
	c.generation++
	c.later = nil
	var live, dead []proto.ProcID
	for _, m := range c.members {
		switch {
		case m.forgotten:
		case m.dead:
			dead = append(dead, m.ID)
		default:
			live = append(live, m.ID)
		}
	}
	var past agent.Lasting
	for _, e := range c.directory.Entries() {
		past.Directory = append(past.Directory, agent.Entry(e))
	}
	c.remembered.Fill(&past)
	c.agent = agent.New(agentWorld{c}, c.generation<<32, live, dead, &past)
	for _, m := range c.members {
		if !m.dead {
			m.Connected()
			c.agent.Connected(m.ID)
		}
	}
	c.Settle()
}

// Join adds a process.
func (c *Cluster) Join(name string) *Member {
	m := &Member{Name: name, c: c, memory: journal.NewMemory()}
	file, err := journal.Create(m.memory, len(c.members)+1)
	if err != nil {
		panic(err)
	}
	m.Process = process.New(m, file)
	m.KeepAwake(0)
	if c.Prepare != nil {
		c.Prepare(m.Process)
	}
	id, view := c.agent.Join()
	m.ID = id
	c.members = append(c.members, m)
	c.byProc[id] = m
	m.Joined(id, view)
	m.Connected()
	c.agent.Connected(id)
	c.Settle()
	return m
}

// Kill ends a process as kill -9 does.
func (c *Cluster) Kill(m *Member) {
	m.dead = true
	c.agent.Dead(m.ID)
	c.Settle()
}

// Member is the process of that name, nil if there is none or it is dead.
func (c *Cluster) Member(name string) *Member {
	for _, m := range c.members {
		if m.Name == name && !m.dead {
			return m
		}
	}
	return nil
}

// Token gives a number for a request.
func (c *Cluster) Token() uint64 {
	c.lastToken++
	return c.lastToken
}

// Settle delivers messages until none is under way.
func (c *Cluster) Settle() {
	for n := 0; len(c.queue)+len(c.later) > 0; n++ {
		if n > 1e6 {
			panic("the processes never stop talking")
		}
		if len(c.queue) == 0 {
			do := c.later[0]
			c.later = c.later[1:]
			do()
			continue
		}
		d := c.queue[0]
		c.queue = c.queue[1:]
		if d.from != nil && d.from.dead || d.to != nil && d.to.dead {
			continue
		}
		var m proto.Msg
		if err := proto.Parse(d.frame, &m); err != nil {
			panic(fmt.Sprintf("message %x: %v", d.frame, err))
		}
		switch {
		case d.to == nil:
			c.agent.FromProcess(d.from.ID, &m)
		case d.from == nil:
			d.to.FromAgent(&m)
		default:
			d.to.FromPeer(d.from.ID, d.role, &m)
		}
	}
}

func (c *Cluster) byID(id proto.ProcID) *Member {
	if m := c.byProc[id]; m != nil {
		return m
	}
	panic(fmt.Sprintf("no process %d", id))
}

// Take hands over what the program has been told since the last call. Notices
// count as delivered with it.
func (m *Member) Take() []Event { return m.TakeIf(func(Event) bool { return true }) }

// TakeIf does so for some events; the others stay undelivered.
func (m *Member) TakeIf(wanted func(Event) bool) (out []Event) {
	var rest []Event
	for _, e := range m.events {
		if wanted(e) {
			out = append(out, e)
		} else {
			rest = append(rest, e)
		}
	}
	m.events = rest
	for _, e := range out {
		if e.Notice != nil {
			m.Delivered(e.Notice.Lock)
		}
	}
	return out
}

// Answered takes the completion of one request out of what the program has been
// told; nil when it is not there.
func (m *Member) Answered(token uint64) *process.Completion {
	for i, e := range m.events {
		if e.Completion != nil && e.Completion.Token == token {
			m.events = slices.Delete(m.events, i, i+1)
			return e.Completion
		}
	}
	return nil
}

// Send implements process.World.
func (m *Member) Send(to proto.ProcID, role proto.Role, msg *proto.Msg) {
	m.c.send(delivery{from: m, to: m.c.byID(to), role: role, frame: proto.Append(nil, msg)})
}

// SendAgent implements process.World.
func (m *Member) SendAgent(msg *proto.Msg) {
	m.c.send(delivery{from: m, frame: proto.Append(nil, msg)})
}

// Complete implements process.World.
func (m *Member) Complete(d *process.Completion) {
	e := *d
	m.events = append(m.events, Event{Completion: &e})
}

// Blocking implements process.World.
func (m *Member) Blocking(n *process.Notice) {
	e := *n
	m.events = append(m.events, Event{Notice: &e})
}

// Now implements process.World; time stands still.
func (m *Member) Now() int64 { return 0 }

// Date implements process.World.
func (m *Member) Date() uint32 { return 0 }

// Alarm implements process.World.
func (m *Member) Alarm(int64) {}

// Deadlock implements process.World.
func (m *Member) Deadlock([]process.Link) {}

// Discard implements process.World.
func (m *Member) Discard(id proto.LockID) bool {
	n := len(m.events)
	m.events = slices.DeleteFunc(m.events, func(e Event) bool { return e.Notice != nil && e.Notice.Lock == id })
	return len(m.events) < n
}

// agentWorld is the agent's side of a cluster.
type agentWorld struct{ c *Cluster }

func (w agentWorld) Send(to proto.ProcID, m *proto.Msg) {
	w.c.send(delivery{to: w.c.byID(to), frame: proto.Append(nil, m)})
}

func (w agentWorld) SendAll(to []proto.ProcID, m *proto.Msg) {
	for _, p := range to {
		w.Send(p, m)
	}
}

func (w agentWorld) Later(do func()) { w.c.later = append(w.c.later, do) }

func (w agentWorld) Self() proto.ProcID { return 0 }

// Date implements agent.World.
func (w agentWorld) Date() uint32 { return 0 }

// Obituary implements agent.World.
func (w agentWorld) Obituary(p proto.ProcID) proto.Obituary { return proto.Obituary{Proc: p} }

func (w agentWorld) Records(dead proto.ProcID) []proto.Record {
	return journal.Records(w.c.byID(dead).memory)
}

func (w agentWorld) Peers(dead proto.ProcID) ([]proto.ProcID, bool) {
	return journal.Peers(w.c.byID(dead).memory)
}

func (w agentWorld) Retire(dead proto.ProcID, t proto.Digest) {
	journal.Retire(w.c.byID(dead).memory, t)
}

func (w agentWorld) Forget(dead proto.ProcID) {
	w.c.byID(dead).forgotten = true
}

func (w agentWorld) Put(e agent.Entry) error  { return w.c.directory.Put(journal.Entry(e)) }
func (w agentWorld) Delete(tree proto.Digest) { w.c.directory.Delete(tree) }

func (w agentWorld) Keep(k *proto.Kept) error { w.c.remembered.Keep(k); return nil }
func (w agentWorld) Unkeep(k *proto.Kept)     { w.c.remembered.Unkeep(k) }
func (w agentWorld) Doubt(d proto.Digest, invalid bool) error {
	w.c.remembered.Doubt(d, invalid)
	return nil
}

// Queues are the three queues of a resource at its master.
type Queues struct {
	Master                       *Member
	Granted, Converting, Waiting []Held
	Block                        proto.Block
}

// Held is a lock as its master sees it.
type Held struct {
	Owner              *Member
	Lock               proto.LockID
	Granted, Requested string
}

// Queues looks a resource up at its master: a root and the names on the way
// down. The zero value means that no process masters the root; queues are empty
// when nobody has a lock.
func (c *Cluster) Queues(root proto.Root, path ...proto.Name) (q Queues) {
	for _, m := range c.members {
		if m.dead {
			continue
		}
		m.Walk(func(h process.Held) {
			if h.Root != root || !h.Serving {
				return
			}
			if q.Master != nil {
				panic(fmt.Sprintf("%s and %s both master %s", q.Master.Name, m.Name, root.Name.Bytes()))
			}
			q.Master = m
			r := h.Tree.RootResource()
			for i := range path {
				if r = h.Tree.Find(r, &path[i]); r == nil {
					return
				}
			}
			q.Block = r.Block
			h.Tree.EachLock(func(l *tree.Lock) {
				if l.Res != r {
					return
				}
				to := map[tree.Place]*[]Held{
					tree.InGranted: &q.Granted, tree.InConverting: &q.Converting, tree.InWaiting: &q.Waiting,
				}[l.Place()]
				*to = append(*to, Held{c.byID(l.Owner), l.ID, l.Granted.String(), l.Requested.String()})
			})
		})
	}
	return q
}

// Agree implements agent.World.
func (w agentWorld) Agree(done func()) { done() }

// Rebuilding implements agent.World.
func (w agentWorld) Rebuilding(bool) {}
