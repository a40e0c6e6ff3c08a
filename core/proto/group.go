package proto

import "github.com/godlm/godlm/core/mode"

// What members of group lock containers say to the agent, who has the containers
// (spec §13), and what the agent notes to outlive itself.

// GroupBit in a LockID marks a lock of a container: its hndl is in the place where
// no process's own lock is.
const GroupBit LockID = 1 << 31

// GroupVerb tells what a Call asks for.
type GroupVerb uint8

// The verbs. Those up to GroupCancel change something; the agent notes that they
// were answered until the caller has heard it.
const (
	GroupCreate  GroupVerb = 1 + iota // Flags Spaces
	GroupAttach                       // Spaces: those that the caller has joined
	GroupDetach                       //
	GroupDestroy                      // Flags Spaces, Plain: the caller is root
	GroupLock                         // a lock request
	GroupConvert
	GroupUnlock
	GroupCancel
	GroupExpire    // Other: the call whose timeout is over
	GroupForget    // Other: the call for whose outcome nobody waits any more
	GroupDelivered // Lock: its blocking notification was delivered
	GroupLockInfo
	GroupToken
	GroupBlockers
	GroupResource // a resource below Parent
	GroupLocks    // the sub-locks of Lock, sub-locks before their parents
	groupVerbs
)

// Call is a member's request.
type Call struct {
	Verb      GroupVerb
	Number    uint64 // counted by the caller
	Low       uint64 // the caller has the answers to all calls below this one
	Again     bool   // it was put to an agent that has died
	Container uint32
	Other     uint64

	Flags  uint32
	Lock   LockID
	Parent LockID
	Mode   mode.Mode
	Space  Namespace
	Name   Name
	Plain  bool
	Async  bool
	Party  Party
	Domain Digest
	User   User
	Value  Value
	Spaces []Namespace
}

// User is what a program gave with a request and gets back; opaque to all others.
type User struct {
	NotPrm  uint64
	Hint    uint64
	BlkRtn  uint64 // 0 = no blocking notifications
	CplRtn  uint64
	ValB    uint64
	Timeout uint32 // hundredths of a second
}

// Reply answers a Call: with Waits that it is under way, and then once more.
type Reply struct {
	Number    uint64
	Waits     bool
	Status    int32
	Container uint32
	Lock      LockID
	Async     bool
	Read      bool // Value goes to the caller
	Value     Value
	User      User
	Stamp     Stamp // GroupToken
	Info      Info  // GroupResource

	// GroupLockInfo
	Space     Namespace
	Name      Name
	Parent    LockID
	Requested mode.Mode
	Granted   mode.Mode
	State     uint8
	Flags     uint32

	Locks     []LockID
	Spaces    []Namespace // of the container that was created or attached to
	Obstacles []Obstacle
}

// NotedGroup is a container.
type NotedGroup struct {
	Number  uint32
	Proc    ProcID
	Flags   uint32
	Creator ProcID
	Spaces  []Namespace
	Members []ProcID
	// Dying: its members are being killed; By and ByCall is who asked for it, if
	// anybody did.
	Dying  bool
	By     ProcID
	ByCall uint64
	// Ended: only what waits on behalf of former members is left of it.
	Ended bool
}

// NotedLock is a lock of a container, as its process knows it.
type NotedLock struct {
	Group  ProcID
	Lock   LockID
	Parent LockID
	Root   Root
	Name   Name // below the parent
	Ops    uint64

	Granted mode.Mode
	Held    uint32
	Block   Block
	Token   Stamp
	Plain   bool
	Domain  Digest
	Party   Party
	User    User

	Pending   PendingKind // PendingLock or PendingConvert
	Requested mode.Mode
	Flags     uint32
	Op        uint64
	Arrival   uint64
	Made      int64
	Since     int64
	Waited    bool
	Write     Value
	AskUser   User
	AskToken  uint64
	Async     bool
	Expired   bool
	Detached  bool

	Unlock      bool
	Silent      bool
	UnlockFlags uint32
	UnlockOp    uint64
	UnlockWrite Value
	UnlockToken uint64

	Cancel   bool
	CancelOp uint64
	Cancels  []uint64

	Manipulator ProcID // 0: nobody
	UserOf      ProcID // whose User is: 0: nobody's any more
	Private     ProcID // it has gone back to this former member
}

