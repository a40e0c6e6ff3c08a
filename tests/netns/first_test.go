package netns

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

// player is one for a test that says step by step what happens.
type player struct {
	*lab.Player
	t *testing.T
}

func join(t *testing.T, h *lab.Host) player {
	t.Helper()
	p, err := h.NewPlayer()
	if err != nil {
		t.Fatal(err)
	}
	x := player{p, t}
	x.want(dlm.Success)(p.Join())
	return x
}

// want checks a call's status.
func (p player) want(st dlm.Status) func(a lab.Answer, err error) lab.Answer {
	return func(a lab.Answer, err error) lab.Answer {
		p.t.Helper()
		if err != nil || a.Status != st {
			p.t.Fatalf("program on host %s: %v, %v; want status %d", p.Host.Name, a, err, st)
		}
		return a
	}
}

// TestValueTravels: what one host's program writes, those of the others read.
func TestValueTravels(t *testing.T) {
	l := newLab(t, 3)
	var all []player
	for _, h := range l.Hosts {
		p := join(t, h)
		p.want(dlm.Success)(p.Lock(0, mode.NL, 0, "R"))
		all = append(all, p)
	}
	var last lab.Answer
	for round := range 3 {
		for i, p := range all {
			a := p.want(dlm.Success)(p.Convert(0, mode.EX, dlm.ValB, lab.Value{}))
			if n := uint64(round*3 + i); a.Version != n || n > 0 && !last.Token.Less(a.Token) {
				t.Fatalf("host %s is granted %v after %v, want version %d", p.Host.Name, a, last, n)
			}
			p.want(dlm.Success)(p.Convert(0, mode.NL, dlm.ValB, lab.Value{Version: a.Version + 1, Data: 7}))
			last = a
		}
	}
}
