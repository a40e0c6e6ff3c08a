package group

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Flags of a container and of its destruction (DLM_GLC_*).
const (
	Owned = 0x1 // it ends with its creator
	Perm  = 0x2 // it outlives its last member
	Locks = 0x4 // destroy it although it has locks
	Force = 0x8 // destroy it, and kill its members
)

// container is one group lock container.
type container struct {
	g       *Groups
	id      proto.ProcID
	number  uint32
	flags   uint32
	creator proto.ProcID
	spaces  []proto.Namespace
	members map[proto.ProcID]bool
	proc    *process.Process
	locks   map[proto.LockID]*held

	dying  bool // its members are being killed
	by     proto.ProcID
	byCall uint64
	killed map[proto.ProcID]bool
	ended  bool // only private locks are left

	stale   bool // what is noted of the container itself
	touched map[proto.LockID]bool
	saved   map[proto.LockID][]byte
	later   []func() // to be done when its process is not at work
}

// held is what the container knows of a lock beyond what its process does.
type held struct {
	// asking has an operation under way; userOf gave the routines that are in
	// force. Both manipulate the lock (D-54).
	asking  proto.ProcID
	userOf  proto.ProcID
	private proto.ProcID // the former member that the lock was left to
	notice  *proto.Msg   // not delivered yet
}

func (g *Groups) newContainer(id proto.ProcID, number uint32) *container {
	c := &container{
		g: g, id: id, number: number, members: map[proto.ProcID]bool{}, locks: map[proto.LockID]*held{},
		killed: map[proto.ProcID]bool{}, touched: map[proto.LockID]bool{}, saved: map[proto.LockID][]byte{},
	}
	c.proc = process.New(&world{c}, noJournal{})
	// Neighbours far apart, and each agent beyond what the one before can have used.
	c.proc.Guest(number*2654435761 + uint32(g.registry.View()>>32)<<16)
	g.byProc[id], g.byNumber[number] = c, c
	return c
}

// create makes a container with the caller as its first member.
func (g *Groups) create(q *call, m *proto.Call) {
	if g.memberOf[q.proc] != nil {
		g.status(q, dlm.Attached)
		return
	}
	g.count = max(1, (g.count+1)&(1<<31-1)) // dlm_glc_id_t is an int
	g.notes = append(g.notes, &proto.Msg{Kind: proto.KNoteCount, Number: uint64(g.count), Text: g.past.boot})
	number, flags, spaces := g.count, m.Flags, slices.Clone(m.Spaces)
	g.registry.JoinGroup(func(id proto.ProcID, view uint64) {
		g.work(func() { g.created(q, id, view, number, flags, spaces) })
	})
}

// created: a new container has its name, while its creator may have gone.
func (g *Groups) created(q *call, id proto.ProcID, view uint64, number, flags uint32, spaces []proto.Namespace) {
	switch {
	case g.calls[q.callKey] != q:
		g.registry.Dead(id)
		return
	case g.memberOf[q.proc] != nil: // by another call meanwhile
		g.registry.Dead(id)
		g.status(q, dlm.Attached)
		return
	}
	c := g.newContainer(id, number)
	c.flags, c.creator, c.spaces = flags, q.proc, spaces
	c.proc.Joined(id, view)
	g.world.Open(id)
	g.registry.Connected(id)
	c.admit(q)
}

func (c *container) admit(q *call) {
	c.members[q.proc] = true
	c.g.memberOf[q.proc] = c
	c.stale = true
	c.g.answer(q, proto.Reply{Container: c.number, Spaces: c.spaces})
}

func (g *Groups) attach(q *call, m *proto.Call) {
	c := g.byNumber[m.Container]
	switch {
	case g.memberOf[q.proc] != nil:
		g.status(q, dlm.Attached)
	case c == nil || c.ended || c.dying:
		g.status(q, dlm.ENoEnt)
	case slices.ContainsFunc(c.spaces, func(s proto.Namespace) bool { return !slices.Contains(m.Spaces, s) }):
		g.status(q, dlm.NotAttached)
	default:
		c.admit(q)
	}
}

