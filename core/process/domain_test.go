package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
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
