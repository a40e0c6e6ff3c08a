package process

import (
	"unsafe"

	"github.com/godlm/godlm/core/proto"
)

// The lock table of a shard: handle to lock. A place says where its lock is: among those
// that are awake, or asleep (asleep.go).

// place is a line of the table: 0 for a free one, an index in table.awake plus 1, or with
// asleepBit a record. With lentBit the lock is in table.awake and its tree is lent
// (lend.go): its handle may be another by now.
type place uint32

const (
	asleepBit place = 1 << 31
	lentBit   place = 1 << 30
)

// table is the lock table. Its locks have numbers; a handle has the number and the
// sequence number that tells it from earlier locks at the same place.
type table struct {
	places []place
	seqs   []uint32 // sequence number of each place's latest lock
	free   []uint32
	awake  []*lock
	gaps   []uint32 // in awake
}

// number is a lock's in the table.
func number(id proto.LockID) uint32 { return uint32(id) >> shardBits }

// len is how many locks there are.
func (t *table) len() int { return len(t.places) - len(t.free) }

// push is append for the lists of a shard. They begin with a cache line of their own: a short one
// beside that of another shard would have two threads wait for each other.
func push[T any](list []T, x T) []T {
	if cap(list) == 0 {
		list = make([]T, 0, cacheLine/unsafe.Sizeof(x))
	}
	return append(list, x)
}

const cacheLine = 64

// at is the lock with a number; nil if there is none, or it is asleep or lent.
func (t *table) at(i int) *lock {
	if p := t.places[i]; p != 0 && p&(asleepBit|lentBit) == 0 {
		return t.awake[p-1]
	}
	return nil
}

// find is the place of a handle; 0 for a stale or foreign one.
func (t *table) find(id proto.LockID) place {
	i := number(id)
	if id == 0 || int(i) >= len(t.places) || t.seqs[i] != uint32(id>>32) {
		return 0
	}
	return t.places[i]
}

// reserve takes a number for a new lock; false when the table is full.
func (t *table) reserve(firstSeq uint32) (i uint32, ok bool) {
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		if len(t.places) >= maxLocksPerShard {
			return 0, false
		}
		i = uint32(len(t.places))
		t.places = push(t.places, 0)
		t.seqs = push(t.seqs, firstSeq)
	}
	t.seqs[i]++
	if t.seqs[i] == 0 {
		t.seqs[i] = 1
	}
	return i, true
}

// put makes l, awake, the lock of a number.
func (t *table) put(i uint32, l *lock) {
	if n := len(t.gaps); n > 0 {
		k := t.gaps[n-1]
		t.gaps = t.gaps[:n-1]
		t.awake[k] = l
		t.places[i] = place(k + 1)
		return
	}
	t.awake = push(t.awake, l)
	t.places[i] = place(len(t.awake))
}

// lift takes l, awake, out of its place, which keeps its number.
func (t *table) lift(i uint32) {
	k := uint32(t.places[i] - 1)
	t.awake[k] = nil
	t.gaps = push(t.gaps, k)
	t.places[i] = 0
}

// release frees a number. Its lock is awake.
func (t *table) release(i uint32) {
	t.lift(i)
	t.free = push(t.free, i)
}

// find is the root that is known by that name, woken if it is asleep and taken back if it is
// lent; nil if there is none. It is often the same as the last time.
func (s *shard) find(key *proto.Root) *root {
	if r := s.recent; r != nil && r.key == *key {
		r.used = true
		if r.lent {
			s.takeBack(r)
		}
		return r
	}
	r := s.roots[*key]
	if r == nil && s.asleep.index.Len() > 0 {
		if ref, sleeps := s.asleep.find(key); sleeps {
			return s.wake(ref)
		}
	}
	if r != nil {
		r.used = true
		s.recent = r
		if r.lent {
			s.takeBack(r)
		}
	}
	return r
}

// lookup finds an own lock, and wakes it if it is asleep, or takes it back; nil for a stale
// or foreign handle.
func (s *shard) lookup(id proto.LockID) *lock {
	if i := int(number(id)); i < len(s.locks.places) {
		if p := s.locks.places[i]; p&(asleepBit|lentBit) == lentBit {
			s.takeBack(s.locks.awake[p&^lentBit-1].root)
		}
	}
	switch p := s.locks.find(id); {
	case p == 0:
		return nil
	case p&asleepBit != 0:
		return s.wake(p &^ asleepBit).own.head
	default:
		l := s.locks.awake[p-1]
		l.root.used = true
		return l
	}
}

// glance is lookup for those who only look: what is lent stays so, and the lock is a likeness.
func (s *shard) glance(id proto.LockID) *lock {
	i := int(number(id))
	if i >= len(s.locks.places) || s.locks.places[i]&(asleepBit|lentBit) != lentBit {
		return s.lookup(id)
	}
	_, l := s.likeness(s.locks.awake[s.locks.places[i]&^lentBit-1].root)
	if l == nil || l.ID != id {
		return nil
	}
	return l
}

// peek is lookup for those who want nothing of a lock that is asleep or lent.
func (s *shard) peek(id proto.LockID) *lock {
	if p := s.locks.find(id); p != 0 && p&(asleepBit|lentBit) == 0 {
		return s.locks.awake[p-1]
	}
	return nil
}
