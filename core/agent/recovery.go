package agent

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
)

// recovery is what the agent knows of persistent resources and recovery domains
// (spec §12). It remembers which resources there are; their value blocks are their
// masters'.
type recovery struct {
	kept    map[proto.Digest]map[proto.Digest]proto.Kept // by root, then by resource
	doubted map[proto.Digest]bool                        // domains that are invalid
	domains map[proto.Digest]*domain
	unheard map[proto.ProcID]bool // have yet to say what the agent before knew

	serving, again bool // serveDomains is at work, and is to look once more
}

// domain is a recovery domain. What masters have to do goes in rounds, one at a
// time; who asks for something meanwhile waits.
type domain struct {
	digest   proto.Digest
	attached map[proto.ProcID]bool
	asked    []domainAsk
	round    *round

	collector proto.ProcID // of the open collection; 0: none is open
	number    uint64       // of the open collection
	opened    uint64       // the request that has opened it
	doubt     bool         // since it was opened an attached process died, or an agent
}

type domainAsk struct {
	proc   proto.ProcID
	id     uint64
	what   uint32
	number uint64
}

// round is an order to every master of the domain's resources.
type round struct {
	ask     domainAsk
	number  uint64
	waiting map[proto.ProcID]bool
	left    uint32 // blocks that stay not valid
	died    bool   // a master that was to do it
	sent    bool   // what it rests on is agreed, and they were told
}

func (r *recovery) init(past *Lasting, live []proto.ProcID) {
	r.kept = map[proto.Digest]map[proto.Digest]proto.Kept{}
	r.doubted = map[proto.Digest]bool{}
	r.domains = map[proto.Digest]*domain{}
	r.unheard = map[proto.ProcID]bool{}
	for _, k := range past.Kept {
		r.add(k)
	}
	for _, d := range past.Doubted {
		r.doubted[d] = true
	}
	for _, p := range live {
		r.unheard[p] = true
	}
}

func (r *recovery) add(k proto.Kept) {
	tree := k.Root.Digest()
	if r.kept[tree] == nil {
		r.kept[tree] = map[proto.Digest]proto.Kept{}
	}
	r.kept[tree][k.Digest()] = k
}

// keptOf are the persistent resources of a tree, in an order of their own.
func (r *recovery) keptOf(tree proto.Digest) (out []proto.Kept) {
	for _, d := range inOrder(r.kept[tree]) {
		out = append(out, r.kept[tree][d])
	}
	return out
}

// keep notes a persistent resource before its first lock is granted.
func (a *Agent) keep(p proto.ProcID, m *proto.Msg) {
	k := proto.Kept{Root: m.Root, Path: slices.Clone(m.Path), Domain: m.Domain}
	answer := proto.Msg{Kind: proto.KKept, Root: k.Root, Path: k.Path, Domain: k.Domain, Number: m.Number}
	if a.world.Keep(&k) != nil {
		answer.Status = int32(dlm.InsfMem)
	} else {
		a.recovery.add(k)
	}
	a.world.Agree(func() {
		if a.recovery.doubted[k.Domain] {
			answer.Flags = proto.DomainInvalid
		}
		a.world.Send(p, &answer)
	})
}

// checkKept asks a master whether its persistent resources are still there: it may
// have told an agent that died.
func (a *Agent) checkKept(p proto.ProcID) {
	for _, tree := range inOrder(a.recovery.kept) {
		if t, known := a.dir.of(tree); !known || t.master != p || t.placing != 0 {
			continue
		}
		for _, k := range a.recovery.keptOf(tree) {
			a.send(p, proto.Msg{Kind: proto.KKept, Root: k.Root, Path: k.Path, Domain: k.Domain})
		}
	}
}

// forgetKept: nothing is left of a tree.
func (a *Agent) forgetKept(tree proto.Digest) {
	for _, k := range a.recovery.keptOf(tree) {
		a.world.Unkeep(&k)
	}
	delete(a.recovery.kept, tree)
}

// unkeep forgets one whose time is over.
func (a *Agent) unkeep(p proto.ProcID, m *proto.Msg) {
	k := proto.Kept{Root: m.Root, Path: slices.Clone(m.Path)}
	tree := k.Root.Digest()
	if t, known := a.dir.of(tree); !known || t.master != p || t.placing != 0 {
		return // of a tree that it gave up
	}
	a.world.Unkeep(&k)
	delete(a.recovery.kept[tree], k.Digest())
	if len(a.recovery.kept[tree]) == 0 {
		delete(a.recovery.kept, tree)
	}
	a.serveDomains()
}

