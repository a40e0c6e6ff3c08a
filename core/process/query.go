package process

import (
	"slices"
	"sort"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// query is an unanswered question about a resource.
type query struct {
	number uint32
	root   *root
	below  bool
	parent proto.LockID
	name   proto.Name
	token  uint64
}

// LockInfo describes an own lock.
func (p *Process) LockInfo(id proto.LockID) (LockInfo, dlm.Status) {
	if p.lost.Load() {
		return LockInfo{}, dlm.Lost
	}
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lookup(id)
	if l == nil || l.unlock.active {
		return LockInfo{}, dlm.IvLockID
	}
	n := LockInfo{
		Space: l.root.key.Space, Name: l.root.key.Name,
		Requested: l.granted, Granted: l.granted, State: Granted,
		Flags: dlm.Flags(l.held) &^ dlm.HasBlocking, User: l.user,
	}
	if l.parent != nil {
		n.Parent, n.Name = l.parent.ID, l.name
	}
	if a := &l.ask; a.kind != proto.PendingNothing {
		n.Requested, n.Flags, n.User = a.mode, dlm.Flags(a.flags)&^dlm.HasBlocking, a.user
		switch {
		case !a.waited:
			n.State = InTransit
		case l.granted == mode.None:
			n.State = Waiting
		default:
			n.State = Converting
		}
	}
	return n, dlm.Success
}

// ResourceInfo describes a resource, asking its master if need be.
func (p *Process) ResourceInfo(space proto.Namespace, name proto.Name, parent proto.LockID, token uint64, res *Result) {
	*res = Result{}
	if p.lost.Load() {
		res.Status = dlm.Lost
		return
	}
	key := proto.Root{Space: space, Name: name}
	s := p.shardOf(&key)
	if parent != 0 {
		s = p.shardOfLock(parent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var r *root
	if parent != 0 {
		l := s.lookup(parent)
		if l == nil {
			res.Status = dlm.IvLockID
			return
		}
		r = l.root
	} else {
		r = s.root(&key)
	}
	s.lastQ++
	q := &query{number: s.lastQ<<shardBits | s.index, root: r, below: parent != 0, parent: parent, name: name, token: token}
	if r.where == local {
		res.Info = r.describeOwn(q)
		if !res.Info.Exists {
			res.Status = dlm.ENoEnt
		}
		return
	}
	s.queries[q.number] = q
	res.Status = dlm.Pending
	r.queries = append(r.queries, q)
	if r.where == remote {
		r.sendQuery(q)
		return
	}
	if r.asked == lookupNone {
		r.lookAgain()
	}
}

func (r *root) describeOwn(q *query) proto.Info {
	var parent *tree.Lock
	if l := r.shard.lookup(q.parent); l != nil {
		parent = &l.Lock
	}
	return r.describe(q.below, parent, &q.name)
}

func (r *root) sendQuery(q *query) {
	m := r.shard.compose(proto.KQuery)
	m.Assign, m.Root, m.Parent, m.Name, m.Op = r.assign, r.key, q.parent, q.name, q.number
	r.shard.p.world.Send(r.master, proto.ToMaster, m)
}

// carryQuery puts an unanswered question to the master that is known now.
func (r *root) carryQuery(q *query) {
	if r.where == local {
		r.shard.answerQuery(q, r.describeOwn(q))
		return
	}
	r.queries = append(r.queries, q)
	if r.where == remote {
		r.sendQuery(q)
	}
}

func (s *shard) answerQuery(q *query, n proto.Info) {
	delete(s.queries, q.number)
	for i, x := range q.root.queries {
		if x == q {
			q.root.queries = append(q.root.queries[:i], q.root.queries[i+1:]...)
			break
		}
	}
	st := dlm.Success
	if !n.Exists {
		st = dlm.ENoEnt
	}
	s.done = Completion{Token: q.token, Status: st, Info: n}
	s.p.world.Complete(&s.done)
}

// detachQuery forgets a question for which nobody waits any more.
func (p *Process) detachQuery(token uint64) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for _, q := range s.queries {
			if q.token == token {
				delete(s.queries, q.number)
				q.root.queries = slices.DeleteFunc(q.root.queries, func(x *query) bool { return x == q })
				break
			}
		}
		s.mu.Unlock()
	}
}

func (p *Process) queryAnswered(m *proto.Msg) {
	s := &p.shards[m.Op&(shardCount-1)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queries[m.Op]; q != nil {
		s.answerQuery(q, m.Info)
	}
}

// Locks lists own locks, sub-locks before their parents: those of a namespace
// (nil: of all), or with below only the sub-locks of that lock.
func (p *Process) Locks(space *proto.Namespace, below proto.LockID, out []proto.LockID) []proto.LockID {
	type entry struct {
		id    proto.LockID
		depth int
	}
	var all []entry
	for i := range p.shards {
		s := &p.shards[i]
		if below != 0 && s != p.shardOfLock(below) {
			continue
		}
		s.mu.Lock()
		for _, l := range s.slots {
			if l == nil || l.unlock.active || space != nil && l.root.key.Space != *space {
				continue
			}
			if below != 0 && !l.under(below) {
				continue
			}
			all = append(all, entry{l.ID, l.depth})
		}
		s.mu.Unlock()
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].depth > all[j].depth })
	for _, e := range all {
		out = append(out, e.id)
	}
	return out
}

func (l *lock) under(id proto.LockID) bool {
	for p := l.parent; p != nil; p = p.parent {
		if p.ID == id {
			return true
		}
	}
	return false
}
