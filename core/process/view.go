package process

import (
	"slices"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// FromAgent takes a message of the agent.
func (p *Process) FromAgent(m *proto.Msg) {
	if p.lost.Load() {
		return
	}
	switch m.Kind {
	case proto.KView:
		p.view(m)
		return
	case proto.KWelcome: // what another host's agent was asked or told may be lost
		p.untold()
		p.askAgain()
		return
	case proto.KRound:
		p.round(m)
		return
	case proto.KDomainDone:
		p.domainDone(m)
		return
	case proto.KGroupReply, proto.KGroupBlocking, proto.KGroupDiscard:
		p.fromGroup(m)
		return
	}
	key := m.Root
	if m.Kind == proto.KInstall {
		key = m.Image.Root
	}
	s := p.shardOf(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Kind {
	case proto.KMaster:
		if r := s.find(&key); r != nil {
			r.masterKnown(m)
		}
	case proto.KInstall:
		s.root(&key).install(m.Image)
	case proto.KKept:
		if m.Number == 0 {
			s.stillKept(m)
		} else if r := s.find(&key); r != nil {
			r.kept(m)
		}
	case proto.KActivate:
		if r := s.find(&key); r != nil && r.where == installing && r.assign == m.Assign {
			r.activate()
		}
	case proto.KMoved:
		if r := s.find(&key); r != nil {
			r.moved(m)
		}
	case proto.KDiscard:
		if r := s.find(&key); r != nil && r.where == installing && r.assign == m.Assign {
			r.discard()
		}
	}
}

// DirectoryFull is the assignment in a KMaster without a process that says that
// the directory cannot take another root.
const DirectoryFull = 1

// masterKnown takes the answer to a lookup. Only that to the last one counts: what
// an earlier one says this process may have given up since, and with each lookup
// the agent may assign the tree anew.
func (r *root) masterKnown(m *proto.Msg) {
	s, master, assign := r.shard, m.Proc, m.Assign
	switch {
	case m.Number != r.lookup:
		return
	case r.asked == lookupNone:
		return // an answer to a lookup that another message has settled
	case master == 0:
		r.asked = lookupNone
		r.nobody()
	case r.where == local || r.where == moving:
		r.asked = lookupNone
	case r.where == installing && assign < r.assign:
		return // the installed tree is newer
	case master == s.p.me && r.where == installing:
		r.asked = lookupNone
		if assign == r.assign {
			r.activate()
		} else if assign > r.assign { // nobody needs the installed tree any more
			r.abandonTree()
			r.becomeLocal(assign)
		}
	case master == s.p.me:
		r.asked = lookupNone
		r.abandonTree()
		r.becomeLocal(assign)
	default:
		r.asked = lookupNone
		r.becomeRemote(master, assign)
	}
}

// nobody: no process masters the root, and this one was not made master.
func (r *root) nobody() {
	queries := r.queries
	r.queries = nil
	for _, q := range queries {
		r.shard.answerQuery(q, proto.Info{})
	}
	for l := r.own.head; l != nil; {
		next := l.next
		if l.unlock.active {
			r.shard.freeLock(l)
		} else if l.ask.kind != proto.PendingNothing {
			r.shard.refuse(l, dlm.InsfMem)
		}
		l = next
	}
	r.refuseHeld(true)
}

// refuseHeld sends everybody who waits for the tree elsewhere.
func (r *root) refuseHeld(givenUp bool) {
	held := r.held
	r.held = nil
	for i := range held {
		r.shard.refuseRoot(held[i].from, &held[i].msg, givenUp)
	}
}

// notMaster: the process that was thought to be master is not, or no longer.
func (p *Process) notMaster(from proto.ProcID, m *proto.Msg) {
	s := p.shardOf(&m.Root)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(&m.Root)
	if r == nil || r.where != remote && r.where != orphan {
		return
	}
	if r.master == from && m.Assign >= r.assign {
		r.doubted = nil // it is not master, and what was put to it has to be repeated
	}
	if m.Number > r.assign && m.Proc != p.me && p.alive(m.Proc) {
		r.asked = lookupNone
		r.becomeRemote(m.Proc, m.Number)
		return
	}
	if r.where != remote || r.master != from || m.Assign < r.assign {
		return
	}
	r.where = unknown
	if r.ownCount > 0 {
		r.where = orphan // reported if the tree turns out to be lost
	}
	if m.Flags&proto.GivenUp != 0 {
		r.givenUp = m.Assign
	}
	r.lookAgain()
}

// heir: the tree is going to move.
func (p *Process) heir(from proto.ProcID, m *proto.Msg) {
	s := p.shardOf(&m.Root)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(&m.Root); r != nil {
		if !r.putOff(from, m) {
			r.heirOf(from, m)
		}
	}
}

// lookAgain looks the master up if anything here needs it.
func (r *root) lookAgain() {
	switch {
	case r.ownCount > 0:
		r.find(lookupToUse)
	case len(r.queries) > 0:
		r.find(lookupOnly)
	}
}

// view takes a new view: locks of the dead leave the trees mastered here, and
// roots whose master is dead are reported to the agent (design §8).
func (p *Process) view(m *proto.Msg) {
	news := m.Flags&proto.ViewNews != 0
	if news && slices.Contains(m.Dead, p.me) || !news && uint64(p.me) <= m.View && !slices.Contains(m.Procs, p.me) {
		p.Lost()
		return
	}
	mem := &p.members
	mem.Lock()
	if m.View < mem.view || news && (!mem.told || mem.directory != m.Number || mem.view < m.Assign) {
		mem.Unlock()
		return // it is told all, or was and knows more
	}
	whole := !mem.told
	mem.told = true
	mem.view = m.View
	mem.views++
	mem.remember(m.Obits)
	anew, lost := mem.directory != m.Number, m.Flags&proto.DirectoryLost != 0
	tell := anew || lost && whole // what it was told before may be lost
	mem.directory = m.Number
	if !news {
		clear(mem.live)
		mem.groups = mem.groups[:0]
	}
	for _, x := range m.Procs {
		mem.live[x] = true
	}
	for _, x := range m.Groups {
		mem.live[x] = true
		if !slices.Contains(mem.groups, x) {
			mem.groups = append(mem.groups, x)
		}
	}
	for _, x := range m.Dead {
		delete(mem.live, x)
	}
	mem.groups = slices.DeleteFunc(mem.groups, func(x proto.ProcID) bool { return !mem.live[x] })
	for x := range mem.peers {
		if uint64(x) <= mem.view && !mem.live[x] {
			delete(mem.peers, x)
		}
	}
	mem.Unlock()
	view := m.View
	said := 0
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		if tell {
			s.eachAsleep(func(r *root) { r.introduce(view) })
		}
		for r := s.all(); r != nil; {
			next := r.next
			r.doubt(lost, anew)
			if tell {
				r.introduce(view)
			}
			r.afterView(view)
			if r.where == orphan {
				said++
			}
			r = next
		}
		s.directory = m.Number
		s.mu.Unlock()
		if said >= sendOffAfter && p.sendOff != nil {
			p.sendOff()
			said = 0
		}
	}
	if anew {
		p.again() // first, so that the end says that all is told
	}
	end := proto.Msg{Kind: proto.KReportEnd, View: view, Number: m.Number}
	p.world.SendAgent(&end)
}

// sendOffAfter is after how many reports what was sent is written.
const sendOffAfter = 256

// introduce tells a directory that knows nothing what is mastered here.
func (r *root) introduce(view uint64) {
	s := r.shard
	switch {
	case r.tree == nil:
	case r.where == installing:
		r.sendInstalled()
	case r.where == local || r.where == keeping || r.where == moving:
		m := s.compose(proto.KMastered)
		m.View, m.Root, m.Assign = view, r.key, r.assign
		s.p.world.SendAgent(m)
		r.tree.EachKept(func(path []proto.Name, domain proto.Digest) {
			m := s.compose(proto.KKeep)
			m.Root, m.Path, m.Domain, m.Number = r.key, append(m.Path[:0], path...), domain, 0
			s.p.world.SendAgent(m)
		})
	}
}

func (r *root) sendInstalled() {
	m := r.shard.compose(proto.KInstalled)
	m.Root, m.Assign = r.key, r.assign
	if r.arriving {
		m.Flags = proto.Arriving
	}
	r.shard.p.world.SendAgent(m)
}

func (r *root) afterView(view uint64) {
	s := r.shard
	switch {
	case r.where == local:
		r.dropDead()
		r.tryMove()
		return
	case r.where == remote && !s.p.alive(r.master):
		r.where = orphan
		if r.ownCount == 0 && len(r.queries) == 0 {
			r.where = unknown
			if r.quiet() {
				s.drop(r)
			}
			return
		}
	case r.where == moving && !s.p.alive(r.heir):
		r.report(view, 0)
		return
	case r.where != orphan && r.where != installing:
		return
	}
	if r.ownCount == 0 || r.givenUp != 0 && r.givenUp >= r.assign {
		r.report(view, 0)
		r.lookAgain() // which relays what the master has said
		return
	}
	r.asked, r.hurried = lookupToUse, false
	r.report(view, r.nextLookup())
}

// keepReport is the most locks of a report whose space is used again.
const keepReport = 256

// report tells the agent all that this process knows of a tree without a master. lookup, if
// not 0, is the number of the question who masters it, which goes with that.
func (r *root) report(view, lookup uint64) {
	if r.ownCount == 0 {
		return
	}
	m := r.shard.compose(proto.KReport)
	m.View, m.Root, m.Number = view, r.key, lookup
	m.Locks = slices.Grow(m.Locks[:0], int(r.ownCount))
	for l := r.own.head; l != nil; l = l.next {
		m.Locks = append(m.Locks, l.report())
		r.hurried = r.hurried || l.ask.kind != proto.PendingNothing || l.unlock.active
	}
	r.shard.p.world.SendAgent(m)
	if cap(m.Locks) > keepReport {
		m.Locks = nil
	}
}

func (l *lock) report() proto.LockReport {
	n := proto.LockReport{
		Lock: l.ID, Name: l.name, Granted: l.granted, Held: l.held, Flags: l.held,
		Block: l.block, Party: l.Party, Domain: l.domain,
	}
	if l.parent != nil {
		n.Parent = l.parent.ID
	}
	if a := &l.ask; a.kind != proto.PendingNothing {
		n.Pending, n.Requested, n.Flags, n.Hint = a.kind, a.mode, a.flags, a.user.Hint
		n.Op, n.Arrival, n.Made, n.Write = uint32(a.op), a.arrival, a.made, a.value
	}
	if u := &l.unlock; u.active {
		n.Pending, n.Flags, n.Op, n.Write = proto.PendingUnlock, u.flags, uint32(u.op), u.value
	}
	return n
}

// install takes a rebuilt tree. It stays still until the agent says go: until
// then the dead master's journal is what counts.
func (r *root) install(im *proto.Image) {
	s := r.shard
	if r.where == local || im.Assign < r.assign {
		return
	}
	r.abandonTree()
	r.where, r.master, r.assign, r.heir, r.arriving = installing, s.p.me, im.Assign, 0, im.Why == proto.OriginMoved
	noted, others := s.p.me, 0
	for i := range im.Locks {
		o := im.Locks[i].Owner
		if o == s.p.me {
			continue
		}
		others++
		if o == noted || o == proto.Keeper {
			continue
		}
		if err := s.p.notePeer(o); err != nil {
			r.uninstall()
			return
		}
		noted = o
	}
	r.foreign.expect(others)
	t, err := tree.Install(&r.key, im, s.p.me, r, s.p.journal, func(il *proto.ImageLock) *tree.Lock {
		if il.Owner == s.p.me {
			if l := s.lookup(il.Lock); l != nil && l.root == r {
				return &l.Lock
			}
		}
		f := s.foreignLock()
		f.Owner, f.ID = il.Owner, il.Lock
		r.foreign.add(f)
		return f
	})
	r.tree = t
	if err != nil {
		r.uninstall()
		return
	}
	r.sendInstalled()
}

// uninstall: this process cannot take the tree (its journal has no room). It
// says so by dropping it, and the agent chooses another.
func (r *root) uninstall() {
	r.abandonTree()
	r.where = orphan
	r.shard.sendDrop(r, r.assign)
	r.lookAgain()
}

// discard gives up an installed tree that nobody will activate.
func (r *root) discard() {
	r.abandonTree()
	r.where = orphan
	if r.ownCount == 0 {
		r.where = unknown
	}
	r.refuseHeld(true)
	r.lookAgain()
	if r.quiet() && r.where == unknown {
		r.shard.drop(r)
	}
}

// activate starts to serve an installed tree.
func (r *root) activate() {
	s := r.shard
	r.where, r.arriving = local, false
	r.asked = lookupNone
	r.dropDead()
	r.tree.Activate()
	r.resume(0)
	if r.where != local {
		return // it was idle, and somebody else asked for it
	}
	for _, t := range r.ownerless() {
		r.foreign.remove(t)
		r.tree.Unlock(t, 0, nil)
		s.freeForeign(t)
	}
}

// ownerless are the locks that the image gives this process and that it does not
// have any more.
func (r *root) ownerless() []*tree.Lock {
	return r.tree.LocksThat(func(t *tree.Lock) bool {
		return t.Owner == r.shard.p.me && r.foreign.of(t.Owner, t.ID) == t
	})
}

// Connected says that an agent has welcomed this process, for the first time or
// again: what the one before may not have answered is asked again.
func (p *Process) Connected() {
	p.untold()
	p.again()
}

// untold: what was said to an agent may be lost, so the next view that counts is one that
// tells all, and is answered with all that is to be told.
func (p *Process) untold() {
	p.members.Lock()
	p.members.told = false
	p.members.Unlock()
}

func (p *Process) again() {
	p.group.again(p.world)
	p.askAgain()
}

func (p *Process) askAgain() {
	p.domains.again(p.world)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for r := s.all(); r != nil; r = r.next {
			if r.where == installing && r.tree != nil {
				r.sendInstalled()
			}
			if r.where == keeping {
				r.sendKeep()
			}
			if r.where == moving {
				r.sendMove()
			}
			if r.asked != lookupNone {
				r.sendLookup()
			}
		}
		s.mu.Unlock()
	}
}

