package views

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// What a message may say. Raft believes its peers: what a message has is allocated, a
// request kept until it is answered, an entry until it is decided. A peer that has the key
// and is broken, or hostile, can still decide the wrong things. It must not have memory
// grow. Nor does it stop this voter, but by one thing: that this voter has acknowledged
// what it does not have. Then it may have lost what it has promised, and does not go on.

const (
	// maxEntries is how many entries are in a message; one takes 9 bytes at least, if
	// it says anything.
	maxEntries = maxMessage / 8
	// maxUndecided bounds the entries that are kept and not decided. A leader takes that
	// many, and of maxPending bytes; another voter can be behind by as much again.
	maxUndecided = 1 << 16
	// maxMembers bounds voters and learners, those that are on their way out too.
	maxMembers = 1024
	// maxReads is how many confirmations are under way at a leader, and how many at who
	// has asked.
	maxReads = 1024
	// maxKept is how many bytes of entries are applied until a snapshot is made, though
	// there are few of them, and as much is kept of those before.
	maxKept = 16 << 20
	// maxUnsaved bounds what waits for the disk, in bytes: then nothing more is heard.
	maxUnsaved = 32 << 20

	readBytes = 8 // of what tells one confirmation from another
)

// Numbers of the fields of raftpb.Message that are lists of messages.
const (
	fieldEntries   = 7
	fieldResponses = 14
)

// parse takes a message apart. What would take far more memory than its bytes is refused
// before that.
func parse(data []byte) (*raftpb.Message, error) {
	if len(data) > 2*maxMessage {
		return nil, fmt.Errorf("message of %d bytes", len(data))
	}
	entries := 0
	for b := data; len(b) > 0; {
		field, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return nil, fmt.Errorf("message: %w", protowire.ParseError(n))
		}
		switch field {
		case fieldEntries:
			entries++
		case fieldResponses: // between raft and its own store
			return nil, errors.New("message with responses")
		}
		b = b[n:]
	}
	if entries > maxEntries {
		return nil, fmt.Errorf("message with %d entries", entries)
	}
	m := &raftpb.Message{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if _, known := raftpb.MessageType_name[int32(m.GetType())]; !known { // raft has a table of them
		return nil, fmt.Errorf("message of type %d", m.GetType())
	}
	return m, nil
}

// sane refuses what no voter says, and what this one has no room for.
func (g *Group) sane(m *raftpb.Message) error {
	if g.unsaved > maxUnsaved {
		return raft.ErrProposalDropped
	}
	if asksFor(m.GetType()) != (m.GetTerm() == 0) { // raft believes that who says no term is this voter itself
		return fmt.Errorf("a message of type %s, term %d", m.GetType(), m.GetTerm())
	}
	switch m.GetType() {
	case raftpb.MsgProp:
		if len(m.GetEntries()) == 0 {
			return errors.New("a proposal of nothing")
		}
		for _, e := range m.GetEntries() {
			if _, err := changeOf(e); err != nil || len(e.GetData()) == 0 {
				return fmt.Errorf("a proposal of %d bytes, type %s: %w", len(e.GetData()), e.GetType(), errors.Join(err))
			}
		}
		return g.room(len(m.GetEntries()))
	case raftpb.MsgReadIndex:
		if !aRead(m) {
			return errors.New("a request to confirm nothing")
		}
		return g.asks()
	case raftpb.MsgReadIndexResp:
		if !aRead(m) {
			return errors.New("a confirmation of nothing")
		}
	case raftpb.MsgHeartbeatResp:
		if n := len(m.GetContext()); n != 0 && n != readBytes {
			return fmt.Errorf("an answer with a context of %d bytes", n)
		}
	case raftpb.MsgAppResp:
		// Raft would send what is behind its log's end, which is a snapshot that it does
		// not have. In another term it may have had more, and was killed before its disk
		// had it.
		st := g.node.BasicStatus()
		if st.Lead == g.id && m.GetTerm() == st.GetTerm() && m.GetIndex() > g.last && !m.GetReject() {
			return fmt.Errorf("an answer that has entry %d, this voter has %d", m.GetIndex(), g.last)
		}
	case raftpb.MsgApp:
		return g.saneEntries(m)
	case raftpb.MsgSnap:
		if n := membersOf(m.GetSnapshot().GetMetadata().GetConfState()); n > maxMembers {
			return fmt.Errorf("a snapshot with %d members", n)
		}
	}
	return nil
}

// asks counts a confirmation that is asked for, if this voter leads: raft keeps it until a
// quorum has answered, or this voter leads no more.
func (g *Group) asks() error {
	if g.Leader() != g.id {
		return nil
	}
	if g.reads >= maxReads {
		return raft.ErrProposalDropped
	}
	g.reads++
	return nil
}

