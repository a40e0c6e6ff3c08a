package process

import (
	"sync"
	"sync/atomic"

	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

const (
	shardBits  = 6
	shardCount = 1 << shardBits
	// maxLocksPerShard bounds the lock table; more is DLM_NOLOCKID.
	maxLocksPerShard = 1 << (31 - shardBits)
	// maxIdleRoots bounds, per shard, the roots that are remembered although no
	// own lock refers to them: known masters and idle trees.
	maxIdleRoots = 1024
)

// Process is the lock manager of one process.
type Process struct {
	world      World
	journal    Journal
	me         proto.ProcID // set once by Joined
	lost       atomic.Bool
	keeps      atomic.Bool // see KeepIdle
	sendOff    func()      // see SendOff
	lookAround func(bool)  // see LookAround
	hunt       hunt
	domains    domains
	group      member
	shards     [shardCount]shard
	// guest: it is a container's; firstSeq is the sequence number before that of the
	// first lock of each place.
	guest    bool
	firstSeq uint32
	resumed  []proto.Root // of a guest: see Resumed
	// moveAfter and moveWait: see SetMoving.
	moveAfter uint32
	moveWait  int64
	// awakeRoots: see KeepAwake.
	awakeRoots int
	// lent and what follows: see Lend. nil: nothing is lent.
	lent      *lent.Table
	lendAfter uint8
	pause     func()

	members members
}

// members is what is known of the other processes.
type members struct {
	sync.Mutex // after a shard's mutex
	view       uint64
	told       bool   // all who live, once
	directory  uint64 // number of the directory that all was told to
	live       map[proto.ProcID]bool
	groups     []proto.ProcID        // containers among live
	peers      map[proto.ProcID]bool // noted in the journal
	obits      []proto.Obituary      // of who has died lately
	views      uint64                // counts them
}

// shard guards a part of all roots and the own locks on them.
type shard struct {
	p     *Process
	index uint32
	_     [40]byte // keeps two shards' mutexes on different cache lines

	mu      sync.Mutex
	recent  *root // see find
	roots   map[proto.Root]*root
	order   rootList // all roots, oldest first
	idle    int      // roots without own locks
	locks   table
	asleep  asleep
	lent    []*root      // by cell; nil where there is none
	spare   []*lock      // own lock structures to use again
	foreign []*tree.Lock // the same for other processes' locks
	asks    []*pending   // the same for what is under way
	places  []*position  // the same for sub-locks
	queries map[uint32]*query
	lastQ   uint32
	lookups uint64    // numbers them
	waits   []waitRef // requests that wait, and some that no longer do
	moving  []*root   // on their way to another master, and some that no longer are
	// directory is the latest that all is told of here.
	directory uint64
	msg       proto.Msg // scratch for messages to send
	done      Completion
	notice    Notice
	counts    counts
	seen      seen
}

// lock is an own lock. The embedded tree.Lock is the master's view of it and is
// in use only while the tree is here; the fields below are what this process
// has been told, wherever the master is.
type lock struct {
	tree.Lock
	*pending  // &idle while nothing is under way
	*position // &top of a lock on a root resource that is not persistent
	root      *root
	next      *lock // own locks of the root, in order of creation
	prev      *lock

	block    proto.Block
	token    proto.Stamp // fencing token of the latest grant of PW or EX
	user     User        // of the granted request
	held     uint32      // dlm.Flags of the granted request
	children uint32
	depth    uint8
	granted  mode.Mode
	noticed  mode.Mode // of the undelivered blocking notification
	plain    bool      // says nothing of value blocks that are not valid
}

// ask is the request that has not been answered yet.
type ask struct {
	kind     proto.PendingKind // PendingLock, PendingConvert or nothing
	mode     mode.Mode
	flags    uint32
	op       uint64
	queued   bool  // the master, the one known now, said that it waits
	waited   bool  // some master said so
	made     int64 // when it was made, if the tree was not here
	since    int64 // when it was made, if a master has said that it waits
	arrival  uint64
	value    proto.Value
	user     User
	token    uint64
	async    bool
	expired  bool // its timeout is over; a cancel is on its way
	detached bool // nobody waits for it any more
}

// unlocking is an unlock that has not been answered yet.
type unlocking struct {
	active bool
	silent bool // nobody asked for it
	flags  uint32
	op     uint64
	value  proto.Value
	token  uint64
}

// wait notes the master's word that l's request is queued.
func (s *shard) wait(l *lock, arrival uint64) {
	a := &l.ask
	if !a.waited {
		// Not when the word came: of two waits the later one is who asked later.
		if a.since = a.made; a.since == 0 {
			a.since = s.p.world.Now()
		}
		s.watchWait(l)
	}
	a.queued, a.waited, a.arrival = true, true, arrival
}

// New makes a process that has yet to join.
func New(w World, j Journal) *Process {
	p := &Process{world: w, journal: j, moveAfter: MoveAfter, moveWait: MoveWait, awakeRoots: awakeRoots}
	p.hunt.patience = DeadlockWait
	p.members.live = map[proto.ProcID]bool{}
	p.members.peers = map[proto.ProcID]bool{}
	p.domains.attached = map[string]uint64{}
	p.group.init()
	for i := range p.shards {
		s := &p.shards[i]
		s.p, s.index = p, uint32(i)
		s.roots = map[proto.Root]*root{}
		s.queries = map[uint32]*query{}
	}
	return p
}

// Joined tells the process its name; nothing may be asked of it before.
func (p *Process) Joined(me proto.ProcID, view uint64) {
	p.me = me
	p.members.Lock()
	p.members.view = view
	p.members.Unlock()
}

// KeepIdle has this process go on mastering trees that nobody uses when others ask
// for them.
func (p *Process) KeepIdle() { p.keeps.Store(true) }

// LookAround gives p a way to have all messages handled that have come. It is called, with no
// mutex held, before an own request is decided on a tree in which others have locks: what
// they did before the caller heard of it goes before, and who masters a lock does not take
// it again and again while others ask for it. letOn says that others want what is asked for, but
// nobody waits: the last word was an answer to one of them, who may not have had the processor
// since, to ask once more. It is set before p is used.
func (p *Process) LookAround(f func(letOn bool)) { p.lookAround = f }

// wantedFor is how often others are let on after a request that had to wait.
const wantedFor = 2

// SendOff gives p a way to have written what it has sent so far. It is called, with no mutex
// held, now and then while a view has p send much, so that the agent need not wait for the
// end. It is set before p is used.
func (p *Process) SendOff(f func()) { p.sendOff = f }

// lookFirst reports whether that was done, which is to be done once for a request, of the
// resource on if that is known. s.mu is held, but not meanwhile.
func (s *shard) lookFirst(r *root, on *tree.Resource) bool {
	if r.where != local || !r.foreign.any() || s.p.lookAround == nil {
		return false
	}
	letOn := r.wanted > 0 && r.answered && (on == nil || !on.Awaited())
	if letOn {
		r.wanted--
	}
	s.mu.Unlock()
	s.p.lookAround(letOn)
	s.mu.Lock()
	return true
}

// resource is where a new lock would stand, if that is mastered here, is there already, and
// lookFirst has to know it.
func (r *root) resource(parent *lock, name *proto.Name) *tree.Resource {
	switch {
	case r.wanted == 0 || r.tree == nil:
		return nil
	case parent == nil:
		return r.tree.RootResource()
	}
	return r.tree.Find(parent.Res, name)
}

// Me is the process's name.
func (p *Process) Me() proto.ProcID { return p.me }

// shardOf chooses by a hash of the root.
func (p *Process) shardOf(r *proto.Root) *shard { return &p.shards[hashOf(r)&(shardCount-1)] }

func hashOf(r *proto.Root) uint32 { return lent.Hash(r) }

// shardOfLock is the shard that a handle names.
func (p *Process) shardOfLock(id proto.LockID) *shard {
	return &p.shards[uint32(id)&(shardCount-1)]
}

// id is the handle of the lock with a number.
func (s *shard) id(number uint32) proto.LockID {
	return proto.LockID(s.locks.seqs[number])<<32 | proto.LockID(number<<shardBits|s.index)
}

// newLock enters a lock into the table; nil when the table is full.
func (s *shard) newLock(r *root) *lock {
	i, ok := s.locks.reserve(s.p.firstSeq)
	if !ok {
		return nil
	}
	l := s.lockStruct()
	l.pending, l.position = &idle, &top
	l.ID = s.id(i)
	l.Owner, l.Party = s.p.me, proto.Party{ID: uint64(s.p.me)}
	s.locks.put(i, l)
	l.root = r
	r.own.push(l)
	if r.ownCount++; r.ownCount == 1 {
		s.idle--
	}
	return l
}

// lockStruct gives a structure for an own lock.
func (s *shard) lockStruct() *lock {
	if n := len(s.spare); n > 0 {
		l := s.spare[n-1]
		s.spare = s.spare[:n-1]
		*l = lock{}
		return l
	}
	return &lock{}
}

// freeLock takes a lock out of the table and answers whoever still waits for
// something of it.
func (s *shard) freeLock(l *lock) {
	r := l.root
	s.discardNotice(l)
	if l.parent != nil {
		l.parent.children--
	}
	s.locks.release(number(l.ID))
	r.own.remove(l)
	if r.ownCount--; r.ownCount == 0 {
		s.idle++
	}
	s.answerLeftovers(l)
	s.leavePosition(l)
	l.root, l.prev, l.next = nil, nil, nil
	if len(s.spare) < maxSpare {
		s.spare = push(s.spare, l)
	}
}

// foreignLock gives a structure for another process's lock.
func (s *shard) foreignLock() *tree.Lock {
	if n := len(s.foreign); n > 0 {
		l := s.foreign[n-1]
		s.foreign = s.foreign[:n-1]
		*l = tree.Lock{}
		return l
	}
	return &tree.Lock{}
}

func (s *shard) freeForeign(l *tree.Lock) {
	if len(s.foreign) < maxSpare {
		s.foreign = push(s.foreign, l)
	}
}

// lockList is a list of own locks in order of creation.
type lockList struct{ head, tail *lock }

func (q *lockList) push(l *lock) {
	l.prev, l.next = q.tail, nil
	if q.tail == nil {
		q.head = l
	} else {
		q.tail.next = l
	}
	q.tail = l
}

func (q *lockList) remove(l *lock) {
	if l.prev == nil {
		q.head = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
}

// alive reports whether x may still be running, by the newest view. A process
// newer than that view is not judged by it.
func (p *Process) alive(x proto.ProcID) bool {
	m := &p.members
	m.Lock()
	defer m.Unlock()
	return uint64(x) > m.view || m.live[x] || x == p.me || x == proto.Keeper
}

// notePeer makes sure that the journal names x before x's first request is
// answered, so that a rebuild knows whose reports it needs.
func (p *Process) notePeer(x proto.ProcID) error {
	m := &p.members
	m.Lock()
	defer m.Unlock()
	if m.peers[x] {
		return nil
	}
	if err := p.journal.Peer(x); err != nil {
		return err
	}
	m.peers[x] = true
	return nil
}
