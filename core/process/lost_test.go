package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// A lease may end while a call is under way. Then all is lost: the call must not say that its
// lock was never granted, nor wait for an answer that nobody is left to give.
func TestLostInTheMiddleOfACall(t *testing.T) {
	for name, call := range map[string]func(m *member, id proto.LockID, res *process.Result){
		"lock": func(m *member, _ proto.LockID, res *process.Result) {
			m.p.Lock(&process.LockRequest{Name: proto.MakeName([]byte("R")), Mode: mode.NL, Token: 1}, res)
		},
		"lock below": func(m *member, id proto.LockID, res *process.Result) {
			m.p.Lock(&process.LockRequest{Parent: id, Name: proto.MakeName([]byte("b")), Mode: mode.NL, Token: 1}, res)
		},
		"convert": func(m *member, id proto.LockID, res *process.Result) {
			m.p.Convert(&process.ConvertRequest{Lock: id, Mode: mode.NL, Token: 1}, res)
		},
		"blockers": func(m *member, id proto.LockID, res *process.Result) { m.p.Blockers(id, 1, res) },
		"resource": func(m *member, id proto.LockID, res *process.Result) {
			m.p.ResourceInfo(proto.Namespace{}, proto.MakeName([]byte("b")), id, 1, res)
		},
	} {
		_, m := newCluster(t, 2)
		id, st, _ := m[0].lock("R", mode.EX, 0)
		want(t, "lock", st, dlm.Success)
		_, st, _ = m[1].lock("R", mode.NL, 0) // so that the master looks around
		want(t, "other's lock", st, dlm.Success)
		m[0].p.LookAround(func(bool) { m[0].p.Lost() })
		var res process.Result
		call(m[0], id, &res)
		want(t, name, res.Status, dlm.Lost)
	}
}
