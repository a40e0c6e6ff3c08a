// Package proto is what processes say to each other: identities, value blocks
// and messages, with their msgpack encoding. It knows no rule of locking and no
// socket. Everybody in core and net may import it.
package proto

import (
	"encoding/binary"

	"github.com/godlm/godlm/core/mode"
)

// ProcID names a process, unique for ever within a runtime directory. It is the
// number of the view in which the process joined, so that a view can tell
// "dead" (not in it, and older) from "not yet known" (not in it, and newer).
type ProcID uint64

// Keeper owns the NL locks that keep persistent resources alive (spec §12). It is
// no process: it never dies, and nothing is ever sent to it.
const Keeper ProcID = 1

// LockID is a lock's handle in its owner process: sequence number in the high
// half (dlm_lkid_t.seqn), table position in the low half (.hndl). 0 is no lock.
type LockID uint64

// Party is who waits and who is waited for in the search for deadlocks (D-21):
// a transaction, or else a process: the lock's owner, of a group lock the member that
// manipulates it.
type Party struct {
	Kind PartyKind
	ID   uint64
}

// PartyKind tells what kind of number the ID is.
type PartyKind uint8

// The kinds of parties.
const (
	PartyProcess  PartyKind = iota // a ProcID; 0 in a request stands for its sender
	PartyLocalTx                   // a transaction of this host
	PartyGlobalTx                  // a transaction, wherever
)

// Name is a resource name of 1 to 64 bytes.
type Name struct {
	Len uint8
	Buf [MaxName]byte
}

// MaxName is DLM_RESNAMELEN.
const MaxName = 64

// MakeName copies b, which must be no longer than MaxName.
func MakeName(b []byte) (n Name) {
	n.Len = uint8(copy(n.Buf[:], b))
	return n
}

// Bytes is the name as a slice of n.
func (n *Name) Bytes() []byte { return n.Buf[:n.Len] }

// Clone is a copy of the name.
func (n *Name) Clone() *Name {
	c := *n
	return &c
}

// Namespace is one per UID, one per GID, and the systemwide one (spec §15).
type Namespace struct {
	Kind NamespaceKind
	ID   uint32
}

// NamespaceKind tells UID 5 from GID 5.
type NamespaceKind uint8

// The three kinds.
const (
	Systemwide NamespaceKind = iota
	PerUser
	PerGroup
)

// Root names a root resource. It is comparable and serves as a map key.
type Root struct {
	Space Namespace
	Name  Name
}

// Value is a value block's contents.
type Value [32]byte

// Stamp orders the changes of one resource's value block. Stamps of one
// resource name never go back (design §4).
type Stamp struct {
	Assign uint64 // assignment under which the master made the change
	Seq    uint64 // count of changes under that assignment
}

// Less orders stamps.
func (s Stamp) Less(t Stamp) bool {
	return s.Assign < t.Assign || s.Assign == t.Assign && s.Seq < t.Seq
}

// Block is a value block with all that must travel with it.
type Block struct {
	Value Value
	Stamp Stamp
	Valid bool
}

// Digest identifies a resource in a value journal: a hash of the root and of
// the names on the way down.
type Digest [16]byte

// Record is one line of a value journal: the truth about a resource on which
// another process than its master has a lock or request (design §5).
type Record struct {
	Tree     Digest // the root's digest
	Resource Digest
	Block    Block
	Writer   ProcID // who holds PW or EX now; 0 for nobody
	Lock     LockID // which of the writer's locks
}

// PendingKind says what a process has asked for a lock and not yet been answered.
type PendingKind uint8

// The kinds of unanswered requests.
const (
	PendingNothing PendingKind = iota
	PendingLock
	PendingConvert
	PendingUnlock
)

// LockReport is what a process knows of one of its own locks, told to the agent
// when the lock's master has died (design §8).
type LockReport struct {
	Lock      LockID
	Parent    LockID // 0 on the root resource
	Name      Name   // of the sub-resource; empty on the root resource
	Granted   mode.Mode
	Requested mode.Mode // of the pending request
	Flags     uint32    // dlm.Flags of the latest request
	Held      uint32    // dlm.Flags of the request that was granted last
	Hint      uint64
	Arrival   uint64 // the master's arrival stamp, 0 when never told
	Made      int64  // when the pending request was made, on the owner's clock
	Op        uint32
	Pending   PendingKind
	Write     Value // what a pending unlock or conversion would write
	Block     Block // the holder's copy
	Party     Party
	Domain    Digest // of a persistent resource; else zero
}

// ImageResource is one resource of a tree image.
type ImageResource struct {
	Parent int32 // index of the parent in Image.Resources; -1 for the root, which is first
	Name   Name  // empty for the root
	Block  Block
	Digest Digest
	Domain Digest // recovery domain of a persistent resource; else zero
	// Doubted: the domain is invalid.
	Doubted bool
	Cause   Cause  // why the block is not valid
	Writes  uint32 // how often the block was written, as far as that is known
}

// ImageLock is one lock of a tree image.
type ImageLock struct {
	Resource  int32
	Owner     ProcID
	Lock      LockID
	Granted   mode.Mode
	Requested mode.Mode // None when nothing is queued
	Flags     uint32    // of the latest request
	Held      uint32    // of the request that was granted last
	Hint      uint64
	Arrival   uint64
	Op        uint32
	Party     Party
}

// Image is a whole tree, ready to be installed on a master. Locks stand in
// queue order.
type Image struct {
	Root      Root
	Assign    uint64
	Arrival   uint64 // the last arrival stamp given
	Why       Origin // how the receiver comes to be the master
	From      ProcID // who was it before, if anybody
	Resources []ImageResource
	Locks     []ImageLock
}

// Info answers a query about a resource (dlm_rsbinfo_t).
type Info struct {
	Exists       bool
	Block        Block
	SubResources uint32
	Locks        uint32
	Blocking     uint32 // locks with a blocking routine
	AtGroupMode  uint32
	GroupMode    mode.Mode
	ConvertMode  mode.Mode // at the head of the conversion queue
	WaitMode     mode.Mode // at the head of the waiting queue
	Writes       uint32
}

// Wait is a request that waits in a queue, told by its owner.
type Wait struct {
	Lock    LockID
	Op      uint32
	Root    Root
	Name    Name // below the root; empty for the root resource
	Granted mode.Mode
	Wanted  mode.Mode
	Master  ProcID
	Assign  uint64
	Since   int64 // on the owner's clock, nanoseconds
}

// Obstacle is a lock that a waiting request waits for, told by their master.
type Obstacle struct {
	Proc   ProcID // owner of the lock
	Lock   LockID
	Op     uint32
	Party  Party
	Mode   mode.Mode // granted, or wanted by a request that is ahead in the queue
	Queued bool      // ahead in the queue
}

// Kept is a persistent resource, as the agent remembers it.
type Kept struct {
	Root   Root
	Path   []Name // below the root; empty for the root resource
	Domain Digest
}

// Digest identifies the resource.
func (k *Kept) Digest() Digest {
	d := k.Root.Digest()
	for i := range k.Path {
		d = d.Child(&k.Path[i])
	}
	return d
}

// KeeperLock is the id of the keeper's lock on a resource.
func (d Digest) KeeperLock() LockID { return LockID(binary.BigEndian.Uint64(d[:])) | 1 }
