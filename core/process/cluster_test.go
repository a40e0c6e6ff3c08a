package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// cluster is a few processes and an agent in one goroutine. Messages wait in one
// queue until settle delivers them.
type cluster struct {
	t      *testing.T
	agent  *agent.Agent
	procs  map[proto.ProcID]*member
	now    int64
	cycles [][]process.Link
	queue  []func()
	dir    map[proto.Digest]agent.Entry

	lose     func(m *proto.Msg) bool // of the agent's messages; nil: none
	doubt    func()                  // called by Doubt
	disagree bool                    // Agree waits
	agreed   []func()
}

type member struct {
	c       *cluster
	id      proto.ProcID
	p       *process.Process
	dead    bool
	records map[uint32]proto.Record
	slot    uint32
	peers   []proto.ProcID
	done    []process.Completion
	notices []process.Notice
	told    []*proto.Msg // to the agent
}

func newCluster(t *testing.T, n int) (*cluster, []*member) {
	c := &cluster{t: t, procs: map[proto.ProcID]*member{}, dir: map[proto.Digest]agent.Entry{}, doubt: func() {}}
	c.agent = agent.New(c, 1<<32, nil, nil, &agent.Lasting{})
	var out []*member
	for i := 0; i < n; i++ {
		m := &member{c: c, records: map[uint32]proto.Record{}}
		m.p = process.New(m, m)
		id, view := c.agent.Join()
		m.id = id
		c.procs[id] = m
		m.p.Joined(id, view)
		m.p.Connected()
		c.agent.Connected(id)
		out = append(out, m)
	}
	c.settle()
	return c, out
}

func (c *cluster) settle() {
	for n := 0; len(c.queue) > 0; n++ {
		if n == 1e5 {
			c.t.Fatal("messages go back and forth for ever")
		}
		f := c.queue[0]
		c.queue = c.queue[1:]
		f()
	}
}

func (c *cluster) kill(m *member) {
	m.dead = true
	c.agent.Dead(m.id)
	c.settle()
}

func copyMsg(m *proto.Msg) *proto.Msg {
	n := *m
	n.Locks = append([]proto.LockReport(nil), m.Locks...)
	n.Path = append([]proto.Name(nil), m.Path...)
	return &n
}

func (m *member) Send(to proto.ProcID, role proto.Role, msg *proto.Msg) {
	n := copyMsg(msg)
	m.c.queue = append(m.c.queue, func() {
		if d := m.c.procs[to]; !d.dead && !m.dead {
			d.p.FromPeer(m.id, role, n)
		}
	})
}

func (m *member) SendAgent(msg *proto.Msg) {
	n := copyMsg(msg)
	m.told = append(m.told, n)
	m.c.queue = append(m.c.queue, func() {
		if !m.dead {
			m.c.agent.FromProcess(m.id, n)
		}
	})
}

func (m *member) Complete(d *process.Completion)     { m.done = append(m.done, *d) }
func (m *member) Blocking(n *process.Notice)         { m.notices = append(m.notices, *n) }
func (m *member) Discard(proto.LockID) bool          { return true }
func (m *member) Now() int64                         { return m.c.now }
func (m *member) Date() uint32                       { return date }
func (m *member) Alarm(int64)                        {}
func (m *member) Deadlock(c []process.Link)          { m.c.cycles = append(m.c.cycles, c) }
func (m *member) Open() (uint32, error)              { m.slot++; return m.slot, nil }
func (m *member) Write(slot uint32, r *proto.Record) { m.records[slot] = *r }
func (m *member) Close(slot uint32)                  { delete(m.records, slot) }
func (m *member) Peer(p proto.ProcID) error          { m.peers = append(m.peers, p); return nil }

// agentWorld methods.
func (c *cluster) send(to proto.ProcID, n *proto.Msg) {
	if c.lose != nil && c.lose(n) {
		return
	}
	c.queue = append(c.queue, func() {
		if d := c.procs[to]; !d.dead {
			d.p.FromAgent(n)
		}
	})
}
func (c *cluster) Send(to proto.ProcID, m *proto.Msg) { c.send(to, copyMsg(m)) }
func (c *cluster) SendAll(to []proto.ProcID, m *proto.Msg) {
	for _, p := range to {
		c.Send(p, m)
	}
}

func (c *cluster) Records(dead proto.ProcID) (out []proto.Record) {
	for _, r := range c.procs[dead].records {
		out = append(out, r)
	}
	return out
}
func (c *cluster) Peers(dead proto.ProcID) ([]proto.ProcID, bool) { return c.procs[dead].peers, false }
func (c *cluster) Retire(dead proto.ProcID, tree proto.Digest) {
	for s, r := range c.procs[dead].records {
		if r.Tree == tree {
			delete(c.procs[dead].records, s)
		}
	}
}
func (c *cluster) Forget(proto.ProcID)    {}
func (c *cluster) Keep(*proto.Kept) error { return nil }
func (c *cluster) Unkeep(*proto.Kept)     {}
func (c *cluster) Self() proto.ProcID     { return 0 }
func (c *cluster) Later(do func())        { c.queue = append(c.queue, do) }
func (c *cluster) Date() uint32           { return date }
func (c *cluster) Obituary(p proto.ProcID) proto.Obituary {
	return proto.Obituary{Proc: p, Pid: 100 + uint32(p), Program: "prog"}
}
func (c *cluster) Doubt(proto.Digest, bool) error { c.doubt(); return nil }
func (c *cluster) Put(e agent.Entry) error        { c.dir[e.Tree] = e; return nil }
func (c *cluster) Delete(d proto.Digest)          { delete(c.dir, d) }

