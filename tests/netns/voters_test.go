package netns

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

// TestVoterReplaced: of four hosts three vote. One of those dies for good and the file names
// the fourth in its place: then two of these three are a majority, whichever.
func TestVoterReplaced(t *testing.T) {
	for _, which := range []string{"leader", "neither"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				t.longer(2) // nobody confirms while one of two voters starts again
				l := newLab(t, 4, func(o *lab.Options) { o.Voters = 3 })
				d := l.Hosts[3]
				l.Until("the first knows the fourth", func() bool { return lineOf(t, l.Hosts[0], d).ID != "" })
				if v := lineOf(t, l.Hosts[0], d).Vote; v != "learner" {
					t.Fatalf("the vote of a host that the file does not name: %q", v)
				}
				c := l.Leader()
				if which == "neither" {
					c = others(l, c, d)[0]
				}
				rest := others(l, c, d)
				holder, k := hold(t, c, d) // a host without a vote is as good as any
				_ = holder                 // dies with its host
				c.Kill()
				begin := lab.Now()
				a := k[0].want(dlm.SuccValNotValid)(k[0].Convert(0, mode.EX, dlm.ValB, lab.Value{}))
				t.within("the lock is another's", begin, a.End, t.failover())
				voters := append([]*lab.Host{d}, rest...)
				for _, h := range voters {
					h.Configure(voters...)
					if h != d { // there, the program becomes the agent, which has read the former file
						h.EndAgent()
						h.StartAgent()
						l.AwaitMembers(voters...)
					}
				}
				l.Until("the new one votes", func() bool { return lineOf(t, d, d).Vote == "voter" })
				l.Until("the one that is gone does not", func() bool { return lineOf(t, rest[0], c).Vote == "" && votes(t, rest[0]) == 3 })
				rest[0].Kill()
				l.AwaitMembers(d, rest[1])
				k[0].want(dlm.Success)(k[0].Convert(0, mode.NL, 0, lab.Value{}))
				p := join(t, rest[1])
				p.want(dlm.Success)(p.Lock(0, mode.EX, 0, "S"))
			})
		})
	}
}

// votes is how many hosts vote, as one's agent knows.
func votes(t *trial, at *lab.Host) int {
	t.Helper()
	r, err := at.Report()
	if err != nil {
		return 0
	}
	return r.Voters
}
