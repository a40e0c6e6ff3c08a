package netns

import (
	"slices"
	"testing"
	"time"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

// lineOf is what a host's agent knows of another.
func lineOf(t *trial, at, of *lab.Host) (line struct {
	ID    string
	Birth uint32
	Vote  string
}) {
	t.Helper()
	r, err := at.Report()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Hosts {
		if x.Name == of.Name {
			line.ID, line.Birth, line.Vote = x.ID, x.Birth, x.Vote
		}
	}
	return line
}

// TestPartition: of five hosts two are split off. They lose their locks before the
// others have them, and get none; the others go on. Healed, the two are new members.
func TestPartition(t *testing.T) {
	for _, which := range []string{"with the leader", "without"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				l := newLab(t, 5)
				first := l.Leader()
				if which == "without" {
					first = others(l, first, l.Coordinator())[0]
				}
				minority := []*lab.Host{first, others(l, first, l.Leader(), l.Coordinator())[0]}
				majority := others(l, minority...)
				holder, k := hold(t, minority[0], append(minority[1:], majority...)...)
				cut, keeper := k[0], k[1]
				own := join(t, majority[0]) // what the majority has, it keeps
				own.want(dlm.Success)(own.Lock(0, mode.EX, dlm.ValB, "S"))
				births := map[*lab.Host]uint32{}
				for _, h := range minority {
					births[h] = lineOf(t, majority[0], h).Birth
				}

				t.strike(minority...)
				l.Wire.Split(minority[0].Index, minority[1].Index)
				takesOver(t, l, holder, keeper)
				l.Until("the minority's programs are told", func() bool { return cut.Lost.Load() != 0 })
				cut.want(dlm.Lost)(cut.Convert(0, mode.PR, 0, lab.Value{}))
				own.want(dlm.Success)(own.Use(0))
				late, err := minority[1].NewPlayer()
				if err != nil {
					t.Fatal(err)
				}
				if err := late.Send("join"); err != nil { // it has to wait for the majority
					t.Fatal(err)
				}
				own.want(dlm.Success)(own.Convert(0, mode.EX, dlm.ValB, lab.Value{Version: 1}))

				l.Wire.Heal()
				t.back()
				for _, h := range minority {
					if b := lineOf(t, majority[0], h).Birth; b <= births[h] {
						t.Errorf("host %s is back with birth %d, and had %d before", h.Name, b, births[h])
					}
				}
				own.want(dlm.Success)(own.Use(0))
				p := player{late, t}
				p.want(dlm.Success)(p.Receive())
				p.want(dlm.NotQueued)(p.Lock(0, mode.EX, dlm.NoQueue, "S"))
				goesOn(t, keeper, 8, l.Hosts...)
			})
		})
	}
}

