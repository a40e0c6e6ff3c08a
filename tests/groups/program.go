package groups

import (
	"encoding/binary"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// resource is what the programs know of one.
type resource struct {
	name   string
	writes map[uint32]bool // all that was ever to be written
	done   uint32          // the last one that was answered
	doubt  int             // step in which a writer may have gone without unlocking; 0: none since the last write
	sure   int             // step in which that write was told to be done
	broken bool            // one certainly has, and nobody has tried to write since
	was    mode.Mode       // and held this
	tried  int             // step of the last attempt to write
	broke  int
}

// grp is a container as programs know it.
type grp struct {
	number  uint32
	flags   uint32
	creator *proc
	members []*proc
	ending  int // step from which on it may have ended; 0: it has not
}

// lk is a lock.
type lk struct {
	id    proto.LockID
	owner *proc // of an own lock
	grp   *grp
	res   *resource
	mode  mode.Mode
	busy  *op
	gone  bool
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
	p     *proc
	l     *lk
	g     *grp
	want  mode.Mode
	flags dlm.Flags
	write uint32
	began int
	done  uint32 // the resource's then
	async bool
}

func value(w uint32) (v proto.Value) {
	binary.BigEndian.PutUint32(v[:], w)
	return v
}

func (l *lk) writer() bool {
	w := mode.Writer(l.mode) || l.vague
	return w || l.busy != nil && mode.Writer(l.busy.want)
}

// certain reports whether the lock is held in l.mode now, whatever happens elsewhere.
func (l *lk) certain() bool {
	if l.gone || l.vague || l.busy != nil && l.busy.verb != askCancel && l.busy.verb != askInfo || l.mode == mode.None {
		return false
	}
	if l.grp != nil {
		return l.grp.ending == 0
	}
	return !l.owner.dead
}

// exclusion: whoever holds for certain is alone with those that are compatible.
func (s *sim) exclusion() {
	for i, x := range s.locks {
		for _, y := range s.locks[:i] {
			if x.res == y.res && x.certain() && y.certain() && !mode.Compatible(x.mode, y.mode) {
				s.fail("%s is held in %v by %s and in %v by %s", x.res.name, x.mode, s.holder(x), y.mode, s.holder(y))
			}
		}
	}
}

func (s *sim) holder(l *lk) string {
	if l.grp != nil {
		return "a container"
	}
	return l.owner.name
}

// mourn is what a death means to the programs' knowledge.
func (s *sim) mourn(p *proc) {
	for token, o := range s.ops {
		if o.p == p {
			delete(s.ops, token)
			s.orphaned(o)
		}
	}
	for _, l := range s.locks {
		if l.owner == p && !l.gone {
			s.lost(l, s.steps)
		}
	}
	for _, g := range s.groups {
		if i := slices.Index(g.members, p); i >= 0 {
			g.members = slices.Delete(g.members, i, i+1)
			if len(g.members) == 0 && g.flags&group.Perm == 0 {
				s.ended(g)
			}
		}
		if g.creator == p && g.flags&group.Owned != 0 {
			s.ended(g)
		}
	}
}

// orphaned: nobody will be told how the call ended.
func (s *sim) orphaned(o *op) {
	switch {
	case o.write != 0:
		o.l.vague, o.l.since = true, s.steps
	case o.verb == askLock && o.l.grp != nil && o.l.id == 0:
		o.l.gone = true // nobody else knows of it
		o.l.grp = nil
		o.l.owner = o.p
		if mode.Writer(o.want) {
			o.l.res.doubt = s.steps
		}
	case o.l != nil && o.verb != askInfo && o.verb != askCancel:
		o.l.vague, o.l.since = true, s.steps
	}
	if o.verb == askCreate || o.verb == askAttach {
		return
	}
	if o.g != nil && (o.verb == askDestroy || o.verb == askDetach) {
		s.maybeEnding(o.g)
	}
	if o.l != nil && o.l.busy == o {
		o.l.busy = nil
	}
}

// lost: the owner of l has gone without unlocking, at the earliest in step since.
func (s *sim) lost(l *lk, since int) {
	if l.writer() {
		if l.wrote() && l.res.tried < since {
			l.res.broken, l.res.was, l.res.broke = true, l.mode, s.steps
		}
		l.res.doubt = s.steps
	}
	l.gone = true
}

// wrote reports whether l was certainly held in PW or EX when its owner went.
func (l *lk) wrote() bool { return !l.vague && l.busy == nil && mode.Writer(l.mode) }

// ended: the container ends now, or has.
func (s *sim) ended(g *grp) {
	if g.ending == 0 {
		g.ending = s.steps
	}
	for _, l := range s.locks {
		if l.grp == g && !l.gone {
			s.lost(l, g.ending)
		}
	}
}

// asked reports whether somebody has such a call about g under way.
func (s *sim) asked(g *grp, v ...verb) bool {
	for _, o := range s.ops {
		if o.g == g && slices.Contains(v, o.verb) {
			return true
		}
	}
	return false
}

// lives: what might have ended g has not, unless something else will.
func (s *sim) lives(g *grp) {
	if len(g.members) > 0 && !s.asked(g, askDetach, askDestroy) {
		g.ending = 0
	}
}

func (s *sim) maybeEnding(g *grp) {
	if g.ending == 0 {
		g.ending = s.steps
	}
	for _, l := range s.locks {
		if l.grp == g && !l.gone && l.writer() {
			l.res.doubt = s.steps
		}
	}
}

func (s *sim) newOp(v verb, p *proc) (*op, uint64) {
	s.token++
	o := &op{verb: v, p: p, began: s.steps}
	s.ops[s.token] = o
	s.calls++
	return o, s.token
}

func (s *sim) pinned(p *proc) bool { return p.pin }

func (s *sim) pins() (n int) {
	for _, p := range s.alive() {
		if p.pin {
			n++
		}
	}
	return n
}

// pinAll has two processes keep NL locks, so that no resource is forgotten.
func (s *sim) pinAll() {
	for _, p := range s.alive()[:2] {
		p.pin = true
		for _, r := range s.res {
			s.lock(p, nil, r, mode.NL, dlm.Expedite)
		}
	}
}

// act lets some program do something.
func (s *sim) act() {
	var able []*proc
	for _, p := range s.alive() {
		if p.id != 0 {
			able = append(able, p)
		}
	}
	if len(able) == 0 {
		return
	}
	p := able[s.rng.IntN(len(able))]
	for _, o := range s.ops {
		if o.p == p && o.verb >= askCreate {
			return // between two containers
		}
	}
	if p.group == nil && !p.pin && s.one(3) { // who keeps the resources stays out of it
		s.enter(p)
		return
	}
	if p.group != nil && s.one(14) {
		s.leave(p)
		return
	}
	if s.one(60) && len(s.groups) > 0 {
		s.destroy(p, s.groups[s.rng.IntN(len(s.groups))])
		return
	}
	// Someone's lock, or a new one.
	var mine []*lk
	for _, l := range s.locks {
		if !l.gone && l.id != 0 && (l.owner == p && !s.isPin(l) || l.grp != nil && l.grp == p.group) {
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

func (s *sim) isPin(l *lk) bool {
	return l.owner != nil && l.owner.pin && slices.Index(l.owner.locks, l) < len(s.res)
}

func (s *sim) lock(p *proc, g *grp, r *resource, m mode.Mode, f dlm.Flags) {
	l := &lk{owner: p, res: r}
	q := process.LockRequest{Name: proto.MakeName([]byte(r.name)), Mode: m, Flags: f, Async: s.one(2)}
	if g != nil {
		l.owner, l.grp = nil, g
		q.Flags |= dlm.GroupLock
	}
	o, token := s.newOp(askLock, p)
	o.l, o.want, o.flags, o.done, o.async = l, m, f, r.done, q.Async
	l.busy = o
	s.token++
	s.ops[s.token] = o
	q.Token, q.Accept = token, s.token
	s.locks = append(s.locks, l)
	p.locks = append(p.locks, l)
	s.note("%s locks %s %v flags %x group %v", p.name, r.name, m, uint32(f), g != nil)
	var res process.Result
	s.step(p, func() {
		p.p.Lock(&q, &res)
		l.id = res.Lock
		if res.Status != dlm.Pending {
			s.told(p, &process.Completion{Token: token, Lock: res.Lock, Status: res.Status, Read: res.Read, Value: res.Value})
		}
	})
}

func (s *sim) convert(p *proc, l *lk) {
	o, token := s.newOp(askConvert, p)
	o.l, o.want, o.flags, o.done = l, mode.NL+mode.Mode(s.rng.IntN(6)), dlm.ValB, l.res.done
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
	s.note("%s converts %x on %s %v to %v write %d", p.name, uint64(l.id), l.res.name, l.mode, o.want, o.write)
	var res process.Result
	s.step(p, func() {
		p.p.Convert(&q, &res)
		if res.Status != dlm.Pending {
			s.told(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status, Read: res.Read, Value: res.Value})
		}
	})
}

func (s *sim) nextWrite(r *resource) uint32 {
	s.write++
	r.writes[s.write] = true
	r.broken, r.tried = false, s.steps
	return s.write
}

func (s *sim) unlock(p *proc, l *lk, write bool) {
	o, token := s.newOp(askUnlock, p)
	o.l = l
	q := process.UnlockRequest{Lock: l.id, Token: token}
	if write && !l.vague && l.busy == nil && mode.Writer(l.mode) {
		o.write = s.nextWrite(l.res)
		o.flags, q.Flags, q.Value = dlm.ValB, dlm.ValB, value(o.write)
	}
	l.busy = o
	s.note("%s unlocks %x on %s %v write %d", p.name, uint64(l.id), l.res.name, l.mode, o.write)
	var res process.Result
	s.step(p, func() {
		p.p.Unlock(&q, &res)
		if res.Status != dlm.Pending {
			s.told(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status})
		}
	})
}

func (s *sim) cancel(p *proc, l *lk) {
	o, token := s.newOp(askCancel, p)
	o.l = l
	s.note("%s cancels %x on %s", p.name, uint64(l.id), l.res.name)
	var res process.Result
	s.step(p, func() {
		p.p.Cancel(l.id, dlm.CancelWaitOK, token, &res)
		if res.Status != dlm.Pending {
			s.told(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status})
		}
	})
}

func (s *sim) info(p *proc, l *lk) {
	o, token := s.newOp(askInfo, p)
	o.l = l
	l.busy = o
	var res process.Result
	s.note("%s looks at %x", p.name, uint64(l.id))
	s.step(p, func() {
		p.p.Group(&process.GroupRequest{Verb: proto.GroupLockInfo, Lock: l.id, Token: token}, &res)
		if res.Status != dlm.Pending {
			s.told(p, &process.Completion{Token: token, Lock: l.id, Status: res.Status})
		}
	})
}

var spaces = []proto.Namespace{{}}

// enter makes p a member of some container, old or new.
func (s *sim) enter(p *proc) {
	var there []*grp
	for _, g := range s.groups {
		if g.number != 0 && g.ending == 0 {
			there = append(there, g)
		}
	}
	if len(there) > 0 && !s.one(4) {
		g := there[s.rng.IntN(len(there))]
		o, token := s.newOp(askAttach, p)
		o.g = g
		s.note("%s attaches to container %d", p.name, g.number)
		s.about(p, token, &process.GroupRequest{Verb: proto.GroupAttach, Container: g.number, Spaces: spaces})
		return
	}
	g := &grp{creator: p, flags: []uint32{0, 0, group.Perm, group.Owned}[s.rng.IntN(4)]}
	o, token := s.newOp(askCreate, p)
	o.g = g
	s.note("%s creates a container, flags %d", p.name, g.flags)
	s.about(p, token, &process.GroupRequest{Verb: proto.GroupCreate, Flags: g.flags, Spaces: spaces})
}

func (s *sim) about(p *proc, token uint64, q *process.GroupRequest) {
	q.Token = token
	var res process.Result
	s.step(p, func() {
		p.p.Group(q, &res)
		if res.Status != dlm.Pending {
			s.told(p, &process.Completion{Token: token, Status: res.Status})
		}
	})
}

func (s *sim) leave(p *proc) {
	g := p.group
	if s.busyIn(p, g) {
		return
	}
	o, token := s.newOp(askDetach, p)
	o.g = g
	if g.flags&group.Perm == 0 && !slices.ContainsFunc(g.members, func(m *proc) bool { return m != p }) || g.flags&group.Owned != 0 && g.creator == p {
		s.maybeEnding(g)
	}
	g.members = slices.DeleteFunc(g.members, func(m *proc) bool { return m == p })
	s.note("%s detaches", p.name)
	s.about(p, token, &process.GroupRequest{Verb: proto.GroupDetach})
}

// busyIn reports whether p has requests under way in g. They would go back to it as
// its own, which is mp_group.c's to look at.
func (s *sim) busyIn(p *proc, g *grp) bool {
	for _, o := range s.ops {
		if o.p == p && o.l != nil && o.l.grp == g {
			return true
		}
	}
	return false
}

func (s *sim) destroy(p *proc, g *grp) {
	if g.number == 0 || p.group == g && s.busyIn(p, g) {
		return
	}
	o, token := s.newOp(askDestroy, p)
	o.g = g
	f := []uint32{0, group.Locks, group.Force}[s.rng.IntN(3)]
	if f == group.Force || f == group.Locks {
		s.maybeEnding(g)
	}
	s.note("%s destroys container %d, flags %d", p.name, g.number, f)
	s.about(p, token, &process.GroupRequest{Verb: proto.GroupDestroy, Container: g.number, Flags: f, Spaces: spaces})
}

// told takes an outcome.
func (s *sim) told(p *proc, c *process.Completion) {
	o := s.ops[c.Token]
	if o == nil {
		s.fail("%s is told twice, or what it never asked for: %+v", p.name, c)
	}
	if o.p != p {
		s.fail("%s is told what %s asked for", p.name, o.p.name)
	}
	if c.Status == dlm.Pending { // it has to wait
		delete(s.ops, c.Token)
		if o.verb == askLock {
			o.l.id = c.Lock
		}
		return
	}
	for token, x := range s.ops {
		if x == o {
			delete(s.ops, token)
		}
	}
	s.note("   %s is told status %d of verb %d lock %x read %v", p.name, c.Status, o.verb, uint64(c.Lock), c.Read)
	good := c.Status <= dlm.SyncValNotValid
	if o.l != nil && o.l.busy == o {
		o.l.busy = nil
	}
	switch o.verb {
	case askLock, askConvert:
		s.granted(o, c, good)
	case askUnlock:
		if good {
			o.l.gone = true
			s.written(o)
		} else if c.Status == dlm.IvLockID {
			o.l.gone = true
		}
	case askInfo:
		switch {
		case c.Status == dlm.IvLockID:
			o.l.gone = true
		case c.LockInfo != nil && c.LockInfo.State == process.Granted && o.l.since < s.settled && s.settled <= o.began:
			o.l.mode, o.l.vague = c.LockInfo.Granted, false
		}
	case askCreate, askAttach:
		if c.Status == dlm.Success {
			if o.verb == askCreate {
				o.g.number = uint32(c.Number)
				s.groups = append(s.groups, o.g)
			}
			o.g.members = append(o.g.members, p)
			p.group = o.g
		}
	case askDetach:
		if c.Status != dlm.Success {
			s.fail("detach: status %d", c.Status)
		}
		p.group = nil
		switch {
		case o.g.ending == 0:
		case o.g.flags&group.Owned != 0 && o.g.creator == p, o.g.flags&group.Perm == 0 && len(o.g.members) == 0 && !s.asked(o.g, askAttach):
			s.ended(o.g)
		default:
			s.lives(o.g)
		}
	case askDestroy:
		if c.Status == dlm.Success {
			s.ended(o.g)
			if p.group == o.g {
				p.group = nil
			}
		} else {
			s.lives(o.g)
		}
	}
}

// granted takes the outcome of a request for a lock.
func (s *sim) granted(o *op, c *process.Completion, good bool) {
	l := o.l
	if !good {
		switch {
		case o.verb == askLock:
			l.gone = true
		case c.Status == dlm.IvLockID:
			l.gone = true
		}
		if o.write != 0 && c.Status != dlm.LkBusy && c.Status != dlm.CvtUngrant && c.Status != dlm.IvLockID && c.Status != dlm.NotQueued {
			return
		}
		return
	}
	if o.verb == askLock {
		l.id = c.Lock
	}
	from := l.mode
	l.mode = o.want
	if l.grp != nil && l.grp.ending != 0 {
		l.vague = true
	}
	if o.write != 0 {
		s.written(o)
	}
	if !c.Read {
		return
	}
	r := l.res
	w := binary.BigEndian.Uint32(c.Value[:])
	if !r.writes[w] || w < o.done {
		s.fail("%s: read write %d, but %d was done before the request", r.name, w, o.done)
	}
	valid := c.Status == dlm.Success || c.Status == dlm.Synch
	if valid && r.broken && r.broke < o.began && !mode.Compatible(o.want, r.was) && from != r.was {
		s.fail("%s: a writer in %v died in step %d, but write %d is told to be valid", r.name, r.was, r.broke, w)
	}
	ghost := slices.ContainsFunc(s.locks, func(l *lk) bool {
		return l.res == r && !l.gone && l.grp != nil && l.grp.ending != 0 && l.writer()
	})
	if !valid && r.doubt == 0 && r.sure < o.began && !ghost {
		s.fail("%s: write %d is told to be not valid, but no writer died", r.name, w)
	}
}

// written: a write is done.
func (s *sim) written(o *op) {
	if o.write == 0 {
		return
	}
	r := o.l.res
	r.done = max(r.done, o.write)
	// Until everybody knew of the death, the dead could still be granted something.
	if r.doubt != 0 && r.doubt < s.settled && s.settled <= o.began {
		r.doubt, r.sure = 0, s.steps
	}
}

// releaseAll gives everything up and looks whether anything is left.
func (s *sim) releaseAll() {
	s.note("everything is given up")
	for round := 0; ; round++ {
		s.calm()
		s.exclusion()
		busy := 0
		for _, l := range s.locks {
			if l.gone {
				continue
			}
			busy++
			p := l.owner
			if l.grp != nil {
				for _, m := range l.grp.members {
					if !m.dead && m.group == l.grp {
						p = m
					}
				}
				if p == nil { // PERM without members
					l.gone = true
				}
			}
			if p == nil || p.dead {
				if l.owner != nil && l.owner.dead {
					l.gone = true
				}
				continue
			}
			if l.id != 0 && (l.busy == nil || l.busy.verb < askUnlock) {
				s.unlock(p, l, false)
			}
		}
		if busy == 0 {
			break
		}
		if round > 60 {
			s.stuck()
		}
	}
	for _, p := range s.alive() {
		if p.group != nil && !p.dead {
			s.leave(p)
			s.calm()
		}
	}
	for _, m := range s.notes.All() { // also those of which nobody has heard
		if m.Kind == proto.KNoteGroup && !m.NotedGroup.Ended {
			p := s.alive()[0]
			o, token := s.newOp(askDestroy, p)
			o.g = &grp{}
			s.about(p, token, &process.GroupRequest{Verb: proto.GroupDestroy, Container: m.NotedGroup.Number, Flags: group.Force, Spaces: spaces})
			s.calm()
		}
	}
	s.calm()
	if len(s.ops) > 0 {
		s.stuck()
	}
	for _, m := range s.notes.All() {
		if m.Kind == proto.KNoteLock || m.Kind == proto.KNoteGroup {
			s.fail("a note is left: %+v %+v", m.NotedLock, m.NotedGroup)
		}
	}
	for _, p := range s.alive() {
		p.p.Walk(func(h process.Held) {
			if h.Serving && h.Tree.RootResource().Info().Locks > 0 {
				s.fail("%s still masters %d locks on %s", p.name, h.Tree.RootResource().Info().Locks, h.Root.Name.Bytes())
			}
		})
	}
}

func (s *sim) stuck() {
	for token, o := range s.ops {
		s.note("not answered: token %d verb %d of %s", token, o.verb, o.p.name)
	}
	for _, l := range s.locks {
		if !l.gone {
			s.note("not gone: %x on %s %v busy %v", uint64(l.id), l.res.name, l.mode, l.busy != nil)
		}
	}
	s.fail("calls are not answered")
}
