package netns

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/tests/lab"
)

// strike lets one fault happen to hosts that are less than half, and ends it when it has
// had its effect.
func (g *game) strike(luck *rand.Rand, fault string) {
	g.t.Helper()
	order := luck.Perm(len(g.l.Hosts))
	some := []*lab.Host{g.l.Hosts[order[0]]}
	if fault == "partition" || strings.HasSuffix(fault, "+") && len(order) > 3 {
		some = append(some, g.l.Hosts[order[1]])
	}
	rest := others(g.l, some...)
	x := some[0]
	g.t.Logf("%s: host %s", fault, names(some))
	switch strings.TrimRight(fault, "+") {
	case "cut":
		x.Cut()
		g.removed(rest, some)
	case "partition":
		g.l.Wire.Split(some[0].Index, some[1].Index)
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
	case "kill":
		for _, h := range some {
			defer g.down(h)()
			h.Kill()
		}
		g.removed(rest, some)
		for _, h := range some {
			h.StartAgent()
		}
	case "agent killed":
		x.KillAgent()
		x.StartAgent() // it waits for the role that one of the programs has now
	case "agent stopped":
		x.StopAgent()
		g.removed(rest, some)
		x.ContinueAgent()
	case "freeze":
		g.stopped(x)
		x.Freeze()
		g.removed(rest, some)
		x.Thaw()
	default:
		g.t.Fatalf("no fault is called %q", fault)
	}
	g.l.Wire.Heal()
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
			s.stopped.Store(true)
		}
	}
}
