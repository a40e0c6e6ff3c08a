// Package host is one host's part among several: its membership and its lease, what its
// agent says to the agents of other hosts, and the directory while it is this host that
// coordinates. A host alone is a council of one, and goes through the same code.
//
//		processes of this host ──► seat ──► agent.Agent here, or the coordinator's agent
//		                             │
//		agents of other hosts ◄──────┤
//		                             │
//		log of views ◄──────────► council: who is a member, until when, who coordinates
//
//	  - council.go: membership and lease, as the log decides them
//	  - lead.go: what the leader of the log does for all: removals, and who votes
//	  - seat.go: between the processes here and the coordinator
//	  - chair.go: the coordinator's side of that
//	  - world.go: the world of the coordinator's agent.Agent
//	  - remember.go: what the log keeps of persistent resources and recovery domains
//
// It opens no socket and no file and reads no clock: the World does. The log's messages
// are bytes to it. Its methods are not safe for use by several threads.
package host

import (
	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

// Config says which host this is.
type Config struct {
	// Alone: there are no other hosts; what follows has no meaning then.
	Alone  bool
	Name   string
	Addr   string   // where other hosts reach it
	Voters []string // names of the hosts that vote
	// Lease is how long a host goes on without an answer of the majority, Over how
	// long others wait for it, by a clock that may be faster than its own. All times
	// are in nanoseconds.
	Lease, Over int64
	// Suspect is how long the leader waits for a silent host.
	Suspect int64
	// Tick is the time between two calls of Tick.
	Tick int64
	// Central: while this host coordinates, its agent's process masters what it can.
	Central bool
}

// Log is the agreement of the hosts (net/views). Hosts are numbers to it.
type Log interface {
	// Empty: not one entry of it has come here.
	Empty() bool
	Leader() uint64 // 0: nobody, as far as is known
	Voters() []uint64
	Learners() []uint64
	// CaughtUp: that learner has nearly all entries, as the leader sees it.
	CaughtUp(id uint64) bool
	Tick() error
	Campaign() error
	Propose(entry []byte) error
	// Confirm has Confirmed called when a majority has answered.
	Confirm(token uint64) error
	Change(add, promote, remove []uint64) error
	// Transfer has another voter lead, if this host does.
	Transfer(to uint64) error
	Receive(from uint64, data []byte) error
	// Err is why this host takes no part any more.
	Err() error
}

// File is what outlives the agent: which membership the processes of this host belong
// to, how long its lease goes on, and whose the directory is.
type File interface {
	Birth() uint32
	SetBirth(birth uint32) // ends the lease, too
	// Until is to when the lease of that birth was proven, also if it has been ended: who
	// has not noticed that may go on until then.
	Until() int64
	Extend(until int64) // not one that was ended
	// End ends it for good; Ended reports whether that was done.
	End()
	Ended() bool
	Directory() uint32
	SetDirectory(since uint32)
}

// Level is how much a line of the log for people matters.
type Level uint8

// Levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// World is what a Host needs from outside. Its methods do not call back, except where
// they say so.
type World interface {
	// Now is a clock that goes on while the machine is suspended, in nanoseconds;
	// Date the seconds of the calendar.
	Now() int64
	Date() uint32
	Random() uint64
	Note(level Level, text string)

	// Open makes this host a part of the log that it founds with the initial ones, or
	// that has called it: nil. The log may call its Host back at once.
	Open(initial []uint64) (Log, error)
	// Calls reports whether a message of a log is for this host, and not for another
	// that was at this address before.
	Calls(data []byte) bool
	// Tell queues a message for the agent of another host, in order. It is dropped when
	// that is not known.
	Tell(to proto.HostID, m *proto.Msg)
	// Reach says where a host is.
	Reach(id proto.HostID, addr string)

	// Begin takes up what this host's membership has of containers; Serve goes on with
	// whoever waits for the membership or the coordinator. It calls back. Drop lets go
	// of processes of a membership that has ended; Former reports whether one of them
	// may still run, the agent's own among them. Lost says that this agent's process has
	// to end with its host's membership, Left that the host has left.
	Begin(birth uint32) bool
	Serve()
	Drop(why string)
	Former() bool
	Lost(why string)
	Left()

	// Processes are those of this host: that live, and that have left something;
	// Connected are those that can be told something. Containers are its own.
	Processes() (live, dead []proto.ProcID)
	Connected() []proto.ProcID
	Containers() []proto.ProcID
	// Here reports whether that process or container is of this host and lives.
	Here(p proto.ProcID) bool
	// Past is what earlier agents on this host have kept as coordinators: the
	// directory, if it is to be believed, and what else outlives it.
	Past(believe bool) *agent.Lasting

	// Local is what an agent of a host alone needs: its processes are those here.
	agent.Local
}

// Host is this host's part.
type Host struct {
	world World
	file  File
	cfg   Config
	council
	seat
}

// New makes it. id is the host's for ever; fresh says that it was never part of a log.
func New(w World, f File, cfg Config, id proto.HostID) *Host {
	h := &Host{world: w, file: f, cfg: cfg}
	h.council.init(id, w.Random())
	h.seat.init()
	h.began = w.Now()
	return h
}

// Start takes up the log that this host has been part of, or that of a host alone.
func (h *Host) Start(known bool) error {
	var initial []uint64
	if now := h.world.Now(); !h.cfg.Alone {
		// Nobody can have proven more; it was another boot of the machine.
		if most := now + h.cfg.Lease; h.file.Until() > most {
			h.file.Extend(most)
		}
		if h.file.Ended() {
			h.lose(ended)
		}
	}
	switch {
	case h.cfg.Alone:
		initial = []uint64{uint64(h.me)}
	case !known:
		return nil
	}
	if err := h.open(initial); err != nil {
		return err
	}
	if h.cfg.Alone {
		h.askUp()
		if !h.in {
			return errForeign
		}
	}
	return nil
}

// ID names this host.
func (h *Host) ID() proto.HostID { return h.me }

// Birth is that of its membership.
func (h *Host) Birth() uint32 { return h.birth }

// Nonce is this agent's.
func (h *Host) Nonce() uint64 { return h.nonce }

// Fresh reports whether this host is part of no log yet. Who was called to one and has
// never taken an entry of it has decided nothing with it.
func (h *Host) Fresh() bool { return h.log == nil || h.log.Empty() }

// Votes reports whether its configuration says that it votes.
func (h *Host) Votes() bool { return h.configured(h.cfg.Name) }

// Leased reports whether it is a member, with a lease that was proven.
func (h *Host) Leased() bool { return h.leased }

// State is what is agreed, as far as this host knows. It must not be changed.
func (h *Host) State() *proto.HostState { return h.state }

// Ready reports whether there is somebody who numbers processes.
func (h *Host) Ready() bool { return h.agent != nil || h.remote() != 0 }

// Coordinates reports whether it is this host that does, and has all it needs for it.
func (h *Host) Coordinates() bool { return h.agent != nil }
