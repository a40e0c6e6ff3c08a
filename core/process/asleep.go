package process

import (
	"encoding/binary"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/index"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// A process may hold millions of locks that nobody else wants and that it does not touch
// for long. Their roots, trees and locks go to sleep: all three become one record of
// some 70 bytes without a pointer, which is found by the root's name or the lock's number,
// and wakes up as it was whenever somebody asks for it by either. So nothing else in this
// package need know of sleepers, except what goes through all roots or locks.
//
// A root may sleep when it is mastered here, no other process uses it, it has one lock,
// on the root resource, which is granted, and nothing at all is under way. The oldest go
// first, but who was used since the last look has a second chance.

// awakeRoots is how many roots with locks stay awake in a shard, unless KeepAwake says
// otherwise.
const awakeRoots = 256

// dozeSteps is how many roots one call looks at, and dozePause how many calls at most go by
// without a look when hardly any root can sleep.
const (
	dozeSteps = 4
	dozePause = 1024
)

// asleep is what sleeps in a shard.
type asleep struct {
	records slab
	index   index.Index
	hand    *root // the root to look at next; nil: the oldest
	pause   int   // calls to go by before the next look
	patient int   // how many go by after a look in vain
	scratch [slabMost]byte
}

// KeepAwake sets how many roots with locks stay awake in each part of the table.
func (p *Process) KeepAwake(n int) { p.awakeRoots = n }

// enter locks the shard on behalf of a call, and lets roots fall asleep if too many are
// awake, or forgets those that nobody uses. It comes before the call has found anything, so
// that nothing that is in hand goes away.
func (s *shard) enter() {
	s.mu.Lock()
	if s.idle > maxIdleRoots {
		s.forgetIdle()
	}
	if len(s.roots)-s.idle > s.p.awakeRoots {
		s.doze()
	}
}

// doze looks at some roots and puts those to sleep that can be.
func (s *shard) doze() {
	a := &s.asleep
	if a.pause > 0 {
		a.pause--
		return
	}
	vain := true
	for n := 0; n < dozeSteps && len(s.roots)-s.idle > s.p.awakeRoots; n++ {
		r := a.hand
		if r == nil {
			r = s.order.head
		}
		if r == nil {
			break
		}
		a.hand = r.next
		if r.used {
			r.used = false
			vain = false
		} else if s.sleep(r) {
			vain = false
		}
	}
	if !vain {
		a.patient = 0
		return
	}
	a.patient = min(2*a.patient+1, dozePause)
	a.pause = a.patient
}

// sleep puts r to sleep if it may.
func (s *shard) sleep(r *root) bool {
	if r.lent || r.where != local || r.ownCount != 1 || r.asked != lookupNone || r.tree == nil ||
		len(r.queries) > 0 || len(r.held) > 0 || r.keep != nil || r.heir != 0 || r.use != nil && r.use.to != 0 || s.watched() {
		return false
	}
	l := r.own.head
	rest, t := r.tree.Rest()
	if t != &l.Lock || l.pending != &idle || l.position != &top || l.children != 0 || l.noticed != mode.None ||
		l.granted != t.Granted || l.held != uint32(t.Held) || rest.Assign != r.assign || r.master != s.p.me {
		return false
	}
	a := &s.asleep
	ref := a.records.put(s.pack(r, l, &rest))
	if ref == 0 {
		return false
	}
	i := number(l.ID)
	s.locks.lift(i)
	s.locks.places[i] = place(ref) | asleepBit
	s.unlink(r)
	a.index.Add(sleepHash(&r.key), ref)
	*l = lock{}
	if len(s.spare) < maxSpare {
		s.spare = push(s.spare, l)
	}
	return true
}

// wake makes the root of a record.
func (s *shard) wake(ref place) *root {
	r := &root{}
	s.unpack(s.asleep.records.at(uint32(ref)), r, s.lockStruct(), &tree.Tree{})
	s.asleep.index.Remove(sleepHash(&r.key), uint32(ref))
	s.asleep.records.drop(uint32(ref))
	n := number(r.own.head.ID)
	s.locks.put(n, r.own.head)
	s.link(r)
	if s.seen.on && int(n) < s.seen.asleep {
		r.sighted = s.seen.round
	}
	return r
}

// eachAsleep shows every sleeper, as it would be awake.
func (s *shard) eachAsleep(fn func(r *root)) {
	for _, p := range s.locks.places {
		if p&asleepBit != 0 {
			fn(s.dream(p))
		}
	}
}

// dream is a sleeper as it would be awake, to be looked at and no more.
func (s *shard) dream(p place) *root {
	r := &root{}
	s.unpack(s.asleep.records.at(uint32(p&^asleepBit)), r, &lock{}, &tree.Tree{})
	return r
}

// sleepHash makes of hashOf, of which some bits are the same in the whole shard, one that
// is good for an Index.
func sleepHash(r *proto.Root) uint32 { return hashOf(r) * 0x9e3779b1 }

// space is the namespace of a sleeper.
func (a *asleep) space(p place) proto.Namespace {
	b := a.records.at(uint32(p &^ asleepBit))
	return proto.Namespace{Kind: proto.NamespaceKind(b[atKind]), ID: binary.LittleEndian.Uint32(b[atSpace:])}
}

// find is the sleeper of that name.
func (a *asleep) find(key *proto.Root) (ref place, sleeps bool) {
	n, sleeps := a.index.Find(sleepHash(key), func(n uint32) bool {
		b := a.records.at(n)
		return proto.NamespaceKind(b[atKind]) == key.Space.Kind && binary.LittleEndian.Uint32(b[atSpace:]) == key.Space.ID &&
			string(b[atName:atName+int(b[atNameLen])]) == string(key.Name.Bytes())
	})
	return place(n), sleeps
}

// A record, offsets in bytes. The size is the slab's. Behind the name come the
// assignment, in 8 bytes, and numbers in the shortest form.
const (
	atSize    = 0
	atNumber  = 1 // of the lock, 4 bytes
	atKind    = 5
	atNameLen = 6
	atModes   = 7 // granted mode
	atSpace   = 8
	atBits    = 12 // 4 bytes
	atName    = 16
)

// The bits say what need not be told.
const (
	bitValid     = 1 << iota // the tree's block is valid
	bitZero                  // its contents are zero
	bitStamp                 // its stamp is of the tree's assignment
	bitSameBlock             // the owner's copy is the same
	bitToken                 // the owner's token is the lock's, under the assignment
	bitParty                 // the lock's party is the process
	bitFlags                 // the lock's latest request was that which was granted
	bitPlain
	bitOrigin // the tree was begun here
	bitUser   // from here on: a field of User is not 0
)

// pack makes the record.
func (s *shard) pack(r *root, l *lock, t *tree.Rest) []byte {
	b := s.asleep.scratch[:atName]
	binary.LittleEndian.PutUint32(b[atNumber:], number(l.ID))
	b[atKind], b[atNameLen], b[atModes] = byte(r.key.Space.Kind), r.key.Name.Len, byte(l.granted)
	binary.LittleEndian.PutUint32(b[atSpace:], r.key.Space.ID)
	b = append(b, r.key.Name.Bytes()...)
	b = binary.LittleEndian.AppendUint64(b, r.assign)
	b = binary.AppendUvarint(b, r.ops)
	b = binary.AppendUvarint(b, t.Arrival)
	b = binary.AppendUvarint(b, t.Seq)
	b = binary.AppendUvarint(b, uint64(t.Writes))
	b = binary.LittleEndian.AppendUint32(b, t.Since)
	bits := uint32(0)
	if t.Why == 0 && t.From == 0 {
		bits |= bitOrigin
	} else {
		b = append(b, byte(t.Why))
		b = binary.AppendUvarint(b, uint64(t.From))
	}
	b, bits = packBlock(b, &t.Block, r.assign, bits)
	if l.block == t.Block {
		bits |= bitSameBlock
	} else {
		b = append(b, l.block.Value[:]...)
		b = binary.AppendUvarint(b, l.block.Stamp.Assign)
		b = binary.AppendUvarint(b, l.block.Stamp.Seq)
		b = append(b, asByte(l.block.Valid))
	}
	b = binary.AppendUvarint(b, l.Token)
	if l.token == (proto.Stamp{Assign: r.assign, Seq: l.Token}) {
		bits |= bitToken
	} else {
		b = binary.AppendUvarint(b, l.token.Assign)
		b = binary.AppendUvarint(b, l.token.Seq)
	}
	if l.Party == (proto.Party{ID: uint64(s.p.me)}) {
		bits |= bitParty
	} else {
		b = append(b, byte(l.Party.Kind))
		b = binary.AppendUvarint(b, l.Party.ID)
	}
	b = binary.AppendUvarint(b, uint64(l.held))
	if l.Flags == l.Held {
		bits |= bitFlags
	} else {
		b = binary.AppendUvarint(b, uint64(l.Flags))
	}
	b = binary.AppendUvarint(b, l.Hint)
	b = binary.AppendUvarint(b, uint64(l.Op))
	b = binary.AppendUvarint(b, l.Arrival)
	if l.plain {
		bits |= bitPlain
	}
	u := &l.user
	for i, v := range [...]uint64{u.NotPrm, u.Hint, u.BlkRtn, u.CplRtn, u.ValB, uint64(u.Timeout)} {
		if v != 0 {
			bits |= bitUser << i
			b = binary.AppendUvarint(b, v)
		}
	}
	binary.LittleEndian.PutUint32(b[atBits:], bits)
	return b
}

func packBlock(b []byte, k *proto.Block, assign uint64, bits uint32) ([]byte, uint32) {
	if k.Valid {
		bits |= bitValid
	}
	if k.Value == (proto.Value{}) {
		bits |= bitZero
	} else {
		b = append(b, k.Value[:]...)
	}
	if k.Stamp.Assign == assign {
		bits |= bitStamp
	} else {
		b = binary.AppendUvarint(b, k.Stamp.Assign)
	}
	return binary.AppendUvarint(b, k.Stamp.Seq), bits
}

func asByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// reader takes a record apart.
type reader []byte

func (d *reader) take(n int) []byte {
	b := (*d)[:n]
	*d = (*d)[n:]
	return b
}

func (d *reader) num() uint64 {
	v, n := binary.Uvarint(*d)
	*d = (*d)[n:]
	return v
}

// unpack makes r, l and t, which are new, from a record.
func (s *shard) unpack(b []byte, r *root, l *lock, t *tree.Tree) {
	bits := binary.LittleEndian.Uint32(b[atBits:])
	has := func(bit uint32) bool { return bits&bit != 0 }
	i := binary.LittleEndian.Uint32(b[atNumber:])
	d := reader(b[atName:])
	r.shard, r.where, r.master = s, local, s.p.me
	r.key.Space = proto.Namespace{Kind: proto.NamespaceKind(b[atKind]), ID: binary.LittleEndian.Uint32(b[atSpace:])}
	r.key.Name = proto.MakeName(d.take(int(b[atNameLen])))
	r.assign = binary.LittleEndian.Uint64(d.take(8))
	r.ops = d.num()
	rest := tree.Rest{Assign: r.assign, Arrival: d.num(), Seq: d.num(), Writes: uint32(d.num())}
	rest.Since = binary.LittleEndian.Uint32(d.take(4))
	if !has(bitOrigin) {
		rest.Why = proto.Origin(d.take(1)[0])
		rest.From = proto.ProcID(d.num())
	}
	k := &rest.Block
	k.Valid = has(bitValid)
	if !has(bitZero) {
		copy(k.Value[:], d.take(len(k.Value)))
	}
	k.Stamp.Assign = r.assign
	if !has(bitStamp) {
		k.Stamp.Assign = d.num()
	}
	k.Stamp.Seq = d.num()
	if l.block = *k; !has(bitSameBlock) {
		copy(l.block.Value[:], d.take(len(k.Value)))
		l.block.Stamp = proto.Stamp{Assign: d.num(), Seq: d.num()}
		l.block.Valid = d.take(1)[0] != 0
	}
	l.ID = s.id(i)
	l.Owner = s.p.me
	l.Token = d.num()
	if l.token = (proto.Stamp{Assign: r.assign, Seq: l.Token}); !has(bitToken) {
		l.token = proto.Stamp{Assign: d.num(), Seq: d.num()}
	}
	if l.Party = (proto.Party{ID: uint64(s.p.me)}); !has(bitParty) {
		l.Party = proto.Party{Kind: proto.PartyKind(d.take(1)[0]), ID: d.num()}
	}
	l.granted = mode.Mode(b[atModes])
	l.Granted, l.Requested = l.granted, l.granted
	l.held = uint32(d.num())
	l.Held = dlm.Flags(l.held)
	if l.Flags = l.Held; !has(bitFlags) {
		l.Flags = dlm.Flags(d.num())
	}
	l.Hint, l.Op, l.Arrival = d.num(), uint32(d.num()), d.num()
	l.plain = has(bitPlain)
	u := &l.user
	for i, v := range [...]*uint64{&u.NotPrm, &u.Hint, &u.BlkRtn, &u.CplRtn, &u.ValB} {
		if has(bitUser << i) {
			*v = d.num()
		}
	}
	if has(bitUser << 5) {
		u.Timeout = uint32(d.num())
	}
	l.pending, l.position, l.root = &idle, &top, r
	r.own.push(l)
	r.ownCount = 1
	r.tree = t
	t.Wake(&r.key, &rest, s.p.me, r, s.p.journal, &l.Lock)
}
