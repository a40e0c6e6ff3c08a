package process

import (
	"cmp"
	"slices"
	"sync"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// The search for deadlocks (design §10). A process whose request has waited for
// long asks its way through the graph of waits: the master of a request, what it
// waits for (KBlame); the processes of the party that stands there, what that
// party waits for (KWaits); and so on, until it comes back to its own party or
// knows the whole neighbourhood.
//
// Then it asks all masters on the cycle once more. A request waits without a
// break from the first answer to the second, and so does what it waits for
// stand there; so at the moment between the two rounds the whole cycle existed,
// and a deadlock does not go away by itself. The victim is the request on the
// cycle that began to wait last: everybody who searches chooses the same one, and
// its master refuses it once.
//
// A search keeps nothing anywhere else, so it needs no cleaning up: if somebody
// dies or a tree moves, the answers no longer fit, and a later search finds what
// is still there.
//
// Owners are parties (D-21): a cycle goes through a process or a transaction,
// whatever other requests it has under way.

const (
	// DeadlockWait is how long a request waits before the first search, unless
	// SetDeadlockWait says otherwise.
	DeadlockWait = 1e9
	// maxBackoff bounds the time between searches for one request, in units of
	// the first wait.
	maxBackoff = 32
	// huntMark distinguishes the numbers of searches from those of single questions.
	huntMark = 1 << 31
	// maxGraph bounds the requests and parties that one search looks at.
	maxGraph = 10000
)

// waitRef names a request that began to wait.
type waitRef struct {
	lock  proto.LockID
	op    uint64
	since int64
	next  int64 // when to search
	tries int
}

// hunt is a process's searching. One search runs at a time.
type hunt struct {
	sync.Mutex // never held while a shard's mutex is wanted
	patience   int64
	number     uint32
	now        *search
	due        []waitRef
	found      uint64 // deadlocks
}

// SetDeadlockWait sets how long requests wait before a search, in nanoseconds.
func (p *Process) SetDeadlockWait(ns int64) {
	p.hunt.Lock()
	defer p.hunt.Unlock()
	p.hunt.patience = ns
}

func (p *Process) patience() int64 {
	p.hunt.Lock()
	defer p.hunt.Unlock()
	return p.hunt.patience
}

// watchWait notes that l's request begins to wait. The shard is locked.
func (s *shard) watchWait(l *lock) {
	a := &l.ask
	if dlm.Flags(a.flags)&dlm.NoDlckWt != 0 {
		return
	}
	at := a.since + s.p.patience()
	s.waits = append(s.waits, waitRef{lock: l.ID, op: a.op, since: a.since, next: at})
	s.p.world.Alarm(at)
}

// waitOf is the own lock whose request w names, nil if it does not wait any more.
func (s *shard) waitOf(id proto.LockID, op uint64) *lock {
	l := s.peek(id)
	if l == nil || l.ask.op != op || !l.ask.waited || l.ask.kind == proto.PendingNothing || l.unlock.active {
		return nil
	}
	return l
}

// Tick searches for those requests that have waited long enough, and asks for
// the next Tick if there is anything to do later.
func (p *Process) Tick() {
	if p.lost.Load() {
		return
	}
	now, patience := p.world.Now(), p.patience()
	var due []waitRef
	var next int64
	locks := 0
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		locks += s.locks.len()
		s.waits = slices.DeleteFunc(s.waits, func(w waitRef) bool { return s.waitOf(w.lock, w.op) == nil })
		for j := range s.waits {
			w := &s.waits[j]
			if w.next <= now {
				due = append(due, *w)
				w.next = now + patience*min(int64(1)<<min(w.tries, 30), maxBackoff)
				w.tries++
			}
			if next == 0 || w.next < next {
				next = w.next
			}
		}
		if at := s.overdue(now); at != 0 && (next == 0 || at < next) {
			next = at
		}
		s.mu.Unlock()
	}
	if next != 0 {
		p.world.Alarm(next)
	}
	if locks == 1 && len(due) == 1 && !p.group.in() && p.onlyWaits(due[0]) {
		return
	}
	slices.SortFunc(due, func(x, y waitRef) int {
		return cmp.Or(cmp.Compare(x.since, y.since), cmp.Compare(x.lock, y.lock))
	})
	h := &p.hunt
	h.Lock()
	h.due = due // what was due before and not looked at comes again
	if h.now != nil && now-h.now.began > patience {
		h.now = nil // somebody does not answer
	}
	h.Unlock()
	p.nextSearch()
}

