package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// ask makes an asynchronous conversion and delivers no message.
func (m *member) ask(q process.ConvertRequest) process.Result {
	var r process.Result
	q.Async = true
	m.p.Convert(&q, &r)
	return r
}

// Requests that the dead master may never have seen are queued as they were made,
// whoever is older.
func TestUnansweredRequestsKeepTheirOrder(t *testing.T) {
	c, m := newCluster(t, 4)
	m[0].lock("R", mode.NL, 0) // masters
	a, _, _ := m[1].lock("R", mode.NL, 0)
	b, _, _ := m[2].lock("R", mode.NL, 0)
	h, _, _ := m[3].lock("R", mode.PR, 0)
	m[0].dead = true
	c.now = 1
	want(t, "first", m[2].ask(process.ConvertRequest{Lock: b, Mode: mode.EX, Token: 21}).Status, dlm.Pending)
	c.now = 2
	want(t, "second", m[1].ask(process.ConvertRequest{Lock: a, Mode: mode.EX, Token: 11}).Status, dlm.Pending)
	m[1].done, m[2].done = nil, nil
	c.kill(m[0])
	want(t, "unlock", m[3].unlock(h, 0, ""), dlm.Success)
	want(t, "granted to the first", len(m[2].done), 1)
	want(t, "granted to the second", len(m[1].done), 0)
}

// While a tree is put together again a request is not under way, and says so.
func TestRequestsDuringARebuildAreStalled(t *testing.T) {
	c, m := newCluster(t, 3)
	m[0].lock("R", mode.NL, 0) // masters
	a, _, _ := m[1].lock("R", mode.NL, 0)
	b, _, _ := m[2].lock("R", mode.NL, 0)
	r := m[1].ask(process.ConvertRequest{Lock: a, Mode: mode.NL, Token: 10})
	want(t, "the master is known", r.Stalled, false)
	c.settle()
	m[0].dead = true
	c.agent.Dead(m[0].id)
	c.queue[0]() // the view reaches m[1]
	c.queue = c.queue[1:]
	r = m[1].ask(process.ConvertRequest{Lock: a, Mode: mode.EX, Token: 11})
	want(t, "status", r.Status, dlm.Pending)
	want(t, "stalled", r.Stalled, true)
	m[1].done = nil
	var q process.Result
	m[1].p.AwaitMaster(a, 12, &q)
	want(t, "no master yet", q.Status, dlm.Pending)
	c.settle()
	want(t, "both are answered", len(m[1].done), 2)
	m[1].p.AwaitMaster(a, 13, &q)
	want(t, "there is one now", q.Status, dlm.Success)
	st, _ := m[2].convert(b, mode.EX, dlm.NoQueue, "")
	want(t, "EX is held", st, dlm.NotQueued)
}

// A thread may ask a new agent before its process has said that it begins anew
// with it; then the agent is asked twice, and assigns the tree twice.
func TestLookupsSentTwice(t *testing.T) {
	_, m := newCluster(t, 2)
	var r process.Result
	m[0].p.Lock(&process.LockRequest{Name: proto.MakeName([]byte("R")), Mode: mode.EX, Token: 1}, &r)
	m[0].p.Connected()
	m[0].c.settle()
	want(t, "answers", len(m[0].done), 1)
	want(t, "unlock", m[0].unlock(m[0].done[0].Lock, 0, ""), dlm.Success)
	_, st, _ := m[1].lock("R", mode.EX, 0)
	want(t, "the idle tree moves", st, dlm.Success)
}