func (g *Groups) detach(q *call) {
	c := g.memberOf[q.proc]
	switch {
	case c == nil:
		g.status(q, dlm.NotAttached)
	case c.flags&Owned != 0 && c.creator == q.proc && !c.dying:
		c.die(q)
	default:
		c.leave(q.proc, true)
		g.status(q, dlm.Success)
	}
}

// destroy: a caller who may is root, the creator, or in one of the namespaces.
func (g *Groups) destroy(q *call, m *proto.Call) {
	c := g.byNumber[m.Container]
	switch {
	case c == nil || c.ended || c.dying:
		g.status(q, dlm.ENoEnt)
	case !m.Plain && c.creator != q.proc && !slices.ContainsFunc(c.spaces, func(s proto.Namespace) bool { return slices.Contains(m.Spaces, s) }):
		g.status(q, dlm.NoAccess)
	case m.Flags&Force != 0:
		c.die(q)
	case len(c.members) > 0:
		g.status(q, dlm.HasProcs)
	case m.Flags&Locks == 0 && c.owns():
		g.status(q, dlm.HasLocks)
	default:
		g.end(c)
		g.status(q, dlm.Success)
	}
}

// owns reports whether the container has locks that are not private.
func (c *container) owns() bool {
	for _, l := range c.locks {
		if l.private == 0 {
			return true
		}
	}
	return false
}

// leave takes a member out: what it manipulated is nobody's (M51:dlm_glc_detach,
// D-53). It keeps what it waits for if it goes on to live.
func (c *container) leave(p proto.ProcID, alive bool) {
	for _, id := range c.lockIDs() {
		l := c.locks[id]
		if l == nil || l.private != 0 {
			continue
		}
		n, ok := c.proc.Noted(id)
		c.touch(id)
		if ok && l.asking == p && n.Pending != proto.PendingNothing {
			switch {
			case n.Pending == proto.PendingConvert:
				l.asking = 0
				c.withdraw(id, n.AskToken, alive)
			case alive && n.Parent == 0:
				l.private = p
			case alive: // not without its parent, which stays behind
				c.unlock(id, 0)
			default:
				c.withdraw(id, n.AskToken, false)
			}
		}
		if l.userOf == p && l.private == 0 {
			if alive {
				c.g.send(p, &proto.Msg{Kind: proto.KGroupDiscard, Lock: outside(id)})
			}
			l.userOf, l.notice = 0, nil
			c.proc.Delivered(id)
		}
	}
	delete(c.members, p)
	delete(c.g.memberOf, p)
	c.stale = true
	if len(c.members) == 0 && c.flags&Perm == 0 && !c.dying {
		c.g.end(c)
	}
}

// withdraw cancels a request. told: its caller hears of it.
func (c *container) withdraw(id proto.LockID, token uint64, told bool) {
	if !told {
		c.proc.Detach(id, token)
		return
	}
	var res process.Result
	c.proc.Cancel(id, dlm.CancelWaitOK, 0, &res)
}

// unlock gives a lock up without anybody's asking for it.
func (c *container) unlock(id proto.LockID, flags dlm.Flags) dlm.Status {
	var res process.Result
	c.proc.Unlock(&process.UnlockRequest{Lock: id, Flags: flags}, &res)
	c.touch(id)
	return res.Status
}

// died lets go of all that a process had to do with containers.
func (g *Groups) died(p proto.ProcID) {
	for _, q := range g.callsOf(p) {
		g.forget(q)
	}
	if c := g.memberOf[p]; c != nil {
		c.leave(p, false)
	}
	for _, c := range g.inOrder() {
		if c.flags&Owned != 0 && c.creator == p && !c.ended && !c.dying {
			c.die(nil)
		}
		for _, id := range c.lockIDs() {
			if l := c.locks[id]; l != nil && l.private == p {
				l.private, l.userOf, l.asking = 0, 0, 0
				if n, ok := c.proc.Noted(id); ok && n.Pending != proto.PendingNothing {
					c.proc.Detach(id, n.AskToken)
				}
				c.unlock(id, dlm.InvValBlk)
			}
		}
	}
}

