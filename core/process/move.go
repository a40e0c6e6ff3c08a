package process

import (
	"slices"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// A tree moves to the process that uses it most (usage.go) while it is in use:
//
//	master ──KHeir──► every owner ──KHeirKnown──► master             nobody waits yet
//	master ──KMove, the image──► agent ──KInstall──► heir            the tree is frozen
//	heir ──KInstalled──► agent ──KActivate──► heir, KMoved──► master
//	master ──KNotMaster: the heir, its assignment──► every owner, and whoever has asked meanwhile
//
// Until the agent has named the heir in its directory the master's tree and value journal
// are what counts, and from then on the heir's. The master is told which, and until
// then decides nothing. If the heir dies, has no room or does not answer in time, the
// agent gives the tree back, under a new assignment: so whatever of the move is still
// under way is older, and void.
//
// Owners, the heir among them, know of it before anything happens. Thus, if the heir dies when some of
// them have yet to hear that it had become master, they report their locks all the
// same: else a rebuild would miss them. And if the directory itself is lost (with
// its host, among several) nobody can tell whether the heir was named: then master and
// heir give up what is in transit, all who may be concerned report, and the tree is put
// together like one whose master's host was lost (design §8 rule 3).

// MoveWait is how long the master waits for a move before it asks for its tree back, in
// nanoseconds, unless SetMoving says otherwise.
const MoveWait = 100e6

// SetMoving sets how far ahead in requests another process must be before a tree moves
// to it (0: trees in use never move), and how long that may take, in nanoseconds. It
// comes before Joined.
func (p *Process) SetMoving(after uint32, wait int64) { p.moveAfter, p.moveWait = after, wait }

// prepareMove tells all owners where the tree is to go.
func (r *root) prepareMove(to proto.ProcID) {
	r.use.to, r.use.told = to, map[proto.ProcID]bool{}
	r.tryMove()
}

// tryMove freezes the tree and sends it off once all owners know; who does not know is
// told.
func (r *root) tryMove() {
	s, u := r.shard, r.use
	if u == nil || u.to == 0 || r.where != local {
		return
	}
	if !s.p.alive(u.to) || r.tree.Idle() || !r.tree.Movable() || !u.still(u.to) {
		u.to, u.told = 0, nil
		return
	}
	ready := true
	r.tree.Owners(func(o proto.ProcID) {
		if o == s.p.me {
			return
		}
		known, told := u.told[o]
		if !told {
			u.told[o] = false
			m := s.compose(proto.KHeir)
			m.Assign, m.Root, m.Proc = r.assign, r.key, u.to
			s.p.world.Send(o, proto.ToOwner, m)
		}
		ready = ready && known
	})
	if !ready {
		return
	}
	r.where, r.heir = moving, u.to
	u.to, u.told = 0, nil
	r.deadline = s.p.world.Now() + s.p.moveWait
	s.moving = append(s.moving, r)
	r.sendMove()
	s.p.world.Alarm(r.deadline)
}

func (r *root) sendMove() {
	m := r.shard.compose(proto.KMove)
	m.Assign, m.Proc, m.Image = r.assign, r.heir, r.tree.Image()
	r.shard.p.world.SendAgent(m)
	m.Image = nil
}

// heirOf takes the master's word on where the tree may go.
func (r *root) heirOf(from proto.ProcID, m *proto.Msg) {
	if !r.trusts(from, m.Assign) {
		return
	}
	r.heir = m.Proc
	a := r.shard.compose(proto.KHeirKnown)
	a.Assign, a.Root, a.Proc, a.Number = m.Assign, r.key, m.Proc, r.shard.directory
	r.shard.p.world.Send(from, proto.ToMaster, a)
}

// heirKnown takes an owner's answer.
func (p *Process) heirKnown(from proto.ProcID, m *proto.Msg) {
	s := p.shardOf(&m.Root)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(&m.Root)
	if r == nil {
		return
	}
	u := r.use
	switch {
	case u == nil || u.to != m.Proc || r.assign != m.Assign:
	case m.Number != s.directory:
		// One of the two has yet to hear of a directory that knows nothing. If this is the
		// master, the owner has told that one what it has, and not of this tree.
		u.to, u.told = 0, nil
	default:
		u.told[from] = true
		r.tryMove()
	}
}

// overdue asks for trees back whose move takes too long, and tells when to look again;
// 0: there is none.
func (s *shard) overdue(now int64) (next int64) {
	s.moving = slices.DeleteFunc(s.moving, func(r *root) bool { return r.where != moving })
	for _, r := range s.moving {
		if r.deadline <= now {
			r.deadline = now + s.p.moveWait
			m := s.compose(proto.KStay)
			m.Assign, m.Root = r.assign, r.key
			s.p.world.SendAgent(m)
		}
		if next == 0 || r.deadline < next {
			next = r.deadline
		}
	}
	return next
}

// moved takes the agent's word on who masters the tree now.
func (r *root) moved(m *proto.Msg) {
	if r.where != moving || r.assign != m.Assign {
		return
	}
	if m.Proc == r.shard.p.me {
		r.stays(m.Number)
	} else {
		r.movedTo(m.Proc, m.Number)
	}
	if r.where != local && r.quiet() {
		r.shard.drop(r)
	}
}

// stays: the tree has not moved, and goes on here under a new assignment.
func (r *root) stays(assign uint64) {
	r.tellOwners(r.shard.p.me, assign)
	r.where, r.assign, r.heir = local, assign, 0
	r.tree.Renew(assign)
	if r.use != nil {
		*r.use = usage{failed: r.use.failed + 1}
	}
	r.dropDead()
	r.tree.EachLock(func(t *tree.Lock) {
		if t.Owner != r.shard.p.me && t.Granted != mode.None {
			t.Res.Remind(t) // the heir, with the tree installed, did not listen
		}
	})
	r.resume(0)
}

// movedTo: another process is the tree's master now.
func (r *root) movedTo(master proto.ProcID, assign uint64) {
	r.tellOwners(master, assign)
	r.heir = 0
	if r.shard.p.alive(master) {
		r.becomeRemote(master, assign)
		return
	}
	r.master, r.assign = master, assign
	r.strand()
}

// strand gives up a tree in transit: nobody is known to master it.
func (r *root) strand() {
	r.tellOwners(0, 0) // who waits for an answer would not hear of the next master
	r.abandonTree()
	r.where, r.heir, r.arriving = orphan, 0, false
	if r.ownCount == 0 {
		r.where = unknown
	}
	r.refuseHeld(false)
	r.lookAgain()
}

// tellOwners tells all owners who masters the tree now, under which assignment. They
// repeat to it what has not been answered.
func (r *root) tellOwners(master proto.ProcID, assign uint64) {
	s := r.shard
	r.tree.Owners(func(o proto.ProcID) {
		if o == s.p.me || !s.p.alive(o) {
			return
		}
		a := s.compose(proto.KNotMaster)
		a.Root, a.Assign, a.Proc, a.Number = r.key, r.assign, master, assign
		s.p.world.Send(o, proto.ToOwner, a)
	})
}

// doubted is what has come from a master of whom it is not known whether it still is one.
// It must not change what was reported; if the tree has another master by now it is void.
type doubted struct {
	op      uint64 // the last operation that was put to the master
	answers []proto.Msg
}

// doubt is for a view in which an heir is dead, or of a directory that knows nothing: its
// process may have missed who masters the tree now. So it reports its locks, puts off
// what the master sends, and asks. A tree whose move began after the first view of that
// directory, anew, is not given up: its master has said that it has it.
func (r *root) doubt(lost, anew bool) {
	switch {
	case lost && anew && (r.where == moving || r.where == installing && r.arriving):
		r.strand()
	case r.where == remote && r.ownCount > 0 && (r.heir != 0 && !r.shard.p.alive(r.heir) || lost && (r.heir != 0 || !r.sure)):
		r.where, r.doubted = orphan, &doubted{op: r.ops}
	}
}

// putOff keeps a message of the doubted master for later.
func (r *root) putOff(from proto.ProcID, m *proto.Msg) bool {
	if r.doubted == nil || r.where != orphan || r.master != from || r.assign != m.Assign {
		return false
	}
	r.doubted.answers = append(r.doubted.answers, *m)
	return true
}

// trustAgain: the master is the one that it was.
func (r *root) trustAgain(d *doubted) {
	s := r.shard
	r.where, r.doubted = remote, nil
	if !s.p.alive(r.heir) {
		r.heir = 0
	}
	for i := range d.answers {
		if m := &d.answers[i]; m.Kind == proto.KHeir {
			r.heirOf(r.master, m)
		} else {
			s.answered(r.master, m)
		}
	}
	if r.where == remote {
		r.resume(d.op)
	}
}
