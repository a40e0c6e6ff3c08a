package netns

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/tests/lab"
)

// kinds are the faults of a game.
var kinds = []string{
	"cut", "silent", "deaf", "pair", "lossy", "flapping", "partition",
	"kill", "two killed", "restart", "leave", "agent killed", "agent stopped", "freeze", "two frozen", "program killed",
}

// strike lets one fault happen to hosts that are less than half, and ends it when it has
// had its effect.
func (g *game) strike(luck *rand.Rand, fault string) {
	g.t.Helper()
	fault = strings.TrimSuffix(fault, " and")
	order := luck.Perm(len(g.l.Hosts))
	some := []*lab.Host{g.l.Hosts[order[0]]}
	if (fault == "partition" || strings.HasPrefix(fault, "two ")) && len(order) > 3 {
		some = append(some, g.l.Hosts[order[1]])
	}
	rest := others(g.l, some...)
	g.t.Logf("%s: host %s", fault, names(some))
	switch x := some[0]; fault {
	case "kill", "two killed", "restart", "leave", "agent killed", "agent stopped", "freeze", "two frozen", "program killed":
		g.strikeHost(fault, some, rest)
	case "cut":
		x.Cut()
		g.removed(rest, some)
	case "partition":
		var split []int
		for _, h := range some {
			split = append(split, h.Index)
		}
		g.l.Wire.Split(split...)
		g.removed(rest, some)
	case "silent", "deaf":
		for _, r := range rest {
			if fault == "silent" {
				g.l.Wire.OneWay(x.Index, r.Index, lab.Fault{Cut: true})
			} else {
				g.l.Wire.OneWay(r.Index, x.Index, lab.Fault{Cut: true})
			}
		}
		g.removed(rest, some)
	case "pair":
		// The leader may remove one of the two, or nobody hears of it but they.
		g.l.Wire.Between(x.Index, rest[0].Index, lab.Fault{Cut: true})
		g.while(lease + suspect)
	case "lossy":
		for _, r := range rest {
			g.l.Wire.Between(x.Index, r.Index, lab.Fault{Loss: 0.1, Delay: time.Millisecond, Jitter: 5 * time.Millisecond})
		}
		g.while(lease)
	case "flapping":
		for range 8 {
			x.Cut()
			g.while(time.Duration(luck.Int64N(int64(suspect))))
			g.l.Wire.Heal()
			g.while(time.Duration(luck.Int64N(int64(suspect / 2))))
		}
	default:
		g.t.Fatalf("no fault is called %q", fault)
	}
	g.l.Wire.Heal()
}

// strikeHost is strike for processes.
func (g *game) strikeHost(fault string, some, rest []*lab.Host) {
	g.t.Helper()
	x := some[0]
	switch fault {
	case "kill", "two killed":
		for _, h := range some {
			defer g.down(h)()
			h.Kill()
		}
		g.removed(rest, some)
		for _, h := range some {
			h.StartAgent()
		}
	case "restart": // before anybody may have noticed
		defer g.down(x)()
		x.Kill()
		x.StartAgent()
	case "leave": // programs of the host go on without it
		x.EndAgent()
		x.StartAgent()
	case "agent killed":
		x.KillAgent()
		x.StartAgent() // it waits for the role that one of the programs has now
	case "agent stopped":
		x.StopAgent()
		g.while(lease + suspect) // without effect if another has the role
		x.ContinueAgent()
	case "program killed": // in the middle of a transfer; all else lives
		g.l.Until("a teller of host "+x.Name+" is killed in the middle of a transfer", func() bool {
			for _, s := range g.seats {
				if p := s.holding.Load(); s.host == x && p != nil {
					p.Kill()
					return true
				}
			}
			return g.broken()
		})
	case "freeze", "two frozen":
		for _, h := range some {
			defer g.down(h)() // nobody comes who is not stopped
			g.stopped(h)
			h.Freeze()
		}
		g.removed(rest, some)
		for _, h := range some {
			h.Thaw()
		}
	}
}

func names(hosts []*lab.Host) (s string) {
	for _, h := range hosts {
		s += h.Name
	}
	return s
}

// removed waits until hosts are members no more and nothing of theirs stands, as one of
// the rest sees it.
func (g *game) removed(rest, some []*lab.Host) {
	g.t.Helper()
	g.l.Until("host "+names(some)+" is out", func() bool {
		r, err := rest[0].Report()
		if err != nil {
			return false
		}
		for _, line := range r.Hosts {
			for _, h := range some {
				if line.Name == h.Name && line.State != host.IsMissing {
					return false
				}
			}
		}
		return true
	})
}

// while lets a fault go on that need not have any effect that can be waited for.
func (g *game) while(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end) && !g.broken(); {
		time.Sleep(10 * time.Millisecond)
	}
}

// down keeps tellers away from a host until the function that it returns is called.
func (g *game) down(h *lab.Host) (up func()) {
	var held []*seat
	for _, s := range g.seats {
		if s.host == h {
			s.mu.Lock()
			held = append(held, s)
		}
	}
	return func() {
		for _, s := range held {
			s.mu.Unlock()
		}
	}
}

// stopped notes that the tellers of a host may be told late what happens.
func (g *game) stopped(h *lab.Host) {
	for _, s := range g.seats {
		if s.host == h {
			s.stopped.Store(lab.Now())
		}
	}
}
