package process

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// FromPeer takes a message of another process. role is the side on which the
// sender stands.
func (p *Process) FromPeer(from proto.ProcID, role proto.Role, m *proto.Msg) {
	if p.lost.Load() {
		return
	}
	if role == proto.ToOwner {
		p.fromMaster(from, m)
		return
	}
	switch m.Kind {
	case proto.KBlame, proto.KWaits:
		p.question(from, m)
		return
	case proto.KHeirKnown:
		p.heirKnown(from, m)
		return
	case proto.KVictim:
		p.refuseVictim(&request{proc: m.Proc, Wait: proto.Wait{Lock: m.Lock, Op: m.Op, Root: m.Root, Assign: m.Assign}})
		return
	}
	s := p.shardOf(&m.Root)
	s.enter()
	defer s.mu.Unlock()
	r := s.find(&m.Root)
	switch {
	case r == nil || r.where != local && r.asked == lookupNone && r.where != installing && r.where != keeping && r.where != moving:
		s.refuseRoot(from, m, true)
	case r.where != local:
		if m.Assign < r.assign {
			s.refuseRoot(from, m, false)
			return
		}
		r.held = append(r.held, heldMsg{from, s.p.world.Now(), *m})
	default:
		r.fromOwner(from, m)
	}
}

// refuseRoot answers that this process does not master the root. givenUp: nor
// will it under that assignment, so that the directory may forget it. Who does, or under
// which assignment this process does, is told too if it is known here.
func (s *shard) refuseRoot(to proto.ProcID, m *proto.Msg, givenUp bool) {
	key, assign := m.Root, m.Assign
	a := s.compose(proto.KNotMaster)
	a.Root, a.Assign, a.Proc, a.Number = key, assign, 0, 0
	if r := s.find(&key); r != nil && (r.where == remote || r.where == local) {
		a.Proc, a.Number = r.master, r.assign
	}
	if givenUp {
		a.Flags = proto.GivenUp
	}
	s.p.world.Send(to, proto.ToOwner, a)
}

// fromOwner decides a request of another process on a tree mastered here.
func (r *root) fromOwner(from proto.ProcID, m *proto.Msg) {
	s := r.shard
	if r.where != local || m.Assign != r.assign {
		s.refuseRoot(from, m, r.where != local)
		return
	}
	if m.Kind == proto.KRequest && dlm.Flags(m.Flags)&dlm.Guest == 0 && !s.p.keeps.Load() && r.tree.Idle() && r.ownCount == 0 && len(r.queries) == 0 {
		// An idle tree goes to whoever asks next (design §5). The agent must learn
		// of it before a lookup of ours comes; the one who asks tells it too.
		s.sendDrop(r, r.assign)
		r.where, r.tree, r.foreign, r.use = unknown, nil, foreign{}, nil
		if r.quiet() {
			s.drop(r)
		}
		s.refuseRoot(from, m, true)
		return
	}
	s.counts.request(opIn, m.Kind)
	r.solo = 0
	switch m.Kind {
	case proto.KRequest:
		r.foreignRequest(from, m)
	case proto.KConvert:
		r.foreignConvert(from, m)
	case proto.KUnlock:
		r.foreignUnlock(from, m)
	case proto.KCancel:
		r.foreignCancel(from, m)
	case proto.KQuery:
		r.foreignQuery(from, m)
		return
	}
}

// answer starts an answer about a lock of another process.
func (r *root) answer(k proto.Kind, id proto.LockID, op uint32) *proto.Msg {
	a := r.shard.compose(k)
	a.Assign, a.Lock, a.Op = r.assign, id, op
	return a
}

func (r *root) reply(to proto.ProcID, a *proto.Msg) {
	r.shard.p.world.Send(to, proto.ToOwner, a)
}

func (r *root) sendGranted(t *tree.Lock) {
	a := r.answer(proto.KGranted, t.ID, t.Op)
	a.Mode, a.Arrival, a.Token, a.Block = t.Granted, t.Arrival, t.Token, t.Res.Block
	r.reply(t.Owner, a)
}

func (r *root) sendQueued(t *tree.Lock) {
	a := r.answer(proto.KQueued, t.ID, t.Op)
	a.Arrival = t.Arrival
	r.reply(t.Owner, a)
}

func (r *root) sendRefused(to proto.ProcID, m *proto.Msg, st dlm.Status) {
	a := r.answer(proto.KRefused, m.Lock, m.Op)
	a.Status = int32(st)
	r.reply(to, a)
}

// sendStanding answers a request that was done before (design §7).
func (r *root) sendStanding(t *tree.Lock) {
	t.Heard = true
	if t.Place() == tree.InGranted {
		r.sendGranted(t)
		t.Res.Remind(t)
	} else {
		r.sendQueued(t)
	}
}

