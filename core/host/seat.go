package host

import (
	"fmt"
	"maps"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// seat is what lies between the processes of this host and the coordinator, who keeps
// the directory and numbers processes. If this host is the coordinator it has the
// agent.Agent, once all other hosts have told which processes they have; else it passes
// on what the two say to each other.
type seat struct {
	// epoch is that of this host's coordination, 0 if another coordinates.
	epoch   uint32
	agent   *agent.Agent
	rosters map[proto.HostID]*roster
	homes   map[proto.ProcID]proto.HostID // of processes on other hosts
	// rebuilding: since when resources are rebuilt that others are needed for.
	rebuilding int64
	journals   map[proto.ProcID]*estate

	rebuilds rebuilds
	// dying is what is known of who is just being declared dead, on another host.
	dying proto.Obituary

	// told is the epoch of the coordination to which this host has given its roster.
	told   uint32
	joins  []*joining
	last   uint64 // number of the latest
	whole  []byte // the last view that the coordinator has told whole; nil: that may be lost
	places map[proto.ProcID]proto.HostID
	where  map[proto.ProcID][]proto.ProcID // who asks where a process is
	begun  bool                            // the containers of this membership are there
	memory
}

// roster is what a host has said of its processes.
type roster struct {
	birth uint32
	msg   *proto.Msg
	// view and flags are of the last view that it was sent whole; 0: none.
	view  uint64
	flags uint32
}

// estate is what a dead process of another host has left in its value journal.
type estate struct {
	peers   []proto.ProcID
	all     bool // may be peers
	records []proto.Record
	retired map[proto.Digest]bool // trees whose records count no more
}

func newEstate(m *proto.Msg) *estate {
	return &estate{
		peers: slices.Clone(m.Procs), all: m.Flags&proto.JournalAll != 0,
		records: slices.Clone(m.Records), retired: map[proto.Digest]bool{},
	}
}

// left are the records that count.
func (e *estate) left() []proto.Record {
	e.records = slices.DeleteFunc(e.records, func(r proto.Record) bool { return e.retired[r.Tree] })
	clear(e.retired)
	return slices.Clone(e.records)
}

// joining is a new process or container that waits for its name.
type joining struct {
	number uint64
	group  bool
	named  func(id proto.ProcID, view uint64)
	since  int64
}

// maxPlaces bounds what is remembered of where processes are.
const maxPlaces = 1 << 16

func (s *seat) init() {
	s.homes = map[proto.ProcID]proto.HostID{}
	s.places = map[proto.ProcID]proto.HostID{}
	s.where = map[proto.ProcID][]proto.ProcID{}
	s.vacate()
}

// vacate forgets a coordination.
func (s *seat) vacate() {
	s.agent = nil
	s.rebuilds.began = 0
	s.rosters = map[proto.HostID]*roster{}
	s.journals = map[proto.ProcID]*estate{}
	s.memory = memory{}
	clear(s.homes)
}

// coordinates reports whether this host does.
func (h *Host) coordinates() bool { return h.state.Coordinator == h.me }

// remote is the coordinator if it is another host that has this one's roster; else 0.
func (h *Host) remote() proto.HostID {
	if h.coordinates() || h.state.Coordinator == 0 || h.told != h.state.Seat {
		return 0
	}
	return h.state.Coordinator
}

// seatChanged follows what was decided about hosts.
func (h *Host) seatChanged() {
	if !h.in || !h.leased {
		return
	}
	if !h.begun {
		if h.begun = h.world.Begin(h.birth); !h.begun {
			return
		}
	}
	switch {
	case !h.coordinates():
		if h.epoch != 0 {
			h.epoch = 0
			h.vacate()
		}
	case h.epoch != h.state.Seat:
		h.epoch = h.state.Seat
		h.vacate()
	}
	for _, id := range slices.Sorted(maps.Keys(h.rosters)) {
		if x := view.Find(h.state, id); x == nil || x.Birth != h.rosters[id].birth {
			h.hostGone(id)
		}
	}
	if !h.coordinates() && h.state.Coordinator != 0 && h.told != h.state.Seat {
		h.giveRoster()
	}
	h.sit()
	h.seated()
}

// seated goes on with what has waited for the coordination.
func (h *Host) seated() {
	if h.agent != nil {
		h.placeAll()
	}
	for _, id := range slices.Sorted(maps.Keys(h.known)) {
		h.release(id)
	}
	h.world.Serve()
}

// giveRoster tells the coordinator which processes this host has.
func (h *Host) giveRoster() {
	live, dead := h.world.Processes()
	m := &proto.Msg{Kind: proto.KRoster, Epoch: h.state.Seat, Birth: h.birth, Procs: live, Groups: h.world.Containers(), Dead: dead}
	h.told, h.whole = h.state.Seat, nil
	to := h.state.Coordinator
	h.world.Tell(to, m)
	for _, p := range dead {
		h.sendJournal(to, p)
	}
	for _, j := range h.joins {
		// An answer to the earlier question names somebody whom this roster lacks.
		h.last++
		j.number = h.last
		h.sendJoin(to, j)
	}
	for _, p := range h.world.Connected() {
		h.world.Tell(to, &proto.Msg{Kind: proto.KReached, Proc: p})
		// What it has asked since the coordinator was told last has gone nowhere.
		h.world.Send(p, &proto.Msg{Kind: proto.KWelcome, Proc: p, View: h.View(), Number: uint64(h.birth)})
	}
	for _, p := range slices.Sorted(maps.Keys(h.where)) {
		h.world.Tell(to, &proto.Msg{Kind: proto.KWhere, Proc: p})
	}
}

func (h *Host) sendJournal(to proto.HostID, dead proto.ProcID) {
	m := &proto.Msg{Kind: proto.KJournal, Proc: dead, Records: h.world.Records(dead)}
	var all bool
	if m.Procs, all = h.world.Peers(dead); all {
		m.Procs, m.Flags = nil, proto.JournalAll
	}
	h.world.Tell(to, m)
}

// Broken says that what was under way to a host is lost.
func (h *Host) Broken(id proto.HostID) {
	if h.state.Coordinator == id {
		h.told = 0
	}
	if r := h.rosters[id]; r != nil {
		r.view = 0
	}
}

// seatTick tries again what waits.
func (h *Host) seatTick() {
	if h.in && h.leased && !h.coordinates() && h.state.Coordinator != 0 && h.told != h.state.Seat {
		h.seatChanged()
	}
}

// Join asks for a name for a process. named may be called at once.
func (h *Host) Join(named func(id proto.ProcID, view uint64)) { h.join(false, named) }

// JoinGroup asks for one for a container (group.Registry).
func (h *Host) JoinGroup(named func(id proto.ProcID, view uint64)) { h.join(true, named) }

func (h *Host) join(group bool, named func(id proto.ProcID, view uint64)) {
	h.last++
	j := &joining{h.last, group, named, h.world.Now()}
	h.joins = append(h.joins, j)
	if h.agent != nil {
		h.nameAll()
	} else if to := h.remote(); to != 0 {
		h.sendJoin(to, j)
	}
}

func (h *Host) sendJoin(to proto.HostID, j *joining) {
	m := &proto.Msg{Kind: proto.KJoin, Epoch: h.state.Seat, Number: j.number}
	if j.group {
		m.Flags = 1
	}
	h.world.Tell(to, m)
}

// nameAll gives names to all who wait.
func (h *Host) nameAll() {
	for len(h.joins) > 0 && h.agent != nil {
		j := h.joins[0]
		h.joins = h.joins[1:]
		if j.group {
			h.agent.JoinGroup(j.named)
		} else {
			j.named(h.agent.Join())
		}
	}
}

// Reached says that a process or container of this host can be told something
// (Connected of group.Registry).
func (h *Host) Reached(p proto.ProcID) {
	if h.agent != nil {
		h.agent.Connected(p)
	} else if to := h.remote(); to != 0 {
		h.world.Tell(to, &proto.Msg{Kind: proto.KReached, Proc: p})
	}
}

// Dead says that a process of this host has ended.
func (h *Host) Dead(p proto.ProcID) {
	if h.agent != nil {
		h.agent.Dead(p)
		return
	}
	if to := h.remote(); to != 0 {
		if _, dead := h.world.Processes(); !slices.Contains(dead, p) {
			h.world.Tell(to, &proto.Msg{Kind: proto.KDied, Proc: p, Flags: proto.DiedJournalLost})
			return
		}
		o := h.world.Obituary(p)
		h.world.Tell(to, &proto.Msg{Kind: proto.KDied, Proc: p, Op: o.Pid, Text: o.Program})
		h.sendJournal(to, p)
	}
}

// FromProcess takes what a process of this host says to the coordinator.
func (h *Host) FromProcess(p proto.ProcID, m *proto.Msg) {
	switch to := h.remote(); {
	case m.Kind == proto.KWhere:
		h.Where(p, m.Proc)
	case h.agent != nil:
		h.agent.FromProcess(p, m)
	case to != 0:
		h.world.Tell(to, &proto.Msg{Kind: proto.KForward, Proc: p, Data: proto.Append(nil, m)})
	}
}

// View is one that no coordinator is behind.
func (h *Host) View() uint64 {
	if h.agent != nil {
		return h.agent.View()
	}
	return uint64(h.state.Seat) << 32
}

// fromCoordinator takes what the coordinator says.
func (h *Host) fromCoordinator(m *proto.Msg) {
	switch m.Kind {
	case proto.KDeliver:
		var inner proto.Msg
		data := m.Data
		if m.Flags&proto.DeliverAgain != 0 {
			if h.whole == nil { // with whatever else was under way; the roster brings all of it again
				h.told = 0
				return
			}
			data = h.whole
		}
		err := proto.Parse(data, &inner)
		if err == nil && (inner.Kind < proto.KView || inner.Kind > proto.KRound) {
			err = fmt.Errorf("it is of kind %d", inner.Kind)
		}
		if err != nil {
			h.note(Error, "message of the coordinator for process %x: %v", uint64(m.Proc), err)
			return
		}
		if inner.Kind == proto.KView && inner.Flags&proto.ViewNews == 0 && m.Flags&proto.DeliverAgain == 0 {
			h.whole = slices.Clone(m.Data)
		}
		if m.Proc != 0 {
			h.world.Send(m.Proc, &inner)
			return
		}
		for _, p := range h.world.Connected() {
			h.world.Send(p, &inner)
		}
	case proto.KJoined:
		at := slices.IndexFunc(h.joins, func(j *joining) bool { return j.number == m.Number })
		if at < 0 {
			h.world.Tell(h.remote(), &proto.Msg{Kind: proto.KDied, Proc: m.Proc, Flags: proto.DiedJournalLost})
			return
		}
		j := h.joins[at]
		h.joins = slices.Delete(h.joins, at, at+1)
		j.named(m.Proc, m.View)
	case proto.KRetire:
		h.world.Retire(m.Proc, m.Domain)
	case proto.KForget:
		h.world.Forget(m.Proc)
	case proto.KHome:
		if m.Host == 0 { // dead, which a view will tell
			delete(h.where, m.Proc)
			return
		}
		if len(h.places) >= maxPlaces {
			clear(h.places) // they can be asked for again
		}
		h.places[m.Proc] = m.Host
		for _, p := range h.where[m.Proc] {
			h.tellPlace(p, m.Proc)
		}
		delete(h.where, m.Proc)
	}
}

// Where answers a process of this host that asks where another is, now or when the
// coordinator has answered.
func (h *Host) Where(asker, p proto.ProcID) {
	if _, known := h.places[p]; known || h.agent != nil || h.world.Here(p) {
		h.tellPlace(asker, p)
		return
	}
	if h.where[p] == nil {
		if to := h.remote(); to != 0 {
			h.world.Tell(to, &proto.Msg{Kind: proto.KWhere, Proc: p})
		}
	}
	if !slices.Contains(h.where[p], asker) {
		h.where[p] = append(h.where[p], asker)
	}
}

// placeAll answers all who wait: this host knows now.
func (h *Host) placeAll() {
	for _, p := range slices.Sorted(maps.Keys(h.where)) {
		for _, asker := range h.where[p] {
			h.tellPlace(asker, p)
		}
	}
	clear(h.where)
}

func (h *Host) tellPlace(asker, p proto.ProcID) {
	m := &proto.Msg{Kind: proto.KPlace, Proc: p}
	if !h.world.Here(p) {
		home, known := h.places[p]
		if !known {
			home, known = h.homes[p]
		}
		x := view.Find(h.state, home)
		if !known || x == nil {
			return // dead, which a view will tell
		}
		if home != h.me {
			m.Text = x.Addr
		}
	}
	h.world.Send(asker, m)
}
