package process

import "github.com/godlm/godlm/core/proto"

// What is counted, for people. Requests are counted in the shard whose mutex is held
// anyway, so that counting costs neither memory nor a cache line that others write.

// Ways of a request: decided here for this process, sent away or kept until the master is
// known, or come from another process.
const (
	opLocal = iota
	opOut
	opIn
)

// counts are those of a shard, since the process has joined.
type counts struct {
	ops      [proto.Ways][proto.Ops]uint64
	waits    [len(proto.WaitBounds) + 1]uint64
	waited   uint64 // in all, in nanoseconds
	blocking uint64
	invalid  [proto.Causes]uint64
}

// request counts one by the kind of its message.
func (c *counts) request(way int, k proto.Kind) { c.add(way, k, 1) }

func (c *counts) add(way int, k proto.Kind, n uint64) {
	if op := k - proto.KRequest; op < proto.Ops {
		c.ops[way][op] += n
	}
}

func (r *root) way() int {
	if r.where == local {
		return opLocal
	}
	return opOut
}

// countWait counts the end of a request that had been queued.
func (s *shard) countWait(l *lock) {
	if !l.ask.waited {
		return
	}
	d := s.p.world.Now() - l.ask.since
	i := 0
	for i < len(proto.WaitBounds) && d > proto.WaitBounds[i] {
		i++
	}
	s.counts.waits[i]++
	s.counts.waited += uint64(max(d, 0))
}

// Invalidated implements tree.Sink.
func (r *root) Invalidated(kind proto.CauseKind) { r.shard.counts.invalid[kind]++ }

// Date implements tree.Sink.
func (r *root) Date() uint32 { return r.shard.p.world.Date() }

// maxObits is how many of the dead are remembered.
const maxObits = 256

// remember notes who has died. The members are locked.
func (m *members) remember(list []proto.Obituary) {
	m.obits = append(m.obits, list...)
	if n := len(m.obits) - maxObits; n > 0 {
		m.obits = append(m.obits[:0], m.obits[n:]...)
	}
}

// deathOf is the death of an owner of locks as the cause of what it does to value blocks.
func (p *Process) deathOf(owner proto.ProcID) proto.Cause {
	o := p.obituary(owner)
	return o.Cause(proto.CauseHolderDied, p.world.Date())
}

// obituary is what is known of a process that has died.
func (p *Process) obituary(dead proto.ProcID) proto.Obituary {
	m := &p.members
	if dead != 0 {
		m.Lock()
		defer m.Unlock()
		for i := range m.obits {
			if m.obits[i].Proc == dead {
				return m.obits[i]
			}
		}
	}
	return proto.Obituary{Proc: dead}
}
