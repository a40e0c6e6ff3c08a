package process

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// askToKeep has the agent note that a resource is persistent, before the first lock
// on it. Until it has, the whole tree pauses: requests are held as if it had yet to
// be installed.
func (r *root) askToKeep(parent *tree.Lock, name *proto.Name, domain proto.Digest) dlm.Status {
	k := proto.Kept{Root: r.key, Domain: domain}
	if parent != nil {
		k.Path = append(parent.Res.Path(), *name)
	}
	if k.Digest() == r.noKeep {
		return dlm.InsfMem
	}
	r.where, r.keep, r.keepOp = keeping, &k, r.nextOp()
	r.sendKeep()
	return dlm.Unkept
}

func (r *root) sendKeep() {
	m := r.shard.compose(proto.KKeep)
	m.Root, m.Path, m.Domain, m.Number = r.key, append(m.Path[:0], r.keep.Path...), r.keep.Domain, r.keepOp
	r.shard.p.world.SendAgent(m)
}

// kept takes the agent's word that the persistent resource is noted, or why not.
func (r *root) kept(m *proto.Msg) {
	if r.where != keeping || m.Number != r.keepOp {
		return
	}
	k := r.keep
	r.where, r.keep = local, nil
	r.dropDead()
	if m.Status != 0 || r.tree.Keep(k.Path, k.Domain, m.Flags&proto.DomainInvalid != 0) != nil {
		r.noKeep = k.Digest()
		if m.Status == 0 {
			r.Unkept(k.Path)
		}
	}
	r.resume(0)
	r.noKeep = proto.Digest{}
	if r.where == local || r.where == keeping {
		r.tree.Unkeep(k.Path) // who asked for it may be gone
	}
}

// Unkept implements tree.Sink.
func (r *root) Unkept(path []proto.Name) { r.shard.sendUnkeep(&r.key, path) }

func (s *shard) sendUnkeep(key *proto.Root, path []proto.Name) {
	m := s.compose(proto.KUnkeep)
	m.Root, m.Path = *key, append(m.Path[:0], path...)
	s.p.world.SendAgent(m)
}

// stillKept answers a new agent, which asks whether a persistent resource is still
// there: that it is not may be what the one before has not heard.
func (s *shard) stillKept(m *proto.Msg) {
	r := s.find(&m.Root)
	asked := r != nil && r.where == keeping && slices.Equal(m.Path, r.keep.Path)
	if asked || r != nil && (r.where == installing || r.tree != nil && r.tree.Kept(m.Path)) {
		return
	}
	key := m.Root
	s.sendUnkeep(&key, m.Path)
}

// round does what the agent wants done with a domain in every tree that is here.
func (p *Process) round(m *proto.Msg) {
	domain, number := m.Domain, m.Number
	left := uint32(0)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for r := s.all(); r != nil; r = r.next {
			if r.tree == nil {
				continue
			}
			switch m.Flags {
			case proto.DomainInvalidate:
				r.tree.Doubt(domain)
			case proto.DomainCollect:
				r.tree.Collect(domain, number)
			case proto.DomainValidate:
				left += r.tree.Validate(domain, number)
			case proto.DomainRecovered:
				r.tree.Recovered(domain)
			}
		}
		s.mu.Unlock()
	}
	done := proto.Msg{Kind: proto.KRoundDone, Domain: domain, Number: number, Op: left}
	p.world.SendAgent(&done)
}
