// Package agent is the agent's part of the lock manager: which processes live,
// which of them masters which root, and how a tree whose master died gets a new
// one (design §6–§8). It knows no lock mode and decides no request; it has no
// goroutine, clock or socket. One Agent serves one incarnation of the role: a
// successor starts from the directory and the live processes.
//
// A tree without a living master goes through these states:
//
//	lost ──(all needed reports are here)──► placing ──KInstalled──► mastered
//	  ▲                                        │
//	  └───────────── the new master died ◄─────┘
//
// The order at the end is what makes a second death harmless: the new master has
// written its own value journal before it says KInstalled; then the directory
// names it; then it may serve. From then on the dead master's records of the tree
// are old: nothing is read in them while the journal of the master that the directory
// names is there, and without it whatever is newer counts. They go with the file, once
// no tree is without a master, or void when the tree ends before that: the next one of
// its name starts anew.
package agent

import (
	"maps"
	"slices"
	"sort"

	"github.com/godlm/godlm/core/proto"
)

// Agent is one incarnation of the agent role.
type Agent struct {
	world     World
	view      uint64
	needed    uint64 // reports made for this view or a later one count
	assign    uint64
	live      map[proto.ProcID]bool
	connected map[proto.ProcID]bool
	dead      map[proto.ProcID]bool // with files that may still be needed
	dir       directory
	lost      lost
	awaited   map[proto.ProcID]bool // whose reports of this view are missing
	reports   reports
	recovery  recovery
	groups    map[proto.ProcID]bool // containers: alive, but never masters
	central   bool                  // the agent's own process masters whatever it can
	number    uint64                // of the directory
	coming    map[proto.ProcID]bool // among dead: their journals have yet to come
	opening   opening
	opened    func() // nil: it was called
	obits     obits
	news      news
	busy      bool      // some tree has no master; as World was told
	homeless  *tree     // a tree without a living master, while it is one
	msg       proto.Msg // scratch for messages to send
}

// tree is what the agent knows of one root.
type tree struct {
	digest  proto.Digest
	root    proto.Root // known of trees that are to be placed
	master  proto.ProcID
	assign  uint64
	held    bool                  // the master has said that it holds the tree
	lost    bool                  // in Agent.lost
	placing proto.ProcID          // being installed there
	moving  bool                  // it comes from its master, which lived when this began
	next    uint64                // assignment of that installation
	refused map[proto.ProcID]bool // they have no room for it
	asking  []asker
}

type asker struct {
	proc proto.ProcID
	root proto.Root
	only bool
	// number is the question's, for the answer.
	number uint64
}

// New starts an incarnation. view is its first view and higher than any before;
// live and dead are the processes that the runtime directory knows, past is what
// the agents before have left.
func New(w World, view uint64, live, dead []proto.ProcID, past *Lasting) *Agent {
	a := &Agent{
		world: w, view: view + 1, assign: view,
		live:      map[proto.ProcID]bool{},
		connected: map[proto.ProcID]bool{},
		dead:      map[proto.ProcID]bool{},
		groups:    map[proto.ProcID]bool{},
		number:    past.Number,
		coming:    map[proto.ProcID]bool{},
		news:      news{view: view + 1},
	}
	for _, p := range past.Coming {
		a.dead[p], a.coming[p] = true, true
	}
	for _, p := range past.Groups {
		a.live[p], a.groups[p] = true, true
	}
	for _, p := range live {
		a.live[p] = true
	}
	for _, p := range dead {
		a.dead[p] = true
	}
	for _, p := range append(sorted(a.dead), past.Coming...) {
		a.obits.add(a.view, w.Obituary(p))
	}
	a.dir.init()
	a.reports.clear()
	a.dir.fill(past.Directory)
	for p := range a.dir.numbers {
		if !a.live[p] {
			a.dir.died(p)
		}
	}
	a.recovery.init(past, live)
	if past.Unknown {
		a.opened = past.Opened
		a.opening.begin(a)
	} else {
		for _, d := range sorted(a.dead) {
			a.retireSettled(d)
		}
		for _, d := range inOrder(a.recovery.kept) {
			if _, known := a.dir.of(d); !known {
				a.forgetKept(d) // a predecessor may have died between giving a tree up and that
			}
		}
	}
	a.startRecovery()
	a.tellOpened()
	return a
}