// onlyWaits reports that nobody can be waiting for this process, whose only lock
// w is: it has none granted.
func (p *Process) onlyWaits(w waitRef) bool {
	s := p.shardOfLock(w.lock)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lookup(w.lock)
	return l != nil && l.granted == mode.None && l.Party == proto.Party{ID: uint64(p.me)}
}

// request is a request that waits, and how the search came to it.
type request struct {
	proc proto.ProcID
	proto.Wait
	from *request       // which waits for a lock of this request's party
	via  proto.Obstacle // that lock
}

// search is one walk through the graph.
type search struct {
	number  uint32
	began   int64
	party   proto.Party
	known   map[reqKey]*request
	visited map[proto.Party]*visit
	todo    []question
	open    int        // questions without an answer
	cycle   []*request // found; from the first request on
	links   []proto.Obstacle
	missing map[reqKey]int // in the second round: which link a request has yet to confirm
}

type reqKey struct {
	proc proto.ProcID
	lock proto.LockID
	op   uint32
}

func (q *request) key() reqKey { return reqKey{q.proc, q.Lock, q.Op} }

// visit is how the search came to a party.
type visit struct {
	from *request
	via  proto.Obstacle
}

// question is one to ask: of a master what a request waits for, or of a process
// what a party waits for.
type question struct {
	to    proto.ProcID
	blame *request
	party proto.Party
}

// nextSearch starts the search that is due next, if none is running.
func (p *Process) nextSearch() {
	h := &p.hunt
	for {
		h.Lock()
		if h.now != nil || len(h.due) == 0 {
			h.Unlock()
			return
		}
		w := h.due[0]
		h.due = h.due[1:]
		h.Unlock()
		first, party := p.firstRequest(w)
		if first == nil {
			continue
		}
		h.Lock()
		if h.now != nil {
			h.Unlock()
			return
		}
		h.number++
		s := &search{
			number: h.number | huntMark, began: p.world.Now(), party: party,
			known: map[reqKey]*request{first.key(): first}, visited: map[proto.Party]*visit{},
		}
		h.now = s
		s.ask(question{to: first.Master, blame: first})
		h.Unlock()
		p.pursue(s)
	}
}

// firstRequest describes a request that is due; nil if it is answered, or its
// master is not known.
func (p *Process) firstRequest(w waitRef) (*request, proto.Party) {
	s := p.shardOfLock(w.lock)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.waitOf(w.lock, w.op)
	if l == nil {
		return nil, proto.Party{}
	}
	d, ok := l.describe()
	if !ok {
		return nil, proto.Party{}
	}
	return &request{proc: p.me, Wait: d}, l.Party
}

// describe tells of a request that waits.
func (l *lock) describe() (w proto.Wait, ok bool) {
	r := l.root
	if r.where != local && r.where != remote {
		return w, false
	}
	return proto.Wait{
		Lock: l.ID, Op: uint32(l.ask.op), Root: r.key, Name: l.name, Granted: l.granted, Wanted: l.ask.mode,
		Master: r.master, Assign: r.assign, Since: l.ask.since,
	}, true
}

// ask notes a question. The hunt is locked.
func (s *search) ask(q question) {
	s.todo = append(s.todo, q)
	s.open++
}

// pursue asks what is to be asked, until answers must be awaited or the search
// has ended. Questions to this process are answered here.
func (p *Process) pursue(s *search) {
	for {
		p.hunt.Lock()
		if p.hunt.now != s {
			p.hunt.Unlock()
			return
		}
		if len(s.todo) == 0 {
			if s.open == 0 {
				p.hunt.now = nil
			}
			p.hunt.Unlock()
			return
		}
		q := s.todo[0]
		s.todo = s.todo[1:]
		p.hunt.Unlock()
		switch {
		case q.to != p.me:
			p.putQuestion(s, &q)
		case q.blame != nil:
			p.learnObstacles(s, q.blame.key(), q.blame.Assign, p.obstacles(q.blame, false))
		default:
			p.learnWaits(s, p.me, q.party, p.waitsOf(q.party))
		}
	}
}

func (p *Process) putQuestion(s *search, q *question) {
	m := proto.Msg{Kind: proto.KWaits, Search: s.number, Party: q.party}
	if b := q.blame; b != nil {
		m = proto.Msg{
			Kind: proto.KBlame, Search: s.number,
			Assign: b.Assign, Root: b.Root, Proc: b.proc, Lock: b.Lock, Op: b.Op,
		}
	}
	p.world.Send(q.to, proto.ToMaster, &m)
}

// ---- the side that is asked ----

