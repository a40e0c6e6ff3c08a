package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// council is this host's part in the agreement on hosts: what is agreed, its own
// membership, and the lease that follows.
type council struct {
	log   Log // nil: it is not known yet of which log this host is part
	me    proto.HostID
	nonce uint64 // of this agent

	state   *proto.HostState
	changed bool

	// in: this host is a member, of that birth. refused: it is not any more, and what
	// it had under that birth is lost. over: that was found by this agent, whose process
	// ends with it. leased: it has proven that it is one.
	in      bool
	birth   uint32
	refused bool
	over    bool
	leased  bool
	warned  proto.HostID // it has this one's name
	asked   int64        // when membership was asked for last; 0: never
	ask     uint64       // names that question
	bye     int64        // since when it is leaving; 0: it is not
	handing bool         // it has asked another host to lead

	known  map[proto.HostID]*acquaintance
	out    map[outKey]int64 // when it was seen that a host is out
	heard  map[proto.HostID]int64
	hinted map[proto.HostID]bool // gossip suspects them
	evictions
	ticked  int64
	renewal struct {
		token       uint64
		start, sent int64
	}
	changing int64 // when other voters were asked for last
	began    int64 // when this agent did
	leader   uint64
	leads    bool  // this host is the leader
	listens  int64 // since when it is, and was not stopped meanwhile
	stalled  map[string]int64
	missing  int64 // since when this host knows of no leader; 0: it does
}

// acquaintance is a host that has introduced itself.
type acquaintance struct {
	name  string
	fresh bool     // it was part of no log
	here  bool     // it has a stream to this host
	last  int64    // when it has said something
	held  [][]byte // messages that are not due yet
	bytes int      // of those
}

// outKey names a membership that has ended.
type outKey struct {
	id    proto.HostID
	birth uint32
}

// errForeign: the log of a host alone is that of other processes.
var errForeign = errors.New("the store does not belong to the processes in this directory")

const (
	second = int64(1e9)
	// askAgain is the time after which membership is asked for once more.
	askAgain = second
)

func (c *council) init(id proto.HostID, nonce uint64) {
	c.me, c.nonce = id, nonce
	c.state = &proto.HostState{}
	c.known = map[proto.HostID]*acquaintance{}
	c.out = map[outKey]int64{}
	c.heard = map[proto.HostID]int64{}
	c.hinted = map[proto.HostID]bool{}
	c.stalled = map[string]int64{}
	c.there = map[uint64]func(error){}
}

// open takes part in the log.
func (h *Host) open(initial []uint64) error {
	log, err := h.world.Open(initial)
	if err != nil {
		return err
	}
	h.log = log
	h.settle()
	return nil
}

// settle follows what a step of the log has decided.
func (h *Host) settle() {
	for h.changed {
		h.changed = false
		h.hostsChanged()
	}
	if h.log != nil && h.log.Err() != nil && !h.over {
		h.leave(h.log.Err().Error())
	}
}

// Kept is to be called when the log has gone on by itself: something was written for which
// it was waiting.
func (h *Host) Kept() {
	h.settle()
	h.sayBye(h.world.Now())
}

// Apply takes a decided entry. It belongs to the log's Host, as Restore, Snapshot and
// Confirmed do.
func (h *Host) Apply(_ uint64, data []byte) {
	var m proto.Msg
	if err := proto.Parse(data, &m); err != nil || m.Kind != proto.KHostEntry {
		h.note(Error, "an entry of the log of views, of kind %d, is not understood: %v", m.Kind, err)
		return
	}
	e := m.HostEntry
	done := view.Apply(h.state, e)
	if done {
		h.changed = true
		h.tellOf(e)
	}
	if e.Verb == proto.HostUp && e.Host.ID == h.me && e.Host.Asked == h.ask {
		h.upDecided(done, e.Host.Birth)
	}
}

// tellOf logs what was decided.
func (h *Host) tellOf(e *proto.HostEntry) {
	name := e.Host.Name
	if h.cfg.Alone || h.log == nil { // of a host alone, or what an earlier agent has told
		return
	}
	switch e.Verb {
	case proto.HostUp:
		h.note(Info, "host %s is a member (epoch %d)", name, h.state.Epoch)
	case proto.HostOut:
		h.note(Warn, "host %s is removed (epoch %d): %s", name, h.state.Epoch, e.Host.Why)
	case proto.HostOver:
		h.note(Info, "the lease of host %s is over (epoch %d)", name, h.state.Epoch)
	case proto.HostBye:
		h.note(Info, "host %s has left (epoch %d)", name, h.state.Epoch)
	}
}

