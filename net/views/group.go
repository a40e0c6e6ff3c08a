// Package views is the agreement among agents: a raft group whose log is the order of
// everything that all hosts must see alike. It decides nothing about hosts or processes;
// entries are bytes to it. It has no goroutine, clock or socket: whoever has those calls
// Tick and Receive and sends what Host.Send is given. What a message promises has been kept
// before; a disk that takes its time keeps back those promises and nothing else: not that
// this host is heard, and not what others are confirmed.
package views

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/godlm/godlm/net/store"
)

const (
	// electionTicks is how long a voter waits for its leader before it asks the
	// others whether they miss it too.
	electionTicks = 10
	maxMessage    = 1 << 20
	maxInflight   = 64
	// maxPending bounds what a leader has accepted and not decided, in bytes.
	maxPending = 8 << 20
	// compactEvery is how many entries are applied between two snapshots, and
	// compactSlack how many of those before are kept for slow voters.
	compactEvery = 1000
	compactSlack = 200
)

// compactAfter and slack are those; tests lower them.
var compactAfter, slack uint64 = compactEvery, compactSlack

// ErrNoLeader: nobody can decide now; ask again.
var ErrNoLeader = errors.New("no leader")

// Host is what a Group needs from outside. Its methods append to memory and return.
type Host interface {
	// Send queues a message. It may be lost, come late or come twice.
	Send(to uint64, data []byte)
	// Apply takes a decided entry, all in order: after a start those since the last
	// snapshot once more.
	Apply(index uint64, data []byte)
	// Restore replaces everything applied by a snapshot, which Snapshot has made here
	// or at another voter.
	Restore(index uint64, data []byte)
	Snapshot() []byte
	// Confirmed says that a quorum has answered Confirm since it was called: this host
	// is not cut off, and all that was decided before that call has been applied.
	Confirmed(token uint64)
}

// Keep has a job done, all in order, and then calls done with what it gave, as Tick is
// called: not by another thread at the same time.
type Keep func(job func() error, done func(error))

// Group is one voter or learner. It is not safe for use by several threads.
type Group struct {
	host    Host
	store   *store.Store
	keep    Keep
	last    uint64 // index of the last entry, kept or on its way to be
	unsaved int    // bytes on that way
	node    *raft.RawNode
	id      uint64
	conf    *raftpb.ConfState
	applied uint64
	snapped uint64
	every   uint64 // entries between two snapshots, and how many before are kept
	slack   uint64
	kept    int    // bytes of entries applied since the last snapshot
	reads   int    // confirmations under way at this leader
	waiting []read // confirmed, but for entries to apply
	working bool
	err     error
}

type read struct{ index, token uint64 }

// New starts a voter from its store. With a fresh store initial are the first voters of a
// new group, all of which must be started with the same; nil: it is to be added to a
// group that there is.
func New(h Host, s *store.Store, id uint64, initial []uint64) (*Group, error) {
	snap, err := s.Snapshot()
	if err != nil {
		return nil, err
	}
	g := &Group{host: h, store: s, keep: atOnce, id: id, conf: snap.GetMetadata().GetConfState(), every: compactAfter, slack: slack}
	if !raft.IsEmptySnap(snap) {
		g.applied = snap.GetMetadata().GetIndex()
		g.snapped = g.applied
		h.Restore(g.applied, snap.GetData())
	}
	if g.last, err = s.LastIndex(); err != nil {
		return nil, err
	}
	g.node, err = raft.NewRawNode(&raft.Config{
		ID: id, ElectionTick: electionTicks, HeartbeatTick: 1, Storage: s, Applied: g.applied,
		MaxSizePerMsg: maxMessage, MaxInflightMsgs: maxInflight, MaxUncommittedEntriesSize: maxPending,
		PreVote: true, CheckQuorum: true, ReadOnlyOption: raft.ReadOnlySafe, Logger: quiet{},
		AsyncStorageWrites: true,
	})
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	if s.Fresh() && len(initial) > 0 {
		var peers []raft.Peer
		for _, x := range slices.Sorted(slices.Values(initial)) {
			peers = append(peers, raft.Peer{ID: x})
		}
		if err := g.node.Bootstrap(peers); err != nil {
			return nil, fmt.Errorf("raft: %w", err)
		}
	}
	g.work()
	if g.err == nil && len(initial) == 1 && initial[0] == id || g.alone() {
		// Nobody else is to be asked; do not wait for the clock.
		g.do(g.node.Campaign)
	}
	return g, g.err
}