func (r *root) foreignRequest(from proto.ProcID, m *proto.Msg) {
	if t := r.foreign.of(from, m.Lock); t != nil {
		r.sendStanding(t)
		return
	}
	s := r.shard
	if err := s.p.notePeer(from); err != nil {
		r.sendRefused(from, m, dlm.InsfMem)
		return
	}
	var parent *tree.Lock
	if m.Parent != 0 {
		if parent = r.foreign.of(from, m.Parent); parent == nil {
			r.sendRefused(from, m, dlm.ParNotGrant)
			return
		}
	}
	t := s.foreignLock()
	t.Owner, t.ID, t.Op, t.Party = from, m.Lock, m.Op, m.Party
	if t.Party == (proto.Party{}) {
		t.Party.ID = uint64(from)
	}
	t.Requested, t.Flags, t.Hint, t.Heard = m.Mode, dlm.Flags(m.Flags), m.Hint, true
	st := r.tree.Request(t, parent, &m.Name, m.Domain)
	if st == dlm.Unkept {
		st = r.askToKeep(parent, &m.Name, m.Domain)
	}
	switch st {
	case dlm.Unkept:
		s.freeForeign(t)
		r.held = append(r.held, heldMsg{from, s.p.world.Now(), *m})
	case dlm.Synch:
		r.foreign.add(t)
		r.answered = true
		r.sendGranted(t)
	case dlm.Pending:
		r.foreign.add(t)
		r.wanted, r.answered = wantedFor, false
		r.sendQueued(t)
	default:
		s.freeForeign(t)
		r.sendRefused(from, m, st)
	}
	r.usedBy(from, m)
}

func (r *root) foreignConvert(from proto.ProcID, m *proto.Msg) {
	t := r.foreign.of(from, m.Lock)
	switch {
	case t == nil:
		r.sendRefused(from, m, dlm.IvLockID)
		return
	case t.Op == m.Op:
		r.sendStanding(t)
		return
	}
	t.Heard = true
	if m.Party != (proto.Party{}) {
		t.Party = m.Party
	}
	switch st := r.tree.Convert(t, &tree.Conversion{
		Mode: m.Mode, Flags: dlm.Flags(m.Flags), Hint: m.Hint, Op: m.Op, Value: &m.Value,
	}); st {
	case dlm.Synch:
		r.answered = true
		r.sendGranted(t)
		t.Res.Settle()
	case dlm.Pending:
		r.wanted, r.answered = wantedFor, false
		r.sendQueued(t)
	default:
		r.sendRefused(from, m, st)
	}
	r.usedBy(from, m)
}

func (r *root) foreignUnlock(from proto.ProcID, m *proto.Msg) {
	id, op := m.Lock, m.Op
	// An unknown lock has been unlocked by this very request before.
	t := r.foreign.of(from, id)
	if t != nil {
		r.foreign.remove(t)
		r.tree.Unlock(t, dlm.Flags(m.Flags), &m.Value)
		r.shard.freeForeign(t)
	}
	r.answered = true
	r.reply(from, r.answer(proto.KUnlocked, id, op))
	if t != nil {
		r.usedBy(from, m)
	}
}

func (r *root) foreignCancel(from proto.ProcID, m *proto.Msg) {
	st := dlm.CancelGrant
	var res *tree.Resource
	t := r.foreign.of(from, m.Lock)
	if t != nil {
		res = t.Res
		if st = r.tree.Cancel(t, dlm.Flags(m.Flags)); st == dlm.Success && t.Res == nil {
			r.foreign.remove(t)
			r.shard.freeForeign(t)
			res = nil
		}
	}
	a := r.answer(proto.KCancelled, m.Lock, m.Op)
	a.Status = int32(st)
	r.reply(from, a)
	if st == dlm.Success && res != nil {
		res.Settle()
	}
}

func (r *root) foreignQuery(from proto.ProcID, m *proto.Msg) {
	var parent *tree.Lock
	if m.Parent != 0 {
		parent = r.foreign.of(from, m.Parent)
	}
	a := r.answer(proto.KInfo, 0, m.Op)
	a.Info = r.describe(m.Parent != 0, parent, &m.Name)
	r.reply(from, a)
}

// describe looks a resource up; one that does not exist is described as such.
func (r *root) describe(below bool, parent *tree.Lock, name *proto.Name) proto.Info {
	res := r.tree.RootResource()
	if below {
		if parent == nil || parent.Res == nil {
			return proto.Info{}
		}
		if res = r.tree.Find(parent.Res, name); res == nil {
			return proto.Info{}
		}
	}
	n := res.Info()
	if !n.Exists {
		return proto.Info{}
	}
	return n
}

// dropDead takes the locks of dead processes out of a tree mastered here.
func (r *root) dropDead() {
	s := r.shard
	alive, gone := s.p.me, proto.ProcID(0) // who was asked for last: most have few owners
	dead := r.tree.LocksThat(func(t *tree.Lock) bool {
		if t.Owner != alive && t.Owner != gone {
			if s.p.alive(t.Owner) {
				alive = t.Owner
			} else {
				gone = t.Owner
			}
		}
		return t.Owner == gone
	})
	if len(dead) == 0 {
		return
	}
	for _, t := range dead {
		r.foreign.remove(t)
	}
	r.tree.Drop(dead, s.p.deathOf)
	for _, t := range dead {
		s.freeForeign(t)
	}
}

var _ tree.Sink = (*root)(nil)
