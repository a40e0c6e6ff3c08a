package process

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// World is everything the lock manager needs from outside. Its methods are
// called with a shard's mutex held: they append to memory and return; they
// never wait, do I/O or call back into the Process. What they were given by
// pointer is the caller's again when they return.
//
// For each peer and role, messages must be delivered in the order of the calls.
type World interface {
	// Send queues m for process to. role ToMaster goes over the connection this
	// process opened to `to`; ToOwner over the one `to` opened to us, kept until
	// it does.
	Send(to proto.ProcID, role proto.Role, m *proto.Msg)

	// SendAgent queues m for the agent, whoever holds the role; while there is
	// none it is dropped (Connected repeats what still matters).
	SendAgent(m *proto.Msg)

	// Complete delivers the outcome of a request that had answered
	// dlm.Pending, exactly once per such request.
	Complete(c *Completion)

	// Blocking delivers a blocking notification for an own lock.
	Blocking(n *Notice)

	// Discard withdraws the undelivered blocking notification of an own lock.
	// It reports false when there was none any more.
	Discard(id proto.LockID) bool

	// Now is a clock that never goes back, in nanoseconds.
	Now() int64

	// Date is the calendar's, in seconds; for people only.
	Date() uint32

	// Alarm asks for a call of Tick at that time or soon after. An earlier one
	// that is still to come stands.
	Alarm(at int64)

	// Deadlock tells of a cycle that was found here; the victim's request is
	// being refused.
	Deadlock(c []Link)
}

// Link is one step of a deadlock: a request and what it waits for.
type Link struct {
	Waiter  proto.ProcID
	Lock    proto.LockID // of the waiter
	Root    proto.Root
	Name    proto.Name // below the root; empty for the root resource
	Granted mode.Mode
	Wanted  mode.Mode
	Victim  bool // this request is refused
	Holder  proto.ProcID
	Holds   mode.Mode // or wants, when Queued
	Queued  bool      // the holder's lock is a request further ahead
}

// Completion is the outcome of a request.
type Completion struct {
	Token  uint64 // as given with the request
	Async  bool   // LockRequest.Async or ConvertRequest.Async was set
	Lock   proto.LockID
	Status dlm.Status
	Read   bool // Value is the resource's value and goes to the caller
	Value  proto.Value
	User   User       // of the completed request (async only)
	Info   proto.Info // of a query
	Number uint64     // of a collection or a container
	Group  *GroupAnswer

	Obstacles []proto.Obstacle // of a query by Blockers; valid during the call
}

// GroupAnswer is what only calls about group locks are answered.
type GroupAnswer struct {
	Over     uint64         // the request that ends with the answer to whether it has to wait
	LockInfo *LockInfo      // of GroupLockInfo
	Locks    []proto.LockID // of GroupLocks
	Stamp    proto.Stamp    // of GroupToken
}

// Notice is a blocking notification.
type Notice struct {
	Lock proto.LockID
	Mode mode.Mode // requested by the blocked request
	Hint uint64    // of the blocked request
	User User      // of the lock that blocks
}

// User is what the caller gave and gets back.
type User = proto.User

// Journal keeps the records of resources that others use too, where they
// outlive this process. Methods are called with a shard's mutex held.
type Journal interface {
	// Open reserves a place. It fails when the space is exhausted; the request
	// that needed it is then refused with dlm.InsfMem.
	Open() (slot uint32, err error)
	// Write replaces the record; a torn write leaves the previous one.
	Write(slot uint32, r *proto.Record)
	// Close frees the place.
	Close(slot uint32)
	// Peer notes that p uses locks mastered here, before its first request is
	// answered. It fails like Open.
	Peer(p proto.ProcID) error
}

// LockRequest is dlm_lock and dlm_quelock.
type LockRequest struct {
	Space  proto.Namespace // of a root lock
	Name   proto.Name
	Parent proto.LockID // 0: root lock
	Mode   mode.Mode
	Plain  bool // of a root lock: never answer that the value block is not valid
	Flags  dlm.Flags
	Tx     uint64       // with dlm.TxidLocal or dlm.TxidGlobal
	Domain proto.Digest // with dlm.Persist; zero: a handle that is none
	Party  proto.Party  // if not zero, the lock's, whatever Tx is
	User   User
	Token  uint64
	Async  bool
	// Accept is the token for the answer whether a request for a lock of a
	// container has to wait (dlm.Pending) or is over. The lock's id comes with it.
	Accept uint64
}

// ConvertRequest is dlm_cvt and dlm_quecvt.
type ConvertRequest struct {
	Lock  proto.LockID
	Mode  mode.Mode
	Flags dlm.Flags
	Value proto.Value // with dlm.ValB
	Party proto.Party // the lock's from now on; zero: as it was
	User  User
	Token uint64
	Async bool
	// Accept: as in LockRequest.
	Accept uint64
}

// UnlockRequest is dlm_unlock of one lock.
type UnlockRequest struct {
	Lock  proto.LockID
	Flags dlm.Flags
	Value proto.Value
	Token uint64
}

// Result is the immediate answer to a request. Status dlm.Pending means that
// World.Complete will tell.
type Result struct {
	Status dlm.Status
	Lock   proto.LockID
	Read   bool
	Value  proto.Value
	Info   proto.Info

	// Stalled: the tree is being put together again, so that the request is not
	// even under way (AwaitMaster).
	Stalled bool

	Obstacles []proto.Obstacle
}

// State is the state of a lock as dlm_lkinfo_t tells it.
type State uint8

// The states, with the numbers of usr_lk_states_t.
const (
	InTransit State = iota
	Granted
	Converting
	Waiting
)

// LockInfo is what the owner knows of a lock (dlm_lkinfo_t).
type LockInfo struct {
	Space     proto.Namespace
	Name      proto.Name
	Parent    proto.LockID
	Requested mode.Mode
	Granted   mode.Mode
	State     State
	Flags     dlm.Flags
	User      User
}