// atOnce is how a new Group keeps what it has to: whoever calls it waits.
func atOnce(job func() error, done func(error)) { done(job()) }

// KeepBy has the jobs for the disk done from now on by somebody else than who calls the
// Group. They belong to the store only: they may run while the Group is used.
func (g *Group) KeepBy(keep Keep) { g.keep = keep }

// alone reports whether this is the only voter.
func (g *Group) alone() bool {
	v := g.conf.GetVoters()
	return len(v) == 1 && v[0] == g.id && len(g.conf.GetVotersOutgoing()) == 0
}

// CompactEvery says after how many entries a snapshot is made, and how many of those before
// are kept.
func (g *Group) CompactEvery(entries, slack uint64) { g.every, g.slack = entries, slack }

// Err is why the group has stopped for good; nil while it works. A voter that cannot
// keep its promises makes no more of them.
func (g *Group) Err() error { return g.err }

// Empty reports whether this voter has no entry and no snapshot, decided or not.
func (g *Group) Empty() bool {
	last, err := g.store.LastIndex()
	return err == nil && last == 0
}

// Leader is who decides, as far as this voter knows; 0: nobody.
func (g *Group) Leader() uint64 { return g.node.BasicStatus().Lead }

// Voters are those that count, by what is applied here.
func (g *Group) Voters() []uint64 { return slices.Clone(g.conf.GetVoters()) }

// Learners are told everything and do not count.
func (g *Group) Learners() []uint64 { return slices.Clone(g.conf.GetLearners()) }

// CaughtUp reports whether a voter or learner has nearly everything that the leader,
// which must be this one, has decided.
func (g *Group) CaughtUp(id uint64) bool {
	st := g.node.Status()
	p, ok := st.Progress[id]
	return ok && p.RecentActive && p.Match+64 >= st.HardState.GetCommit()
}

// Campaign has this voter try to become leader, without waiting for the clock.
func (g *Group) Campaign() { g.do(g.node.Campaign) }

// Tick is a step of the clock; all voters should have steps of the same length.
func (g *Group) Tick() { g.do(func() error { g.node.Tick(); return nil }) }

// Propose asks for an entry. That it is accepted does not say that it will be decided:
// that it is applied does.
func (g *Group) Propose(data []byte) error {
	return g.do(func() error {
		if g.Leader() == 0 {
			return ErrNoLeader
		}
		if err := g.room(1); err != nil {
			return err
		}
		return g.node.Propose(data)
	})
}

// Confirm asks a quorum whether this host is still among them. Without an answer ask
// again: the question may be lost.
func (g *Group) Confirm(token uint64) error {
	return g.do(func() error {
		if g.Leader() == 0 {
			return ErrNoLeader
		}
		if err := g.asks(); err != nil {
			return err
		}
		g.node.ReadIndex(binary.BigEndian.AppendUint64(nil, token))
		return nil
	})
}

// Change asks for another set of voters and learners in one step: add makes learners,
// promote voters, remove ends both.
func (g *Group) Change(add, promote, remove []uint64) error {
	cc := &raftpb.ConfChangeV2{}
	for kind, list := range map[raftpb.ConfChangeType][]uint64{
		raftpb.ConfChangeAddLearnerNode: add, raftpb.ConfChangeAddNode: promote, raftpb.ConfChangeRemoveNode: remove,
	} {
		for _, x := range list {
			cc.Changes = append(cc.Changes, &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: proto.Uint64(x)})
		}
	}
	return g.do(func() error {
		if g.Leader() == 0 {
			return ErrNoLeader
		}
		if err := g.room(1); err != nil {
			return err
		}
		return g.node.ProposeConfChange(cc)
	})
}

// Transfer has a voter lead in this one's place, which must be the leader. Until it does
// nothing is decided; if it does not, this one goes on.
func (g *Group) Transfer(to uint64) error {
	return g.do(func() error { g.node.TransferLeader(to); return nil })
}