// tellOpened says so when no tree is left that nobody masters: those have no entry.
func (a *Agent) tellOpened() {
	if a.opened == nil || a.opening.is {
		return
	}
	for _, t := range a.dir.loose {
		if t.master == 0 {
			return
		}
	}
	a.opened()
	a.opened = nil
}

// retireSettled voids what a dead process has left of trees that have a master or are
// nobody's: a predecessor may have died between naming a new master and that.
func (a *Agent) retireSettled(dead proto.ProcID) {
	if a.coming[dead] {
		return
	}
	for _, r := range a.world.Records(dead) {
		if t, known := a.dir.of(r.Tree); !known || a.live[t.master] {
			a.world.Retire(dead, r.Tree)
		}
	}
}

// Centralize has the agent's own process master every tree that needs a master from
// now on.
func (a *Agent) Centralize() { a.central = true }

// View is the current view.
func (a *Agent) View() uint64 { return a.view }

// Live are the live processes, in order.
func (a *Agent) Live() []proto.ProcID { return sorted(a.live) }

// Join admits a new process: its name is the number of the view it starts.
func (a *Agent) Join() (id proto.ProcID, view uint64) {
	a.view++
	id = proto.ProcID(a.view)
	a.live[id] = true
	a.news.joined = append(a.news.joined, id)
	return id, a.view
}

// JoinGroup admits a new container like a process that never masters a tree.
func (a *Agent) JoinGroup(named func(id proto.ProcID, view uint64)) {
	id, view := a.Join()
	a.groups[id] = true
	a.news.groups = append(a.news.groups, id)
	a.tellNews() // the search for deadlocks asks containers
	named(id, view)
}

// Connected says that a live process has reached this agent. It is told the view
// and reports what it has on trees without a master.
func (a *Agent) Connected(p proto.ProcID) {
	if !a.live[p] {
		return
	}
	a.connected[p] = true
	a.tellAll(p)
	a.checkKept(p)
	a.ordersAgain(p)
	unplaced := map[proto.Digest]*tree{}
	for d, t := range a.dir.loose {
		if t.placing == p {
			unplaced[d] = t // the image may be lost with the agent of its host
		}
	}
	a.unplaced(unplaced)
	for _, t := range a.dir.loose {
		if t.placing == 0 && !a.live[t.master] && !t.lost && !t.refused[p] {
			a.reportAgain()
			return
		}
	}
}

// Dead says that a process is proven to have ended; World has its journal.
func (a *Agent) Dead(p proto.ProcID) { a.Died([]proto.ProcID{p}, JournalHere) }

// Journals says what has become of the value journals of processes that have died.
type Journals uint8

// The answers.
const (
	JournalHere   Journals = iota
	JournalComing          // Journal follows: they died on another host
	JournalLost            // with their host
)

// Died says that processes have ended, all at once.
func (a *Agent) Died(list []proto.ProcID, journals Journals) {
	any := false
	unplaced := map[proto.Digest]*tree{}
	for _, p := range list {
		if journals == JournalLost {
			delete(a.coming, p)
			delete(a.dead, p)
		}
		if !a.live[p] {
			continue
		}
		any = true
		a.obits.add(a.view+1, a.world.Obituary(p))
		a.news.dead = append(a.news.dead, p)
		delete(a.live, p)
		delete(a.connected, p)
		delete(a.opening.untold, p)
		if a.groups[p] {
			delete(a.groups, p) // it masters nothing, so nothing of it is needed
		} else if journals != JournalLost {
			a.dead[p] = true
			if journals == JournalComing {
				a.coming[p] = true
			}
		}
		a.dir.died(p)
		for d, t := range a.dir.loose {
			t.asking = slices.DeleteFunc(t.asking, func(q asker) bool { return q.proc == p })
			if t.placing == p {
				unplaced[d] = t
			}
		}
	}
	if !any {
		a.advance() // a journal may have been waited for
		a.tellOpened()
		return
	}
	a.view++
	if a.opening.is {
		a.opening.again(a)
	}
	a.tellNews()
	a.unplaced(unplaced)
	a.startRecovery()
	for _, p := range list {
		a.deadInDomains(p)
	}
	a.tellOpened()
}