// die begins to kill the members. q is the call that asked for it; its caller is
// spared.
func (c *container) die(q *call) {
	c.dying, c.stale = true, true
	if q != nil {
		q.group = c.id
		c.by, c.byCall = q.proc, q.number
		c.g.change(q)
	}
}

// killing goes on killing the members. The agent's own process is the last: with it
// goes this agent, and the next one finishes.
func (c *container) killing() {
	g, left := c.g, 0
	q := g.calls[callKey{c.by, c.byCall}]
	for _, p := range c.memberIDs() {
		if p == c.by {
			continue
		}
		left++
		if p == g.world.Self() || c.killed[p] {
			continue
		}
		c.killed[p] = true
		if err := g.world.Kill(p); err != nil {
			c.spare(q)
			return
		}
	}
	switch {
	case left == 0:
		if c.members[c.by] {
			c.leave(c.by, true)
		}
		g.end(c)
		if q != nil && !q.done {
			g.status(q, dlm.Success)
		}
	case left == 1 && c.members[g.world.Self()] && c.by != g.world.Self():
		if p := g.world.Self(); !c.killed[p] {
			c.killed[p] = true
			c.later = append(c.later, func() {
				if g.world.Kill(p) != nil {
					c.spare(q)
				}
			})
		}
	}
}

// spare: somebody could not be killed.
func (c *container) spare(q *call) {
	c.dying, c.by, c.byCall, c.stale = false, 0, 0, true
	clear(c.killed)
	if q != nil && !q.done {
		c.g.status(q, dlm.KillFail)
	}
}

// end lets go of the container's locks: nobody unlocks them, so the value blocks of
// those in PW and EX are not valid (D-38).
func (g *Groups) end(c *container) {
	if c.ended {
		return
	}
	c.ended, c.dying, c.stale = true, false, true
	if !slices.ContainsFunc(slices.Collect(maps.Values(c.locks)), func(l *held) bool { return l.private != 0 }) {
		g.finish(c)
	}
}

// emptying goes on with letting go of what is not private.
func (c *container) emptying() {
	if len(c.locks) == 0 {
		c.g.finish(c)
		return
	}
	for _, id := range c.lockIDs() {
		if c.locks[id].private == 0 {
			c.unlock(id, dlm.InvValBlk)
		}
	}
}

// finish declares the container dead.
func (g *Groups) finish(c *container) {
	if g.byProc[c.id] != c {
		return
	}
	delete(g.byProc, c.id)
	delete(g.byNumber, c.number)
	for p := range c.members {
		delete(g.memberOf, p)
	}
	c.proc.Lost()
	for _, token := range slices.Sorted(maps.Keys(g.byToken)) {
		q := g.byToken[token]
		if q.group == c.id && (q.proc != c.by || q.number != c.byCall) && q.verb > proto.GroupDestroy {
			g.status(q, dlm.Abort)
		}
	}
	g.notes = append(g.notes, &proto.Msg{Kind: proto.KDropGroup, Proc: c.id})
	g.out = append(g.out, outgoing{group: c.id}) // not before it is noted
}

// settle goes on with whatever can go on, once the container's process is not at
// work any more.
func (c *container) settle() {
	for len(c.later) > 0 {
		later := c.later
		c.later = nil
		for _, f := range later {
			f()
		}
	}
	for _, key := range c.proc.Resumed() {
		for _, id := range c.proc.LocksOn(&key) {
			c.touch(id)
		}
	}
	switch {
	case c.g.byProc[c.id] != c:
	case c.dying:
		c.killing()
	case c.ended:
		c.emptying()
	}
}

func (c *container) touch(id proto.LockID) {
	if id != 0 {
		c.touched[inside(id)] = true
	}
}