// standing finds a request in a tree mastered here. The shard is locked.
func (s *shard) standing(q *request) (*root, *tree.Lock) {
	r := s.find(&q.Root)
	if r == nil || r.where != local || r.assign != q.Assign {
		return nil, nil
	}
	var t *tree.Lock
	if q.proc == s.p.me {
		if l := s.lookup(q.Lock); l != nil && l.root == r && l.Res != nil {
			t = &l.Lock
		}
	} else {
		// A request that its owner has yet to repeat to a new master must not be
		// refused: the repetition would come for a lock that is gone.
		if t = r.foreign.of(q.proc, q.Lock); t != nil && !t.Heard {
			t = nil
		}
	}
	if t == nil || t.Op != q.Op || !t.Waiting() {
		return nil, nil
	}
	return r, t
}

// obstacles is what a request waits for, in a tree mastered here. all: also what
// does not count in the search.
func (p *Process) obstacles(q *request, all bool) []proto.Obstacle {
	s := p.shardOf(&q.Root)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, t := s.standing(q); t != nil {
		return t.Obstacles(all)
	}
	return nil
}

// waitsOf is what a party waits for, in this process.
func (p *Process) waitsOf(party proto.Party) (out []proto.Wait) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for _, w := range s.waits {
			if l := s.waitOf(w.lock, w.op); l != nil && l.Party == party {
				if d, ok := l.describe(); ok {
					out = append(out, d)
				}
			}
		}
		s.mu.Unlock()
	}
	return out
}

// question answers another process's question.
func (p *Process) question(from proto.ProcID, m *proto.Msg) {
	a := proto.Msg{Kind: proto.KWaiting, Search: m.Search, Party: m.Party}
	if m.Kind == proto.KWaits {
		a.Waits = p.waitsOf(m.Party)
	} else {
		a = proto.Msg{Kind: proto.KBlamed, Search: m.Search, Assign: m.Assign, Proc: m.Proc, Lock: m.Lock, Op: m.Op}
		a.Obstacles = p.obstacles(&request{proc: m.Proc, Wait: proto.Wait{Lock: m.Lock, Op: m.Op, Root: m.Root, Assign: m.Assign}},
			m.Search&huntMark == 0)
	}
	p.world.Send(from, proto.ToOwner, &a)
}

// refuseVictim refuses a request of a tree mastered here, if it still waits.
func (p *Process) refuseVictim(q *request) {
	s := p.shardOf(&q.Root)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, t := s.standing(q)
	if t == nil {
		return
	}
	res := t.Res
	conversion := t.Granted != mode.None
	r.tree.Cancel(t, dlm.CancelWaitOK)
	if q.proc == p.me {
		s.refuse(s.lookup(q.Lock), dlm.Deadlock)
	} else {
		m := proto.Msg{Lock: q.Lock, Op: q.Op}
		if !conversion {
			r.foreign.remove(t)
			s.freeForeign(t)
		}
		r.sendRefused(q.proc, &m, dlm.Deadlock)
	}
	if conversion {
		res.Settle()
	}
}

// ---- the side that asks ----

// running is the search that an answer is for; nil for an old one.
func (p *Process) running(number uint32) *search {
	p.hunt.Lock()
	defer p.hunt.Unlock()
	if s := p.hunt.now; s != nil && s.number == number {
		return s
	}
	return nil
}

func (p *Process) blamed(_ proto.ProcID, m *proto.Msg) {
	if m.Search&huntMark == 0 {
		s := &p.shards[m.Search&(shardCount-1)]
		s.mu.Lock()
		defer s.mu.Unlock()
		if q := s.queries[m.Search]; q != nil {
			s.answerBlame(q, m.Obstacles)
		}
		return
	}
	if s := p.running(m.Search); s != nil {
		p.learnObstacles(s, reqKey{m.Proc, m.Lock, m.Op}, m.Assign, m.Obstacles)
		p.pursue(s)
		p.nextSearch()
	}
}

func (p *Process) waiting(from proto.ProcID, m *proto.Msg) {
	if s := p.running(m.Search); s != nil {
		p.learnWaits(s, from, m.Party, m.Waits)
		p.pursue(s)
		p.nextSearch()
	}
}

// learnObstacles takes the answer of a master.
func (p *Process) learnObstacles(s *search, key reqKey, assign uint64, list []proto.Obstacle) {
	p.hunt.Lock()
	if p.hunt.now == s && s.cycle != nil {
		whole, wrong := s.confirm(key, assign, list)
		if wrong {
			p.hunt.now = nil
		}
		p.hunt.Unlock()
		if whole {
			p.breakCycle(s)
		}
		return
	}
	defer p.hunt.Unlock()
	q := s.known[key]
	if p.hunt.now != s || q == nil || q.Assign != assign {
		return
	}
	s.open--
	for _, o := range list {
		if o.Party == s.party {
			s.close(q, o)
			return
		}
		if s.visited[o.Party] != nil || len(s.visited)+len(s.known) > maxGraph {
			continue
		}
		s.visited[o.Party] = &visit{q, o}
		for _, to := range p.processesOf(o.Party) {
			s.ask(question{to: to, party: o.Party})
		}
	}
}