// Journal says that World has now the journal of a process that has died on another
// host. One that was not known to have been is of no use.
func (a *Agent) Journal(p proto.ProcID) {
	if !a.dead[p] {
		if !a.live[p] {
			a.world.Forget(p)
		}
		return
	}
	if !a.coming[p] {
		return
	}
	delete(a.coming, p)
	if !a.opening.is {
		a.retireSettled(p)
	}
	a.advance()
	a.forgetDead()
	a.tellOpened()
}

// startRecovery finds the trees without a living master and whose reports they
// need. Reports made for earlier views are asked for again; processes that join
// later have nothing to report.
func (a *Agent) startRecovery() {
	a.needed = a.view
	a.reports.clear()
	a.lost.forget()
	a.awaited = map[proto.ProcID]bool{}
	masters := map[proto.ProcID]bool{}
	for _, t := range a.dir.loose {
		if !a.live[t.master] {
			if t.master != 0 {
				masters[t.master] = true
			}
			if t.placing == 0 {
				a.lost.add(t)
				if t.master == 0 {
					// Nobody can say whose peers to ask: everybody may have locks.
					maps.Copy(a.awaited, a.live)
				}
			}
		}
	}
	a.lost.sort()
	for p := range a.dir.numbers {
		if !a.live[p] {
			masters[p] = true
		}
	}
	if a.anyLost() {
		// Only who had to do with a dead master is waited for.
		for d := range masters {
			peers, all := a.world.Peers(d)
			if all || !a.dead[d] {
				peers = sorted(a.live)
			} else if len(peers) == 0 && !a.coming[d] {
				a.dir.alone(d)
			}
			for _, p := range peers {
				if a.live[p] {
					a.awaited[p] = true
				}
			}
		}
	}
	a.forgetDead()
	a.advance()
}

// forgetDead lets go of dead processes that no tree without a master needs.
func (a *Agent) forgetDead() {
	if a.busy && a.anyLost() {
		return
	}
	busy := a.opening.is || a.dir.orphaned > 0 || a.anyHomeless()
	if a.busy != busy {
		a.busy = busy
		a.world.Rebuilding(busy)
	}
	if busy {
		return
	}
	for _, d := range sorted(a.dead) {
		if !a.coming[d] {
			a.world.Forget(d)
			delete(a.dead, d)
		}
	}
}

// anyHomeless reports whether a loose tree has no living master. That which was found last
// mostly is one still.
func (a *Agent) anyHomeless() bool {
	if t := a.homeless; t != nil && !a.live[t.master] && a.dir.loose[t.digest] == t {
		return true
	}
	a.homeless = nil
	for _, t := range a.dir.loose {
		if !a.live[t.master] {
			a.homeless = t
			break
		}
	}
	return a.homeless != nil
}

// Missing are the processes whose reports, and the dead ones whose journals, a rebuild
// waits for.
func (a *Agent) Missing() (reports, journals []proto.ProcID) {
	if a.opening.is {
		reports = sorted(a.opening.untold)
	} else if a.anyLost() {
		reports = sorted(a.awaited)
	}
	if a.opening.is || a.anyLost() {
		journals = sorted(a.coming)
	}
	return reports, journals
}

