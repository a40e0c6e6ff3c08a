package programs

import (
	"encoding/binary"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// What programs know for certain, and what deaths make of it.

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
		return l.grp.ending == 0 && l.grp.deserted == 0
	}
	return !l.owner.Dead()
}

// exclusion: whoever holds for certain is alone with those that are compatible.
func (s *All) exclusion() {
	for i, x := range s.locks {
		for _, y := range s.locks[:i] {
			if x.res == y.res && x.certain() && y.certain() && !mode.Compatible(x.mode, y.mode) {
				s.fail("%s is held in %v by %s and in %v by %s", x.res.name, x.mode, s.holder(x), y.mode, s.holder(y))
			}
		}
	}
}

func (s *All) holder(l *lk) string {
	if l.grp != nil {
		return "a container"
	}
	return l.owner.String()
}

// Mourn is what a death means to the programs' knowledge.
func (s *All) Mourn(dead Process) {
	p := s.of[dead]
	for token, o := range s.ops {
		if o.p == p {
			delete(s.ops, token)
			s.orphaned(o)
		}
	}
	for _, l := range s.locks {
		if l.owner == p && !l.gone {
			s.lost(l, s.w.Steps())
		}
	}
	for _, g := range s.groups {
		if i := slices.Index(g.members, p); i >= 0 {
			g.members = slices.Delete(g.members, i, i+1)
			if len(g.members) > 0 || g.flags&group.Perm != 0 {
				s.survived(g)
			}
			if len(g.members) == 0 && g.flags&group.Perm == 0 {
				s.ended(g)
			}
		}
		if g.creator == p && g.flags&group.Owned != 0 {
			s.ended(g)
		}
	}
}

// survived: a member of g has died, and what g holds stays.
func (s *All) survived(g *grp) {
	if slices.ContainsFunc(s.locks, func(l *lk) bool { return l.grp == g && l.certain() && l.mode != mode.NL }) {
		s.Reached.Survived++
	}
}

