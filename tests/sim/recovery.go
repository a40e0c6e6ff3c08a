package sim

import (
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// In schedules with persistent resources every second root and every second name
// below a root is one, in a recovery domain of its parity. All programs agree.
// Processes collect and validate while the rest goes on.

var domainNames = [...]string{"first", "second"}

// domainOf is the recovery domain of a resource; 0 for an ordinary one, else its
// number in domainNames plus 1.
func (s *sim) domainOf(root int, parent *reg, name int) int {
	at := root
	if parent != nil {
		at = parent.depth + name
	}
	if !s.plan.persistent || at%2 == 0 {
		return 0
	}
	return 1 + root/2%len(domainNames)
}

// recovering is what a process has to do with a domain.
type recovering struct {
	attached   bool
	collection uint64
	busy       *op // not answered yet
}

// unsure reports whether the resource's domain is invalid, or may be: then its block
// may be made not valid, or stay though nobody has a lock, at any time.
func (r *reg) unsure() bool { return r.domain != 0 && r.s.dubious[r.domain-1] }

// uses reports whether n has locks in a domain.
func (n *node) uses(d int) bool {
	return slices.ContainsFunc(n.locks, func(l *lk) bool { return l.r.domain == d+1 })
}

// callDomain makes n do the next thing with some domain.
func (s *sim) callDomain(n *node, d int) *op {
	r := &n.domains[d]
	if r.busy != nil {
		return nil
	}
	o := s.newOp(askDomain, nil)
	o.domain = d
	q := process.DomainRequest{Name: domainNames[d], Token: o.token}
	switch {
	case !r.attached:
		q.What = proto.DomainAttach
	case r.collection == 0 && s.calls > 0 && s.one(3) && !n.uses(d):
		q.What = proto.DomainInvalidate
		s.dubious[d] = true
		for _, g := range s.regs {
			g.spread()
		}
	case r.collection == 0:
		q.What = proto.DomainCollect
	default:
		q.What, q.Number = proto.DomainValidate, r.collection
		s.zeroing[d]++
		for _, g := range s.regs {
			g.spread()
		}
	}
	o.what = q.What
	n.ops[o.token] = o
	r.busy = o
	var res process.Result
	s.step(n, func() {
		s.note("%s asks %d of domain %s", n, q.What, q.Name)
		n.p.Domain(&q, &res)
		if !n.doomed {
			s.returned(n, o, &res)
		}
	})
	return o
}

// domainAnswered takes the answer to callDomain.
func (s *sim) domainAnswered(n *node, o *op, c *process.Completion) {
	r := &n.domains[o.domain]
	s.note("   %s: %d of domain %s answers %d", n, o.what, domainNames[o.domain], c.Status)
	r.busy = nil
	switch st := c.Status; {
	case o.what == proto.DomainAttach && st == dlm.Success:
		r.attached = true
	case o.what == proto.DomainCollect && st == dlm.Success:
		r.collection = c.Number
		s.counts[collections]++
	case o.what == proto.DomainCollect && st == dlm.EInProgress:
	case o.what == proto.DomainInvalidate && st == dlm.Success:
		r.attached = false
		s.counts[doubts]++
	case o.what == proto.DomainInvalidate && st == dlm.HasLocks:
	case o.what == proto.DomainValidate && (st == dlm.Success || st == dlm.MoreToRecover):
		for _, g := range s.regs {
			g.spread()
		}
		s.zeroing[o.domain]--
		r.collection = 0
		s.counts[validations]++
	default:
		s.fail("%s: %d of domain %s answers %d", n, o.what, domainNames[o.domain], st)
	}
}

// orphanedRounds: whatever the dead had asked to validate has been done by now, or
// never will be.
func (s *sim) orphanedRounds() {
	var past agent.Lasting
	c := s.coordinator()
	c.remembered.Fill(&past)
	if len(s.hosts) > 1 {
		past.Doubted = c.role.h.State().Doubted
	}
	for d, name := range domainNames {
		s.dubious[d] = slices.Contains(past.Doubted, proto.DomainDigest(name))
		s.zeroing[d] = 0
		for _, n := range s.nodes {
			if b := n.domains[d].busy; !n.dead && b != nil && b.what == proto.DomainValidate {
				s.zeroing[d]++
			}
		}
	}
}

// recoverAll ends every recovery: then nothing may be left of it.
func (s *sim) recoverAll() {
	if !s.plan.persistent {
		return
	}
	n := s.anyLive()
	if n == nil {
		return
	}
	s.calls = 0 // no more invalidations
	for d := range domainNames {
		for _, x := range s.nodes { // others' collections stand in the way
			if !x.dead && x.domains[d].collection != 0 {
				s.callDomain(x, d)
				s.calm()
			}
		}
		var o *op
		for round := 0; o == nil || o.what != proto.DomainValidate || o.outcome == dlm.MoreToRecover; round++ {
			if round > 8 {
				s.fail("domain %s is never recovered", domainNames[d])
			}
			if n.dead {
				if n = s.anyLive(); n == nil {
					return
				}
			}
			o = s.callDomain(n, d)
			s.calm()
			if n.dead { // of its host's lease
				continue
			}
			if o == nil || !o.answered {
				s.fail("%s: domain %s does not answer", n, domainNames[d])
			}
		}
	}
	s.atRest()
	if k := (slices.IndexFunc(s.regs, func(r *reg) bool {
		return r.domain != 0 && len(r.locks) == 0 &&
			slices.ContainsFunc(r.configs, func(c config) bool { return c.state != fresh })
	})); k >= 0 {
		s.fail("%s is not as new after recovery: %s", s.regs[k].name, s.regs[k].describe())
	}
	var left proto.Digest
	for _, x := range s.nodes {
		if x.dead {
			continue
		}
		x.p.Walk(func(h process.Held) {
			if !h.Tree.Idle() {
				left = h.Tree.Digest()
			}
		})
	}
	if left != (proto.Digest{}) {
		s.fail("%s is still there after recovery", s.byDigest[left].name)
	}
}
