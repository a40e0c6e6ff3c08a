package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// The coordinator's side: what the agents of other hosts say to it.

// maxHeld bounds the messages of another agent that wait for what stands before them, and
// maxHeldBytes what they take, in bytes.
const (
	maxHeld      = 1 << 17
	maxHeldBytes = 64 << 20
)

// errHeld ends a stream: what was said on it will be said anew.
var errHeld = errors.New("too many messages wait for the coordination that they belong to")

// sit begins to coordinate when every host has told what processes it has. While one
// is on the way out it may have some that nobody here knows.
func (h *Host) sit() {
	if !h.coordinates() || h.agent != nil {
		return
	}
	for _, x := range h.state.Hosts {
		if x.Out || x.ID != h.me && h.rosters[x.ID] == nil {
			return
		}
	}
	live, dead := h.world.Processes()
	past := h.past()
	for _, id := range slices.Sorted(maps.Keys(h.rosters)) {
		m := h.rosters[id].msg
		live = append(live, m.Procs...)
		past.Groups = append(past.Groups, m.Groups...)
		past.Coming = append(past.Coming, m.Dead...)
		for _, list := range [...][]proto.ProcID{m.Procs, m.Groups, m.Dead} {
			for _, p := range list {
				h.homes[p] = id
			}
		}
	}
	h.agent = agent.New((*world)(h), uint64(h.epoch)<<32, live, dead, past)
	if h.cfg.Central {
		h.agent.Centralize()
	}
	h.note(Info, "this host coordinates (epoch %d), with %d processes", h.epoch, len(live))
	for _, p := range h.world.Connected() {
		h.agent.Connected(p)
	}
	h.nameAll()
}

// past is what earlier coordinators on this host have left. A directory of before
// another host had it says nothing.
func (h *Host) past() *agent.Lasting {
	since := h.state.Since
	believe := h.file.Directory() == since
	past := h.world.Past(believe)
	past.Number, past.Unknown = uint64(h.epoch), !believe
	past.Groups = h.world.Containers()
	if !h.cfg.Alone {
		past.Kept, past.Doubted = slices.Clone(h.state.Kept), slices.Clone(h.state.Doubted)
	}
	if !believe {
		h.file.SetDirectory(0) // until it is whole
		past.Opened = func() { h.file.SetDirectory(since) }
	}
	return past
}

// hostGone: all processes of a host have ended with it.
func (h *Host) hostGone(id proto.HostID) {
	delete(h.rosters, id)
	var gone []proto.ProcID
	for p, home := range h.homes {
		if home == id {
			gone = append(gone, p)
			delete(h.homes, p)
			delete(h.journals, p)
		}
	}
	slices.Sort(gone)
	if h.agent != nil {
		h.dying = proto.Obituary{Lost: true, Host: h.nameOf(id)}
		h.agent.Died(gone, agent.JournalLost)
		h.dying = proto.Obituary{}
	}
	h.note(Info, "host %x is gone, with %d processes", uint64(id), len(gone))
}

// fromHost takes a message of another agent, or holds it back until what stands before
// it can be taken.
func (h *Host) fromHost(from proto.HostID, m *proto.Msg) error {
	k := h.known[from]
	if k == nil || !k.here {
		return fmt.Errorf("a message of host %x, which has not introduced itself", uint64(from))
	}
	if len(k.held) == 0 && h.due(from, m) {
		h.take(from, m)
		return nil
	}
	b := proto.Append(nil, m)
	if len(k.held) >= maxHeld || k.bytes+len(b) > maxHeldBytes {
		return errHeld
	}
	k.bytes += len(b)
	k.held = append(k.held, b)
	return nil
}

// due reports whether a message can be taken now.
func (h *Host) due(from proto.HostID, m *proto.Msg) bool {
	switch m.Kind {
	case proto.KDeliver, proto.KJoined, proto.KRetire, proto.KForget, proto.KHome, proto.KEvict, proto.KEvicted:
		return true
	case proto.KRoster:
		// This host may learn later than the sender what was decided.
		return m.Epoch <= h.state.Seat && m.Birth <= h.state.Epoch && h.leased
	}
	return h.agent != nil || h.rosters[from] == nil
}

func (h *Host) release(from proto.HostID) {
	for k := h.known[from]; len(k.held) > 0; {
		m := &proto.Msg{}
		err := proto.Parse(k.held[0], m)
		if err == nil && !h.due(from, m) {
			return
		}
		k.bytes -= len(k.held[0])
		k.held = k.held[1:]
		if err != nil {
			h.note(Error, "held message of host %x: %v", uint64(from), err)
			continue
		}
		h.take(from, m)
	}
}