// domainAsked takes a process's request about a domain. One without a number only
// tells a new agent of what was before.
func (a *Agent) domainAsked(p proto.ProcID, m *proto.Msg) {
	digest := proto.DomainDigest(m.Text)
	d := a.recovery.domains[digest]
	if d == nil {
		d = &domain{digest: digest, attached: map[proto.ProcID]bool{}}
		a.recovery.domains[digest] = d
	}
	if m.Hint == 0 {
		d.attached[p] = true
		if m.Number != 0 {
			d.collector, d.number, d.doubt = p, m.Number, true
		}
		return
	}
	same := func(q domainAsk) bool { return q.proc == p && q.id == m.Hint }
	if d.round != nil && same(d.round.ask) || slices.ContainsFunc(d.asked, same) {
		return // asked again, since the first time might have been lost on the way
	}
	d.asked = append(d.asked, domainAsk{p, m.Hint, m.Flags, m.Number})
	a.serveDomains()
}

// heard: a process has told what the agent before knew of it.
func (a *Agent) heard(p proto.ProcID) {
	if a.recovery.unheard[p] {
		delete(a.recovery.unheard, p)
		a.serveDomains()
	}
}

// serveDomains goes on with whatever can go on. Something may be agreed on, and have it called,
// while it is at work on a domain.
func (a *Agent) serveDomains() {
	r := &a.recovery
	if len(r.domains) == 0 || r.serving {
		r.again = true
		return
	}
	r.serving = true
	for r.again = true; r.again; {
		r.again = false
		a.serveAll()
	}
	r.serving = false
}

func (a *Agent) serveAll() {
	r := &a.recovery
	for _, digest := range inOrder(r.domains) {
		d := r.domains[digest]
		if d == nil {
			continue // a round that ended at once has served and forgotten it
		}
		for d.round == nil && len(d.asked) > 0 && len(r.unheard) == 0 && a.settled(digest) {
			q := d.asked[0]
			d.asked = d.asked[1:]
			a.serveDomain(d, q)
		}
		if len(d.attached) == 0 && d.round == nil && len(d.asked) == 0 {
			delete(r.domains, digest)
		}
	}
}

// settled reports whether every persistent resource of the domain has a master.
func (a *Agent) settled(domain proto.Digest) bool {
	for tree, kept := range a.recovery.kept {
		if t, known := a.dir.of(tree); known && a.live[t.master] && t.placing == 0 {
			continue
		}
		for _, k := range kept {
			if k.Domain == domain {
				return false
			}
		}
	}
	return true
}

func (a *Agent) domainDone(q domainAsk, st dlm.Status, number uint64) {
	a.world.Agree(func() {
		a.send(q.proc, proto.Msg{Kind: proto.KDomainDone, Hint: q.id, Status: int32(st), Number: number})
	})
}

// serveDomain begins what was asked (D-42, D-44).
func (a *Agent) serveDomain(d *domain, q domainAsk) {
	open := d.collector != 0
	switch {
	case q.what == proto.DomainAttach:
		d.attached[q.proc] = true
		a.domainDone(q, dlm.Success, 0)
	case q.what == proto.DomainLeave:
		delete(d.attached, q.proc)
		if d.collector == q.proc {
			d.collector, d.number = 0, 0
		}
		a.domainDone(q, dlm.Success, 0)
	case !d.attached[q.proc]:
		a.domainDone(q, dlm.IvRDID, 0)
	case q.what == proto.DomainCollect && open && d.collector == q.proc && d.opened == q.id:
		a.domainDone(q, dlm.Success, d.number) // the answer was lost
	case q.what == proto.DomainCollect && open && d.collector == q.proc:
		a.domainDone(q, dlm.EAlready, 0)
	case q.what == proto.DomainCollect && open:
		a.domainDone(q, dlm.EInProgress, 0)
	case q.what == proto.DomainCollect:
		a.assign++
		d.collector, d.number, d.opened, d.doubt = q.proc, a.assign, q.id, false
		a.startRound(d, q, d.number)
	case q.what == proto.DomainValidate && (d.collector != q.proc || d.number != q.number):
		a.domainDone(q, dlm.IvHndl, 0)
	case q.what == proto.DomainValidate:
		a.startRound(d, q, d.number)
	case d.collector == q.proc: // a detach
		a.domainDone(q, dlm.EInProgress, 0)
	case q.what == proto.DomainInvalidate:
		if a.world.Doubt(d.digest, true) != nil {
			a.domainDone(q, dlm.InsfMem, 0)
			return
		}
		a.recovery.doubted[d.digest] = true
		a.startRound(d, q, 0)
	default:
		delete(d.attached, q.proc)
		a.domainDone(q, dlm.Success, 0)
	}
}

