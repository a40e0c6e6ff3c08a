package group

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// take carries a call out, unless it was before.
func (g *Groups) take(p proto.ProcID, m *proto.Call) {
	for _, q := range g.callsOf(p) {
		if q.number < m.Low && q.done {
			g.forget(q)
		}
	}
	if m.Number == 0 {
		g.follow(p, m)
		return
	}
	if q := g.calls[callKey{p, m.Number}]; q != nil {
		if q.done {
			g.send(p, &proto.Msg{Kind: proto.KGroupReply, Reply: &q.reply})
		} else if q.told {
			g.waits(q, q.lock)
		}
		return
	}
	c := g.byNumber[m.Container]
	q := g.begin(p, m, c)
	q.lock = inside(m.Lock)
	if q.lasting() && g.world.Reserve(g.room()) != nil {
		g.status(q, dlm.InsfMem)
		return
	}
	switch m.Verb {
	case proto.GroupCreate:
		g.create(q, m)
	case proto.GroupAttach:
		g.attach(q, m)
	case proto.GroupDetach:
		g.detach(q)
	case proto.GroupDestroy:
		g.destroy(q, m)
	case proto.GroupLock:
		if c == nil || !c.members[p] || c.dying {
			g.status(q, dlm.NoGroup)
			return
		}
		c.lock(q, m)
	default:
		l := c.lockOf(p, m.Lock|m.Parent)
		if l == nil {
			// An unlock may have been carried out for an agent that died.
			st := dlm.IvLockID
			if m.Verb == proto.GroupUnlock && m.Again {
				st = dlm.Success
			}
			g.status(q, st)
			return
		}
		c.onLock(q, m, l)
	}
}

// lockOf is the lock that p may use; nil if it may use none of that id.
func (c *container) lockOf(p proto.ProcID, id proto.LockID) *held {
	if c == nil {
		return nil
	}
	l := c.locks[inside(id)]
	if l == nil || l.private != p && (l.private != 0 || !c.members[p]) {
		return nil
	}
	return l
}

// follow takes what a member says about a call of its own, or about a notification.
func (g *Groups) follow(p proto.ProcID, m *proto.Call) {
	c := g.byNumber[m.Container]
	if c == nil {
		return
	}
	if m.Verb == proto.GroupDelivered {
		if l := c.lockOf(p, m.Lock); l != nil && l.userOf == p {
			l.notice = nil
			c.proc.Delivered(inside(m.Lock))
		}
		return
	}
	q := g.calls[callKey{p, m.Other}]
	if q == nil || q.done || q.group != c.id || !q.told {
		return
	}
	c.touch(q.lock)
	switch m.Verb {
	case proto.GroupExpire:
		c.proc.Expire(q.lock, q.token)
	case proto.GroupForget:
		c.proc.Detach(q.lock, q.token)
		if l := c.locks[q.lock]; l != nil && l.asking == p {
			l.asking = 0
		}
		g.status(q, dlm.Abort) // the caller does not hear it
	}
}

func (c *container) lock(q *call, m *proto.Call) {
	if m.Parent != 0 && c.lockOf(q.proc, m.Parent) == nil {
		c.g.status(q, dlm.IvLockID)
		return
	}
	if m.Parent == 0 && !slices.Contains(c.spaces, m.Space) {
		c.g.status(q, dlm.NotAttached)
		return
	}
	var res process.Result
	c.proc.Lock(&process.LockRequest{
		Space: m.Space, Name: m.Name, Parent: inside(m.Parent), Mode: m.Mode, Plain: m.Plain, Flags: dlm.Flags(m.Flags),
		Domain: m.Domain, Party: m.Party, User: m.User, Token: q.token, Async: m.Async,
	}, &res)
	if res.Status != dlm.Pending {
		c.g.status(q, res.Status)
		return
	}
	c.locks[res.Lock] = &held{asking: q.proc}
	c.touch(res.Lock)
	c.g.waits(q, res.Lock)
}

// onLock carries out a call on a lock that is there.
func (c *container) onLock(q *call, m *proto.Call, l *held) {
	g, id := c.g, inside(m.Lock)
	var res process.Result
	switch m.Verb {
	case proto.GroupConvert:
		if l.asking != 0 && l.asking != q.proc {
			g.status(q, dlm.LkBusy) // D-31
			return
		}
		c.proc.Convert(&process.ConvertRequest{
			Lock: id, Mode: m.Mode, Flags: dlm.Flags(m.Flags), Value: m.Value, Party: m.Party, User: m.User,
			Token: q.token, Async: m.Async,
		}, &res)
		if res.Status == dlm.Pending {
			l.asking = q.proc
			g.waits(q, id)
		}
	case proto.GroupUnlock:
		c.proc.Unlock(&process.UnlockRequest{Lock: id, Flags: dlm.Flags(m.Flags), Value: m.Value, Token: q.token}, &res)
		if res.Status == dlm.IvLockID && m.Again {
			res.Status = dlm.Success
		}
		if res.Status == dlm.Pending {
			g.change(q)
		}
	case proto.GroupCancel:
		c.proc.Cancel(id, dlm.Flags(m.Flags), q.token, &res)
		if res.Status == dlm.Pending {
			g.change(q)
		}
	case proto.GroupLockInfo:
		g.answer(q, c.describe(q.proc, id, l))
		return
	case proto.GroupToken:
		t, st := c.proc.Token(id)
		g.answer(q, proto.Reply{Status: int32(st), Stamp: t})
		return
	case proto.GroupLocks:
		r := proto.Reply{}
		for _, x := range c.proc.Locks(nil, id, nil) {
			r.Locks = append(r.Locks, outside(x))
		}
		g.answer(q, r)
		return
	case proto.GroupBlockers:
		c.proc.Blockers(id, q.token, &res)
	case proto.GroupResource:
		n, _ := c.proc.Noted(inside(m.Parent))
		c.proc.ResourceInfo(n.Root.Space, m.Name, inside(m.Parent), q.token, &res)
	default:
		res.Status = dlm.UnexpErr
	}
	c.touch(id)
	if res.Status != dlm.Pending {
		g.answer(q, proto.Reply{Status: int32(res.Status), Info: res.Info, Obstacles: res.Obstacles})
	}
}

