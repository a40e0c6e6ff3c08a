package cluster

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// caller makes synchronous calls for a test.
type caller struct {
	*Member
	t *testing.T
}

func (p caller) outcome(res *process.Result, token uint64) (dlm.Status, string) {
	p.t.Helper()
	p.c.Settle()
	st, v := res.Status, res.Value
	if st == dlm.Pending {
		if c := p.Answered(token); c != nil {
			st, v = c.Status, c.Value
		}
	}
	return st, strings.TrimRight(string(v[:]), "\x00")
}

func (p caller) lock(md mode.Mode, f dlm.Flags) (proto.LockID, dlm.Status, string) {
	p.t.Helper()
	var res process.Result
	token := p.c.Token()
	p.Lock(&process.LockRequest{Name: proto.MakeName([]byte("R")), Mode: md, Flags: f, Token: token}, &res)
	id := res.Lock
	st, v := p.outcome(&res, token)
	return id, st, v
}

func (p caller) convert(id proto.LockID, md mode.Mode, f dlm.Flags, value string) (dlm.Status, string) {
	p.t.Helper()
	var res process.Result
	token := p.c.Token()
	q := process.ConvertRequest{Lock: id, Mode: md, Flags: f, Token: token}
	copy(q.Value[:], value)
	p.Convert(&q, &res)
	return p.outcome(&res, token)
}

func (p caller) must(what string, st dlm.Status) {
	p.t.Helper()
	if st != dlm.Success {
		p.t.Fatalf("%s: %s: status %d", p.Name, what, st)
	}
}

// TestDeathOfAHolder kills a holder in each mode beside a survivor in each
// compatible mode, with the master elsewhere, as master, or dead too, and with
// or without an agent that has only just begun. A value block is in doubt exactly
// when the dead held PW or EX (design §8 rules 2 and 4), and never loses its
// contents.
func TestDeathOfAHolder(t *testing.T) {
	for holder := mode.NL; holder <= mode.EX; holder++ {
		for survivor := mode.NL; survivor <= mode.EX; survivor++ {
			if !mode.Compatible(holder, survivor) {
				continue
			}
			for _, kills := range []string{"holder", "master is holder", "master", "holder master", "master holder"} {
				for _, agents := range []string{"old agent", "new agent", "new agent between"} {
					name := fmt.Sprintf("%v/%v/%s/%s", holder, survivor, kills, agents)
					t.Run(name, func(t *testing.T) { holderDies(t, holder, survivor, kills, agents) })
				}
			}
		}
	}
}

func holderDies(t *testing.T, holder, survivor mode.Mode, kills, agents string) {
	c := New()
	// The processes join in an order of their own, so that the master's number is
	// not always the smallest.
	s := caller{c.Join("survivor"), t}
	h := caller{c.Join("holder"), t}
	m := caller{c.Join("master"), t}
	first := m
	if kills == "master is holder" {
		first = h
	}
	a, st, _ := first.lock(mode.NL, 0)
	first.must("first lock", st)
	st, _ = first.convert(a, mode.EX, 0, "")
	first.must("up", st)
	st, _ = first.convert(a, mode.NL, dlm.ValB, "value")
	first.must("write", st)
	b := a
	if kills != "master is holder" {
		b, st, _ = h.lock(mode.NL, 0)
		h.must("lock", st)
	}
	l, st, _ := s.lock(survivor, 0)
	s.must("lock", st)
	st, _ = h.convert(b, holder, 0, "")
	h.must("convert", st)
	if agents == "new agent" {
		c.RestartAgent()
	}
	died := false
	for i, who := range strings.Fields(strings.TrimPrefix(kills, "master is ")) {
		if i > 0 && agents == "new agent between" {
			c.RestartAgent()
		}
		victim := map[string]caller{"holder": h, "master": m}[who]
		died = died || victim == h
		c.Kill(victim.Member)
	}
	if agents == "new agent between" {
		c.RestartAgent()
	}
	want := dlm.Success
	if died && mode.Writer(holder) {
		want = dlm.SuccValNotValid
	}
	st, v := s.convert(l, survivor, dlm.ValB, "new")
	if mode.Writer(survivor) { // that was a write; what it replaced was as good as lost
		s.must("write", st)
		want, v = dlm.Success, "value"
	}
	if st != want && !mode.Writer(survivor) || v != "value" {
		t.Errorf("the survivor is told %d %q, want %d %q", st, v, want, "value")
	}
	// A newcomer is told the same.
	n := caller{c.Join("newcomer"), t}
	_, st, v = n.lock(mode.NL, dlm.ValB|dlm.Expedite)
	value := "value"
	if mode.Writer(survivor) {
		value = "new"
	}
	if st != want || v != value {
		t.Errorf("a newcomer is told %d %q, want %d %q", st, v, want, value)
	}
}

// TestDepth: the tree has 127 levels (D-40).
func TestDepth(t *testing.T) {
	for _, remote := range []bool{false, true} {
		c := New()
		if remote {
			m := caller{c.Join("master"), t}
			_, st, _ := m.lock(mode.NL, 0)
			m.must("lock", st)
		}
		p := caller{c.Join("p"), t}
		var parent proto.LockID
		for level := 1; level <= 128; level++ {
			var res process.Result
			token := c.Token()
			p.Lock(&process.LockRequest{Name: proto.MakeName([]byte("R")), Parent: parent, Mode: mode.NL, Token: token}, &res)
			parent = res.Lock
			st, _ := p.outcome(&res, token)
			if want := map[bool]dlm.Status{true: dlm.Success, false: dlm.BadParam}[level <= 127]; st != want {
				t.Fatalf("level %d: status %d, want %d", level, st, want)
			}
		}
	}
}