// records lists what has to be noted.
func (c *container) records(out []*proto.Msg) []*proto.Msg {
	if c.stale {
		c.stale = false
		out = append(out, &proto.Msg{Kind: proto.KNoteGroup, NotedGroup: &proto.NotedGroup{
			Number: c.number, Proc: c.id, Flags: c.flags, Creator: c.creator, Spaces: c.spaces, Members: c.memberIDs(),
			Dying: c.dying, By: c.by, ByCall: c.byCall, Ended: c.ended,
		}})
	}
	for _, id := range slices.Sorted(maps.Keys(c.touched)) {
		n, ok := c.proc.Noted(id)
		if !ok {
			delete(c.locks, id)
			if c.saved[id] != nil {
				delete(c.saved, id)
				out = append(out, &proto.Msg{Kind: proto.KDropLock, Proc: c.id, Lock: id})
			}
			continue
		}
		if l := c.locks[id]; l != nil {
			n.Manipulator, n.UserOf, n.Private = l.asking, l.userOf, l.private
		}
		m := &proto.Msg{Kind: proto.KNoteLock, NotedLock: &n}
		if b := proto.Append(nil, m); !bytes.Equal(b, c.saved[id]) {
			c.saved[id] = b
			out = append(out, m)
		}
	}
	clear(c.touched)
	return out
}

func (c *container) memberIDs() []proto.ProcID { return slices.Sorted(maps.Keys(c.members)) }

func (c *container) lockIDs() []proto.LockID { return slices.Sorted(maps.Keys(c.locks)) }

// fromAgent takes a message of the agent.
func (c *container) fromAgent(m *proto.Msg) {
	if m.Kind == proto.KMaster {
		for _, id := range c.proc.LocksOn(&m.Root) {
			c.touch(id)
		}
	}
	c.proc.FromAgent(m)
}

// world is a container as its process sees the outside.
type world struct{ c *container }

// Send implements process.World.
func (w *world) Send(to proto.ProcID, role proto.Role, m *proto.Msg) {
	w.c.g.out = append(w.c.g.out, outgoing{w.c.id, to, role, copyOf(m)})
}

// SendAgent implements process.World.
func (w *world) SendAgent(m *proto.Msg) {
	w.c.g.out = append(w.c.g.out, outgoing{group: w.c.id, message: copyOf(m)})
}

// Complete implements process.World.
func (w *world) Complete(done *process.Completion) { w.c.completed(done) }

// Blocking implements process.World.
func (w *world) Blocking(n *process.Notice) {
	c := w.c
	l := c.locks[n.Lock]
	if l == nil || l.userOf == 0 {
		// To no one (D-54). Who manipulates the lock next is told then.
		id := n.Lock
		c.later = append(c.later, func() { c.proc.Delivered(id) })
		return
	}
	l.notice = &proto.Msg{Kind: proto.KGroupBlocking, Lock: outside(n.Lock), Mode: n.Mode, Hint: n.Hint, User: n.User}
	c.g.send(l.userOf, l.notice)
}

// Discard implements process.World.
func (w *world) Discard(id proto.LockID) bool {
	if l := w.c.locks[id]; l != nil && l.userOf != 0 {
		l.notice = nil
		w.c.g.send(l.userOf, &proto.Msg{Kind: proto.KGroupDiscard, Lock: outside(id)})
	}
	return true
}

// Now implements process.World.
func (w *world) Now() int64 { return w.c.g.world.Now() }

// Alarm implements process.World.
func (w *world) Alarm(at int64) { w.c.g.world.Alarm(at) }

// Deadlock implements process.World.
func (w *world) Deadlock(c []process.Link) { w.c.g.world.Deadlock(c) }

var errGuest = errors.New("a container masters no tree")

// noJournal is that of a process that masters nothing.
type noJournal struct{}

// Open implements process.Journal.
func (noJournal) Open() (uint32, error) { return 0, errGuest }

// Write implements process.Journal.
func (noJournal) Write(uint32, *proto.Record) {}

// Close implements process.Journal.
func (noJournal) Close(uint32) {}

// Peer implements process.Journal.
func (noJournal) Peer(proto.ProcID) error { return errGuest }

// Date implements process.World. A container masters nothing, so it dates nothing.
func (w *world) Date() uint32 { return 0 }
