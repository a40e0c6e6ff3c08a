package process

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
)

// MoveAfter is how far ahead in requests another process must be before a tree moves
// to it, unless SetMoving says otherwise.
const MoveAfter = 64

// usage counts who uses a tree that is mastered here. Old requests weigh less and less:
// all counts are halved whenever their sum has reached a limit.
type usage struct {
	own   uint32
	users [4]struct {
		proc  proto.ProcID
		count uint32
	}
	failed uint8 // moves in a row that came to nothing

	// to is where the tree is to move once all its owners know; 0: nowhere. told are those
	// who have been told: true when they have answered.
	to   proto.ProcID
	told map[proto.ProcID]bool
}

// foreign counts a request of another process and returns the count. Of many users only
// the heaviest are known, and they are counted low, never high.
func (u *usage) foreign(from proto.ProcID, limit uint32) uint32 {
	at, free := -1, -1
	for i := range u.users {
		switch {
		case u.users[i].proc == from:
			at = i
		case u.users[i].count == 0 && free < 0:
			free = i
		}
	}
	switch {
	case at < 0 && free < 0:
		for i := range u.users {
			u.users[i].count--
		}
		return 0
	case at < 0:
		at = free
		u.users[at].proc, u.users[at].count = from, 0
	}
	u.users[at].count++
	for u.sum() >= limit {
		u.own /= 2
		for i := range u.users {
			u.users[i].count /= 2
		}
	}
	return u.users[at].count
}

func (u *usage) sum() uint32 {
	n := u.own
	for i := range u.users {
		n += u.users[i].count
	}
	return n
}

// mine counts a request of the master's own program.
func (u *usage) mine() {
	if u.own < 1<<30 {
		u.own++
	}
}

// lead is how often another process must have asked before the tree moves to it: more
// often if the tree is large, since all of it has to be copied, and after moves that
// came to nothing.
func (r *root) lead() uint32 {
	n := r.shard.p.moveAfter + r.tree.Locks()/4
	if r.use != nil {
		n <<= min(r.use.failed, 8)
	}
	return n
}

// usedBy counts a new request of another process that has been decided here, and lets the
// tree go to it when it uses the tree much more than this process does. Who masters a
// tree does not matter to the others, so they do not count.
func (r *root) usedBy(from proto.ProcID, m *proto.Msg) {
	p := r.shard.p
	if p.moveAfter == 0 || r.where != local || p.keeps.Load() || dlm.Flags(m.Flags)&dlm.Guest != 0 {
		return
	}
	if r.use == nil {
		r.use = &usage{}
	}
	lead := r.lead()
	n := r.use.foreign(from, 4*lead)
	if r.use.to == 0 && n >= lead && r.use.muchMoreThanHere(n) && r.tree.Movable() {
		r.prepareMove(from)
	}
}

// muchMoreThanHere: twice as much, so that a tree that two processes use alike stays.
func (u *usage) muchMoreThanHere(n uint32) bool { return n >= 2*u.own }

// still reports whether p is the user to whom the tree should go.
func (u *usage) still(p proto.ProcID) bool {
	for i := range u.users {
		if u.users[i].proc == p {
			return u.muchMoreThanHere(u.users[i].count)
		}
	}
	return false
}