// orphaned: nobody will be told how the call ended.
func (s *All) orphaned(o *op) {
	switch {
	case o.write != 0:
		o.l.vague, o.l.since = true, s.w.Steps()
	case o.verb == askLock && o.l.grp != nil && o.l.id == 0:
		o.l.gone = true // nobody else knows of it
		o.l.grp = nil
		o.l.owner = o.p
		if mode.Writer(o.want) {
			o.l.res.doubt = s.w.Steps()
		}
	case o.l != nil && o.verb != askInfo && o.verb != askCancel:
		o.l.vague, o.l.since = true, s.w.Steps()
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
func (s *All) lost(l *lk, since int) {
	if l.writer() {
		if l.wrote() && l.res.tried < since {
			l.res.broken, l.res.was, l.res.broke = true, l.mode, s.w.Steps()
		}
		l.res.doubt = s.w.Steps()
	}
	l.gone = true
}

// wrote reports whether l was certainly held in PW or EX when its owner went.
func (l *lk) wrote() bool { return !l.vague && l.busy == nil && mode.Writer(l.mode) }

// ended: the container ends now, or has.
func (s *All) ended(g *grp) {
	g.over = true
	if g.ending == 0 {
		g.ending = s.w.Steps()
	}
	for _, l := range s.locks {
		if l.grp == g && !l.gone {
			s.lost(l, g.ending)
		}
	}
}

// asked reports whether somebody has such a call about g under way.
func (s *All) asked(g *grp, v ...verb) bool {
	for _, o := range s.ops {
		if o.g == g && slices.Contains(v, o.verb) {
			return true
		}
	}
	return false
}

// lives: what might have ended g has not, unless something else will.
func (s *All) lives(g *grp) {
	if !g.over && len(g.members) > 0 && !s.asked(g, askDetach, askDestroy) {
		g.ending = 0
	}
}

func (s *All) maybeEnding(g *grp) {
	if g.ending == 0 {
		g.ending = s.w.Steps()
	}
	s.doubtAll(g)
}

// doubtAll: what g may be writing may be lost with it.
func (s *All) doubtAll(g *grp) {
	for _, l := range s.locks {
		if l.grp == g && !l.gone && l.writer() {
			l.res.doubt = s.w.Steps()
		}
	}
}

// Told takes an outcome.
func (s *All) Told(p Process, c *process.Completion) { s.told(s.of[p], c) }

func (s *All) told(p *Program, c *process.Completion) {
	o := s.ops[c.Token]
	if o == nil {
		s.fail("%s is told twice, or what it never asked for: %+v", p, c)
	}
	if o.p != p {
		s.fail("%s is told what %s asked for", p, o.p)
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
	s.note("   %s is told status %d of verb %d lock %x read %v", p, c.Status, o.verb, uint64(c.Lock), c.Read)
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
		case c.Group != nil && c.Group.LockInfo != nil && c.Group.LockInfo.State == process.Granted && o.l.since < s.settled && s.settled <= o.began:
			o.l.mode, o.l.vague = c.Group.LockInfo.Granted, false
		}
	case askCreate, askAttach:
		if c.Status == dlm.Success {
			if o.verb == askCreate {
				o.g.number = uint32(c.Number)
				s.groups = append(s.groups, o.g)
				s.Reached.Created++
			} else {
				s.Reached.Attached++
			}
			o.g.members = append(o.g.members, p)
			p.group = o.g
			if o.g.deserted < o.began {
				o.g.deserted = 0 // it has gone on
			}
		}
	case askDetach:
		if c.Status != dlm.Success {
			s.fail("detach: status %d", c.Status)
		}
		p.group = nil
		s.Reached.Detached++
		switch {
		case o.g.ending == 0:
		case o.g.flags&group.Owned != 0 && o.g.creator == p, o.g.flags&group.Perm == 0 && len(o.g.members) == 0 && !s.asked(o.g, askAttach):
			s.ended(o.g)
		default:
			s.lives(o.g)
		}
	case askDestroy:
		if c.Status == dlm.Success {
			s.Reached.Destroyed++
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
func (s *All) granted(o *op, c *process.Completion, good bool) {
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
	if l.grp != nil {
		s.Reached.GroupLocks++
	} else {
		s.Reached.OwnLocks++
	}
	if o.write != 0 {
		s.written(o)
	}
	s.fences = append(s.fences, fencing{l, o.p.Process})
	if !c.Read {
		return
	}
	r := l.res
	w := binary.BigEndian.Uint32(c.Value[:])
	valid := c.Status == dlm.Success || c.Status == dlm.Synch
	anew := func(since int) bool { return r.empty >= since && r.empty > 0 }
	switch {
	case r.writes[w] && w >= o.done:
	case w == 0 && anew(o.since):
	case r.writes[w] && !valid && s.lossy(o.since):
		s.Reached.Old++
	default:
		s.fail("%s: read write %d, valid: %v, but %d was done before the request", r.name, w, valid, o.done)
	}
	if !valid {
		s.Reached.Invalid++
	}
	if valid && r.broken && r.broke < o.began && !anew(r.broke) && !mode.Compatible(o.want, r.was) && from != r.was {
		s.fail("%s: a writer in %v died in step %d, but write %d is told to be valid", r.name, r.was, r.broke, w)
	}
	ghost := slices.ContainsFunc(s.locks, func(l *lk) bool {
		return l.res == r && !l.gone && l.grp != nil && l.grp.ending != 0 && l.writer()
	})
	if !valid && !s.shaken && r.doubt == 0 && r.sure < o.began && !ghost {
		s.fail("%s: write %d is told to be not valid, but no writer died", r.name, w)
	}
}

// fence: the tokens of locks that were granted in PW or EX, and are held so, are the newest.
func (s *All) fence() {
	due := s.fences
	s.fences = nil
	for i, f := range due {
		l := f.l
		if slices.ContainsFunc(due[i+1:], func(x fencing) bool { return x.l == l }) || !mode.Writer(l.mode) || !l.certain() || f.p.Dead() {
			continue
		}
		number := uint32(0)
		if l.grp != nil {
			number = l.grp.number
		}
		t, ok := s.w.Token(f.p, l.id, number)
		if !ok {
			continue
		}
		if !l.res.fence.Less(t) {
			s.fail("%s: fencing token %x.%d after %x.%d", l.res.name, t.Assign, t.Seq, l.res.fence.Assign, l.res.fence.Seq)
		}
		l.res.fence = t
		s.Reached.Tokens++
	}
}

// fencing is a lock that p was told is granted.
type fencing struct {
	l *lk
	p Process
}

// written: a write is done.
func (s *All) written(o *op) {
	if o.write == 0 {
		return
	}
	r := o.l.res
	if o.write > r.done {
		r.done, r.doneAt = o.write, o.began // it may have been carried out at any time since
	}
	// Until everybody knew of the death, the dead could still be granted something.
	if r.doubt != 0 && !s.shaken && r.doubt < s.settled && s.settled <= o.began {
		r.doubt, r.sure = 0, s.w.Steps()
	}
}