// startRound sends an order to all masters of the domain's resources, who must not hear
// of what a successor would not know.
func (a *Agent) startRound(d *domain, q domainAsk, number uint64) {
	r := &round{ask: q, number: number, waiting: a.masters(d.digest)}
	d.round = r
	a.world.Agree(func() {
		r.sent = true
		for _, p := range sorted(r.waiting) {
			a.send(p, proto.Msg{Kind: proto.KRound, Domain: d.digest, Number: number, Flags: q.what})
		}
		a.endRound(d)
		a.serveDomains()
	})
}

// ordersAgain: what a process was told may be lost with the agent of its host.
func (a *Agent) ordersAgain(p proto.ProcID) {
	for _, digest := range inOrder(a.recovery.domains) {
		if r := a.recovery.domains[digest].round; r != nil && r.sent && r.waiting[p] {
			a.send(p, proto.Msg{Kind: proto.KRound, Domain: digest, Number: r.number, Flags: r.ask.what})
		}
	}
}

func (a *Agent) masters(domain proto.Digest) map[proto.ProcID]bool {
	out := map[proto.ProcID]bool{}
	for tree, kept := range a.recovery.kept {
		for _, k := range kept {
			if k.Domain == domain {
				t, _ := a.dir.of(tree)
				out[t.master] = true
			}
		}
	}
	return out
}

func (a *Agent) roundDone(p proto.ProcID, m *proto.Msg) {
	d := a.recovery.domains[m.Domain]
	if d == nil || d.round == nil || !d.round.sent || d.round.number != m.Number || !d.round.waiting[p] {
		return
	}
	delete(d.round.waiting, p)
	d.round.left += m.Op
	a.endRound(d)
	a.serveDomains()
}

// endRound answers who asked, once every master has done its part.
func (a *Agent) endRound(d *domain) {
	r := d.round
	if !r.sent || len(r.waiting) > 0 {
		return
	}
	d.round = nil
	q := r.ask
	switch q.what {
	case proto.DomainCollect:
		a.domainDone(q, dlm.Success, r.number)
	case proto.DomainInvalidate:
		if r.died { // what it mastered is being put together again as it was
			d.asked = append([]domainAsk{q}, d.asked...)
			return
		}
		delete(d.attached, q.proc)
		a.domainDone(q, dlm.Success, 0)
	case proto.DomainValidate:
		more := r.left > 0 || r.died || d.doubt
		d.collector, d.number = 0, 0
		if more {
			a.domainDone(q, dlm.MoreToRecover, 0)
			return
		}
		a.recovered(d.digest)
		a.domainDone(q, dlm.Success, 0)
	}
}

// recovered makes the domain valid again.
func (a *Agent) recovered(domain proto.Digest) {
	if !a.recovery.doubted[domain] || a.world.Doubt(domain, false) != nil {
		return
	}
	delete(a.recovery.doubted, domain)
	masters := sorted(a.masters(domain))
	a.world.Agree(func() {
		for _, p := range masters {
			a.send(p, proto.Msg{Kind: proto.KRound, Domain: domain, Flags: proto.DomainRecovered})
		}
	})
}

// deadInDomains: a process has died. Its collection is free again; another's is in
// doubt if it was attached.
func (a *Agent) deadInDomains(p proto.ProcID) {
	r := &a.recovery
	delete(r.unheard, p)
	for _, digest := range inOrder(r.domains) {
		d := r.domains[digest]
		d.asked = slices.DeleteFunc(d.asked, func(q domainAsk) bool { return q.proc == p })
		if d.attached[p] {
			delete(d.attached, p)
			d.doubt = true
		}
		if d.collector == p {
			d.collector, d.number = 0, 0
		}
		if d.round != nil && d.round.waiting[p] {
			delete(d.round.waiting, p)
			d.round.died = true
		}
	}
	for _, digest := range inOrder(r.domains) {
		if d := r.domains[digest]; d.round != nil {
			a.endRound(d)
		}
	}
	a.serveDomains()
}
