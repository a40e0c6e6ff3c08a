package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Who masters a hot lock lets others on before it takes the lock once more: if one of them
// was answered last, and only for a while after somebody had to wait.
func TestMasterLetsOthersOn(t *testing.T) {
	c, m := newCluster(t, 2)
	var said []bool
	m[0].p.LookAround(func(letOn bool) {
		said = append(said, letOn)
		c.settle()
	})
	a, _, _ := m[0].lock("R", mode.NL, 0) // masters
	b, _, _ := m[1].lock("R", mode.NL, 0)
	expect := func(what string, letOn ...bool) {
		t.Helper()
		if len(said) != len(letOn) {
			t.Fatalf("%s: looked around %d times, not %d", what, len(said), len(letOn))
		}
		for i := range said {
			want(t, what, said[i], letOn[i])
		}
		said = nil
	}
	own := func(to mode.Mode) {
		t.Helper()
		st, _ := m[0].convert(a, to, 0, "")
		want(t, "own request", st, dlm.Success)
	}
	other := func(to mode.Mode) {
		t.Helper()
		st, _ := m[1].convert(b, to, 0, "")
		want(t, "request of the other", st, dlm.Success)
	}

	other(mode.EX)
	other(mode.NL)
	own(mode.EX)
	expect("nobody has waited", false)
	want(t, "must wait", m[1].ask(process.ConvertRequest{Lock: b, Mode: mode.EX, Token: 11}).Status, dlm.Pending)
	c.settle()
	own(mode.NL)
	expect("one waits", false)
	c.settle()
	other(mode.NL)
	for range 2 {
		own(mode.EX)
		own(mode.NL)
	}
	expect("one was let on", true, true, false, false)

	waits := func(x int, id proto.LockID) {
		t.Helper()
		want(t, "must wait", m[x].ask(process.ConvertRequest{Lock: id, Mode: mode.EX, Token: uint64(id)}).Status, dlm.Pending)
		c.settle()
	}
	d, _, _ := m[1].lock("R", mode.NL, 0)
	e, _, _ := m[1].lock("R", mode.NL, 0)
	own(mode.EX)
	for _, id := range []proto.LockID{b, d, e} {
		waits(1, id)
	}
	own(mode.NL)
	c.settle()
	said = nil
	other(mode.NL)
	waits(0, a) // behind e
	expect("one was answered, one holds, one waits", false)
}