// NotedCall is a call that is under way, or its answer until the caller has it.
type NotedCall struct {
	Proc  ProcID
	Token uint64 // names it to the container's process
	Verb  GroupVerb
	Group ProcID
	Lock  LockID
	Done  bool
	Reply Reply // when Done; else its Number
}

// fields writes or reads one array, field by field: one list serves both ways.
type fields struct {
	writing bool
	b       []byte
	d       *decoder
	n       int
}

// appendFields writes an array of what code lists.
func appendFields(b []byte, code func(*fields)) []byte {
	f := fields{writing: true, b: append(b, 0xdc, 0, 0)}
	at := len(b) + 1
	code(&f)
	f.b[at], f.b[at+1] = byte(f.n>>8), byte(f.n)
	return f.b
}

// fields reads what appendFields has written. It works on a copy, so that decoders
// of other messages stay on the stack.
func (d *decoder) fields(code func(*fields)) {
	c := &decoder{b: d.b, at: d.at, err: d.err}
	n := c.array()
	f := fields{d: c}
	code(&f)
	if f.n != n {
		c.fail(errLength)
	}
	*d = *c
}

func num[T ~uint8 | ~uint32 | ~uint64 | ~int32 | ~int64](f *fields, p *T) {
	numUpTo(f, p, uint64(^T(0)))
}

func numUpTo[T ~uint8 | ~uint32 | ~uint64 | ~int32 | ~int64](f *fields, p *T, most uint64) {
	f.n++
	switch v := any(*p).(type) {
	case int32:
		u := uint32(v)
		numUpTo(f, &u, 1<<32-1)
		f.n--
		*p = T(int32(u))
	default:
		if f.writing {
			f.b = appendUint(f.b, uint64(*p))
		} else {
			*p = T(f.d.uint(most))
		}
	}
}

func (f *fields) mode(p *mode.Mode) { numUpTo(f, p, uint64(mode.EX)) }

func (f *fields) bool(p *bool) {
	f.n++
	if f.writing {
		f.b = appendBool(f.b, *p)
	} else {
		*p = f.d.bool()
	}
}

func (f *fields) bytes(p []byte) {
	f.n++
	if f.writing {
		f.b = appendBin(f.b, p)
	} else {
		f.d.fixed(p)
	}
}

func (f *fields) name(p *Name) {
	f.n++
	if f.writing {
		f.b = appendBin(f.b, p.Bytes())
	} else {
		f.d.name(p, true)
	}
}

func (f *fields) domain(p *Digest) {
	f.n++
	if f.writing {
		f.b = appendDomain(f.b, *p)
	} else {
		*p = f.d.domain()
	}
}

func (f *fields) space(p *Namespace) {
	numUpTo(f, &p.Kind, uint64(PerGroup))
	num(f, &p.ID)
}

func (f *fields) root(p *Root) {
	f.n++
	if f.writing {
		f.b = appendRoot(f.b, p)
	} else {
		f.d.root(p)
	}
}

func (f *fields) stamp(p *Stamp) {
	num(f, &p.Assign)
	num(f, &p.Seq)
}

func (f *fields) block(p *Block) {
	f.bytes(p.Value[:])
	f.stamp(&p.Stamp)
	f.bool(&p.Valid)
}

func (f *fields) party(p *Party) {
	numUpTo(f, &p.Kind, uint64(PartyGlobalTx))
	num(f, &p.ID)
}

func (f *fields) user(p *User) {
	for _, v := range [...]*uint64{&p.NotPrm, &p.Hint, &p.BlkRtn, &p.CplRtn, &p.ValB} {
		num(f, v)
	}
	num(f, &p.Timeout)
}

// list writes or reads an array whose elements are arrays of at least `least` bytes.
func list[T any](f *fields, p *[]T, least int, element func(*fields, *T)) {
	f.n++
	if f.writing {
		f.b = appendArray(f.b, len(*p))
		for i := range *p {
			f.b = appendFields(f.b, func(f *fields) { element(f, &(*p)[i]) })
		}
		return
	}
	*p = nil
	for n := f.d.list(least); n > 0 && f.d.err == nil; n-- {
		var v T
		f.d.fields(func(f *fields) { element(f, &v) })
		*p = append(*p, v)
	}
}

// listLeast is the fewest bytes of an element of any list here.
const listLeast = 2

func (f *fields) spaces(p *[]Namespace) { list(f, p, listLeast, (*fields).space) }

