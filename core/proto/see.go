package proto

import "github.com/godlm/godlm/core/mode"

// Seeing what happens (design §11): the command asks an agent (KInspect), the agent its
// processes and the agents of other hosts, and each answers with a few parts (KSeen), of
// which none is large. What is asked for is chosen where it is, so that little travels.

// See is what an Inquiry asks for.
type See uint32

// What can be seen.
const (
	SeeTrees  See = 1 << iota // trees and resources where they are mastered
	SeeLocks                  // and the locks on them
	SeeWaits                  // requests without an answer, where they were made
	SeeCounts                 // counters
	SeeEvents                 // what has been worth a line in a log lately
	sees      See = 1<<iota - 1
)

// Inquiry is what somebody wants to see.
type Inquiry struct {
	What See
	// InSpace: only roots of that namespace. Name: only that root, or those whose names
	// begin so; "" for all.
	InSpace bool
	Space   Namespace
	Name    Name
	Prefix  bool
	// Owners: only locks and requests of these; none: of all.
	Owners []ProcID
	// Modes: only locks with a granted or requested mode among these; 0: all.
	Modes mode.Set
	// Waiting: only resources on which a request waits; Invalid: only those whose value
	// block is not valid.
	Waiting, Invalid bool
	// Here: nobody asks other hosts.
	Here bool
	// Hot: only so many trees, those with the most requests since somebody asked last.
	Hot uint32
	// Limit is how many resources and locks each process tells of.
	Limit uint32
	// Patience is how long who is asked waits for others, in nanoseconds.
	Patience int64
}

// Limits of an Inquiry.
const (
	SeeMost     = 100_000 // resources and locks
	SeeHottest  = 100
	SeePatience = int64(10e9)
)

// Sight is a part of the answer.
type Sight struct {
	// Proc is the process that tells, 0 for an agent, Host its host.
	Proc    ProcID
	Pid     uint32
	Program string
	Version string
	Host    string

	Members []SeenMember // of an agent's host
	Trees   []SeenTree
	Waits   []SeenWait
	Counts  []Counts // one, or none
	Events  []SeenEvent
	Silent  []SeenSilent

	Cut  bool // there is more than the limit
	Done bool // the last part of that process
	End  bool // the last part of all
}

// SeenMember is a process or container of a host.
type SeenMember struct {
	Proc    ProcID
	Pid     uint32 // 0: not visible, or a container
	Program string
	State   string
	Agent   bool
	Group   bool
}

// SeenSilent is who has not answered: a process, or a host.
type SeenSilent struct {
	Host    string
	Proc    ProcID // 0: the host
	Pid     uint32
	Program string
	Why     string
}

// SeenTree is a tree at its master.
type SeenTree struct {
	Root      Root
	Assign    uint64
	Serving   bool // false: it is being put together again
	Since     uint32
	Why       Origin
	From      ProcID
	Before    Obituary // of From, if it has died and is known
	Locks     uint32
	Queued    uint32
	Rate      uint64 // requests in 1000 s
	Resources []SeenResource
}

// SeenResource is a resource of a tree.
type SeenResource struct {
	Path       []Name // below the root
	Block      Block
	Cause      Cause
	Writer     ProcID // who holds PW or EX
	Persistent bool
	Domain     Digest
	Doubted    bool
	Locks      uint32
	Waiting    uint32 // queued requests
	Seen       []SeenLock
}

// SeenLock is a lock or a new request.
type SeenLock struct {
	Owner     ProcID
	Lock      LockID
	Op        uint32
	Party     Party
	Granted   mode.Mode
	Requested mode.Mode // None: nothing is requested
	At        uint32    // place in its queue, from 1
	Flags     uint32
}

// SeenWait is a request that its owner has no answer to.
type SeenWait struct {
	Kind    PendingKind
	State   WaitState
	Lock    LockID
	Op      uint32
	Party   Party
	Root    Root
	Path    []Name
	Granted mode.Mode
	Wanted  mode.Mode
	Master  ProcID // 0: not known
	Age     int64  // nanoseconds; -1: not known
}

// WaitState is why a request has no answer.
type WaitState uint8

// The states.
const (
	WaitQueued  WaitState = iota // its master has queued it
	WaitSent                     // its master has not answered
	WaitLookup                   // the directory has not said who the master is
	WaitRebuild                  // its tree is put together again
	waitStates
)

// SeenEvent is something that was worth a line in a log.
type SeenEvent struct {
	At    int64 // nanoseconds since 1970
	Level int32 // as package slog has them
	Text  string
}

// Ways and Ops of requests that are counted: decided here, sent away, come from others;
// new locks, conversions, unlocks, cancels, questions about resources.
const (
	Ways = 3
	Ops  = 5
)

// WaitBounds are the upper bounds of the classes of waits, in nanoseconds.
var WaitBounds = [13]int64{25e3, 100e3, 250e3, 1e6, 2500e3, 10e6, 25e6, 100e6, 250e6, 1e9, 2500e6, 10e9, 60e9}

// RebuildBounds are those of rebuilds.
var RebuildBounds = [10]int64{1e6, 5e6, 25e6, 100e6, 250e6, 500e6, 1e9, 2500e6, 10e9, 60e9}

