package netns

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

// player is one for a test that says step by step what happens.
type player struct {
	*lab.Player
	t *trial
}

func join(t *trial, h *lab.Host) player {
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
	t.Parallel()
	try(t, func(t *trial) {
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
	})
}

// hold has a program of each host keep the resource, and one of them hold it in EX. The
// block is 7 when it is granted.
func hold(t *trial, holder *lab.Host, keepers ...*lab.Host) (h player, k []player) {
	t.Helper()
	for _, x := range keepers {
		p := join(t, x)
		p.want(dlm.Success)(p.Lock(0, mode.NL, 0, "R"))
		k = append(k, p)
	}
	h = join(t, holder)
	h.want(dlm.Success)(h.Lock(0, mode.EX, dlm.ValB, "R"))
	h.want(dlm.Success)(h.Convert(0, mode.EX, dlm.ValB, lab.Value{Version: 7}))
	return h, k
}

// takesOver waits until a program that keeps the resource has it in EX, which it must
// not have before the holder was told that it has lost it, if that is not late. What the
// holder may have written is not known.
func takesOver(t *trial, l *lab.Lab, holder, keeper player) lab.Answer {
	t.Helper()
	begin := lab.Now()
	a := keeper.want(dlm.SuccValNotValid)(keeper.Convert(0, mode.EX, dlm.ValB, lab.Value{}))
	l.Until("the holder is told", func() bool { return holder.Lost.Load() != 0 })
	t.within("the lock is another's", begin, a.End, t.failover())
	told := holder.Lost.Load()
	t.within("the holder is told", begin, told, t.lease)
	if late, most := time.Duration(told-a.End), worst(begin, told); late > most {
		t.Errorf("the program on host %s is told %v after that on %s was granted its lock, and nothing was more than %v late",
			holder.Host.Name, late, keeper.Host.Name, most)
	}
	holder.want(dlm.Lost)(holder.Use(0))
	holder.want(dlm.Lost)(holder.Convert(0, mode.NL, dlm.ValB, lab.Value{Version: 99}))
	return a
}

// worst is by how much a program may be told late: as much as anything was on this machine.
func worst(from, to int64) time.Duration {
	_, w := pulse.Late(from, to)
	return w + lateness
}

// goesOn: the resource is as it must be for a new program on any host.
func goesOn(t *trial, keeper player, version uint64, hosts ...*lab.Host) {
	t.Helper()
	keeper.want(dlm.Success)(keeper.Convert(0, mode.NL, dlm.ValB, lab.Value{Version: version}))
	for _, h := range hosts {
		p := join(t, h)
		a := p.want(dlm.Success)(p.Lock(0, mode.EX, dlm.ValB, "R"))
		if a.Version != version {
			t.Fatalf("on host %s the block is %d, want %d", h.Name, a.Version, version)
		}
		p.want(dlm.Success)(p.Unlock(0, 0, lab.Value{}))
	}
}

// others are the hosts but some.
func others(l *lab.Lab, but ...*lab.Host) (out []*lab.Host) {
	for _, h := range l.Hosts {
		if !slices.Contains(but, h) {
			out = append(out, h)
		}
	}
	return out
}

// TestHolderCutOff: the host of a holder is cut off, be it anybody's or the one that
// leads or coordinates. The wire is cut in both directions or in one.
func TestHolderCutOff(t *testing.T) {
	for _, which := range []string{"leader", "coordinator", "neither"} {
		for _, cut := range []string{"silent and deaf", "silent", "deaf"} {
			t.Run(which+" "+cut, func(t *testing.T) {
				t.Parallel()
				try(t, func(t *trial) {
					l := newLab(t, 3)
					x := choose(t, l, which)
					rest := others(l, x)
					h, k := hold(t, x, rest...)
					t.strike(x)
					for _, r := range rest {
						if cut != "deaf" {
							l.Wire.OneWay(x.Index, r.Index, lab.Fault{Cut: true})
						}
						if cut != "silent" {
							l.Wire.OneWay(r.Index, x.Index, lab.Fault{Cut: true})
						}
					}
					takesOver(t, l, h, k[0])
					l.Wire.Heal()
					t.back()
					goesOn(t, k[0], 8, l.Hosts...)
				})
			})
		}
	}
}

// choose finds a host of that kind.
func choose(t *trial, l *lab.Lab, which string) *lab.Host {
	t.Helper()
	leader, coordinator := l.Leader(), l.Coordinator()
	switch which {
	case "leader":
		return leader
	case "coordinator":
		return coordinator
	}
	return others(l, leader, coordinator)[0]
}