// TestTwoHostsApart: two hosts cannot reach each other, and a third reaches both. Who
// has the lock keeps it, or is removed and told before another has it; when the link is
// there again nothing hangs.
func TestTwoHostsApart(t *testing.T) {
	for _, which := range []string{"leader", "coordinator", "neither"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				l := newLab(t, 3)
				x := choose(t, l, which)
				y, z := others(l, x)[0], others(l, x)[1]
				holder, k := hold(t, x, y, z)
				t.strike(x, y)
				l.Wire.Between(x.Index, y.Index, lab.Fault{Cut: true})
				waiting := []player{k[0], k[1]}
				for _, p := range waiting {
					if err := p.Send("cvt 0 6 4096 0 0"); err != nil {
						t.Fatal(err)
					}
				}
				var granted lab.Answer // to the first who is
				// answers takes what has come. Whoever is granted gives it back.
				answers := func() {
					waiting = slices.DeleteFunc(waiting, func(p player) bool {
						if !p.Answered() {
							return false
						}
						switch a, err := p.Receive(); {
						case err != nil || !a.Granted() && a.Status != dlm.Lost:
							t.Fatalf("host %s: %v, %v", p.Host.Name, a, err)
						case a.Granted():
							if granted.End == 0 || a.End < granted.End {
								granted = a
							}
							if _, err := p.Convert(0, mode.NL, 0, lab.Value{}); err != nil {
								t.Fatal(err)
							}
						}
						return true
					})
				}
				var used lab.Answer // the last time that it was still its own
				for end := time.Now().Add(2*t.lease + t.suspect); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					answers()
					u, err := holder.Use(0)
					if err != nil {
						t.Fatal(err)
					}
					if u.Status == dlm.Success {
						used = u
					}
				}
				l.Wire.Heal()
				answers()
				if granted.End != 0 && used.Begin > granted.End {
					t.Errorf("the holder has its lock %v after another was granted it", time.Duration(used.Begin-granted.End))
				}
				if _, err := holder.Convert(0, mode.NL, 0, lab.Value{}); err != nil { // lost or not
					t.Fatal(err)
				}
				healed := lab.Now()
				l.Until("all have an answer", func() bool { answers(); return len(waiting) == 0 })
				t.within("all have an answer", healed, lab.Now(), t.failover())
				t.back()
				for _, h := range l.Hosts {
					p := join(t, h)
					p.want(dlm.Success)(p.Lock(0, mode.EX, 0, "R"))
					p.want(dlm.Success)(p.Unlock(0, 0, lab.Value{}))
				}
			})
		})
	}
}

// TestStateLost: a host that has lost what it had written down comes back as another,
// which has no vote of the one before, and votes again.
func TestStateLost(t *testing.T) {
	for _, which := range []string{"leader", "neither"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				l := newLab(t, 3)
				x := choose(t, l, which)
				rest := others(l, x)
				holder, k := hold(t, x, rest...)
				before := lineOf(t, rest[0], x)
				x.Kill()
				x.LoseState()
				x.Reboot()
				x.StartAgent()
				_ = holder // dead with its host
				begin := lab.Now()
				a := k[0].want(dlm.SuccValNotValid)(k[0].Convert(0, mode.EX, dlm.ValB, lab.Value{}))
				t.within("the lock is another's", begin, a.End, t.failover())
				l.AwaitMembers(l.Hosts...)
				l.Until("the new one votes", func() bool {
					now := lineOf(t, rest[0], x)
					return now.ID != before.ID && now.Vote == "voter"
				})
				goesOn(t, k[0], 8, l.Hosts...)
				// Its vote counts: without another host it makes a majority.
				rest[1].Kill()
				k[0].want(dlm.Success)(k[0].Convert(0, mode.NL, 0, lab.Value{}))
				p := join(t, x)
				p.want(dlm.Success)(p.Lock(0, mode.EX, 0, "R"))
			})
		})
	}
}

// TestAllRestart: all hosts end at once and start again, as after a loss of power or
// without one. Nobody has kept the resource, so it is a new one; its tokens are not.
func TestAllRestart(t *testing.T) {
	for _, power := range []string{"reboot", "processes only"} {
		t.Run(power, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				l := newLab(t, 3)
				var last lab.Token
				for round := range 3 {
					for _, h := range l.Hosts {
						p := join(t, h)
						a := p.want(dlm.Success)(p.Lock(0, mode.EX, dlm.ValB, "R"))
						if !last.Less(a.Token) {
							t.Errorf("round %d, host %s: token %v after %v", round, h.Name, a.Token, last)
						}
						if last = a.Token; h == l.Hosts[0] && a.Version != 0 {
							t.Fatalf("round %d: the block of a new resource is %d", round, a.Version)
						}
						p.want(dlm.Success)(p.Convert(0, mode.NL, dlm.ValB, lab.Value{Version: last.Number + 1}))
					}
					for _, h := range l.Hosts {
						h.Freeze() // so that they end at once
					}
					for _, h := range l.Hosts {
						h.Kill()
					}
					for _, h := range l.Hosts {
						if power == "reboot" {
							h.Reboot()
						}
						h.StartAgent()
					}
					l.AwaitMembers(l.Hosts...)
				}
			})
		})
	}
}