// Restore replaces what is agreed by a snapshot.
func (h *Host) Restore(_ uint64, data []byte) {
	var m proto.Msg
	if err := proto.Parse(data, &m); err != nil || m.Kind != proto.KHostState {
		h.note(Error, "a snapshot of the log of views, of kind %d, is not understood: %v", m.Kind, err)
		return
	}
	h.state = m.HostState
	h.changed = true
}

// Snapshot is what is agreed.
func (h *Host) Snapshot() []byte {
	return proto.Append(nil, &proto.Msg{Kind: proto.KHostState, HostState: h.state})
}

// Confirmed says that when it was asked this host was among the majority's, and that
// what was decided before is applied. From the moment of the question its lease runs.
func (h *Host) Confirmed(token uint64) {
	if token != h.renewal.token || !h.in { // also of one that is over
		return
	}
	if me := view.Find(h.state, h.me); me == nil || me.Out || me.Birth != h.birth {
		return
	}
	h.file.Extend(h.renewal.start + h.cfg.Lease)
	h.renewal.token = 0
	if !h.leased {
		h.leased, h.changed = true, true
	}
}

// propose asks for an entry.
func (h *Host) propose(e *proto.HostEntry) {
	if h.log == nil {
		return
	}
	if err := h.log.Propose(proto.Append(nil, &proto.Msg{Kind: proto.KHostEntry, HostEntry: e})); err != nil {
		h.note(Debug, "propose verb %d: %v", e.Verb, err)
	}
	h.settle()
}

// askUp asks for membership: to go on with the processes that are here, or without any.
func (h *Host) askUp() {
	now := h.world.Now()
	if h.in || h.over || h.bye != 0 || h.log == nil || h.log.Leader() == 0 || h.council.asked != 0 && now-h.council.asked < askAgain {
		return
	}
	e := proto.Host{ID: h.me, Name: "alone", Birth: h.file.Birth()}
	if !h.cfg.Alone {
		e.Name, e.Addr, e.Voter = h.cfg.Name, h.cfg.Addr, h.Votes()
	}
	if h.refused {
		if h.formerAtWork(now) {
			return
		}
		e.Birth = 0
	}
	if x := view.Find(h.state, h.me); x != nil && e.Birth == 0 {
		e.Former = x.Birth
	}
	if h.ask == 0 {
		h.ask = h.world.Random()
	}
	e.Asked = h.ask
	h.council.asked = now
	h.propose(&proto.HostEntry{Verb: proto.HostUp, Host: e, Epoch: h.world.Date()})
}

// formerAtWork reports whether processes of this host may still be at work under the
// birth that has ended: until each of them has ended, which it does when it has noticed,
// or its lease would be over, by the clock of one that sees this a little late.
func (h *Host) formerAtWork(now int64) bool {
	return now < h.file.Until()+h.cfg.Over-h.cfg.Lease && h.world.Former()
}

// rival is a member of this host's name; nil if there is none.
func (h *Host) rival() *proto.Host {
	i := slices.IndexFunc(h.state.Hosts, func(x proto.Host) bool { return x.Name == h.cfg.Name && x.ID != h.me })
	if i < 0 {
		return nil
	}
	return &h.state.Hosts[i]
}

// upDecided is the answer to askUp. birth is what was asked for.
func (h *Host) upDecided(done bool, birth uint32) {
	if h.in {
		return
	}
	if !done {
		if x := h.rival(); x != nil && birth == 0 {
			if h.warned != x.ID {
				h.note(Warn, "another host of the cluster is called %s, too: that at %s; this one waits until it has ended", x.Name, x.Addr)
			}
			h.warned = x.ID
			return // and ask again
		}
		if birth != 0 {
			h.lose(ended)
		}
		h.council.asked, h.ask = 0, 0
		return
	}
	h.in, h.refused, h.warned = true, false, 0
	h.birth = view.Find(h.state, h.me).Birth
	if h.file.Birth() != h.birth {
		h.file.SetBirth(h.birth)
	}
	if h.cfg.Alone {
		h.file.Extend(1<<63 - 1)
		h.leased = true
	}
}

