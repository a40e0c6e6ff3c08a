package sim

import (
	"fmt"
	"slices"
	"sort"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

// role is one incarnation of the agent of a host.
type role struct {
	s     *sim
	m     *machine
	host  *node
	a     *agent.Agent // of a host alone
	links []*link
	known []proto.ProcID // processes that this incarnation takes for alive
	later []func()       // what it has put off
	council
}

// link is a process's connection to an incarnation of the agent.
type link struct {
	role     *role
	n        *node
	up, down *queue
	welcomed bool // as the process sees it
	greeted  bool // as the agent sees it
}

// connect does one of the things that happen on an agent's side without a
// message: somebody takes the role, connects, or is found dead.
func (s *sim) connect(calm bool) bool {
	at := 0
	if len(s.hosts) > 1 {
		at = s.rng.IntN(len(s.hosts))
	}
	for i := range s.hosts {
		if s.connectAt(s.hosts[(at+i)%len(s.hosts)], calm) {
			return true
		}
	}
	return false
}

func (s *sim) connectAt(m *machine, calm bool) bool {
	if m.role == nil {
		return s.takeRole(m, calm)
	}
	var want []*node
	for _, n := range s.nodes {
		if n.home == m && n.running() && (n.link == nil || n.link.role != m.role) {
			want = append(want, n)
		}
	}
	if len(want) > 0 && (calm || s.one(s.plan.slowUp)) {
		s.hello(want[s.rng.IntN(len(want))])
		return true
	}
	if !m.role.running() {
		return false
	}
	if r := m.role; len(r.later) > 0 && (calm || s.one(3)) {
		do := r.later[0]
		r.later = r.later[1:]
		s.agentStep(r, do)
		return true
	}
	for _, id := range m.role.known {
		if n := s.byID[id]; n.dead && (calm || s.one(s.plan.slowDeath)) {
			s.foundDead(n)
			return true
		}
	}
	return false
}

// takeRole makes some running process the agent of its host.
func (s *sim) takeRole(m *machine, calm bool) bool {
	var able []*node
	for _, n := range s.nodes {
		if n.home == m && n.running() {
			able = append(able, n)
		}
	}
	if len(able) == 0 || !calm && !s.one(s.plan.slowUp) {
		return false
	}
	host := able[s.rng.IntN(len(able))]
	s.gen++
	r := &role{s: s, m: m, host: host}
	var live, dead []proto.ProcID
	for _, n := range s.nodes {
		if n.home != m || n.given == 0 || s.former(n) {
			continue
		}
		if !n.dead {
			live = append(live, n.given)
		} else if s.files[n.given] != nil {
			dead = append(dead, n.given)
		}
	}
	r.known = append(r.known, live...)
	s.note("%s becomes agent, generation %d, dead %s, directory of %d", host, s.gen, s.names(dead), len(m.dir))
	if s.gen > uint64(len(s.hosts)) {
		s.counts[takeovers]++
	}
	m.role = r
	if len(s.hosts) > 1 {
		r.dead = dead
		s.agentStep(r, r.enter)
		return true
	}
	past := m.past()
	s.agentStep(r, func() { r.a = agent.New(r, s.gen<<32, live, dead, past) })
	return true
}

// past is what earlier agents on this host have kept.
func (m *machine) past() *agent.Lasting {
	past := &agent.Lasting{}
	for _, e := range m.dir {
		past.Directory = append(past.Directory, e)
	}
	m.remembered.Fill(past)
	sort.Slice(past.Directory, func(i, j int) bool {
		return string(past.Directory[i].Tree[:]) < string(past.Directory[j].Tree[:])
	})
	return past
}

// agentStep is one entry into the agent, in its process.
func (s *sim) agentStep(r *role, do func()) {
	n := r.host
	s.mark(n)
	if n.doomed {
		undo := []func(){}
		s.undo = &undo
		s.agentDo(do)
		s.undo = nil
		s.cutStep(n, undo)
		return
	}
	if s.agentDo(do) {
		s.kill(n)
	}
	s.lookOver(r)
	s.runLater()
}

// hello connects n to the agent.
func (s *sim) hello(n *node) {
	r := n.home.role
	l := &link{role: r, n: n}
	l.up, l.down = s.newQueue(toAgent, n, r.host), s.newQueue(fromAgent, r.host, n)
	l.up.link, l.down.link = l, l
	if n.link != nil {
		// What the former agent sent before it died may be read first, or not.
		if old := n.link.down; s.one(2) {
			for old.deliverable() && n.running() {
				s.deliver(old)
			}
			if !n.running() || n.home.role != r {
				return
			}
		}
		n.link.down.shut, n.link.up.shut = true, true
	}
	n.link = l
	r.links = append(r.links, l)
	l.up.msgs = append(l.up.msgs, &proto.Msg{Kind: proto.KHello, Proc: n.id})
	s.note("%s connects to the agent at %s", n, r.host)
}

// foundDead tells the agent of a proven death, after or without what the dead
// process had still to say.
func (s *sim) foundDead(n *node) {
	r := n.home.role
	for _, l := range r.links {
		if l.n != n || l.up.shut {
			continue
		}
		drain := s.one(2)
		for drain && len(l.up.msgs) > 0 && n.home.role == r {
			s.deliver(l.up)
		}
		if n.home.role != r {
			return
		}
		l.up.shut, l.down.shut = true, true
	}
	s.note("agent finds %s dead", n)
	r.known = slices.DeleteFunc(r.known, func(p proto.ProcID) bool { return p == n.given })
	if r.h != nil {
		if s.files[n.given] != nil {
			r.dead = append(r.dead, n.given)
		}
		s.agentStep(r, func() {
			r.h.Dead(n.given)
			if r.groups != nil {
				r.groups.Died(n.given)
			}
		})
		return
	}
	s.agentStep(r, func() { r.a.Dead(n.given) })
}

// atAgent is a process's message to the agent.
func (s *sim) atAgent(l *link, m *proto.Msg) {
	r := l.role
	if r != r.m.role {
		return
	}
	if m.Kind == proto.KHello {
		if r.h != nil {
			s.helloHost(l)
		} else {
			s.welcome(l, m)
		}
		return
	}
	if s.tracing {
		s.note("agent <- %s %s", l.n, describe(m))
	}
	s.agentStep(r, func() {
		if r.groups != nil && m.Kind == proto.KGroup {
			r.groups.FromMember(l.n.given, m.Call)
		} else if r.h != nil {
			r.h.FromProcess(l.n.given, m)
		} else {
			r.a.FromProcess(l.n.given, m)
		}
	})
}

func (s *sim) welcome(l *link, m *proto.Msg) {
	r, n := l.role, l.n
	s.agentStep(r, func() {
		var view uint64
		if n.given == 0 {
			if n.dead {
				return // its record lock is free: not welcomed
			}
			var id proto.ProcID
			id, view = r.a.Join()
			s.change(
				func() { n.given, s.byID[id], s.files[id] = id, n, n.file; r.known = append(r.known, id) },
				func() { n.given = 0; delete(s.byID, id); delete(s.files, id) })
			s.note("agent admits %s as %x", n, uint64(id))
		} else {
			view = r.a.View()
		}
		if m.Proc != 0 && m.Proc != n.given {
			s.fail("%s says hello as %x", n, uint64(m.Proc))
		}
		l.greeted = true
		l.down.msgs = append(l.down.msgs, &proto.Msg{Kind: proto.KWelcome, Proc: n.given, View: view})
		r.a.Connected(n.given)
	})
}

// fromAgent is a message of the agent to a process.
func (s *sim) fromAgent(q *queue, m *proto.Msg) {
	n := q.to
	switch m.Kind {
	case proto.KReject:
		s.note("%s is refused", n)
		s.kill(n)
		return
	case proto.KWelcome:
		if n.id == 0 {
			n.birth = uint32(m.Number)
			n.until = n.home.file.until
			if s.pass(0); n.dead {
				return
			}
		}
		s.step(n, func() {
			s.note("%s is welcomed", n)
			if n.id == 0 {
				n.id = m.Proc
				n.p.Joined(m.Proc, m.View)
			}
			n.knows.told = false // until it is told all again
			if n.link.welcomed {
				n.p.FromAgent(m)
				return
			}
			n.link.welcomed = true
			n.p.Connected()
		})
		return
	case proto.KView:
		if !n.knows.follows(m) {
			break
		}
		for _, x := range s.everybody() {
			if x.id == 0 && x.given == 0 || n.removed[x.given] || !removes(m, x.given) {
				continue
			}
			if !x.dead && x.id == 0 {
				continue // it has yet to be welcomed, and then finds its lease over
			}
			if !x.dead && x.guest != nil && !slices.Contains(x.home.notes.IDs(), x.given) {
				x.dead = true // it was not noted when its agent died, so nobody was told of it
			}
			if !x.dead {
				s.fail("view %x removes %s, which is alive", m.View, x)
			}
			s.lastWords(x, n)
			if !n.running() {
				return
			}
		}
		if q.shut {
			return
		}
		var before []glimpse
		if s.all == nil {
			before = s.beforeView(n, m)
		}
		s.step(n, func() {
			if s.tracing {
				s.note("%s <- agent %s", n, describe(m))
			}
			for _, x := range s.everybody() {
				if x.given != 0 && removes(m, x.given) && !n.removed[x.given] {
					n.removed[x.given] = true
					s.counts[removals]++
				}
			}
			n.knows = knowledge{m.View, m.Number, true}
			n.p.FromAgent(m)
		})
		if s.all == nil {
			s.afterView(n, before)
		}
		return
	}
	s.step(n, func() {
		if s.tracing {
			s.note("%s <- agent %s", n, describe(m))
		}
		switch {
		case m.Kind == proto.KActivate:
			s.counts[rebuilds]++
		case m.Kind == proto.KMoved && m.Proc == n.id:
			s.counts[movesBack]++
		case m.Kind == proto.KMoved:
			s.counts[movesDone]++
		}
		n.p.FromAgent(m)
	})
}

// lastWords are what a dead process had sent to n and what n may still read
// before a view tells it to stop.
func (s *sim) lastWords(x, n *node) {
	pq := x.out[n.id]
	if pq == nil {
		return
	}
	drain := s.one(2)
	for _, q := range []*queue{pq.requests, pq.answers} {
		for drain && q != nil && q.deliverable() {
			s.counts[lastWords]++
			s.deliver(q)
		}
		if q != nil {
			q.shut = true
		}
	}
}

// knowledge is which view a process was told last, of which directory.
type knowledge struct {
	view, directory uint64
	told            bool
}

// follows reports whether a view that comes now is taken: one with news only must not be
// the first, nor have a gap before it.
func (k *knowledge) follows(m *proto.Msg) bool {
	if m.Flags&proto.ViewNews == 0 {
		return m.View >= k.view
	}
	return k.told && k.directory == m.Number && k.view >= m.Assign && m.View >= k.view
}

// removes reports whether x is dead by that view.
func removes(m *proto.Msg, x proto.ProcID) bool {
	if m.Flags&proto.ViewNews != 0 {
		return contains(m.Dead, x)
	}
	return uint64(x) <= m.View && !contains(m.Procs, x) && !contains(m.Groups, x)
}

func contains(procs []proto.ProcID, p proto.ProcID) bool {
	for _, x := range procs {
		if x == p {
			return true
		}
	}
	return false
}

// Send implements agent.World and host.World.
func (r *role) Send(to proto.ProcID, m *proto.Msg) {
	if c := r.s.byID[to]; c != nil && c.guest != nil {
		if q := c.guest.inbox; c.guest.role == r && !c.dead {
			q.msgs = append(q.msgs, r.s.copyOf(m))
		}
		return
	}
	for i := len(r.links) - 1; i >= 0; i-- {
		l := r.links[i]
		if l.n.given == to && l.greeted && !l.down.shut {
			if m.Kind == proto.KInstall {
				r.s.checkImage(r, m.Image)
			}
			l.down.msgs = append(l.down.msgs, r.s.copyOf(m))
			return
		}
	}
}

// SendAll implements agent.World.
func (r *role) SendAll(to []proto.ProcID, m *proto.Msg) {
	for _, p := range to {
		r.Send(p, m)
	}
}

// Records implements agent.World.
func (r *role) Records(dead proto.ProcID) []proto.Record {
	n := r.s.byID[dead]
	if n == nil && r.h != nil {
		return nil // it ended before it knew its name
	}
	if n == nil || !n.dead {
		r.s.fail("agent reads the journal of %x, which is not dead", uint64(dead))
	}
	f := r.s.files[dead]
	if f == nil && r.h != nil {
		return nil
	}
	if f == nil {
		r.s.fail("agent reads the journal of %s, which it has forgotten", n)
	}
	return f.records()
}

// Peers implements agent.World.
func (r *role) Peers(dead proto.ProcID) ([]proto.ProcID, bool) {
	f := r.s.files[dead]
	if f == nil && r.h != nil {
		return nil, true
	}
	if f == nil {
		r.s.fail("agent asks for the peers of %x, which it has forgotten", uint64(dead))
	}
	return append([]proto.ProcID(nil), f.peers...), false
}

// Retire implements agent.World.
func (r *role) Retire(dead proto.ProcID, tree proto.Digest) {
	f := r.s.files[dead]
	if f == nil && r.h != nil {
		return
	}
	if f == nil {
		r.s.fail("agent retires records of %x, which it has forgotten", uint64(dead))
	}
	for i := range f.lines {
		if l := f.lines[i]; l.written && l.rec.Tree == tree {
			r.s.change(func() { f.lines[i].written = false }, func() { f.lines[i] = l })
		}
	}
}

// Forget implements agent.World.
func (r *role) Forget(dead proto.ProcID) {
	f := r.s.files[dead]
	r.s.note("   agent forgets %s", r.s.names([]proto.ProcID{dead}))
	r.dead = slices.DeleteFunc(r.dead, func(p proto.ProcID) bool { return p == dead })
	r.s.change(func() { delete(r.s.files, dead) }, func() { r.s.files[dead] = f })
	r.goOnLeaving()
}

// Put implements agent.Directory.
func (r *role) Put(e agent.Entry) error {
	s := r.s
	old, had := r.m.dir[e.Tree]
	if !had && len(r.m.dir) >= s.plan.directoryRoom {
		s.counts[directoryFull]++
		return errNoRoom
	}
	s.note("   directory: %x -> %s under %x", e.Tree[:2], s.names([]proto.ProcID{e.Master}), e.Assign)
	s.change(func() { r.m.dir[e.Tree] = e }, func() {
		if had {
			r.m.dir[e.Tree] = old
		} else {
			delete(r.m.dir, e.Tree)
		}
	})
	return nil
}

// Delete implements agent.Directory.
func (r *role) Delete(tree proto.Digest) {
	s := r.s
	old, had := r.m.dir[tree]
	s.note("   directory: %x gone", tree[:2])
	s.change(func() { delete(r.m.dir, tree) }, func() {
		if had {
			r.m.dir[tree] = old
		}
	})
}

// Later implements agent.World.
func (r *role) Later(do func()) { r.later = append(r.later, do) }

// Self implements agent.World.
func (r *role) Self() proto.ProcID { return r.host.given }

// Obituary implements agent.World.
func (r *role) Obituary(p proto.ProcID) proto.Obituary { return proto.Obituary{Proc: p} }

// Keep implements agent.World.
func (r *role) Keep(k *proto.Kept) error {
	r.remember(func(m *agent.Remembered) { m.Keep(k) })
	return nil
}

// Unkeep implements agent.World.
func (r *role) Unkeep(k *proto.Kept) { r.remember(func(m *agent.Remembered) { m.Unkeep(k) }) }

// Doubt implements agent.World.
func (r *role) Doubt(domain proto.Digest, invalid bool) error {
	r.remember(func(m *agent.Remembered) { m.Doubt(domain, invalid) })
	return nil
}

func (r *role) remember(change func(*agent.Remembered)) {
	s, m, old := r.s, r.m, r.m.remembered
	s.change(func() { m.remembered = old.Clone(); change(m.remembered) }, func() { m.remembered = old })
}

// Agree implements agent.World.
func (r *role) Agree(done func()) { done() }

// names prints processes for the trace.
func (s *sim) names(ids []proto.ProcID) string {
	t := ""
	for i, id := range ids {
		if i > 0 {
			t += " "
		}
		if n := s.byID[id]; n != nil {
			t += n.name
		} else {
			t += fmt.Sprintf("%x", uint64(id))
		}
	}
	return "[" + t + "]"
}

// Rebuilding implements agent.World.
func (r *role) Rebuilding(bool) {}