// TestAbortWhenLost: on_lost = "abort" ends the holder before somebody else is granted.
func TestAbortWhenLost(t *testing.T) {
	t.Parallel()
	try(t, func(t *trial) {
		l := newLab(t, 3, func(o *lab.Options) { o.OnLost = "abort" })
		h, k := hold(t, l.Hosts[2], l.Hosts[0])
		t.strike(l.Hosts[2])
		l.Hosts[2].Cut()
		begin := lab.Now()
		a := k[0].want(dlm.SuccValNotValid)(k[0].Convert(0, mode.EX, dlm.ValB, lab.Value{}))
		t.within("the lock is another's", begin, a.End, t.failover())
		l.Until("the holder has ended", func() bool { return h.Ended() != "" })
		_, ended := h.Calls()
		if late, most := time.Duration(ended-a.End), worst(begin, ended); late > most {
			t.Errorf("the holder lives %v after its lock is another's, and nothing was more than %v late", late, most)
		}
		if how := h.Ended(); !strings.HasPrefix(how, "signal: aborted") {
			t.Errorf("the holder has ended by %q", how)
		}
	})
}

// TestAgentStopped: an agent that stands still does not renew the lease. Its programs
// know, before it goes on and after.
func TestAgentStopped(t *testing.T) {
	for _, which := range []string{"leader", "coordinator", "neither"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				l := newLab(t, 3)
				x := choose(t, l, which)
				h, k := hold(t, x, others(l, x)...)
				t.strike(x)
				x.StopAgent()
				takesOver(t, l, h, k[0])
				x.ContinueAgent()
				t.back()
				h.want(dlm.Lost)(h.Use(0))
				goesOn(t, k[0], 8, l.Hosts...)
			})
		})
	}
}

// TestHostFrozen: holders that are stopped, with all of their host, until others have
// their locks, do nothing with those when they go on: the first call tells, whichever.
func TestHostFrozen(t *testing.T) {
	calls := []string{"use 0", "cvt 0 6 4096 99 99", "cvt 0 1 4096 99 99", "unlock 0 4096 99 99", "lock 1 1 4224 0 0 R"}
	for _, which := range []string{"leader", "coordinator", "neither"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			try(t, func(t *trial) {
				l := newLab(t, 3)
				x := choose(t, l, which)
				keeper := join(t, others(l, x)[0])
				var holders []player
				for i := range calls {
					name := fmt.Sprint("R", i)
					keeper.want(dlm.Success)(keeper.Lock(i, mode.NL, 0, name))
					h := join(t, x)
					h.want(dlm.Success)(h.Lock(0, mode.EX, dlm.ValB, name))
					h.want(dlm.Success)(h.Convert(0, mode.EX, dlm.ValB, lab.Value{Version: 7}))
					holders = append(holders, h)
				}
				t.strike(x)
				x.Freeze()
				begin := lab.Now()
				for i := range calls {
					a := keeper.want(dlm.SuccValNotValid)(keeper.Convert(i, mode.EX, dlm.ValB, lab.Value{}))
					t.within("the lock is another's", begin, a.End, t.failover())
					if a.Version != 7 && a.Version != 0 {
						t.Errorf("the block is %d, which nobody has written", a.Version)
					}
				}
				for i, h := range holders {
					if err := h.Send("%s", calls[i]); err != nil {
						t.Fatal(err)
					}
				}
				x.Thaw()
				for i, h := range holders {
					if a, err := h.Receive(); err != nil || a.Status != dlm.Lost {
						t.Errorf("after the pause, %q: %v, %v; want status %d", calls[i], a, err, dlm.Lost)
					}
				}
				t.back()
				for i := range calls {
					keeper.want(dlm.Success)(keeper.Convert(i, mode.NL, dlm.ValB, lab.Value{Version: 8}))
				}
				again := join(t, x)
				for i := range calls {
					a := again.want(dlm.Success)(again.Lock(i, mode.EX, dlm.ValB, fmt.Sprint("R", i)))
					if a.Version != 8 {
						t.Fatalf("the block is %d, want 8", a.Version)
					}
				}
			})
		})
	}
}

// TestNeighbours: programs of one host go on with each other's locks, for longer than it
// takes to ask once more where a process is.
func TestNeighbours(t *testing.T) {
	t.Parallel()
	try(t, func(t *trial) {
		l := newLab(t, 3)
		a, b := join(t, l.Hosts[1]), join(t, l.Hosts[1])
		a.want(dlm.Success)(a.Lock(0, mode.NL, 0, "R"))
		for begin := time.Now(); time.Since(begin) < 2*time.Second; { // placeAgain of net/node is 1 s
			b.want(dlm.Success)(b.Lock(0, mode.EX, dlm.ValB, "R"))
			b.want(dlm.Success)(b.Unlock(0, 0, lab.Value{}))
		}
	})
}