// describe answers dlm_get_lkinfo. Addresses are told to whom they mean something.
func (c *container) describe(p proto.ProcID, id proto.LockID, l *held) proto.Reply {
	n, st := c.proc.LockInfo(id)
	r := proto.Reply{
		Status: int32(st), Lock: outside(id), Space: n.Space, Name: n.Name, Parent: outside(n.Parent),
		Requested: n.Requested, Granted: n.Granted, State: uint8(n.State), Flags: uint32(n.Flags),
	}
	if p == l.userOf && l.asking == 0 || p == l.asking {
		r.User = n.User
	}
	return r
}

// completed takes the outcome of a request that the container's process had.
func (c *container) completed(done *process.Completion) {
	c.touch(done.Lock)
	q := c.g.byToken[done.Token]
	if q == nil {
		return
	}
	st := done.Status
	if st == dlm.Lost { // the container has ended
		st = dlm.Abort
	}
	if l := c.locks[done.Lock]; l != nil && (q.verb == proto.GroupLock || q.verb == proto.GroupConvert) {
		l.asking = 0
		if st <= dlm.SyncValNotValid && (c.members[q.proc] || l.private == q.proc) {
			l.userOf = q.proc
		}
	}
	c.g.answer(q, proto.Reply{
		Status: int32(st), Lock: outside(done.Lock), Async: done.Async, Read: done.Read, Value: done.Value,
		Info: done.Info, Obstacles: slices.Clone(done.Obstacles),
	})
}

// callsOf are the calls of a process, in order.
func (g *Groups) callsOf(p proto.ProcID) (out []*call) {
	for key, q := range g.calls {
		if key.proc == p {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, func(x, y *call) int { return int(int64(x.number - y.number)) })
	return out
}

// ---- after the death of an agent ----

// revive makes a container anew from what is noted.
func (g *Groups) revive(n *proto.NotedGroup) {
	c := g.newContainer(n.Proc, n.Number)
	c.flags, c.creator, c.spaces = n.Flags, n.Creator, n.Spaces
	c.dying, c.by, c.byCall, c.ended = n.Dying, n.By, n.ByCall, n.Ended
	for _, p := range n.Members {
		c.members[p] = true
		g.memberOf[p] = c
	}
	c.proc.Joined(n.Proc, g.registry.View())
	var locks []proto.NotedLock
	for _, l := range g.past.locksInOrder(n.Proc) {
		locks = append(locks, *l)
		// The callers may be dead, and the requests go on.
		g.lastToken = max(g.lastToken, l.AskToken, l.UnlockToken)
		for _, token := range l.Cancels {
			g.lastToken = max(g.lastToken, token)
		}
		c.locks[l.Lock] = &held{asking: l.Manipulator, userOf: l.UserOf, private: l.Private}
		c.saved[l.Lock] = proto.Append(nil, &proto.Msg{Kind: proto.KNoteLock, NotedLock: l})
	}
	c.proc.Restore(locks)
}

// reviveCalls takes up the calls that are answered or certainly under way. One that
// may not be is forgotten: its caller puts it once more.
func (g *Groups) reviveCalls() {
	for _, n := range g.past.callsInOrder() {
		q := &call{
			callKey: callKey{n.Proc, n.Reply.Number}, token: n.Token, verb: n.Verb, group: n.Group, lock: n.Lock,
			again: true, told: true, noted: true, done: n.Done, reply: n.Reply,
		}
		g.lastToken = max(g.lastToken, n.Token)
		g.calls[q.callKey] = q
		switch {
		case q.done:
		case g.underWay(q):
			g.byToken[q.token] = q
		default:
			g.forget(q)
		}
	}
	for _, c := range g.inOrder() {
		for id, l := range c.locks {
			if n, ok := c.proc.Noted(id); ok && n.Pending == proto.PendingNothing && n.Granted != mode.None {
				l.asking = 0
			}
		}
	}
}

// underWay reports whether the container's process has the call's request.
func (g *Groups) underWay(q *call) bool {
	c := g.byProc[q.group]
	if c == nil {
		return false
	}
	if q.verb == proto.GroupDetach || q.verb == proto.GroupDestroy {
		return c.dying && c.by == q.proc && c.byCall == q.number
	}
	n, ok := c.proc.Noted(q.lock)
	switch {
	case !ok:
		return false
	case q.verb == proto.GroupUnlock:
		return n.Unlock && n.UnlockToken == q.token
	case q.verb == proto.GroupCancel:
		return slices.Contains(n.Cancels, q.token)
	}
	return n.Pending != proto.PendingNothing && n.AskToken == q.token
}

// strangers are members, creators and callers that do not live any more.
func (g *Groups) strangers(alive func(proto.ProcID) bool) (out []proto.ProcID) {
	note := func(p proto.ProcID) {
		if p != 0 && !alive(p) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for _, c := range g.inOrder() {
		note(c.creator)
		for _, p := range c.memberIDs() {
			note(p)
		}
		for _, l := range c.locks {
			note(l.private)
		}
	}
	for key := range g.calls {
		note(key.proc)
	}
	slices.Sort(out)
	return out
}