// hostsChanged follows what was decided about hosts.
func (h *Host) hostsChanged() {
	h.noteOut()
	if h.in {
		if me := view.Find(h.state, h.me); me == nil || me.Out || me.Birth != h.birth {
			if me == nil && h.bye != 0 {
				h.left()
				return
			}
			why := "removed from the cluster"
			if me != nil && me.Why != "" {
				why += ": " + me.Why
			}
			h.leave(why)
			return
		}
	}
	if !h.cfg.Alone {
		for i := range h.state.Hosts {
			if x := &h.state.Hosts[i]; x.ID != h.me {
				h.world.Reach(x.ID, x.Addr)
			}
		}
	}
	h.seatChanged()
	if h.log != nil {
		now := h.world.Now()
		h.goOnEvicting(now)
		h.goOnRemembering()
		if h.in && !h.leased {
			h.renew(now) // do not wait for the clock
		}
	}
}

// noteOut notes when this host has learned that others are out: they may have proven their
// leases until just before.
func (h *Host) noteOut() {
	now := h.world.Now()
	for i := range h.state.Hosts {
		if x := &h.state.Hosts[i]; x.Out {
			h.outSince(x, now)
		}
	}
	for k := range h.out {
		if x := view.Find(h.state, k.id); x == nil || x.Birth != k.birth {
			delete(h.out, k)
		}
	}
}

// outSince is when this host has learned that x is out; now, if not before.
func (h *Host) outSince(x *proto.Host, now int64) int64 {
	k := outKey{x.ID, x.Birth}
	since, known := h.out[k]
	if !known {
		since = now
		h.out[k] = now
	}
	return since
}

// leave: this host is out. All that its processes have is lost. This agent's process is
// one of them, so it is the next agent that comes back, when the others know.
func (h *Host) leave(why string) {
	h.in, h.leased, h.over = false, false, true
	h.lose(why)
	h.world.Lost(why)
}

// ended is what the processes of an earlier agent are told.
const ended = "this host's membership in the cluster has ended"

// lose ends what this host's processes have under their birth. They may take their time.
func (h *Host) lose(why string) {
	h.refused = true
	h.file.End()
	h.world.Drop(why)
}

// Tick is to be called once in a Config.Tick while there are other hosts.
func (h *Host) Tick() {
	now := h.world.Now()
	if h.ticked != 0 && now-h.ticked > 3*h.cfg.Tick {
		// This process was stopped, or the machine: who was silent meanwhile may not
		// have been.
		h.listens = now
	}
	h.ticked = now
	h.stalledSince(now)
	if h.log == nil {
		h.found()
		return
	}
	if err := h.log.Tick(); err != nil {
		h.note(Debug, "tick of the log: %v", err)
	}
	h.settle()
	switch leader := h.log.Leader(); {
	case leader != 0:
		h.missing = 0
	case h.missing == 0:
		h.missing = now
	}
	h.askUp()
	h.sayBye(now)
	h.renew(now)
	if leader := h.log.Leader(); leader != h.leader {
		h.leader = leader
		h.failEvictions()
	}
	h.goOnEvicting(now)
	h.goOnRemembering()
	h.watchRebuild(now)
	was := h.leads
	if h.leads = h.log.Leader() == uint64(h.me); h.leads {
		if !was {
			h.listens = now
		}
		h.lead(now)
	}
	h.seatTick()
}

// Leave ends this host's membership, with none of its processes left and nothing kept
// of any: nobody has to wait for its lease then. World.Left says when it is done.
func (h *Host) Leave() {
	h.bye = h.world.Now()
	if !h.in {
		h.world.Left()
		return
	}
	h.council.asked = 0
	if to := h.successor(); to != 0 {
		h.handing, h.council.asked = true, h.bye
		if err := h.log.Transfer(uint64(to)); err != nil {
			h.note(Debug, "have another host lead: %v", err)
		}
		h.settle()
	}
	h.sayBye(h.bye)
}

// successor is a host that can lead in the place of this one; 0 if this one does not lead.
func (h *Host) successor() proto.HostID {
	if h.log.Leader() != uint64(h.me) {
		return 0
	}
	for _, x := range h.state.Hosts {
		if !x.Out && x.ID != h.me && slices.Contains(h.log.Voters(), uint64(x.ID)) && h.log.CaughtUp(uint64(x.ID)) {
			return x.ID
		}
	}
	return 0
}

// sayBye asks for the end of this host's membership, as soon as another leads.
func (h *Host) sayBye(now int64) {
	if h.handing && h.log.Leader() != 0 && h.log.Leader() != uint64(h.me) {
		h.handing, h.council.asked = false, 0
	}
	if h.bye == 0 || !h.in || h.council.asked != 0 && now-h.council.asked < askAgain {
		return
	}
	h.council.asked = now
	h.propose(&proto.HostEntry{Verb: proto.HostBye, Host: proto.Host{ID: h.me, Name: h.cfg.Name, Birth: h.birth}})
}

