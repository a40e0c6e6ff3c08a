package process_test

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
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
}