// Counts are the counters of a process, or of an agent.
type Counts struct {
	Requests  [Ways][Ops]uint64
	Waits     [len(WaitBounds) + 1]uint64
	WaitNanos uint64
	Blocking  uint64
	Invalid   [Causes]uint64
	Deadlocks uint64
	Views     uint64

	Trees  uint64 // mastered now
	Locks  uint64 // own ones now
	Asking uint64 // own requests without an answer
	Queued uint64 // requests of all that wait in trees here

	// Lease is how long the lease goes on, in nanoseconds; 0 on a host alone.
	Lease int64

	// Of an agent that keeps the directory: how often trees were put together again, and how
	// long that took.
	Rebuilds     [len(RebuildBounds) + 1]uint64
	RebuildNanos uint64
	Rebuilding   bool
}

func (q *Inquiry) code(f *fields) {
	numUpTo(f, (*uint32)(&q.What), uint64(sees))
	f.bool(&q.InSpace)
	f.space(&q.Space)
	f.name(&q.Name)
	f.bool(&q.Prefix)
	list(f, &q.Owners, 1, num[ProcID])
	modes := uint32(q.Modes)
	numUpTo(f, &modes, 0xff)
	q.Modes = mode.Set(modes)
	f.bool(&q.Waiting)
	f.bool(&q.Invalid)
	f.bool(&q.Here)
	numUpTo(f, &q.Hot, SeeHottest)
	numUpTo(f, &q.Limit, SeeMost)
	numUpTo(f, &q.Patience, uint64(SeePatience))
}

func (s *Sight) code(f *fields) {
	num(f, &s.Proc)
	num(f, &s.Pid)
	f.text(&s.Program)
	f.text(&s.Version)
	f.text(&s.Host)
	list(f, &s.Members, listLeast, func(f *fields, m *SeenMember) {
		num(f, &m.Proc)
		num(f, &m.Pid)
		f.text(&m.Program)
		f.text(&m.State)
		f.bool(&m.Agent)
		f.bool(&m.Group)
	})
	list(f, &s.Trees, listLeast, func(f *fields, t *SeenTree) { t.code(f) })
	list(f, &s.Waits, listLeast, func(f *fields, w *SeenWait) { w.code(f) })
	list(f, &s.Counts, listLeast, func(f *fields, c *Counts) { c.code(f) })
	list(f, &s.Events, listLeast, func(f *fields, e *SeenEvent) {
		num(f, &e.At)
		num(f, &e.Level)
		f.text(&e.Text)
	})
	list(f, &s.Silent, listLeast, func(f *fields, x *SeenSilent) {
		f.text(&x.Host)
		num(f, &x.Proc)
		num(f, &x.Pid)
		f.text(&x.Program)
		f.text(&x.Why)
	})
	f.bool(&s.Cut)
	f.bool(&s.Done)
	f.bool(&s.End)
}

func (t *SeenTree) code(f *fields) {
	f.root(&t.Root)
	num(f, &t.Assign)
	f.bool(&t.Serving)
	num(f, &t.Since)
	numUpTo(f, &t.Why, uint64(Origins)-1)
	num(f, &t.From)
	t.Before.code(f)
	num(f, &t.Locks)
	num(f, &t.Queued)
	num(f, &t.Rate)
	list(f, &t.Resources, listLeast, func(f *fields, r *SeenResource) { r.code(f) })
}

func (r *SeenResource) code(f *fields) {
	list(f, &r.Path, listLeast, (*fields).name)
	f.block(&r.Block)
	r.Cause.code(f)
	num(f, &r.Writer)
	f.bool(&r.Persistent)
	f.domain(&r.Domain)
	f.bool(&r.Doubted)
	num(f, &r.Locks)
	num(f, &r.Waiting)
	list(f, &r.Seen, listLeast, func(f *fields, l *SeenLock) {
		num(f, &l.Owner)
		num(f, &l.Lock)
		num(f, &l.Op)
		f.party(&l.Party)
		f.mode(&l.Granted)
		f.mode(&l.Requested)
		num(f, &l.At)
		num(f, &l.Flags)
	})
}

func (w *SeenWait) code(f *fields) {
	numUpTo(f, &w.Kind, uint64(PendingUnlock))
	numUpTo(f, &w.State, uint64(waitStates)-1)
	num(f, &w.Lock)
	num(f, &w.Op)
	f.party(&w.Party)
	f.root(&w.Root)
	list(f, &w.Path, listLeast, (*fields).name)
	f.mode(&w.Granted)
	f.mode(&w.Wanted)
	num(f, &w.Master)
	num(f, &w.Age)
}

func (c *Counts) code(f *fields) {
	for way := range c.Requests {
		for op := range c.Requests[way] {
			num(f, &c.Requests[way][op])
		}
	}
	for i := range c.Waits {
		num(f, &c.Waits[i])
	}
	for i := range c.Invalid {
		num(f, &c.Invalid[i])
	}
	for i := range c.Rebuilds {
		num(f, &c.Rebuilds[i])
	}
	for _, p := range [...]*uint64{
		&c.WaitNanos, &c.Blocking, &c.Deadlocks, &c.Views, &c.Trees, &c.Locks, &c.Asking, &c.Queued, &c.RebuildNanos,
	} {
		num(f, p)
	}
	num(f, &c.Lease)
	f.bool(&c.Rebuilding)
}