// left: this host's goodbye is decided.
func (h *Host) left() {
	h.in, h.leased = false, false
	h.file.SetBirth(0)
	h.world.Left()
}

// renew proves that this host is still a member, four times during a lease.
func (h *Host) renew(now int64) {
	if !h.in {
		return
	}
	lease := h.cfg.Lease
	left := h.file.Until() - now
	// A question may be lost with a leader: the nearer the end, the sooner the next one.
	again := min(lease/8, max(left/4, 2*h.cfg.Tick))
	// What an agent before this one has proven is not for this one to go by.
	if h.leased && left >= lease*3/4 || h.renewal.token != 0 && now-h.renewal.sent < again {
		return
	}
	h.renewal.token, h.renewal.start, h.renewal.sent = h.world.Random(), now, now
	if err := h.log.Confirm(h.renewal.token); err != nil {
		h.renewal.token = 0
	}
	h.settle()
}

// found makes the log if nobody has one. Only the voter whose name comes first does, and
// only when all others have said that they have none: so there are never two.
func (h *Host) found() {
	if !h.Votes() {
		return
	}
	initial := []uint64{uint64(h.me)}
	for _, name := range h.cfg.Voters {
		if name < h.cfg.Name {
			return
		}
		if name == h.cfg.Name {
			continue
		}
		id := h.freshVoter(name)
		if id == 0 {
			return
		}
		initial = append(initial, uint64(id))
	}
	h.note(Info, "a new cluster, founded by host %s", h.cfg.Name)
	if err := h.open(initial); err != nil {
		h.note(Error, "found the cluster: %v", err)
		return
	}
	if err := h.log.Campaign(); err != nil {
		h.note(Debug, "campaign: %v", err) // the clock will do it
	}
	h.settle()
}

// freshVoter is the host of that name, if it is there and has no log; else 0, and also if
// there are two.
func (h *Host) freshVoter(name string) (found proto.HostID) {
	for id, k := range h.known {
		switch {
		case k.name != name || !k.here:
		case !k.fresh || found != 0:
			return 0
		default:
			found = id
		}
	}
	return found
}

// Introduced says that the agent of another host has opened a stream to this one.
func (h *Host) Introduced(id proto.HostID, name string, fresh bool) {
	now := h.world.Now()
	if len(h.known) >= mostKnown {
		h.forgetStrangers()
	}
	h.known[id] = &acquaintance{name: name, fresh: fresh, here: true, last: now}
	if id == h.state.Coordinator {
		h.whole = nil // on the stream before it another one may have been under way
	}
	h.heard[id] = now
}

// mostKnown is how many hosts are remembered that are not there, and never were members.
const mostKnown = 4096

// forgetStrangers forgets those. What is told of members is in the state and the log.
func (h *Host) forgetStrangers() {
	for id, k := range h.known {
		if !k.here && view.Find(h.state, id) == nil && !slices.ContainsFunc(h.state.Names, func(x proto.Host) bool { return x.ID == id }) && h.voteOf(id) == "" {
			delete(h.known, id)
			delete(h.heard, id)
		}
	}
}

// Ended says that this stream is no more.
func (h *Host) Ended(id proto.HostID) {
	if k := h.known[id]; k != nil {
		k.here, k.held, k.bytes = false, nil, 0
	}
}

// Suspect tells what gossip thinks of a host: a second hint, with which the leader waits
// only half as long. It is never enough by itself.
func (h *Host) Suspect(id proto.HostID, suspected bool) {
	if suspected {
		h.hinted[id] = true
	} else {
		delete(h.hinted, id)
	}
}

// Receive takes a message on a stream that another agent has opened. An error ends that
// stream.
func (h *Host) Receive(from proto.HostID, m *proto.Msg) error {
	now := h.world.Now()
	h.heard[from] = now
	if k := h.known[from]; k != nil {
		k.last = now
	}
	if m.Kind != proto.KRaft {
		return h.fromHost(from, m)
	}
	if h.log == nil {
		if !h.world.Calls(m.Data) {
			return nil
		}
		if err := h.open(nil); err != nil {
			h.note(Error, "take part in the agreement on hosts: %v", err)
			return nil
		}
	}
	if err := h.log.Receive(uint64(from), m.Data); err != nil {
		h.note(Debug, "message of the log of host %x: %v", uint64(from), err)
	}
	h.settle()
	h.sayBye(now)
	return nil
}

func (h *Host) note(level Level, format string, args ...any) {
	h.world.Note(level, fmt.Sprintf(format, args...))
}
