package process

import (
	"slices"
	"sort"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// query is an unanswered question about a resource, or about what a lock waits
// for.
type query struct {
	number uint32
	root   *root
	below  bool
	parent proto.LockID
	name   proto.Name
	token  uint64
	lock   proto.LockID // what does it wait for? 0: a question about a resource
	stall  bool         // answered when the tree has a master
}

// Token is the fencing token of a lock held in PW or EX (design §4).
func (p *Process) Token(id proto.LockID) (proto.Stamp, dlm.Status) {
	s := p.shardOfLock(id)
	s.enter()
	defer s.mu.Unlock()
	l := s.glance(id)
	switch {
	case p.lost.Load():
		return proto.Stamp{}, dlm.Lost
	case l == nil || l.unlock.active:
		return proto.Stamp{}, dlm.IvLockID
	case l.granted == mode.None:
		return proto.Stamp{}, dlm.CvtUngrant
	case !mode.Writer(l.granted):
		return proto.Stamp{}, dlm.BadParam
	}
	return l.token, dlm.Success
}

// Blockers lists what an own lock waits for, asking its master if need be: nothing
// when it does not wait.
func (p *Process) Blockers(id proto.LockID, token uint64, res *Result) {
	if id&proto.GroupBit != 0 {
		p.Group(&GroupRequest{Verb: proto.GroupBlockers, Lock: id, Token: token}, res)
		return
	}
	*res = Result{}
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lookup(id)
	if l != nil && s.lookFirst(l.root, nil) {
		l = s.lookup(id)
	}
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case l == nil || l.unlock.active:
		res.Status = dlm.IvLockID
		return
	}
	if l.ask.kind == proto.PendingNothing || !l.ask.waited {
		return
	}
	r := l.root
	q := s.newQuery(r, token)
	q.lock = id
	if r.where == local {
		res.Obstacles = l.Obstacles(true)
		return
	}
	s.await(q, res)
}