func (h *Host) take(from proto.HostID, m *proto.Msg) {
	switch m.Kind {
	case proto.KDeliver, proto.KJoined, proto.KRetire, proto.KForget, proto.KHome:
		if from == h.remote() {
			h.fromCoordinator(m)
		}
	case proto.KEvict:
		h.evictFor(from, m)
	case proto.KEvicted:
		h.evicted(m)
	case proto.KRoster:
		h.takeRoster(from, m)
	default:
		if h.agent != nil && h.rosters[from] != nil {
			h.fromSeat(from, m)
		} // else of a coordination that is over; the sender will say it anew
	}
}

// fromSeat takes what another host says of its processes, and what these say.
func (h *Host) fromSeat(from proto.HostID, m *proto.Msg) {
	home, known := h.homes[m.Proc]
	switch p := m.Proc; m.Kind {
	case proto.KJoin:
		h.joinFrom(from, m)
		return
	case proto.KWhere:
		if h.world.Here(p) {
			home, known = h.me, true
		}
		// Of one that has ended: 0.
		h.say(from, &proto.Msg{Kind: proto.KHome, Proc: p, Host: home})
		return
	}
	if !known || home != from {
		if m.Kind == proto.KJournal { // nobody needs it any more
			h.say(from, &proto.Msg{Kind: proto.KForget, Proc: m.Proc})
		}
		return
	}
	switch m.Kind {
	case proto.KForward:
		var inner proto.Msg
		err := proto.Parse(m.Data, &inner)
		if err == nil && (inner.Kind < proto.KLookup || inner.Kind > proto.KWhere) {
			err = fmt.Errorf("it is of kind %d", inner.Kind)
		}
		if err != nil {
			h.note(Error, "message of process %x of another host: %v", uint64(m.Proc), err)
			return
		}
		h.agent.FromProcess(m.Proc, &inner)
	case proto.KDied:
		h.dying = proto.Obituary{Proc: m.Proc, Pid: m.Op, Program: m.Text}
		defer func() { h.dying = proto.Obituary{} }()
		if m.Flags&proto.DiedJournalLost != 0 {
			h.agent.Died([]proto.ProcID{m.Proc}, agent.JournalLost)
			delete(h.homes, m.Proc)
			return
		}
		h.agent.Died([]proto.ProcID{m.Proc}, agent.JournalComing)
	case proto.KReached:
		h.agent.Connected(m.Proc)
	case proto.KJournal:
		h.journals[m.Proc] = newEstate(m)
		h.agent.Journal(m.Proc)
	}
}

func (h *Host) joinFrom(from proto.HostID, m *proto.Msg) {
	if m.Epoch != h.epoch {
		return
	}
	number := m.Number
	named := func(id proto.ProcID, view uint64) {
		h.homes[id] = from
		h.say(from, &proto.Msg{Kind: proto.KJoined, Number: number, Proc: id, View: view})
	}
	if m.Flags == 1 {
		h.agent.JoinGroup(named)
	} else {
		named(h.agent.Join())
	}
}

// takeRoster: a host says what processes it has. If it has said so before, its agent is
// another now.
func (h *Host) takeRoster(from proto.HostID, m *proto.Msg) {
	x := view.Find(h.state, from)
	if m.Epoch != h.epoch || x == nil || x.Out || x.Birth != m.Birth {
		return
	}
	c := *m
	c.Procs, c.Groups, c.Dead = slices.Clone(m.Procs), slices.Clone(m.Groups), slices.Clone(m.Dead)
	h.rosters[from] = &roster{birth: m.Birth, msg: &c}
	if h.agent == nil {
		if h.sit(); h.agent != nil {
			h.seated()
		}
		return
	}
	var gone []proto.ProcID
	for p, home := range h.homes {
		if home == from && !slices.Contains(c.Procs, p) && !slices.Contains(c.Groups, p) {
			gone = append(gone, p)
		}
	}
	slices.Sort(gone)
	for _, p := range gone {
		if slices.Contains(c.Dead, p) {
			h.agent.Died([]proto.ProcID{p}, agent.JournalComing)
		} else {
			h.agent.Died([]proto.ProcID{p}, agent.JournalLost)
			delete(h.homes, p)
		}
	}
}
