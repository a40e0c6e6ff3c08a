package process_test

import (
	"slices"
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// A master says once to a directory that is put together anew that it has a tree. What it
// begins to move after that it keeps, whatever else it hears before the directory is whole.
func TestMoveWhileDirectoryOpens(t *testing.T) {
	c, m := newCluster(t, 3)
	_, st, _ := m[0].lock("R", mode.PR, 0)
	want(t, "master's lock", st, dlm.Success)
	b, st, _ := m[1].lock("R", mode.NL, 0)
	want(t, "other's lock", st, dlm.Success)
	live := []proto.ProcID{m[0].id, m[1].id, m[2].id}
	c.agent = agent.New(c, 2<<32, live, nil, &agent.Lasting{Unknown: true, Number: 77, Opened: func() {}})
	tell := func(x *member) {
		x.p.Connected()
		c.agent.Connected(x.id)
		c.settle()
	}
	tell(m[0])
	tell(m[1])
	moves := func() bool {
		return slices.ContainsFunc(m[0].told, func(x *proto.Msg) bool { return x.Kind == proto.KMove })
	}
	for n := 0; !moves(); n++ {
		if n > 10*process.MoveAfter {
			t.Fatal("the tree does not move to who uses it")
		}
		m[1].convert(b, mode.NL+mode.Mode(n%2), 0, "")
	}
	c.agent.JoinGroup(func(proto.ProcID, uint64) {}) // all are told
	c.settle()
	tell(m[2])
	c.now += process.MoveWait
	m[0].p.Tick()
	c.settle()
	_, st, _ = m[1].lock("R", mode.EX, dlm.NoQueue)
	want(t, "EX beside the master's PR", st, dlm.NotQueued)
}

// What a master has said to such a directory can be lost with the agent of its host. It says
// all once more, and nothing that comes before it is told who lives counts as having spoken.
func TestMasterSpeaksAgain(t *testing.T) {
	c, m := newCluster(t, 2)
	_, st, _ := m[0].lock("R", mode.PR, 0)
	want(t, "master's lock", st, dlm.Success)
	live := []proto.ProcID{m[0].id, m[1].id}
	c.agent = agent.New(c, 2<<32, live, nil, &agent.Lasting{Unknown: true, Number: 77, Opened: func() {}})
	view := proto.Msg{Kind: proto.KView, View: 2 << 32, Procs: live, Number: 77, Flags: proto.DirectoryLost}
	m[0].p.FromAgent(&view)
	c.queue = nil // the agent of its host is dead
	m[0].p.Connected()
	m[0].p.FromAgent(&proto.Msg{
		Kind: proto.KView, View: view.View, Assign: view.View, Number: 77, Flags: proto.DirectoryLost | proto.ViewNews,
	})
	c.settle()
	m[1].p.Connected()
	c.agent.Connected(m[1].id)
	c.settle()
	_, st, _ = m[1].lock("R", mode.EX, dlm.NoQueue)
	want(t, "EX before all have spoken", st, dlm.Pending)
	c.agent.Connected(m[0].id)
	c.settle()
	want(t, "EX beside the master's PR", m[1].done[len(m[1].done)-1].Status, dlm.NotQueued)
}

// A tree that a container asks for first has a master also when the agent's own process
// cannot be that: it has ended, or has no name yet.
func TestContainerWithoutAgentsProcess(t *testing.T) {
	c, _ := newCluster(t, 1)
	g := &member{c: c, records: map[uint32]proto.Record{}}
	g.p = process.New(g, g)
	g.p.Guest(1)
	c.agent.JoinGroup(func(id proto.ProcID, view uint64) {
		g.id, c.procs[id] = id, g
		g.p.Joined(id, view)
	})
	g.p.Connected()
	c.agent.Connected(g.id)
	c.settle()
	_, st, _ := g.lock("R", mode.EX, 0)
	want(t, "lock", st, dlm.Success)
}
