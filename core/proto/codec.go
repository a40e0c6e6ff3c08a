package proto

import (
	"errors"
	"fmt"
)

// A message is one msgpack array: its kind, then the fields that msg.go lists
// for it. Requests and answers, which travel for every lock, are written and
// read by straight-line code without allocation; a received length is never
// believed before it is compared with the bytes that are there.

// errShort and the others say why a frame is refused.
var (
	errShort  = errors.New("message ends early")
	errType   = errors.New("field of another type")
	errRange  = errors.New("field out of range")
	errLength = errors.New("field of a wrong length")
	errAfter  = errors.New("bytes after the message")
)

// arity is the number of array elements of each kind, the kind included.
var arity = [256]uint8{
	KRequest: 14, KConvert: 12, KUnlock: 7, KCancel: 6, KQuery: 6, KBlame: 7, KWaits: 4, KVictim: 6, KHeirKnown: 5,
	KGranted: 9, KQueued: 5, KRefused: 5, KUnlocked: 4, KCancelled: 5, KBlocking: 5, KNotMaster: 6, KHeir: 4, KInfo: 13, KBlamed: 7, KWaiting: 5,
	KHello: 4, KLookup: 5, KDrop: 3, KReport: 5, KReportEnd: 3, KInstalled: 4, KKeep: 5, KUnkeep: 3, KDomain: 5, KRoundDone: 4, KGroup: 2, KMastered: 4, KMove: 10, KStay: 3, KWhere: 2,
	KWelcome: 4, KView: 9, KMaster: 5, KInstall: 8, KActivate: 3, KDiscard: 3, KMoved: 5, KKept: 7, KDomainDone: 4, KRound: 4, KReject: 2,
	KGroupReply: 2, KGroupBlocking: 5, KGroupDiscard: 2, KPlace: 2,
	KConnect:   4,
	KNoteGroup: 2, KNoteLock: 2, KNoteCall: 2, KDropGroup: 2, KDropLock: 3, KDropCall: 3, KNoteCount: 3,
	KIntro: 2, KRaft: 2, KForward: 2, KDeliver: 2, KRoster: 2, KJoin: 2, KJoined: 2, KDied: 2, KReached: 2, KJournal: 2, KRetire: 2, KForget: 2,
	KHome: 2, KEvict: 2, KEvicted: 2, KStatus: 2, KStatusIs: 2, KLogEntry: 2, KHostState: 2, KHostEntry: 2,
	KInspect: 2, KSeen: 2,
}

// Append writes m behind dst.
func Append(dst []byte, m *Msg) []byte {
	n := arity[m.Kind]
	if n == 0 {
		panic(fmt.Sprintf("proto: no message of kind %d", m.Kind))
	}
	b := append(dst, 0x90|n, byte(m.Kind)) // fixarray, positive fixint
	switch m.Kind {
	case KRequest:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = appendUint(b, uint64(m.Parent))
		b = appendBin(b, m.Name.Bytes())
		b = append(b, byte(m.Mode))
		b = appendUint(b, uint64(m.Flags))
		b = appendUint(b, m.Hint)
		b = appendParty(b, m.Party)
		b = appendUint(b, uint64(m.Made))
		b = appendDomain(b, m.Domain)
	case KConvert:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = append(b, byte(m.Mode))
		b = appendUint(b, uint64(m.Flags))
		b = appendUint(b, m.Hint)
		b = appendParty(b, m.Party)
		b = appendUint(b, uint64(m.Made))
		b = appendBin(b, m.Value[:])
	case KUnlock:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = appendUint(b, uint64(m.Flags))
		b = appendBin(b, m.Value[:])
	case KCancel:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = appendUint(b, uint64(m.Flags))
	case KQuery:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Parent))
		b = appendBin(b, m.Name.Bytes())
		b = appendUint(b, uint64(m.Op))
	case KGranted:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = append(b, byte(m.Mode))
		b = appendUint(b, m.Arrival)
		b = appendUint(b, m.Token)
		b = appendBlock(b, &m.Block)
	case KQueued:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = appendUint(b, m.Arrival)
	case KRefused, KCancelled:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = appendUint(b, uint64(uint32(m.Status)))
	case KUnlocked:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
	case KBlocking:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Lock))
		b = append(b, byte(m.Mode))
		b = appendUint(b, m.Hint)
	default:
		b = appendCold(b, m)
	}
	return b
}

// Parse reads one message into m. It sets the fields of its kind and leaves the
// others; slices keep their space.
func Parse(b []byte, m *Msg) error {
	d := decoder{b: b}
	n := d.array()
	k := d.uint(127)
	if d.err != nil {
		return d.err
	}
	m.Kind = Kind(k)
	if arity[m.Kind] == 0 || int(arity[m.Kind]) != n {
		return fmt.Errorf("message of kind %d with %d elements", k, n)
	}
	switch m.Kind {
	case KRequest:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Parent = LockID(d.u64())
		d.name(&m.Name, m.Parent == 0)
		m.Mode = d.mode()
		m.Flags = d.u32()
		m.Hint = d.u64()
		m.Party = d.party()
		m.Made = int64(d.u64())
		m.Domain = d.domain()
	case KConvert:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Mode = d.mode()
		m.Flags = d.u32()
		m.Hint = d.u64()
		m.Party = d.party()
		m.Made = int64(d.u64())
		d.fixed(m.Value[:])
	case KUnlock:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Flags = d.u32()
		d.fixed(m.Value[:])
	case KCancel:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Flags = d.u32()
	case KQuery:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Parent = LockID(d.u64())
		d.name(&m.Name, m.Parent == 0)
		m.Op = d.u32()
	case KGranted:
		m.Assign = d.u64()
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Mode = d.mode()
		m.Arrival = d.u64()
		m.Token = d.u64()
		d.block(&m.Block)
	case KQueued:
		m.Assign = d.u64()
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Arrival = d.u64()
	case KRefused, KCancelled:
		m.Assign = d.u64()
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Status = int32(d.u32())
	case KUnlocked:
		m.Assign = d.u64()
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
	case KBlocking:
		m.Assign = d.u64()
		m.Lock = LockID(d.u64())
		m.Mode = d.mode()
		m.Hint = d.u64()
	default:
		d.cold(m)
	}
	if d.err == nil && d.left() != 0 {
		return errAfter
	}
	return d.err
}
