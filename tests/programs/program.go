package programs

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// resource is what the programs know of one.
type resource struct {
	root   proto.Root
	name   string
	writes map[uint32]bool // all that was ever to be written
	done   uint32          // the last one that was answered
	doneAt int             // step in which it was asked for
	doubt  int             // step in which a writer may have gone without unlocking; 0: none since the last write
	sure   int             // step in which that write was told to be done
	broken bool            // one certainly has, and nobody has tried to write since
	was    mode.Mode       // and held this
	tried  int             // step of the last attempt to write
	broke  int
	empty  int // last step in which nobody held it for certain, so that it may be a new one since
	kept   bool
	fence  proto.Stamp // the newest token
}

// grp is a container as programs know it.
type grp struct {
	number  uint32
	flags   uint32
	creator *Program
	members []*Program
	ending  int // step from which on it may have ended; 0: it has not
	over    bool
	host    any
	// deserted is the step since which no process of its host has lived; 0: some does.
	deserted int
}

// lk is a lock.
type lk struct {
	id    proto.LockID
	owner *Program // of an own lock
	grp   *grp
	res   *resource
	mode  mode.Mode
	busy  *op
	gone  bool
	pin   bool
	vague bool // a member died with a request for it under way,
	since int  // in this step
}

type verb uint8

const (
	askLock verb = iota
	askConvert
	askUnlock
	askCancel
	askInfo
	askCreate
	askAttach
	askDetach
	askDestroy
)

// op is a call that is not answered.
type op struct {
	verb  verb
	p     *Program
	l     *lk
	g     *grp
	want  mode.Mode
	flags dlm.Flags
	write uint32
	began int
	done  uint32 // the resource's then
	since int    // and since when
	async bool
}

func (s *All) newOp(v verb, p *Program) (*op, uint64) {
	s.token++
	o := &op{verb: v, p: p, began: s.w.Steps()}
	s.ops[s.token] = o
	s.Calls++
	return o, s.token
}

// Act lets some program do something.
func (s *All) Act() {
	var able []*Program
	for _, p := range s.alive() {
		if p.ID() != 0 && !p.Stopped() {
			able = append(able, p)
		}
	}
	if len(able) == 0 {
		return
	}
	p := able[s.rng.IntN(len(able))]
	if s.moving(p) {
		return
	}
	if p.group == nil && !p.pin && s.one(3) { // who keeps the resources stays out of it
		s.enter(p)
		return
	}
	if p.group != nil && s.one(s.Stay) {
		s.leave(p)
		return
	}
	if here := s.here(p); s.one(s.Keep) && len(here) > 0 {
		s.destroy(p, here[s.rng.IntN(len(here))])
		return
	}
	// Someone's lock, or a new one.
	var mine []*lk
	for _, l := range s.locks {
		if !l.gone && l.id != 0 && (l.owner == p && !l.pin || l.grp != nil && l.grp == p.group) {
			mine = append(mine, l)
		}
	}
	if len(mine) == 0 || s.one(4) {
		var g *grp
		if p.group != nil && !s.one(3) {
			g = p.group
		}
		m := mode.NL + mode.Mode(s.rng.IntN(6))
		f := dlm.ValB
		if s.one(4) {
			f |= dlm.NoQueue
		}
		s.lock(p, g, s.res[s.rng.IntN(len(s.res))], m, f)
		return
	}
	l := mine[s.rng.IntN(len(mine))]
	switch {
	case l.busy != nil && l.busy.verb == askUnlock:
	case l.busy != nil && s.one(3):
		s.cancel(p, l)
	case l.busy != nil && s.one(4):
		s.unlock(p, l, false)
	case l.busy != nil:
	case l.vague && l.grp != nil:
		s.info(p, l)
	case s.one(2):
		s.unlock(p, l, s.one(2))
	default:
		s.convert(p, l)
	}
}

