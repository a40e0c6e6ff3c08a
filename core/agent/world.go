package agent

import (
	"github.com/godlm/godlm/core/proto"
)

// World is what an agent needs from outside. The methods append to memory or
// write to mapped files; none waits. What they were given by pointer is the caller's
// again when they return.
type World interface {
	Local
	// SendAll queues m for all that are connected.
	SendAll(to []proto.ProcID, m *proto.Msg)
	// Agree calls done, at once or later, when all that was kept and doubted so far will be
	// known even if this host is lost.
	Agree(done func())
	// Rebuilding says that trees are without a master, or that all have one again; for people.
	Rebuilding(busy bool)
}

// Local is the part of a World that one host has by itself.
type Local interface {
	// Send queues m for a process, in order. It is dropped when the process is
	// not connected.
	Send(to proto.ProcID, m *proto.Msg)
	// Records are the value journal of a dead process.
	Records(dead proto.ProcID) []proto.Record
	// Peers are the processes that may have locks mastered by the dead one; all
	// says that everybody may.
	Peers(dead proto.ProcID) (peers []proto.ProcID, all bool)
	// Retire makes a dead process's records of a tree void before it returns.
	Retire(dead proto.ProcID, tree proto.Digest)
	// Forget says that nothing of a dead process is needed any more.
	Forget(dead proto.ProcID)
	// Directory keeps who masters what; it outlives the agent.
	Directory
	// Self is the agent's own process.
	Self() proto.ProcID
	// Obituary is what is known of a process that has died, for people; Date the calendar's
	// seconds.
	Obituary(dead proto.ProcID) proto.Obituary
	Date() uint32
	// Keep and Unkeep keep which persistent resources there are, Doubt which
	// recovery domains are invalid; both outlive the agent too.
	Keep(k *proto.Kept) error
	Unkeep(k *proto.Kept)
	Doubt(domain proto.Digest, invalid bool) error
	// Later calls do soon, but not before it returns and not before others have had their
	// turn, unless the agent has ended by then.
	Later(do func())
}

// Directory is the lasting map from roots to masters.
type Directory interface {
	// Put stores e before it returns. It fails when there is no room.
	Put(e Entry) error
	Delete(tree proto.Digest)
}

// Entry is one line of the directory.
type Entry struct {
	Tree   proto.Digest
	Master proto.ProcID
	Assign uint64
}

// Lasting is what outlives an agent.
type Lasting struct {
	Directory []Entry
	Kept      []proto.Kept
	Doubted   []proto.Digest // recovery domains that are invalid
	Groups    []proto.ProcID // group lock containers; they live, and are not among the processes
	// Number is the directory's. When an agent of another host had it before it is
	// another number, and Unknown: every process says what it masters.
	Number  uint64
	Unknown bool
	// Opened is called once the directory knows every tree again: from then on a successor
	// may believe it.
	Opened func()
	// Coming are dead processes of other hosts whose journals have yet to come.
	Coming []proto.ProcID
}