// Receive takes a message of another voter, which the connection vouches for.
func (g *Group) Receive(from uint64, data []byte) error {
	m, err := parse(data)
	if err != nil {
		return err
	}
	// Followers pass on what is for the leader.
	passed := m.GetType() == raftpb.MsgProp || m.GetType() == raftpb.MsgReadIndex
	if m.GetFrom() != from && !passed || m.GetTo() != g.id || raft.IsLocalMsg(m.GetType()) {
		return fmt.Errorf("message of %x to %x, type %s, comes from %x", m.GetFrom(), m.GetTo(), m.GetType(), from)
	}
	return g.do(func() error {
		err := g.sane(m)
		if err == nil {
			err = g.node.Step(m)
		}
		if errors.Is(err, raft.ErrStepPeerNotFound) || errors.Is(err, raft.ErrProposalDropped) {
			return nil // of one that is out, or that asks at a bad moment
		}
		return err
	})
}

// Addressee is whom a message is for; 0 if it is none.
func Addressee(data []byte) uint64 {
	m, err := parse(data)
	if err != nil {
		return 0
	}
	return m.GetTo()
}

// Unreachable says that messages to a voter do not get through.
func (g *Group) Unreachable(id uint64) {
	g.do(func() error { g.node.ReportUnreachable(id); return nil })
}

// do does something with the node, and then all that follows from it. A panic in it is
// the end of this voter, not of the program.
func (g *Group) do(f func() error) (err error) {
	if g.err != nil {
		return g.err
	}
	defer func() {
		if e := recover(); e != nil {
			g.err = fmt.Errorf("raft: %v", e)
			err = g.err
		}
	}()
	err = f()
	g.work()
	if g.err != nil {
		return g.err
	}
	return err
}

// work has kept, sends and applies what there is, until nothing is left.
func (g *Group) work() {
	if g.working {
		return
	}
	g.working = true
	defer func() { g.working = false }()
	for g.err == nil && g.node.HasReady() {
		rd := g.node.Ready()
		for _, m := range rd.Messages {
			if g.err = g.handle(m); g.err != nil {
				return
			}
		}
		for _, m := range rd.Messages {
			if m.GetType() == raftpb.MsgSnap {
				// It may be lost like any message; then the next answer tells, and
				// it is sent once more.
				g.node.ReportSnapshot(m.GetTo(), raft.SnapshotFinish)
			}
		}
		g.answered(&rd)
		g.confirm()
		if g.applied >= g.snapped+g.every || g.kept > maxKept {
			if err := g.compact(); err != nil {
				g.err = err
			}
		}
	}
}

// handle does what raft asks for: for the disk, for the state here, or for another voter.
func (g *Group) handle(m *raftpb.Message) error {
	switch m.GetTo() {
	case raft.LocalAppendThread:
		g.save(m)
		return g.err
	case raft.LocalApplyThread:
		for _, e := range m.GetEntries() {
			g.apply(e)
		}
		return g.answer(m)
	default:
		return g.post(m)
	}
}

// answer passes on the answers to a message that has been dealt with.
func (g *Group) answer(m *raftpb.Message) error {
	for _, a := range m.GetResponses() {
		if a.GetTo() != g.id {
			if err := g.post(a); err != nil {
				return err
			}
			continue
		}
		// Who is no voter any more does not count its own answers.
		if err := g.node.Step(a); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
			return fmt.Errorf("raft: %w", err)
		}
	}
	return nil
}

// confirm tells of the questions that were answered, and for which enough is applied.
func (g *Group) confirm() {
	g.waiting = slices.DeleteFunc(g.waiting, func(r read) bool {
		if r.index > g.applied {
			return false
		}
		g.host.Confirmed(r.token)
		return true
	})
}

// answered takes confirmations: those of others are on their way then.
func (g *Group) answered(rd *raft.Ready) {
	if g.Leader() != g.id {
		g.reads = 0 // a leader that is none any more answers nobody
	}
	for _, r := range rd.ReadStates {
		g.reads = max(0, g.reads-1)
		if len(r.RequestCtx) == readBytes {
			g.waiting = append(g.waiting, read{r.Index, binary.BigEndian.Uint64(r.RequestCtx)})
		}
	}
	for _, m := range rd.Messages {
		if m.GetType() == raftpb.MsgReadIndexResp {
			g.reads = max(0, g.reads-1)
		}
	}
	if n := len(g.waiting) - maxReads; n > 0 {
		g.waiting = slices.Delete(g.waiting, 0, n) // their entries do not come
	}
}

