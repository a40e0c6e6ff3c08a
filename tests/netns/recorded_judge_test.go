package netns

import (
	"strings"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/tests/lab"
)

// TestRecorded: what programs have done is found again in what they were told to do. Times
// are small numbers, as in TestJudge; "" is a history with which nothing is wrong.
func TestRecorded(t *testing.T) {
	// said is a call that begins at a time and is answered at the next, with the block's
	// version and a token's number.
	said := func(line string, at int64, version, token uint64) lab.Call {
		return lab.Call{Line: line, Sent: at, Answered: true,
			Answer: lab.Answer{Begin: at, End: at + 1, Version: version, Token: lab.Token{Epoch: 1, Number: token}}}
	}
	with := func(c lab.Call, st dlm.Status) lab.Call { c.Answer.Status = st; return c }
	keeper := []lab.Call{said("lock 0 1 0 0 0 R", 1, 0, 0)}
	writes7 := []lab.Call{said("lock 0 6 4096 0 0 R", 10, 0, 1), said("cvt 0 6 4096 7 0", 12, 7, 1)}
	for _, c := range []struct {
		name, fault string
		programs    [][]lab.Call
	}{
		{"a block as it was written", "", [][]lab.Call{keeper,
			{said("lock 0 6 4096 0 0 R", 10, 0, 1), said("cvt 0 1 4096 7 0", 12, 7, 1)}, {said("lock 0 6 4096 0 0 R", 20, 7, 2)}}},
		{"another one", "has written", [][]lab.Call{keeper,
			{said("lock 0 6 4096 0 0 R", 10, 0, 1), said("cvt 0 1 4096 7 0", 12, 7, 1)}, {said("lock 0 6 4096 0 0 R", 20, 0, 2)}}},
		{"in doubt after a holder that is gone", "", [][]lab.Call{keeper, writes7,
			{with(said("lock 0 6 4096 0 0 R", 20, 7, 2), dlm.SuccValNotValid)}}},
		{"valid after a holder that is gone", "never wrote", [][]lab.Call{keeper, writes7, {said("lock 0 6 4096 0 0 R", 20, 7, 2)}}},
		{"given back without a write", "", [][]lab.Call{keeper,
			append(writes7[:2:2], said("unlock 0 0 0 0", 14, 0, 0)), {said("lock 0 6 4096 0 0 R", 20, 7, 2)}}},
		{"given back without a write, and changed", "has left", [][]lab.Call{keeper,
			append(writes7[:2:2], said("unlock 0 0 0 0", 14, 0, 0)), {said("lock 0 6 4096 0 0 R", 20, 0, 2)}}},
		{"given back when it was another's", "gives the lock back", [][]lab.Call{keeper,
			append(writes7[:2:2], said("unlock 0 0 0 0", 30, 0, 0)), {said("lock 0 6 4096 0 0 R", 20, 7, 2)}}},
		{"a write when it was another's", "writes the block", [][]lab.Call{keeper,
			append(writes7[:2:2], said("cvt 0 6 4096 8 0", 30, 8, 1)), {with(said("lock 0 6 4096 0 0 R", 20, 7, 2), dlm.SuccValNotValid)}}},
		{"use when it was another's", "is told that it has the lock", [][]lab.Call{keeper,
			append(writes7[:2:2], said("use 0", 30, 0, 1)), {with(said("lock 0 6 4096 0 0 R", 20, 7, 2), dlm.SuccValNotValid)}}},
		{"no use when it was another's", "", [][]lab.Call{keeper,
			append(writes7[:2:2], with(said("use 0", 30, 0, 0), dlm.Lost)), {with(said("lock 0 6 4096 0 0 R", 20, 7, 2), dlm.SuccValNotValid)}}},
		{"a token that goes back", "smaller token", [][]lab.Call{keeper,
			{said("lock 0 6 0 0 0 R", 10, 0, 2), said("unlock 0 0 0 0", 14, 0, 0)}, {said("lock 0 6 0 0 0 R", 20, 0, 1)}}},
		{"other names", "", [][]lab.Call{{said("lock 0 6 0 0 0 R", 10, 0, 2), said("lock 1 6 0 0 0 S", 20, 0, 1)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := map[string]*history{}
			for i, calls := range c.programs {
				read(all, string(rune('a'+i)), calls, 100)
			}
			var faults []string
			for _, h := range all {
				faults = append(faults, h.check()...)
			}
			if said := strings.Join(faults, "\n"); c.fault == "" && said != "" || !strings.Contains(said, c.fault) {
				t.Errorf("want %q, got:\n%s", c.fault, said)
			}
		})
	}
}
