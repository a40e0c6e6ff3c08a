package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// A thread may ask for something in a domain before a new agent has heard that its process
// is attached. Whether the directory has to be put together anew makes no difference, nor
// a death meanwhile, with which everybody has to tell again what it masters.
func TestDomainsOfANewAgent(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		c, m := newCluster(t, 2)
		var r process.Result
		ask := func(what uint32) {
			m[0].p.Domain(&process.DomainRequest{What: what, Name: "D"}, &r)
		}
		ask(proto.DomainAttach)
		_, st, _ := m[0].answer(&r)
		want(t, "attach", st, dlm.Success)
		live := []proto.ProcID{m[0].id, m[1].id}
		c.agent = agent.New(c, 2<<32, live, nil, &agent.Lasting{Unknown: unknown, Opened: func() {}})
		ask(proto.DomainInvalidate)
		m[0].p.Connected()
		c.agent.Connected(m[0].id)
		c.settle()
		want(t, "answers while the other may know of more", len(m[0].done), 1)
		c.kill(m[1])
		want(t, "answers", len(m[0].done), 2)
		want(t, "invalidate", m[0].done[1].Status, dlm.Success)
	}
}

// Nobody masters a persistent resource before it is agreed that there is one: a successor of
// the agent would not know of it.
func TestPersistentResourcesAreAgreedFirst(t *testing.T) {
	c, m := newCluster(t, 3)
	c.disagree = true
	var r process.Result
	for i, token := range []uint64{100, 101} {
		m[i].p.Lock(&process.LockRequest{
			Name: proto.MakeName([]byte("R")), Mode: mode.CR, Token: token, Flags: dlm.Persist, Domain: proto.DomainDigest("D"),
		}, &r)
		_, st, _ := m[i].answer(&r)
		want(t, "a persistent lock", st, dlm.Pending)
	}
	c.kill(m[0]) // the master
	want(t, "answers before it is agreed", len(m[1].done), 0)
	for _, x := range m[1].told {
		if x.Kind == proto.KInstalled {
			t.Error("a new master has it before it is agreed")
		}
	}
	c.disagree = false
	c.agree()
	want(t, "answers", len(m[1].done), 1)
	want(t, "after it is agreed", m[1].done[0].Status, dlm.Success)
}

// While one request is served something else may be agreed on, and have others served. None
// is forgotten.
func TestDomainsAreServedOneByOne(t *testing.T) {
	c, m := newCluster(t, 3)
	token := uint64(0)
	ask := func(i int, what uint32, name string) {
		var r process.Result
		token++
		m[i].p.Domain(&process.DomainRequest{What: what, Name: name, Token: token}, &r)
		c.settle()
	}
	for i := range m {
		ask(i, proto.DomainAttach, "first")
		ask(i, proto.DomainAttach, "second")
	}
	c.disagree, c.doubt = true, func() { c.agreeOnce() }
	ask(0, proto.DomainInvalidate, "second")
	ask(1, proto.DomainCollect, "first")
	ask(1, proto.DomainInvalidate, "second")
	ask(2, proto.DomainCollect, "second")
	c.agree()
	for i, n := range []int{3, 4, 3} {
		want(t, "answers", len(m[i].done), n)
		for _, d := range m[i].done {
			want(t, "an answer", d.Status, dlm.Success)
		}
	}
}