// compact makes a snapshot, and forgets entries before it.
func (g *Group) compact() error {
	slack, bytes := uint64(0), 0
	first, err := g.store.FirstIndex()
	for i := g.applied; err == nil && i >= first && slack < g.slack && bytes < maxKept; i-- {
		var e []*raftpb.Entry
		if e, err = g.store.Entries(i, i+1, 1); err == nil {
			slack, bytes = slack+1, bytes+len(e[0].GetData())
		}
	}
	if err != nil {
		return err
	}
	at, conf, data := g.applied, g.conf, g.host.Snapshot()
	g.snapped, g.kept = at, 0
	g.keepBytes(len(data), func() error { return g.store.Compact(at, conf, data, slack) }, func() {})
	return nil
}

// post sends a message. A snapshot is made anew: the last one may be from before its
// receiver became one of us, who would not take it.
func (g *Group) post(m *raftpb.Message) error {
	if m.GetType() == raftpb.MsgSnap {
		term, err := g.store.Term(g.applied)
		if err != nil {
			return err
		}
		m = proto.CloneOf(m)
		m.Snapshot = &raftpb.Snapshot{Data: g.host.Snapshot(), Metadata: &raftpb.SnapshotMetadata{
			Index: proto.Uint64(g.applied), Term: proto.Uint64(term), ConfState: g.conf,
		}}
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	g.host.Send(m.GetTo(), b)
	return nil
}

// jobBytes is what a job takes besides its data.
const jobBytes = 256

// keepBytes has a job of that size done, and goes on when it is.
func (g *Group) keepBytes(size int, do func() error, done func()) {
	size += jobBytes
	g.unsaved += size
	g.keep(do, func(err error) {
		g.unsaved -= size
		switch {
		case g.err != nil: // it has stopped meanwhile
		case err != nil:
			g.err = err
		default:
			done()
		}
	})
}

// save keeps entries, a vote or another voter's snapshot. What promises that it is kept
// leaves afterwards.
func (g *Group) save(m *raftpb.Message) {
	var state *raftpb.HardState
	if m.Term != nil || m.Vote != nil || m.Commit != nil {
		state = &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
	}
	snap, entries := m.GetSnapshot(), m.GetEntries()
	if raft.IsEmptySnap(snap) {
		snap = nil
	} else {
		g.last = snap.GetMetadata().GetIndex()
	}
	size := len(snap.GetData())
	for _, e := range entries {
		g.last, size = e.GetIndex(), size+len(e.GetData())
	}
	do := func() error { return g.store.Save(state, entries, snap) } // in its turn, also if it is nothing
	g.keepBytes(size, do, func() { g.saved(m, snap) })
}

// saved goes on with what was kept.
func (g *Group) saved(m *raftpb.Message, snap *raftpb.Snapshot) {
	err := g.do(func() error {
		if snap != nil {
			g.applied, g.conf = snap.GetMetadata().GetIndex(), snap.GetMetadata().GetConfState()
			g.snapped, g.kept = g.applied, 0
			g.host.Restore(g.applied, snap.GetData())
		}
		return g.answer(m)
	})
	if g.err == nil {
		g.err = err
	}
}

func (g *Group) apply(e *raftpb.Entry) {
	g.applied = e.GetIndex()
	g.kept += len(e.GetData())
	cc, err := changeOf(e)
	switch {
	case err != nil: // all pass over it
	case cc == nil:
		if len(e.GetData()) > 0 {
			g.host.Apply(e.GetIndex(), e.GetData())
		}
	case g.possible(cc) == nil:
		g.conf = g.node.ApplyConfChange(cc)
	}
}

// quiet is raft's logger: what matters is told by errors and by the caller.
type quiet struct{}

func (quiet) Debug(...any)              {}
func (quiet) Debugf(string, ...any)     {}
func (quiet) Info(...any)               {}
func (quiet) Infof(string, ...any)      {}
func (quiet) Warning(...any)            {}
func (quiet) Warningf(string, ...any)   {}
func (quiet) Error(...any)              {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (quiet) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (quiet) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (quiet) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