// AwaitMaster answers when the lock's tree has a master and all earlier requests
// of this process are on their way to it. A caller who acts on another tree before
// might be overtaken by what that leads to.
func (p *Process) AwaitMaster(id proto.LockID, token uint64, res *Result) {
	*res = Result{}
	s := p.shardOfLock(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lookup(id)
	if p.lost.Load() || l == nil || l.root.where == local || l.root.where == remote {
		return
	}
	q := s.newQuery(l.root, token)
	q.stall = true
	s.await(q, res)
}

func (s *shard) newQuery(r *root, token uint64) *query {
	s.lastQ++
	return &query{number: (s.lastQ<<shardBits | s.index) &^ huntMark, root: r, token: token}
}

// await sends a question to the master, when it is known.
func (s *shard) await(q *query, res *Result) {
	r := q.root
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

// internal flags are not the program's.
const internal = dlm.HasBlocking | dlm.JoinPR | dlm.Guest

// LockInfo describes an own lock.
func (p *Process) LockInfo(id proto.LockID) (LockInfo, dlm.Status) {
	s := p.shardOfLock(id)
	s.enter()
	defer s.mu.Unlock()
	l := s.glance(id)
	switch {
	case p.lost.Load():
		return LockInfo{}, dlm.Lost
	case l == nil || l.unlock.active:
		return LockInfo{}, dlm.IvLockID
	}
	n := LockInfo{
		Space: l.root.key.Space, Name: l.root.key.Name,
		Requested: l.granted, Granted: l.granted, State: Granted,
		Flags: dlm.Flags(l.held) &^ internal, User: l.user,
	}
	if l.parent != nil {
		n.Parent, n.Name = l.parent.ID, l.name
	}
	if a := &l.ask; a.kind != proto.PendingNothing {
		n.Requested, n.Flags, n.User = a.mode, dlm.Flags(a.flags)&^internal, a.user
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
	if parent&proto.GroupBit != 0 {
		p.Group(&GroupRequest{Verb: proto.GroupResource, Parent: parent, Name: name, Token: token}, res)
		return
	}
	*res = Result{}
	key := proto.Root{Space: space, Name: name}
	s := p.shardOf(&key)
	if parent != 0 {
		s = p.shardOfLock(parent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	find := func() *root {
		if parent == 0 {
			return s.root(&key)
		}
		if l := s.lookup(parent); l != nil {
			return l.root
		}
		return nil
	}
	r := find()
	if r != nil && s.lookFirst(r, nil) {
		r = find()
	}
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case r == nil:
		res.Status = dlm.IvLockID
		return
	}
	q := s.newQuery(r, token)
	q.below, q.parent, q.name = parent != 0, parent, name
	s.counts.request(r.way(), proto.KQuery)
	if r.where == local {
		res.Info = r.describeOwn(q)
		if !res.Info.Exists {
			res.Status = dlm.ENoEnt
		}
		return
	}
	s.await(q, res)
}

func (r *root) describeOwn(q *query) proto.Info {
	var parent *tree.Lock
	if l := r.shard.lookup(q.parent); l != nil {
		parent = &l.Lock
	}
	return r.describe(q.below, parent, &q.name)
}

func (r *root) sendQuery(q *query) {
	if q.lock != 0 {
		r.sendBlame(q)
		return
	}
	m := r.shard.compose(proto.KQuery)
	m.Assign, m.Root, m.Parent, m.Name, m.Op = r.assign, r.key, q.parent, q.name, q.number
	r.shard.p.world.Send(r.master, proto.ToMaster, m)
}

func (r *root) sendBlame(q *query) {
	s := r.shard
	l := s.lookup(q.lock)
	if l == nil {
		s.answerBlame(q, nil)
		return
	}
	m := s.compose(proto.KBlame)
	m.Assign, m.Root, m.Proc, m.Lock, m.Op, m.Search = r.assign, r.key, s.p.me, q.lock, uint32(l.ask.op), q.number
	s.p.world.Send(r.master, proto.ToMaster, m)
}

// carryQuery puts an unanswered question to the master that is known now.
func (r *root) carryQuery(q *query) {
	switch {
	case q.stall:
		r.shard.answerQuery(q, proto.Info{})
		return
	case r.where == local && q.lock == 0:
		r.shard.answerQuery(q, r.describeOwn(q))
		return
	case r.where == local:
		var list []proto.Obstacle
		if l := r.shard.lookup(q.lock); l != nil && l.Res != nil {
			list = l.Obstacles(true)
		}
		r.shard.answerBlame(q, list)
		return
	}
	r.queries = append(r.queries, q)
	if r.where == remote {
		r.sendQuery(q)
	}
}

// settled takes a question off the lists.
func (s *shard) settled(q *query) {
	delete(s.queries, q.number)
	q.root.queries = slices.DeleteFunc(q.root.queries, func(x *query) bool { return x == q })
}

func (s *shard) answerBlame(q *query, list []proto.Obstacle) {
	s.settled(q)
	s.done = Completion{Token: q.token, Obstacles: list}
	s.p.world.Complete(&s.done)
	s.done.Obstacles = nil
}

func (s *shard) answerQuery(q *query, n proto.Info) {
	if q.lock != 0 { // no master, so nobody in its way
		s.answerBlame(q, nil)
		return
	}
	s.settled(q)
	st := dlm.Success
	if !n.Exists && !q.stall {
		st = dlm.ENoEnt
	}
	s.done = Completion{Token: q.token, Status: st, Info: n}
	s.p.world.Complete(&s.done)
}

// detachQuery forgets a question for which nobody waits any more.
func (p *Process) detachQuery(token uint64) {
	p.domains.forget(token)
	p.groupDetach(token)
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
		s.all()
		for n, at := range s.locks.places {
			if at&asleepBit != 0 {
				if below == 0 && (space == nil || s.asleep.space(at) == *space) {
					all = append(all, entry{s.id(uint32(n)), 0})
				}
				continue
			}
			l := s.locks.at(n)
			if l == nil || l.unlock.active || space != nil && l.root.key.Space != *space {
				continue
			}
			if below != 0 && !l.under(below) {
				continue
			}
			all = append(all, entry{l.ID, int(l.depth)})
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