// Deny is the beginning of Lost, which must follow: every call from now on is answered
// with dlm.Lost. A call looks while it holds the mutex under which Lost ends what waits: it
// is among that, or sees that all is lost.
func (p *Process) Deny() {
	p.lost.Store(true)
	if p.lent != nil {
		p.lent.Close()
	}
}

// Lost says that the cluster has declared this process dead: its locks are
// gone, and every request, pending or to come, is answered with dlm.Lost.
func (p *Process) Lost() {
	p.Deny()
	p.domains.lose(p.world)
	p.group.lose(p.world)
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for _, q := range s.queries {
			s.done = Completion{Token: q.token, Status: dlm.Lost}
			p.world.Complete(&s.done)
		}
		clear(s.queries)
		s.all()
		for n := range s.locks.places {
			if l := s.locks.at(n); l != nil { // nothing waits for an answer about a sleeper
				s.lose(l)
			}
		}
		s.mu.Unlock()
	}
}

func (s *shard) lose(l *lock) {
	l.granted = mode.None
	if l.pending == &idle {
		return
	}
	a, u := l.ask, l.unlock
	l.ask, l.unlock = ask{}, unlocking{}
	if a.kind != proto.PendingNothing && !a.detached {
		s.done = Completion{Token: a.token, Async: a.async, Lock: l.ID, Status: dlm.Lost, User: a.user}
		s.p.world.Complete(&s.done)
	}
	s.answerCancels(l, dlm.Lost, false)
	s.rest(l)
	if u.active && !u.silent {
		s.done = Completion{Token: u.token, Lock: l.ID, Status: dlm.Lost}
		s.p.world.Complete(&s.done)
	}
}
