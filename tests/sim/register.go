package sim

import (
	"fmt"
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// state is what a value block can be.
type state struct {
	val   uint32 // number of the write, 0 for zeros
	valid bool
}

var fresh = state{0, true}

// config is one possibility: the block, and how many of the writer's unanswered
// operations the master has done.
type config struct {
	state
	k uint8
}

// gone in config.k: the dead writer's lock has been taken away.
const gone = 255

// reg is a resource as the observer knows it: all that its value block may be,
// given what programs have asked, what they were told, and who died.
//
// At most one lock at a time is known to its owner as held in PW or EX: the
// writer. What it has asked for and not been told yet may have been done by the
// master or not; when another lock is known to be granted in a mode that
// excludes it, it has.
type reg struct {
	token  proto.Stamp // latest fencing token
	s      *sim
	name   string
	root   int
	domain int // see domainOf
	parent *reg
	depth  int
	digest proto.Digest

	configs []config
	w       *lk
	wmode   mode.Mode
	wops    []*op
	wdead   bool
	lurkers []lurker
	readers []*op
	locks   []*lk // all that the master may have, those of the dead too

	shaken  bool     // it may be put together without its master's journal
	sure    []state  // what its last master had, if that was seen
	past    []uint32 // values that somebody may have a copy of
	wstates []state  // what the writer's copy may be

	looked  int // number of the look in which the master had it
	block   proto.Block
	holders mode.Set
	reign   uint64 // assignment of the latest look
	queue   [2][]*op
	found   [2][]*op // scratch
}

// lurker is something that may happen to the block without its owner having
// known of the grant that makes it possible.
type lurker struct {
	l    *lk
	mode mode.Mode
	o    *op // an unlock that may find the lock granted; nil: the owner's death
}

// place identifies a resource.
type place struct {
	root   int
	parent *reg
	name   int
}

func (s *sim) register(root int, parent *lk, name int) *reg {
	key := place{root: root}
	if parent != nil {
		key = place{root, parent.r, name}
	}
	if r := s.regByKey[key]; r != nil {
		return r
	}
	r := &reg{s: s, root: root, configs: []config{{state: fresh}}, name: fmt.Sprintf("r%d", root)}
	r.domain = s.domainOf(root, nil, name)
	r.shaken = s.shaken
	r.digest = s.roots[root].Digest()
	if parent != nil {
		r.parent, r.depth = parent.r, parent.r.depth+1
		r.domain = s.domainOf(root, parent.r, name)
		r.name = fmt.Sprintf("%s.%c", parent.r.name, 'a'+name)
		n := proto.MakeName([]byte{'a' + byte(name)})
		r.digest = parent.r.digest.Child(&n)
	}
	s.regs = append(s.regs, r)
	s.regByKey[key] = r
	s.byDigest[r.digest] = r
	return r
}

// held is the mode in which the master knows the writer's lock after its first k
// operations.
func (r *reg) held(k uint8) mode.Mode {
	switch {
	case k == gone || r.w == nil:
		return mode.None
	case k == 0:
		return r.wmode
	}
	return r.wops[k-1].to // None for an unlock
}

// after is the block after an operation of a lock held in m.
func (st state) after(m mode.Mode, o *op) state {
	switch {
	case !mode.Writer(m):
	case o.flags&dlm.InvValBlk != 0:
		st.valid = false
	case o.flags&dlm.ValB != 0:
		st = state{o.write, true}
	}
	return st
}

// certain reports whether the master knows l for sure.
func (l *lk) certain() bool {
	return !l.n.dead && !l.gone && l.unlock == nil && (l.mode != mode.None || l.present)
}

func (r *reg) inhabited() bool {
	for _, l := range r.locks {
		if l.certain() {
			return true
		}
	}
	return false
}

// allows reports whether nobody is known to hold what excludes m.
func (r *reg) allows(m mode.Mode, but *lk) bool {
	for _, l := range r.locks {
		if l != but && l != r.w && l.certain() && l.ask == nil && !mode.Compatible(l.mode, m) {
			return false
		}
	}
	return true
}

func (r *reg) add(c config) {
	if !slices.Contains(r.configs, c) {
		r.configs = append(r.configs, c)
	}
	if !slices.Contains(r.past, c.val) {
		r.past = append(r.past, c.val)
	}
}

// spread adds whatever can have come of what is known by now.
func (r *reg) spread() {
	inhabited := r.inhabited()
	for i := 0; i < len(r.configs); i++ {
		c := r.configs[i]
		at := r.held(c.k)
		if r.w != nil && c.k != gone {
			for k := int(c.k); k < len(r.wops); k++ {
				// An unlock may overtake a conversion, which is then aborted.
				if o := r.wops[k]; k == int(c.k) || o.verb == askUnlock {
					r.add(config{c.after(at, o), uint8(k + 1)})
				}
			}
			if r.wdead {
				st := c.state
				if mode.Writer(at) {
					st.valid = false
				}
				r.add(config{st, gone})
			}
		}
		for _, u := range r.lurkers {
			if !mode.Compatible(at, u.mode) || !r.allows(u.mode, u.l) {
				continue
			}
			st := c.state
			if u.o != nil {
				st = st.after(u.mode, u.o)
			} else {
				st.valid = false
			}
			r.add(config{st, c.k})
		}
		// A resource without locks is gone, but for a persistent one in doubt.
		if !inhabited && at == mode.None && (c.valid || r.domain == 0) {
			r.add(config{fresh, c.k})
		}
		if r.unsure() {
			r.add(config{state{c.val, false}, c.k})
			if !inhabited && at == mode.None {
				r.add(config{state{0, false}, c.k})
			}
		}
		if r.domain != 0 && r.s.zeroing[r.domain-1] > 0 && !c.valid {
			r.add(config{fresh, c.k})
		}
		if r.shaken {
			r.rebuilt(c)
		}
	}
	for _, o := range r.readers {
		for _, c := range r.configs {
			if !slices.Contains(o.seen, c.state) {
				o.seen = append(o.seen, c.state)
			}
		}
	}
}

// rebuilt: after the loss of a host an older copy may be the newest that is left, and
// then it is not valid. What the writer has asked for and was not told of may have been
// undone.
func (r *reg) rebuilt(c config) {
	for _, v := range r.past {
		r.add(config{state{v, false}, c.k})
	}
	r.add(config{state{0, false}, c.k})
	if r.w != nil && !r.wdead {
		for _, st := range r.wstates {
			r.add(config{st, 0})
		}
	}
	// One that has given its mode up without having been told writes once more, if those
	// who came after it are gone.
	for _, l := range r.locks {
		for _, o := range [...]*op{l.ask, l.unlock} {
			if o != nil && !l.n.dead && mode.Writer(l.mode) && o.flags&dlm.ValB != 0 {
				r.add(config{state{o.write, false}, c.k})
			}
		}
	}
}

// only keeps the possibilities for which keep is true.
func (r *reg) only(why string, keep func(c config) bool) {
	before := r.configs
	kept := make([]config, 0, len(before))
	for _, c := range before {
		if keep(c) {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		r.s.fail("%s: %s; possible was %s", r.name, why, r.describe())
	}
	r.configs = kept
}

func (r *reg) describe() string {
	t := ""
	for _, c := range r.configs {
		t += fmt.Sprintf("{%s k%d}", c.state, c.k)
	}
	if r.w != nil {
		t += fmt.Sprintf(" writer %s in %s", r.w, r.wmode)
		if r.wdead {
			t += " dead"
		}
		for _, o := range r.wops {
			t += fmt.Sprintf(" %s->%s/%x/%d", verbs[o.verb], o.to, uint32(o.flags), o.write)
		}
	}
	for _, u := range r.lurkers {
		t += fmt.Sprintf(" perhaps %s in %s", u.l, u.mode)
	}
	return t
}

func (st state) String() string {
	if st.valid {
		return "valid " + itoa(st.val)
	}
	return "invalid " + itoa(st.val)
}

func (r *reg) dropWriter() {
	r.w, r.wops, r.wdead = nil, nil, false
	out := r.configs[:0]
	for _, c := range r.configs {
		c.k = 0
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	r.configs = out
}

// invoke: a program asks for something.
func (r *reg) invoke(o *op) {
	l := o.l
	switch o.verb {
	case askLock, askConvert:
		writes := mode.OnConvert(o.from, o.to) == mode.Write
		if r.w == l && writes {
			r.wops = append(r.wops, o)
		} else if o.flags&dlm.ValB != 0 && !writes && (!mode.ProtectsValue(o.to) || r.domain != 0) {
			r.readers = append(r.readers, o)
		}
	case askUnlock:
		if r.w == l {
			r.wops = append(r.wops, o)
		} else if a := l.ask; a != nil && mode.Writer(a.to) {
			r.lurkers = append(r.lurkers, lurker{l, a.to, o})
		}
	}
	r.spread()
}

func (r *reg) noReader(o *op) {
	if i := slices.Index(r.readers, o); i >= 0 {
		r.readers = slices.Delete(r.readers, i, i+1)
	}
}

// granted: a program is told of a grant and, if read, of the value.
func (r *reg) granted(o *op, read bool, got state, told bool) {
	l := o.l
	r.spread()
	r.noReader(o)
	if i := slices.Index(r.wops, o); i >= 0 && r.w == l {
		r.only("a conversion is answered that cannot have been done", func(c config) bool { return int(c.k) > i })
		r.wops = r.wops[i+1:]
		for j := range r.configs {
			if r.configs[j].k != gone {
				r.configs[j].k -= uint8(i + 1)
			}
		}
		r.wmode = o.to
	}
	l.mode = o.to
	if l.unlock != nil {
		return
	}
	switch writes := mode.OnConvert(o.from, o.to) == mode.Write; {
	case writes:
		if told && o.flags&dlm.InvValBlk == 0 && !got.valid {
			r.s.fail("%s writes its block and is told that it is not valid", l)
		}
	case mode.ProtectsValue(o.to):
		if r.w != nil && r.w != l {
			r.only(fmt.Sprintf("%s is granted %s beside a writer", l, o.to), func(c config) bool {
				return mode.Compatible(r.held(c.k), o.to)
			})
			r.dropWriter()
		}
		if read {
			r.only(fmt.Sprintf("%s (%s) reads %s", l, o.to, got), func(c config) bool { return c.state == got || r.overtaken(o, c.state, got) })
		} else if told {
			r.only(fmt.Sprintf("%s (%s) is told that the block is valid: %v", l, o.to, got.valid),
				func(c config) bool { return c.valid == got.valid || r.overtaken(o, c.state, state{c.val, got.valid}) })
		}
	case told:
		if !slices.ContainsFunc(o.seen, func(st state) bool { return st == got || !read && st.valid == got.valid }) {
			r.s.fail("%s (%s) reads %s; since it asked the block was %v", l, o.to, got, o.seen)
		}
	}
	switch {
	case mode.Writer(o.to):
		if r.w != l {
			r.w, r.wops = l, nil
		}
		r.wmode, r.wdead = o.to, false
		r.wstates = r.wstates[:0]
		for _, c := range r.configs {
			r.wstates = append(r.wstates, c.state)
		}
	case r.w == l && len(r.wops) == 0:
		r.dropWriter()
	}
	r.exclusive(l)
	r.spread()
}

// overtaken: while the answer got to o was under way the domain was invalidated, or
// recovered, which no lock prevents.
func (r *reg) overtaken(o *op, now, got state) bool {
	same := now.val == got.val && got.valid && !now.valid || now == fresh && !got.valid
	return r.domain != 0 && same && slices.ContainsFunc(o.seen, func(st state) bool { return st.valid == got.valid })
}

// exclusive checks that l's mode goes with what all others may hold. A lock
// whose conversion is unanswered may hold either mode.
func (r *reg) exclusive(l *lk) {
	for _, x := range r.locks {
		if x == l || x.n.dead || x.gone || x.unlock != nil || x.mode == mode.None {
			continue
		}
		if mode.Compatible(x.mode, l.mode) || x.ask != nil && mode.Compatible(x.ask.to, l.mode) {
			continue
		}
		r.s.fail("%s holds %s while %s holds %s", l, l.mode, x, x.mode)
	}
}

// refused: a request has not been granted. An aborted write of the writer may
// have been done nevertheless.
func (r *reg) refused(o *op) {
	r.noReader(o)
	r.spread()
}

// unlocked: an unlock has been answered.
func (r *reg) unlocked(o *op) {
	r.spread()
	if r.w == o.l {
		r.only("an unlock is answered that cannot have been done", func(c config) bool { return r.held(c.k) == mode.None })
		r.dropWriter()
	}
	r.lurkers = slices.DeleteFunc(r.lurkers, func(u lurker) bool { return u.l == o.l })
}

// withdrawing: a request that was never granted may end any time now.
func (r *reg) withdrawing(l *lk) {
	if l.mode == mode.None {
		l.present = false
	}
	r.spread()
}

// ended: the master does not have l any more.
func (r *reg) ended(l *lk) {
	if i := slices.Index(r.locks, l); i >= 0 {
		r.locks = slices.Delete(r.locks, i, i+1)
	}
	r.lurkers = slices.DeleteFunc(r.lurkers, func(u lurker) bool { return u.l == l })
	if l.ask != nil {
		r.noReader(l.ask)
	}
	r.spread()
	if len(r.locks) == 0 {
		// Design §8 rule 6: the resource is gone, but for a persistent one in doubt.
		wasValid := slices.ContainsFunc(r.configs, func(c config) bool { return c.valid })
		r.w, r.wops, r.wdead, r.lurkers = nil, nil, false, nil
		doubted := r.configs[:0]
		for _, c := range r.configs {
			if c = (config{state: c.state}); r.domain != 0 && (!c.valid || r.unsure()) {
				doubted = append(doubted, c)
			}
		}
		if len(doubted) == 0 || wasValid {
			doubted = append(doubted, config{state: fresh})
		}
		r.configs = doubted
		r.spread()
	}
}

// died: l's owner has.
func (r *reg) died(l *lk) {
	if l.ask != nil {
		r.noReader(l.ask)
	}
	at := mode.None
	if l.ask != nil {
		at = l.ask.to
	}
	for _, u := range r.lurkers {
		if u.l == l {
			at = u.mode // the grant met the unlock, which may not have arrived
		}
	}
	switch {
	case r.w == l:
		r.wdead = true
	case mode.Writer(at):
		r.lurkers = append(r.lurkers, lurker{l, at, nil})
	}
	r.spread()
}

// buried: the master has taken the locks of the dead away, or never had them.
func (r *reg) buried(removed func(*node) bool) {
	for i := 0; i < len(r.locks); i++ {
		l := r.locks[i]
		if !l.n.dead || !removed(l.n) {
			continue
		}
		r.spread()
		if r.w == l {
			r.s.counts[deadWriters]++
			r.only("a dead writer is removed", func(c config) bool { return c.k == gone })
			r.dropWriter()
		}
		r.ended(l)
		i--
	}
}

// observe: the master has the block like this now.
func (r *reg) observe(got state) {
	r.spread()
	r.only("its master has "+got.String(), func(c config) bool { return c.state == got })
	r.sure = append(r.sure[:0], got)
	for _, o := range r.readers {
		if !slices.Contains(o.seen, got) {
			o.seen = append(o.seen, got)
		}
	}
}

// settle: all that had to be put together is.
func (r *reg) settle() {
	r.shaken = false
}

// mourn tells the observer of a death.
func (s *sim) mourn(n *node) {
	for _, l := range n.locks {
		l.r.died(l)
	}
}