// here are the containers of p's host.
func (s *All) here(p *Program) (out []*grp) {
	for _, g := range s.groups {
		if g.host == p.Host() {
			out = append(out, g)
		}
	}
	return out
}

// lockRoot has p keep a resource.
func (s *All) lockRoot(p *Program, r *resource) {
	s.lock(p, nil, r, mode.NL, dlm.Expedite)
	p.locks[len(p.locks)-1].pin = true
}

func (s *All) lock(p *Program, g *grp, r *resource, m mode.Mode, f dlm.Flags) {
	l := &lk{owner: p, res: r}
	q := process.LockRequest{Space: r.root.Space, Name: r.root.Name, Mode: m, Flags: f, Async: s.one(2)}
	if g != nil {
		l.owner, l.grp = nil, g
		q.Flags |= dlm.GroupLock
	}
	o, token := s.newOp(askLock, p)
	o.l, o.want, o.flags, o.done, o.since, o.async = l, m, f, r.done, r.doneAt, q.Async
	l.busy = o
	s.token++
	s.ops[s.token] = o
	q.Token, q.Accept = token, s.token
	s.locks = append(s.locks, l)
	p.locks = append(p.locks, l)
	s.note("%s locks %s %v flags %x group %v", p, r.name, m, uint32(f), g != nil)
	var res process.Result
	s.w.Step(p.Process, func() {
		p.Core().Lock(&q, &res)
		l.id = res.Lock
		if res.Status != dlm.Pending {
			s.answered(p, &process.Completion{Token: token, Lock: res.Lock, Status: res.Status, Read: res.Read, Value: res.Value})
		}
	})
}

func (s *All) convert(p *Program, l *lk) {
	o, token := s.newOp(askConvert, p)
	o.l, o.want, o.flags, o.done, o.since = l, mode.NL+mode.Mode(s.rng.IntN(6)), dlm.ValB, l.res.done, l.res.doneAt
	if s.one(4) {
		o.flags |= dlm.NoQueue
	}
	q := process.ConvertRequest{Lock: l.id, Mode: o.want, Flags: o.flags, Token: token, Async: s.one(2)}
	if !l.vague && mode.OnConvert(l.mode, o.want) == mode.Write {
		o.write = s.nextWrite(l.res)
		q.Value = value(o.write)
	} else {
		o.flags &^= dlm.ValB
		q.Flags = o.flags
		if !l.vague && mode.OnConvert(l.mode, o.want) == mode.Read {
			o.flags |= dlm.ValB
			q.Flags = o.flags
		}
	}
	s.token++
	s.ops[s.token] = o
	q.Accept = s.token
	l.busy = o
	s.note("%s converts %x on %s %v to %v write %d", p, uint64(l.id), l.res.name, l.mode, o.want, o.write)
	var res process.Result
	s.w.Step(p.Process, func() {
		p.Core().Convert(&q, &res)
		if res.Status != dlm.Pending {
			s.answered(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status, Read: res.Read, Value: res.Value})
		}
	})
}

func (s *All) nextWrite(r *resource) uint32 {
	s.write++
	r.writes[s.write] = true
	r.broken, r.tried = false, s.w.Steps()
	return s.write
}

func (s *All) unlock(p *Program, l *lk, write bool) {
	o, token := s.newOp(askUnlock, p)
	o.l = l
	q := process.UnlockRequest{Lock: l.id, Token: token}
	if write && !l.vague && l.busy == nil && mode.Writer(l.mode) {
		o.write = s.nextWrite(l.res)
		o.flags, q.Flags, q.Value = dlm.ValB, dlm.ValB, value(o.write)
	}
	l.busy = o
	s.note("%s unlocks %x on %s %v write %d", p, uint64(l.id), l.res.name, l.mode, o.write)
	var res process.Result
	s.w.Step(p.Process, func() {
		p.Core().Unlock(&q, &res)
		if res.Status != dlm.Pending {
			s.answered(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status})
		}
	})
}