func (c *Call) code(f *fields) {
	numUpTo(f, &c.Verb, uint64(groupVerbs)-1)
	num(f, &c.Number)
	num(f, &c.Low)
	f.bool(&c.Again)
	num(f, &c.Container)
	num(f, &c.Other)
	num(f, &c.Flags)
	num(f, &c.Lock)
	num(f, &c.Parent)
	f.mode(&c.Mode)
	f.space(&c.Space)
	f.name(&c.Name)
	f.bool(&c.Plain)
	f.bool(&c.Async)
	f.party(&c.Party)
	f.domain(&c.Domain)
	f.user(&c.User)
	f.bytes(c.Value[:])
	f.spaces(&c.Spaces)
}

func (r *Reply) code(f *fields) {
	num(f, &r.Number)
	f.bool(&r.Waits)
	num(f, &r.Status)
	num(f, &r.Container)
	num(f, &r.Lock)
	f.bool(&r.Async)
	f.bool(&r.Read)
	f.bytes(r.Value[:])
	f.user(&r.User)
	f.stamp(&r.Stamp)
	r.Info.code(f)
	f.space(&r.Space)
	f.name(&r.Name)
	num(f, &r.Parent)
	f.mode(&r.Requested)
	f.mode(&r.Granted)
	num(f, &r.State)
	num(f, &r.Flags)
	list(f, &r.Locks, listLeast, num[LockID])
	f.spaces(&r.Spaces)
	list(f, &r.Obstacles, obstacleLeast, func(f *fields, o *Obstacle) {
		num(f, &o.Proc)
		num(f, &o.Lock)
		num(f, &o.Op)
		f.party(&o.Party)
		f.mode(&o.Mode)
		f.bool(&o.Queued)
	})
}

func (n *Info) code(f *fields) {
	f.bool(&n.Exists)
	f.block(&n.Block)
	for _, v := range [...]*uint32{&n.SubResources, &n.Locks, &n.Blocking, &n.AtGroupMode, &n.Writes} {
		num(f, v)
	}
	for _, m := range [...]*mode.Mode{&n.GroupMode, &n.ConvertMode, &n.WaitMode} {
		f.mode(m)
	}
}

func (g *NotedGroup) code(f *fields) {
	num(f, &g.Number)
	num(f, &g.Proc)
	num(f, &g.Flags)
	num(f, &g.Creator)
	f.spaces(&g.Spaces)
	list(f, &g.Members, listLeast, num[ProcID])
	f.bool(&g.Dying)
	num(f, &g.By)
	num(f, &g.ByCall)
	f.bool(&g.Ended)
}

func (l *NotedLock) code(f *fields) {
	num(f, &l.Group)
	num(f, &l.Lock)
	num(f, &l.Parent)
	f.root(&l.Root)
	f.name(&l.Name)
	num(f, &l.Ops)
	f.mode(&l.Granted)
	num(f, &l.Held)
	f.block(&l.Block)
	f.stamp(&l.Token)
	f.bool(&l.Plain)
	f.domain(&l.Domain)
	f.party(&l.Party)
	f.user(&l.User)
	numUpTo(f, &l.Pending, uint64(PendingConvert))
	f.mode(&l.Requested)
	num(f, &l.Flags)
	num(f, &l.Op)
	num(f, &l.Arrival)
	num(f, &l.Made)
	num(f, &l.Since)
	f.bool(&l.Waited)
	f.bytes(l.Write[:])
	f.user(&l.AskUser)
	num(f, &l.AskToken)
	f.bool(&l.Async)
	f.bool(&l.Expired)
	f.bool(&l.Detached)
	f.bool(&l.Unlock)
	f.bool(&l.Silent)
	num(f, &l.UnlockFlags)
	num(f, &l.UnlockOp)
	f.bytes(l.UnlockWrite[:])
	num(f, &l.UnlockToken)
	f.bool(&l.Cancel)
	num(f, &l.CancelOp)
	list(f, &l.Cancels, listLeast, num[uint64])
	num(f, &l.Manipulator)
	num(f, &l.UserOf)
	num(f, &l.Private)
}

func (c *NotedCall) code(f *fields) {
	num(f, &c.Proc)
	num(f, &c.Token)
	numUpTo(f, &c.Verb, uint64(groupVerbs)-1)
	num(f, &c.Group)
	num(f, &c.Lock)
	f.bool(&c.Done)
	c.Reply.code(f)
}
