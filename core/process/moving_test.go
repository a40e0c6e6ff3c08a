package process_test

import (
	"slices"
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// use has m use its lock until the master wants to move the tree to it.
func use(t *testing.T, m *member, id proto.LockID, master *member) {
	t.Helper()
	moves := func() bool {
		return slices.ContainsFunc(master.told, func(x *proto.Msg) bool { return x.Kind == proto.KMove })
	}
	for n := 0; !moves(); n++ {
		if n > 10*process.MoveAfter {
			t.Fatal("the tree does not move to who uses it")
		}
		m.convert(id, mode.NL+mode.Mode(n%2), 0, "")
	}
}

// An agent names the heir in its directory and dies before it can tell. What the heir asks its
// successor, before that one knows that the heir has the tree, must not make it master of an
// empty one.
func TestHeirAsksFirst(t *testing.T) {
	c, m := newCluster(t, 3)
	_, st, _ := m[0].lock("R", mode.NL, 0)
	want(t, "master's lock", st, dlm.Success)
	_, st, _ = m[1].lock("R", mode.PR, 0)
	want(t, "the heir's lock", st, dlm.Success)
	used, st, _ := m[1].lock("R", mode.NL, 0)
	want(t, "the lock that it uses", st, dlm.Success)
	c.lose = func(m *proto.Msg) bool { return m.Kind == proto.KActivate || m.Kind == proto.KMoved }
	use(t, m[1], used, m[0])
	c.lose = nil
	m[0].dead = true
	var entries []agent.Entry
	for _, e := range c.dir {
		want(t, "master in the directory", e.Master, m[1].id)
		entries = append(entries, e)
	}
	live, dead := []proto.ProcID{m[1].id, m[2].id}, []proto.ProcID{m[0].id}
	c.agent = agent.New(c, 2<<32, live, dead, &agent.Lasting{Directory: entries})
	var r process.Result
	m[1].p.Lock(&process.LockRequest{Name: proto.MakeName([]byte("R")), Mode: mode.NL, Token: 7}, &r)
	want(t, "a request of the heir", r.Status, dlm.Pending)
	for _, x := range m[1:] {
		x.p.Connected()
		c.agent.Connected(x.id)
	}
	c.settle()
	want(t, "what was asked", m[1].done[len(m[1].done)-1].Status, dlm.Success)
	_, st, _ = m[2].lock("R", mode.EX, dlm.NoQueue)
	want(t, "EX beside the heir's PR", st, dlm.NotQueued)
}

// A tree that stays with its master has a new assignment, under which its owners repeat what they
// wait for. Until then nobody of them must be chosen as the victim of a deadlock: the
// repetition would come for a lock that is gone.
func TestRequestsOfTreesThatStay(t *testing.T) {
	c, m := newCluster(t, 3)
	_, st, _ := m[0].lock("R", mode.PR, 0)
	want(t, "master's lock", st, dlm.Success)
	_, st, _ = m[2].lock("R", mode.EX, 0)
	want(t, "a request that waits", st, dlm.Pending)
	used, st, _ := m[1].lock("R", mode.NL, dlm.Expedite)
	want(t, "the lock that is used", st, dlm.Success)
	c.lose = func(m *proto.Msg) bool { return m.Kind == proto.KInstall }
	use(t, m[1], used, m[0])
	c.lose = nil
	heard := func() (yes bool) {
		m[0].p.Walk(func(h process.Held) {
			h.Tree.EachLock(func(l *tree.Lock) { yes = yes || l.Owner == m[2].id && l.Heard })
		})
		return yes
	}
	want(t, "heard before", heard(), true)
	c.now += process.MoveWait
	m[0].p.Tick()
	for before := len(c.queue) > 0; before; before = len(c.queue) > 0 {
		f := c.queue[0]
		c.queue = c.queue[1:]
		was := heard()
		if f(); was && !heard() {
			c.settle()
			want(t, "heard again", heard(), true)
			return
		}
	}
	t.Fatal("the tree stays and its owners were never asked to repeat what they want")
}
