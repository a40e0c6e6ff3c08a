package process

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
)

// member is the process's part in a group lock container (spec §13). The container
// is with the agent; each call on one of its locks goes there, and once more to a
// new agent if it was not answered.
type member struct {
	mu     sync.Mutex // after no other
	number uint32     // of the container; 0: in none
	spaces []proto.Namespace
	last   uint64 // number of the latest call
	calls  map[uint64]*groupCall
	// private are locks that the process was waiting for when it detached: they
	// are its own, but still in the place where the container was.
	private map[proto.LockID]privateLock
	noticed map[proto.LockID]bool // notifications that the program has yet to take
	inside  atomic.Bool           // number is not 0
}

type privateLock struct {
	container uint32
	space     proto.Namespace
}

// groupCall is a call without its last answer.
type groupCall struct {
	proto.Call
	token    uint64
	accept   uint64
	accepted bool // it is under way, and the program has been told so
	lock     proto.LockID
	silent   bool // nobody waits for the answer
	after    []proto.Call
}

// GroupRequest asks something about a container itself, or about one of its locks
// without changing it.
type GroupRequest struct {
	Verb      proto.GroupVerb
	Container uint32
	Flags     uint32
	Spaces    []proto.Namespace
	Root      bool // the caller is root
	Lock      proto.LockID
	Parent    proto.LockID
	Name      proto.Name
	Token     uint64
}

func (g *member) init() {
	g.calls = map[uint64]*groupCall{}
	g.private = map[proto.LockID]privateLock{}
	g.noticed = map[proto.LockID]bool{}
}

func (g *member) in() bool { return g.inside.Load() }

// put sends a call. The mutex is held.
func (g *member) put(w World, c *groupCall) {
	g.last++
	c.Number = g.last
	g.calls[c.Number] = c
	g.send(w, &c.Call)
}

func (g *member) send(w World, c *proto.Call) {
	c.Low = g.last + 1
	for n := range g.calls {
		c.Low = min(c.Low, n)
	}
	w.SendAgent(&proto.Msg{Kind: proto.KGroup, Call: c})
}

// of is the container whose lock id is; false when it cannot be one of the caller's.
func (g *member) of(id proto.LockID) (container uint32, ok bool) {
	if x, private := g.private[id]; private {
		return x.container, true
	}
	return g.number, g.number != 0
}

// Group puts a request. The answer comes through World.Complete.
func (p *Process) Group(q *GroupRequest, res *Result) {
	*res = Result{Status: dlm.Pending}
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &groupCall{token: q.Token, accepted: true, lock: q.Lock}
	c.Call = proto.Call{
		Verb: q.Verb, Container: q.Container, Flags: q.Flags, Spaces: q.Spaces, Plain: q.Root,
		Lock: q.Lock, Parent: q.Parent, Name: q.Name,
	}
	of := q.Lock | q.Parent
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case q.Verb == proto.GroupCreate || q.Verb == proto.GroupAttach:
		if g.number != 0 {
			res.Status = dlm.Attached
			return
		}
	case q.Verb == proto.GroupDetach:
		if c.Container = g.number; c.Container == 0 {
			res.Status = dlm.NotAttached
			return
		}
	case q.Verb == proto.GroupDestroy:
	default:
		var ok bool
		if c.Container, ok = g.of(of); !ok {
			res.Status = dlm.IvLockID
			return
		}
	}
	g.put(p.world, c)
}

// InGroup reports the container that the process is in, 0 for none; with a
// namespace, only if the container's locks may be in that.
func (p *Process) InGroup(space *proto.Namespace) uint32 {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if space != nil && !slices.Contains(g.spaces, *space) {
		return 0
	}
	return g.number
}

// PrivateLocks counts the requests that were left to the process when it detached
// from a container: of a namespace, nil for all.
func (p *Process) PrivateLocks(space *proto.Namespace) (n int) {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.private {
		if space == nil || *space == x.space {
			n++
		}
	}
	return n
}