// FromProcess takes a message of a live process.
func (a *Agent) FromProcess(p proto.ProcID, m *proto.Msg) {
	if !a.live[p] || a.opening.hold(p, m) {
		return
	}
	switch m.Kind {
	case proto.KMastered:
		a.mastered(p, m)
	case proto.KLookup:
		a.givenUp(m)
		a.lookup(asker{p, m.Root, m.Flags&proto.LookupOnly != 0, m.Number})
	case proto.KDrop:
		a.dropped(p, m)
	case proto.KReport:
		if m.View >= a.needed {
			a.reported(p, m)
		}
	case proto.KReportEnd:
		if m.View >= a.needed {
			if m.Number == a.number {
				delete(a.opening.untold, p)
			}
			delete(a.awaited, p)
			a.advance()
			a.heard(p)
		}
	case proto.KInstalled:
		a.installed(p, m)
	case proto.KMove:
		a.move(p, m)
	case proto.KStay:
		a.stay(p, m)
	case proto.KKeep:
		a.keep(p, m)
	case proto.KUnkeep:
		a.unkeep(p, m)
	case proto.KDomain:
		a.domainAsked(p, m)
	case proto.KRoundDone:
		a.roundDone(p, m)
	}
	a.tellOpened()
}

// reported: a process says what it has of a tree without a master, and asks for the next
// one. It is told when there is one. If nobody waits for the tree there, it can take its
// time.
func (a *Agent) reported(p proto.ProcID, m *proto.Msg) {
	d := m.Root.Digest()
	q := asker{p, m.Root, false, m.Number}
	waits := slices.ContainsFunc(m.Locks, func(l proto.LockReport) bool { return l.Pending != proto.PendingNothing })
	if s := a.dir.line(&d); !waits && !a.opening.is && s != nil && a.dir.masters[s.master].dead {
		a.reports.part(&d).put(d, p, m, q.number)
		return
	}
	a.reports.part(&d).put(d, p, m, 0)
	switch {
	case q.number == 0:
	case a.opening.is:
		a.opening.hold(p, &proto.Msg{Kind: proto.KLookup, Root: q.root, Number: q.number})
	default:
		a.lookup(q)
	}
}

// send sends a message that nobody here needs any more.
func (a *Agent) send(to proto.ProcID, m proto.Msg) {
	a.msg = m
	a.world.Send(to, &a.msg)
}

// reportAgain starts a new view without a death, for trees whose placing failed.
func (a *Agent) reportAgain() {
	a.view++
	a.tellNews()
	a.startRecovery()
}

// installed: the new master holds the tree and its journal; it may serve.
func (a *Agent) installed(p proto.ProcID, m *proto.Msg) {
	d := m.Root.Digest()
	if a.opening.is && m.Flags&proto.Arriving != 0 {
		// Nobody can tell whether the agent before had named it.
		a.send(p, proto.Msg{Kind: proto.KDiscard, Root: m.Root, Assign: m.Assign})
		return
	}
	if a.opening.is {
		a.mastered(p, m)
		a.opening.installed[d] = &proto.Msg{Root: m.Root, Assign: m.Assign}
		return
	}
	a.holds(p, &m.Root, m.Assign)
}

// holds makes the process that has a tree installed its master.
func (a *Agent) holds(p proto.ProcID, root *proto.Root, assign uint64) {
	d := root.Digest()
	t := a.loosen(d)
	var former proto.ProcID
	var before uint64
	switch {
	case t != nil && t.placing == p && t.next == assign:
		former, before = t.master, t.assign
		if a.world.Put(Entry{d, p, assign}) != nil {
			// Else the entry exists, so that it is replaced in place and needs no room.
			if t.master == 0 {
				a.noRoom(t)
			}
			return
		}
		t.master, t.assign, t.placing = p, assign, 0
		t.refused = nil
	case t != nil && t.master == p && t.assign == assign:
		// A predecessor of this agent got as far as naming it.
	default:
		// Others died meanwhile, and the tree has gone another way.
		a.settle(t)
		a.send(p, proto.Msg{Kind: proto.KDiscard, Root: *root, Assign: assign})
		return
	}
	t.held = true
	defer a.serveDomains()
	a.send(p, proto.Msg{Kind: proto.KActivate, Root: *root, Assign: assign})
	a.handedOver(t, former, before)
	a.serve(t)
	a.settle(t)
	a.forgetDead()
}

func sorted(set map[proto.ProcID]bool) []proto.ProcID {
	out := make([]proto.ProcID, 0, len(set))
	for p := range set {
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}
