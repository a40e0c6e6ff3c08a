package sim

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// Now implements process.World.
func (n *node) Now() int64 { return n.s.clock }

// Date implements process.World.
func (n *node) Date() uint32 { return uint32(1000 + n.s.clock/1e9) }

// Alarm implements process.World.
func (n *node) Alarm(at int64) {
	if n.alarm == 0 || at < n.alarm {
		n.alarm = at
	}
}

// Deadlock implements process.World.
func (n *node) Deadlock(c []process.Link) {
	s := n.s
	if s.all == nil {
		s.markCycles()
	}
	if !n.doomed {
		s.counts[cyclesFound]++
		s.counts[cycleSteps] += len(c)
		s.note("   %s finds a deadlock of %d", n, len(c))
	}
	if s.all != nil {
		return
	}
	victims := 0
	for _, k := range c {
		if !k.Victim {
			continue
		}
		victims++
		if w := s.byID[k.Waiter]; !w.dead {
			if l := w.byID[k.Lock]; l != nil && l.ask != nil {
				l.ask.victim = true // its master may have refused it before its owner knows
				l.r.withdrawing(l)
			}
		}
	}
	if victims != 1 {
		s.fail("%s: a deadlock with %d victims", n, victims)
	}
}

// ring lets some process search whose time has come; in a calm, those only whose
// time had come when it began, or they would go on for ever.
func (s *sim) ring(calm bool) bool {
	now := s.clock
	if calm {
		now = s.calmSince
	}
	var due []*node
	for _, n := range s.nodes {
		if n.running() && n.id != 0 && n.alarm != 0 && n.alarm <= now {
			due = append(due, n)
		}
	}
	if len(due) == 0 {
		return false
	}
	n := due[s.rng.IntN(len(due))]
	n.alarm = 0
	s.step(n, func() {
		s.note("%s searches", n)
		if s.all == nil {
			s.markCycles()
		}
		n.p.Tick()
	})
	return true
}

// search lets time pass, with nothing else going on, until everybody who waits
// has searched many times: of little patience, and with many who wait, most searches are given up
// for the next one.
func (s *sim) search() {
	until := s.clock + 400*s.plan.patience
	for {
		next := int64(0)
		for _, n := range s.nodes {
			if !n.dead && n.alarm != 0 && (next == 0 || n.alarm < next) {
				next = n.alarm
			}
		}
		for _, m := range s.hosts {
			if r := m.role; r != nil && r.alarm != 0 && (next == 0 || r.alarm < next) {
				next = r.alarm
			}
		}
		if next == 0 || next > until {
			return
		}
		s.clock = max(s.clock, next)
		s.calm()
	}
}

// edge is a request and whose locks it waits for.
type edge struct {
	o    *op
	from proto.Party
	to   []proto.Party
}

// waits lists who waits for whom, from the trees of all masters, by the rules of
// spec §10: a second opinion on what the masters answer.
func (s *sim) waits() (out []edge) {
	for _, n := range s.nodes {
		if n.dead || n.id == 0 {
			continue
		}
		n.p.Walk(func(h process.Held) {
			if !h.Serving {
				return
			}
			byRes := map[*tree.Resource][]*tree.Lock{}
			h.Tree.EachLock(func(t *tree.Lock) { byRes[t.Res] = append(byRes[t.Res], t) })
			h.Tree.EachLock(func(t *tree.Lock) {
				if t.Place() != tree.InGranted && t.Flags&dlm.NoDlckWt == 0 {
					if l := s.lockOf(t); l != nil && l.ask != nil {
						out = append(out, edge{l.ask, t.Party, waitsFor(t, byRes[t.Res])})
					}
				}
			})
		})
	}
	return out
}

// waitsFor: all is in the order granted, converting, waiting.
func waitsFor(t *tree.Lock, all []*tree.Lock) (out []proto.Party) {
	ahead := true
	for _, x := range all {
		if x == t {
			ahead = false
			continue
		}
		holds := x.Granted != mode.None && !mode.Compatible(x.Granted, t.Requested) && x.Held&dlm.NoDlckBlk == 0
		queued := ahead && x.Place() != tree.InGranted && x.Party != t.Party
		if holds || queued {
			out = append(out, x.Party)
		}
	}
	return out
}

// circular lists the requests that are part of a deadlock now.
func (s *sim) circular() (out []*op) {
	all := s.waits()
	next := map[proto.Party][]proto.Party{}
	for _, e := range all {
		next[e.from] = append(next[e.from], e.to...)
	}
	for _, e := range all {
		seen := map[proto.Party]bool{}
		todo := slices.Clone(e.to)
		for len(todo) > 0 {
			p := todo[0]
			todo = todo[1:]
			if p == e.from {
				out = append(out, e.o)
				break
			}
			if !seen[p] {
				seen[p] = true
				todo = append(todo, next[p]...)
			}
		}
	}
	return out
}

// markCycles remembers who is part of a deadlock. Only they may be refused.
func (s *sim) markCycles() {
	for _, o := range s.circular() {
		o.circular = true
	}
}

// noDeadlock checks that every cycle has been broken.
func (s *sim) noDeadlock() {
	for _, o := range s.circular() {
		s.fail("%s waits for ever in a circle", o.l)
	}
}