// groupLock is Lock for a lock of the container.
func (p *Process) groupLock(q *LockRequest, res *Result) {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case q.Parent != 0 && (q.Flags&dlm.GroupLock != 0) != (q.Parent&proto.GroupBit != 0):
		res.Status = dlm.BadParam // a lock tree has one owner
		return
	case g.number == 0:
		res.Status = dlm.NoGroup
		return
	case q.Parent == 0 && !slices.Contains(g.spaces, q.Space):
		res.Status = dlm.NotAttached
		return
	case q.Flags&dlm.Persist != 0 && q.Domain == (proto.Digest{}):
		res.Status = dlm.IvRDID
		return
	}
	c := &groupCall{token: q.Token, accept: q.Accept}
	c.Call = proto.Call{
		Verb: proto.GroupLock, Container: g.number, Flags: wireFlags(q.Flags, q.User.BlkRtn), Parent: q.Parent, Mode: q.Mode,
		Space: q.Space, Name: q.Name, Plain: q.Plain, Async: q.Async, Party: proto.Party{ID: uint64(p.me)},
		Domain: q.Domain, User: q.User,
	}
	switch {
	case q.Flags&dlm.TxidLocal != 0:
		c.Party = proto.Party{Kind: proto.PartyLocalTx, ID: q.Tx}
	case q.Flags&dlm.TxidGlobal != 0:
		c.Party = proto.Party{Kind: proto.PartyGlobalTx, ID: q.Tx}
	}
	g.put(p.world, c)
	res.Status = dlm.Pending
}

// onLock puts a call on a lock of the container.
func (p *Process) onLock(c *groupCall, res *Result) {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	var ok bool
	c.Container, ok = g.of(c.Lock)
	switch {
	case p.lost.Load():
		res.Status = dlm.Lost
		return
	case !ok:
		res.Status = dlm.IvLockID
		return
	}
	c.lock = c.Lock
	g.put(p.world, c)
	res.Status = dlm.Pending
}

func (p *Process) groupConvert(q *ConvertRequest, res *Result) {
	p.onLock(&groupCall{token: q.Token, accept: q.Accept, Call: proto.Call{
		Verb: proto.GroupConvert, Lock: q.Lock, Mode: q.Mode, Flags: wireFlags(q.Flags, q.User.BlkRtn), Value: q.Value, User: q.User,
		Async: q.Async, Party: proto.Party{ID: uint64(p.me)},
	}}, res)
}

func (p *Process) groupUnlock(q *UnlockRequest, res *Result) {
	p.onLock(&groupCall{token: q.Token, accepted: true, Call: proto.Call{
		Verb: proto.GroupUnlock, Lock: q.Lock, Flags: uint32(q.Flags), Value: q.Value,
	}}, res)
}

func (p *Process) groupCancel(id proto.LockID, flags dlm.Flags, token uint64, res *Result) {
	p.onLock(&groupCall{token: token, accepted: true, Call: proto.Call{
		Verb: proto.GroupCancel, Lock: id, Flags: uint32(flags),
	}}, res)
}

// follow says something about a call that is under way; it has no answer. The mutex
// is held.
func (g *member) follow(w World, c *groupCall, verb proto.GroupVerb) {
	f := proto.Call{Verb: verb, Container: c.Container, Other: c.Number}
	c.after = append(c.after, f)
	g.send(w, &f)
}

func (g *member) find(token uint64) *groupCall {
	for _, c := range g.calls {
		if c.token == token {
			return c
		}
	}
	return nil
}

func (p *Process) groupExpire(token uint64) {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.find(token); c != nil {
		g.follow(p.world, c, proto.GroupExpire)
	}
}

func (p *Process) groupDetach(token uint64) {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.find(token); c != nil && !c.silent {
		c.silent = true
		g.follow(p.world, c, proto.GroupForget)
	}
}

func (p *Process) groupDelivered(id proto.LockID) {
	g := &p.group
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.noticed, id)
	if container, ok := g.of(id); ok {
		g.send(p.world, &proto.Call{Verb: proto.GroupDelivered, Container: container, Lock: id})
	}
}