// lock asks for a lock and lets everything settle; it returns the final status.
func (m *member) lock(name string, md mode.Mode, f dlm.Flags) (proto.LockID, dlm.Status, proto.Value) {
	m.c.t.Helper()
	var r process.Result
	m.p.Lock(&process.LockRequest{Name: proto.MakeName([]byte(name)), Mode: md, Flags: f, Token: 1,
		User: process.User{BlkRtn: 1}}, &r)
	return m.answer(&r)
}

func (m *member) convert(id proto.LockID, md mode.Mode, f dlm.Flags, v string) (dlm.Status, proto.Value) {
	m.c.t.Helper()
	var r process.Result
	q := process.ConvertRequest{Lock: id, Mode: md, Flags: f, Token: 1, User: process.User{BlkRtn: 1}}
	copy(q.Value[:], v)
	m.p.Convert(&q, &r)
	_, st, val := m.answer(&r)
	return st, val
}

func (m *member) unlock(id proto.LockID, f dlm.Flags, v string) dlm.Status {
	m.c.t.Helper()
	var r process.Result
	q := process.UnlockRequest{Lock: id, Flags: f, Token: 1}
	copy(q.Value[:], v)
	m.p.Unlock(&q, &r)
	_, st, _ := m.answer(&r)
	return st
}

func (m *member) answer(r *process.Result) (proto.LockID, dlm.Status, proto.Value) {
	n := len(m.done)
	m.c.settle()
	if r.Status != dlm.Pending {
		return r.Lock, r.Status, r.Value
	}
	if len(m.done) > n {
		d := m.done[len(m.done)-1]
		return r.Lock, d.Status, d.Value
	}
	return r.Lock, dlm.Pending, proto.Value{}
}

func text(v proto.Value) string {
	n := 0
	for n < len(v) && v[n] != 0 {
		n++
	}
	return string(v[:n])
}

func want[T comparable](t *testing.T, what string, got, exp T) {
	t.Helper()
	if got != exp {
		t.Fatalf("%s: got %v, want %v", what, got, exp)
	}
}

func TestValueBlockBetweenProcesses(t *testing.T) {
	_, m := newCluster(t, 3)
	a, st, _ := m[0].lock("R", mode.EX, 0)
	want(t, "first lock", st, dlm.Success)
	b, st, _ := m[1].lock("R", mode.NL, dlm.ValB|dlm.Expedite)
	want(t, "NL beside EX", st, dlm.Success)
	st, _ = m[0].convert(a, mode.NL, dlm.ValB, "one")
	want(t, "down", st, dlm.Success)
	st, v := m[1].convert(b, mode.EX, dlm.ValB, "")
	want(t, "up", st, dlm.Success)
	want(t, "value", text(v), "one")
	_, st, _ = m[2].lock("R", mode.PR, dlm.ValB|dlm.NoQueue)
	want(t, "noqueue", st, dlm.NotQueued)
	want(t, "unlock", m[1].unlock(b, dlm.ValB, "two"), dlm.Success)
	c, st, v := m[2].lock("R", mode.PR, dlm.ValB)
	want(t, "PR", st, dlm.Success)
	want(t, "value", text(v), "two")
	want(t, "unlock", m[2].unlock(c, 0, ""), dlm.Success)
	want(t, "unlock", m[0].unlock(a, 0, ""), dlm.Success)
	_, st, v = m[2].lock("R", mode.PR, dlm.ValB)
	want(t, "anew", st, dlm.Success)
	want(t, "fresh value", text(v), "")
}

func TestDeaths(t *testing.T) {
	for _, writer := range []int{0, 1} {
		c, m := newCluster(t, 4)
		h, st, _ := m[0].lock("R", mode.NL, 0) // masters
		want(t, "master's lock", st, dlm.Success)
		w := h
		if writer == 1 {
			w, st, _ = m[1].lock("R", mode.NL, 0)
			want(t, "writer", st, dlm.Success)
		}
		s, _, _ := m[2].lock("R", mode.NL, dlm.ValB)
		st, _ = m[writer].convert(w, mode.EX, 0, "")
		want(t, "EX", st, dlm.Success)
		st, _ = m[writer].convert(w, mode.EX, dlm.ValB, "new")
		want(t, "EX to EX", st, dlm.Success)
		_, st, _ = m[3].lock("R", mode.PR, dlm.ValB)
		want(t, "waits", st, dlm.Pending)
		if writer == 1 {
			c.kill(m[0])
			st, v := m[2].convert(s, mode.NL, dlm.ValB, "")
			want(t, "master dead, writer alive", st, dlm.Success)
			want(t, "value", text(v), "new")
		}
		c.kill(m[writer])
		want(t, "completions", len(m[3].done), 1)
		want(t, "waiter", m[3].done[0].Status, dlm.SuccValNotValid)
		want(t, "value", text(m[3].done[0].Value), "new")
		st, _ = m[2].convert(s, mode.NL, dlm.ValB, "")
		want(t, "survivor", st, dlm.SuccValNotValid)
	}
}

// date is that of all events.
const date = 1234567890

// Agree implements agent.World.
func (c *cluster) Agree(done func()) {
	if c.disagree {
		c.agreed = append(c.agreed, done)
		return
	}
	done()
}

// agree lets all that was kept be known to successors.
func (c *cluster) agree() {
	for c.agreeOnce() {
		c.settle()
	}
}

func (c *cluster) agreeOnce() bool {
	if len(c.agreed) == 0 {
		return false
	}
	done := c.agreed[0]
	c.agreed = c.agreed[1:]
	done()
	return true
}

// Rebuilding implements agent.World.
func (c *cluster) Rebuilding(bool) {}