// asksFor reports whether a message is passed on to whoever leads, in whatever term.
func asksFor(kind raftpb.MessageType) bool {
	return kind == raftpb.MsgProp || kind == raftpb.MsgReadIndex || kind == raftpb.MsgTransferLeader
}

func aRead(m *raftpb.Message) bool {
	return len(m.GetEntries()) == 1 && len(m.GetEntries()[0].GetData()) == readBytes
}

// saneEntries refuses entries of a leader that has more undecided than it may.
func (g *Group) saneEntries(m *raftpb.Message) error {
	next := m.GetIndex() + 1
	size := 0
	for i, e := range m.GetEntries() {
		if e.GetIndex() != next+uint64(i) || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("entry %d of term %d in place %d of term %d", e.GetIndex(), e.GetTerm(), next+uint64(i), m.GetTerm())
		}
		if _, err := changeOf(e); err != nil {
			return fmt.Errorf("entry %d: %w", e.GetIndex(), err)
		}
		size += len(e.GetData())
	}
	last := m.GetIndex() + uint64(len(m.GetEntries()))
	decided := max(g.committed(), min(m.GetCommit(), last))
	if last > decided && last-decided > 2*maxUndecided {
		return fmt.Errorf("%d entries that are not decided", last-decided)
	}
	if m.GetIndex() <= decided {
		return nil // what is kept of this message is all that will be undecided
	}
	kept, err := g.undecidedBytes(decided, m.GetIndex())
	if err != nil || kept+size > 2*maxPending+maxMessage {
		return fmt.Errorf("%d bytes of entries that are not decided: %w", kept+size, errors.Join(err))
	}
	return nil
}

// undecidedBytes is how much this voter keeps of entries after decided, up to last.
func (g *Group) undecidedBytes(decided, last uint64) (n int, err error) {
	n = g.unsaved
	have, err := g.store.LastIndex()
	if last = min(last, have); err != nil || last <= decided {
		return n, err
	}
	entries, err := g.store.Entries(decided+1, last+1, 1<<62)
	for _, e := range entries {
		n += len(e.GetData())
	}
	return n, err
}

func (g *Group) committed() uint64 { return g.node.BasicStatus().HardState.GetCommit() }

// room says whether a leader can take more entries: those without data are not in raft's
// own count.
func (g *Group) room(entries int) error {
	if g.Leader() == g.id && g.last+uint64(entries) > g.committed()+maxUndecided {
		return raft.ErrProposalDropped
	}
	return nil
}

// changeOf is the change of members in an entry; nil if it is another one. An error says
// that raft would not know what to do with it.
func changeOf(e *raftpb.Entry) (*raftpb.ConfChangeV2, error) {
	switch e.GetType() {
	case raftpb.EntryConfChange:
		cc := &raftpb.ConfChange{}
		if err := proto.Unmarshal(e.GetData(), cc); err != nil {
			return nil, err
		}
		return cc.AsV2(), nil
	case raftpb.EntryConfChangeV2:
		cc := &raftpb.ConfChangeV2{}
		if err := proto.Unmarshal(e.GetData(), cc); err != nil {
			return nil, err
		}
		if _, known := raftpb.ConfChangeTransition_name[int32(cc.GetTransition())]; !known {
			return nil, fmt.Errorf("a change of kind %d", cc.GetTransition())
		}
		return cc, nil
	}
	return nil, nil
}

func membersOf(c *raftpb.ConfState) int {
	return len(c.GetVoters()) + len(c.GetLearners()) + len(c.GetVotersOutgoing()) + len(c.GetLearnersNext())
}

// possible refuses a change of members that leaves no voter, or makes too many members,
// for which raft would stop. All voters judge alike: it depends on nothing but what was
// decided before.
func (g *Group) possible(cc *raftpb.ConfChangeV2) error {
	if n := membersOf(g.conf) + len(cc.GetChanges()); n > maxMembers && len(cc.GetChanges()) > 0 {
		return fmt.Errorf("a change to %d members", n)
	}
	at := tracker.MakeProgressTracker(1, 0)
	at.Config = g.node.Status().Config
	for _, voters := range at.Voters {
		for id := range voters {
			at.Progress[id] = &tracker.Progress{}
		}
	}
	for id := range at.Learners {
		at.Progress[id] = &tracker.Progress{IsLearner: true}
	}
	c := confchange.Changer{Tracker: at, LastIndex: 1}
	var err error
	if cc.LeaveJoint() {
		_, _, err = c.LeaveJoint()
	} else if auto, joint := cc.EnterJoint(); joint {
		_, _, err = c.EnterJoint(auto, cc.GetChanges()...)
	} else {
		_, _, err = c.Simple(cc.GetChanges()...)
	}
	return err
}