// again puts to a new agent what the one before has not answered.
func (g *member) again(w World) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(g.calls)) {
		c := g.calls[n]
		c.Again = true
		g.send(w, &c.Call)
		for i := range c.after {
			g.send(w, &c.after[i])
		}
	}
}

// fromGroup takes the agent's word about a container.
func (p *Process) fromGroup(m *proto.Msg) {
	g, r := &p.group, m.Reply
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m.Kind {
	case proto.KGroupBlocking:
		if !g.noticed[m.Lock] { // a new agent may send it once more
			g.noticed[m.Lock] = true
			p.world.Blocking(&Notice{Lock: m.Lock, Mode: m.Mode, Hint: m.Hint, User: m.User})
		}
		return
	case proto.KGroupDiscard:
		delete(g.noticed, m.Lock)
		p.world.Discard(m.Lock)
		return
	}
	c := g.calls[r.Number]
	switch {
	case c == nil:
		return // answered already
	case r.Waits:
		if !c.accepted {
			c.accepted, c.lock = true, r.Lock
			p.world.Complete(&Completion{Token: c.accept, Status: dlm.Pending, Lock: r.Lock})
		}
		return
	}
	delete(g.calls, r.Number)
	g.answered(c, r)
	done := completionOf(c, r)
	switch {
	case c.silent:
	case c.accepted:
		p.world.Complete(&done)
	default:
		// It is over before anybody was told that it had to wait.
		done.Token, done.Async = c.accept, false
		done.Group = &GroupAnswer{Over: c.token}
		p.world.Complete(&done)
	}
}

// answered notes what an answer changes here.
func (g *member) answered(c *groupCall, r *proto.Reply) {
	st := dlm.Status(r.Status)
	switch {
	case c.Verb == proto.GroupLock && st > dlm.SyncValNotValid, c.Verb == proto.GroupUnlock && st == dlm.Success:
		delete(g.private, c.lock)
	case st != dlm.Success:
	case c.Verb == proto.GroupDestroy && c.Container != g.number:
	case c.Verb == proto.GroupCreate || c.Verb == proto.GroupAttach:
		g.number, g.spaces = r.Container, r.Spaces
	case c.Verb == proto.GroupDetach || c.Verb == proto.GroupDestroy:
		for _, x := range g.calls {
			if x.Verb == proto.GroupLock && x.accepted && x.Container == g.number {
				g.private[x.lock] = privateLock{g.number, x.Space}
			}
		}
		g.number, g.spaces = 0, nil
	}
	g.inside.Store(g.number != 0)
}

func completionOf(c *groupCall, r *proto.Reply) Completion {
	done := Completion{
		Token: c.token, Async: c.Async, Lock: r.Lock, Status: dlm.Status(r.Status), Read: r.Read, Value: r.Value, User: c.User,
		Info: r.Info, Number: uint64(r.Container), Obstacles: r.Obstacles,
	}
	switch {
	case done.Status != dlm.Success:
	case c.Verb == proto.GroupLocks:
		done.Group = &GroupAnswer{Locks: r.Locks}
	case c.Verb == proto.GroupToken:
		done.Group = &GroupAnswer{Stamp: r.Stamp}
	case c.Verb == proto.GroupLockInfo:
		done.Group = &GroupAnswer{LockInfo: &LockInfo{
			Space: r.Space, Name: r.Name, Parent: r.Parent, Requested: r.Requested, Granted: r.Granted,
			State: State(r.State), Flags: dlm.Flags(r.Flags) &^ internal, User: r.User,
		}}
	}
	return done
}

func (g *member) lose(w World) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(g.calls)) {
		c := g.calls[n]
		done := Completion{Token: c.token, Async: c.Async, Lock: c.lock, Status: dlm.Lost, User: c.User}
		if !c.accepted {
			done.Token, done.Async, done.Group = c.accept, false, &GroupAnswer{Over: c.token}
		}
		if !c.silent {
			w.Complete(&done)
		}
	}
	clear(g.calls)
}
