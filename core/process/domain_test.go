package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// A thread may ask for something in a domain before a new agent has heard that its process
// is attached. Whether the directory has to be put together anew makes no difference.
func TestDomainsOfANewAgent(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		c, m := newCluster(t, 2)
		ask := func(what uint32) dlm.Status {
			var r process.Result
			m[0].p.Domain(&process.DomainRequest{What: what, Name: "D"}, &r)
			if what == proto.DomainInvalidate {
				m[0].p.Connected()
				c.agent.Connected(m[0].id)
				c.agent.Connected(m[1].id)
			}
			_, st, _ := m[0].answer(&r)
			return st
		}
		want(t, "attach", ask(proto.DomainAttach), dlm.Success)
		live := []proto.ProcID{m[0].id, m[1].id}
		c.agent = agent.New(c, 2<<32, live, nil, &agent.Lasting{Unknown: unknown, Opened: func() {}})
		want(t, "invalidate", ask(proto.DomainInvalidate), dlm.Success)
	}
}