func (s *All) cancel(p *Program, l *lk) {
	o, token := s.newOp(askCancel, p)
	o.l = l
	s.note("%s cancels %x on %s", p, uint64(l.id), l.res.name)
	var res process.Result
	s.w.Step(p.Process, func() {
		p.Core().Cancel(l.id, dlm.CancelWaitOK, token, &res)
		if res.Status != dlm.Pending {
			s.answered(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status})
		}
	})
}

func (s *All) info(p *Program, l *lk) {
	o, token := s.newOp(askInfo, p)
	o.l = l
	l.busy = o
	var res process.Result
	s.note("%s looks at %x", p, uint64(l.id))
	s.w.Step(p.Process, func() {
		p.Core().Group(&process.GroupRequest{Verb: proto.GroupLockInfo, Lock: l.id, Token: token}, &res)
		if res.Status != dlm.Pending {
			s.answered(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status})
		}
	})
}

var spaces = []proto.Namespace{{}}

// enter makes p a member of some container, old or new.
func (s *All) enter(p *Program) {
	var there []*grp
	for _, g := range s.here(p) {
		if g.number != 0 && g.ending == 0 {
			there = append(there, g)
		}
	}
	if len(there) > 0 && !s.one(4) {
		g := there[s.rng.IntN(len(there))]
		o, token := s.newOp(askAttach, p)
		o.g = g
		s.note("%s attaches to container %d", p, g.number)
		s.about(p, token, &process.GroupRequest{Verb: proto.GroupAttach, Container: g.number, Spaces: spaces})
		return
	}
	g := &grp{host: p.Host(), creator: p, flags: []uint32{0, 0, group.Perm, group.Owned}[s.rng.IntN(4)]}
	o, token := s.newOp(askCreate, p)
	o.g = g
	s.note("%s creates a container, flags %d", p, g.flags)
	s.about(p, token, &process.GroupRequest{Verb: proto.GroupCreate, Flags: g.flags, Spaces: spaces})
}

// answered takes the outcome that a call returns, if the program lives to hear it.
func (s *All) answered(p *Program, c *process.Completion) {
	if !s.w.Unheard(p.Process) {
		s.told(p, c)
	}
}

func (s *All) about(p *Program, token uint64, q *process.GroupRequest) {
	q.Token = token
	var res process.Result
	s.w.Step(p.Process, func() {
		p.Core().Group(q, &res)
		if res.Status != dlm.Pending {
			s.answered(p, &process.Completion{Token: token, Status: res.Status})
		}
	})
}

func (s *All) leave(p *Program) {
	g := p.group
	if s.busyIn(p, g) {
		return
	}
	o, token := s.newOp(askDetach, p)
	o.g = g
	if g.flags&group.Perm == 0 && !slices.ContainsFunc(g.members, func(m *Program) bool { return m != p }) || g.flags&group.Owned != 0 && g.creator == p {
		s.maybeEnding(g)
	}
	g.members = slices.DeleteFunc(g.members, func(m *Program) bool { return m == p })
	s.note("%s detaches", p)
	s.about(p, token, &process.GroupRequest{Verb: proto.GroupDetach})
}

// busyIn reports whether p has requests under way in g. They would go back to it as
// its own, which is mp_group.c's to look at.
func (s *All) busyIn(p *Program, g *grp) bool {
	for _, o := range s.ops {
		if o.p == p && o.l != nil && o.l.grp == g {
			return true
		}
	}
	return false
}

func (s *All) destroy(p *Program, g *grp) {
	if g.number == 0 || p.group == g && s.busyIn(p, g) {
		return
	}
	o, token := s.newOp(askDestroy, p)
	o.g = g
	f := []uint32{0, group.Locks, group.Force}[s.rng.IntN(3)]
	if f == group.Force || f == group.Locks {
		s.maybeEnding(g)
	}
	s.note("%s destroys container %d, flags %d", p, g.number, f)
	s.about(p, token, &process.GroupRequest{Verb: proto.GroupDestroy, Container: g.number, Flags: f, Spaces: spaces})
}
