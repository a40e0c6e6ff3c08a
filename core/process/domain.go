package process

import (
	"maps"
	"slices"
	"sync"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
)

// domains is what the process has to do with recovery domains (spec §12). The
// agent decides; a new agent is told of it again.
type domains struct {
	mu       sync.Mutex        // after no other
	attached map[string]uint64 // by name: the open collection, 0 for none
	asked    []domainAsk       // not answered yet, in order
	last     uint64            // number of the latest ask
}

type domainAsk struct {
	id     uint64
	token  uint64
	silent bool // nobody waits for the answer any more
	what   uint32
	name   string
	number uint64
}

// DomainRequest asks something about a recovery domain. What is one of
// proto.DomainAttach and so on; Number is the collection of a validation.
type DomainRequest struct {
	What   uint32
	Name   string
	Number uint64
	Token  uint64
}

// Domain asks the agent. The answer comes through World.Complete, with the number
// of a new collection.
func (p *Process) Domain(q *DomainRequest, res *Result) {
	*res = Result{Status: dlm.Pending}
	if p.lost.Load() {
		res.Status = dlm.Lost
		return
	}
	if q.What == proto.DomainDetach || q.What == proto.DomainInvalidate {
		if p.locksIn(proto.DomainDigest(q.Name)) {
			res.Status = dlm.HasLocks
			return
		}
	}
	d := &p.domains
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.lost.Load() {
		res.Status = dlm.Lost
		return
	}
	d.last++
	a := domainAsk{id: d.last, token: q.Token, what: q.What, name: q.Name, number: q.Number}
	d.asked = append(d.asked, a)
	a.send(p.world)
}

func (a *domainAsk) send(w World) {
	w.SendAgent(&proto.Msg{Kind: proto.KDomain, Hint: a.id, Flags: a.what, Text: a.name, Number: a.number})
}

// locksIn reports whether the process owns a lock in the domain.
func (p *Process) locksIn(domain proto.Digest) bool {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		found := slices.ContainsFunc(s.locks.awake, func(l *lock) bool { return l != nil && l.domain == domain })
		s.mu.Unlock()
		if found {
			return true
		}
	}
	return false
}

// domainDone takes the agent's answer.
func (p *Process) domainDone(m *proto.Msg) {
	d := &p.domains
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.asked, func(a domainAsk) bool { return a.id == m.Hint })
	if i < 0 {
		return
	}
	a := d.asked[i]
	d.asked = slices.Delete(d.asked, i, i+1)
	st := dlm.Status(m.Status)
	if st == dlm.Success || st == dlm.MoreToRecover {
		switch a.what {
		case proto.DomainAttach, proto.DomainValidate:
			d.attached[a.name] = 0
		case proto.DomainCollect:
			d.attached[a.name] = m.Number
		default:
			delete(d.attached, a.name)
		}
	}
	if !a.silent {
		p.world.Complete(&Completion{Token: a.token, Status: st, Number: m.Number})
	}
}

// again tells a new agent what the one before knew.
func (d *domains) again(w World) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.attached)) {
		a := domainAsk{what: proto.DomainAttach, name: name, number: d.attached[name]}
		a.send(w)
	}
	for i := range d.asked {
		d.asked[i].send(w)
	}
}

// forget: nobody waits for the answer any more, but it still counts.
func (d *domains) forget(token uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.asked {
		if d.asked[i].token == token {
			d.asked[i].silent = true
		}
	}
}

func (d *domains) lose(w World) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.asked {
		if !a.silent {
			w.Complete(&Completion{Token: a.token, Status: dlm.Lost})
		}
	}
	d.asked = nil
}