// learnWaits takes the answer of a process.
func (p *Process) learnWaits(s *search, from proto.ProcID, party proto.Party, list []proto.Wait) {
	p.hunt.Lock()
	defer p.hunt.Unlock()
	v := s.visited[party]
	if p.hunt.now != s || s.cycle != nil || v == nil {
		return
	}
	s.open--
	for _, w := range list {
		q := &request{proc: from, Wait: w, from: v.from, via: v.via}
		if s.known[q.key()] == nil && len(s.visited)+len(s.known) <= maxGraph && p.alive(w.Master) {
			s.known[q.key()] = q
			s.ask(question{to: w.Master, blame: q})
		}
	}
}

// processesOf lists the processes that may have requests of a party.
func (p *Process) processesOf(party proto.Party) (out []proto.ProcID) {
	if party.Kind == proto.PartyProcess {
		if x := proto.ProcID(party.ID); p.alive(x) {
			out = append(out, x)
		}
	}
	m := &p.members
	m.Lock()
	defer m.Unlock()
	if party.Kind == proto.PartyProcess { // it may be a member of any container
		return append(out, m.groups...)
	}
	out = append(out, p.me)
	for x := range m.live {
		if x != p.me {
			out = append(out, x)
		}
	}
	slices.Sort(out)
	return out
}

// close notes the cycle that ends with last waiting for a lock of the first
// party, and begins the second round. The hunt is locked.
func (s *search) close(last *request, o proto.Obstacle) {
	s.todo = nil
	s.missing = map[reqKey]int{}
	for q, link := last, o; q != nil; q, link = q.from, q.via {
		s.cycle = append(s.cycle, q)
		s.links = append(s.links, link)
	}
	slices.Reverse(s.cycle)
	slices.Reverse(s.links)
	// Answers of the first round that are still to come count for nothing.
	s.open = 0
	for i, q := range s.cycle {
		s.missing[q.key()] = i
		s.ask(question{to: q.Master, blame: q})
	}
}

// confirm takes an answer of the second round: the cycle stands as a whole, or
// something of it is gone. The hunt is locked.
func (s *search) confirm(key reqKey, assign uint64, list []proto.Obstacle) (whole, wrong bool) {
	i, ok := s.missing[key]
	if !ok || s.cycle[i].Assign != assign {
		return false, false
	}
	if !slices.Contains(list, s.links[i]) {
		return false, true
	}
	s.open--
	delete(s.missing, key)
	return len(s.missing) == 0, false
}

// breakCycle has the victim refused.
func (p *Process) breakCycle(s *search) {
	victim := slices.MaxFunc(s.cycle, func(x, y *request) int {
		return cmp.Or(cmp.Compare(x.Since, y.Since), cmp.Compare(x.proc, y.proc), cmp.Compare(x.Lock, y.Lock))
	})
	links := make([]Link, len(s.cycle))
	for i, q := range s.cycle {
		o := &s.links[i]
		links[i] = Link{
			Waiter: q.proc, Lock: q.Lock, Root: q.Root, Name: q.Name, Granted: q.Granted, Wanted: q.Wanted, Victim: q == victim,
			Holder: o.Proc, Holds: o.Mode, Queued: o.Queued,
		}
	}
	p.hunt.Lock()
	p.hunt.found++
	p.hunt.Unlock()
	p.world.Deadlock(links)
	p.searchAgain(s.cycle[0])
	if victim.Master == p.me {
		p.refuseVictim(victim)
		return
	}
	p.world.Send(victim.Master, proto.ToMaster, &proto.Msg{
		Kind: proto.KVictim, Assign: victim.Assign, Root: victim.Root, Proc: victim.proc, Lock: victim.Lock, Op: victim.Op,
	})
}

// searchAgain has the search for a request begin anew soon: where there was one
// cycle there may be another.
func (p *Process) searchAgain(q *request) {
	s := p.shardOfLock(q.Lock)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := p.world.Now() + p.patience()
	for i := range s.waits {
		if w := &s.waits[i]; w.lock == q.Lock {
			w.tries, w.next = 0, at
			p.world.Alarm(at)
		}
	}
}
