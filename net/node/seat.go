package node

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// seat is what lies between the processes of this host and the coordinator, who keeps
// the directory and numbers processes. If this host is the coordinator it has the
// agent.Agent, once all other hosts have told which processes they have; else it passes
// on what the two say to each other. The agent mutex is held in all methods.
type seat struct {
	r *role
	// epoch is that of this host's coordination, 0 if another coordinates.
	epoch    uint32
	agent    *agent.Agent
	rosters  map[proto.HostID]*roster
	homes    map[proto.ProcID]proto.HostID // of processes on other hosts
	journals map[proto.ProcID]*proto.Msg   // what dead processes of other hosts have left

	// told is the epoch of the coordination to which this host has given its roster.
	told   uint32
	joins  []*joining
	last   uint64 // number of the latest
	places map[proto.ProcID]proto.HostID
	where  map[proto.ProcID][]proto.ProcID // who asks where a process is
}

// roster is what a host has said of its processes.
type roster struct {
	birth uint32
	msg   *proto.Msg
}

// joining is a new process or container that waits for its name.
type joining struct {
	number uint64
	group  bool
	named  func(id proto.ProcID, view uint64)
}

var _ group.Registry = (*seat)(nil)

func (s *seat) init(r *role) {
	s.r = r
	s.homes = map[proto.ProcID]proto.HostID{}
	s.places = map[proto.ProcID]proto.HostID{}
	s.where = map[proto.ProcID][]proto.ProcID{}
	s.clear()
}

func (s *seat) clear() {
	s.agent = nil
	s.rosters = map[proto.HostID]*roster{}
	s.journals = map[proto.ProcID]*proto.Msg{}
	clear(s.homes)
}

func (s *seat) state() *proto.HostState { return s.r.council.state }

// coordinates reports whether this host does.
func (s *seat) coordinates() bool { return s.state().Coordinator == s.r.council.me }

// remote is the coordinator if it is another host that has this one's roster; else 0.
func (s *seat) remote() proto.HostID {
	st := s.state()
	if s.coordinates() || st.Coordinator == 0 || s.told != st.Seat {
		return 0
	}
	return st.Coordinator
}

// ready reports whether there is somebody who numbers processes.
func (s *seat) ready() bool { return s.agent != nil || s.remote() != 0 }

// hostsChanged follows what was decided about hosts.
func (s *seat) hostsChanged() {
	c, st := s.r.council, s.state()
	if !c.in || !s.r.leased {
		return
	}
	if s.r.openNotes(); s.r.noted == nil {
		return
	}
	if !s.coordinates() {
		if s.epoch != 0 {
			s.epoch = 0
			s.clear()
		}
	} else if s.epoch != st.Seat {
		s.epoch = st.Seat
		s.clear()
	}
	for _, id := range slices.Sorted(maps.Keys(s.rosters)) {
		if h := view.Find(st, id); h == nil || h.Birth != s.rosters[id].birth {
			s.hostGone(id)
		}
	}
	if !s.coordinates() && st.Coordinator != 0 && s.told != st.Seat {
		s.giveRoster()
	}
	s.sit()
	for _, id := range slices.Sorted(maps.Keys(c.hosts.in)) {
		s.release(c.hosts.in[id])
	}
	s.r.serve()
}

// hostGone: all processes of a host have ended with it.
func (s *seat) hostGone(id proto.HostID) {
	delete(s.rosters, id)
	var gone []proto.ProcID
	for p, home := range s.homes {
		if home == id {
			gone = append(gone, p)
			delete(s.homes, p)
		}
	}
	slices.Sort(gone)
	if s.agent != nil {
		s.agent.Died(gone, agent.JournalLost)
	}
	s.r.n.log.Info("a host is gone", "host", uint64(id), "processes", len(gone))
}

// sit begins to coordinate when every host has told what processes it has. While one
// is on the way out it may have some that nobody here knows.
func (s *seat) sit() {
	c, st := s.r.council, s.state()
	if !s.coordinates() || s.agent != nil {
		return
	}
	for _, h := range st.Hosts {
		if h.Out || h.ID != c.me && s.rosters[h.ID] == nil {
			return
		}
	}
	r := s.r
	live, dead := r.liveAndDead()
	past := r.past(st)
	for _, id := range slices.Sorted(maps.Keys(s.rosters)) {
		m := s.rosters[id].msg
		live = append(live, m.Procs...)
		past.Groups = append(past.Groups, m.Groups...)
		past.Coming = append(past.Coming, m.Dead...)
		for _, p := range append(slices.Clone(m.Procs), m.Groups...) {
			s.homes[p] = id
		}
		for _, p := range m.Dead {
			s.homes[p] = id
		}
	}
	s.agent = agent.New((*agentWorld)(r), uint64(s.epoch)<<32, live, dead, past)
	if r.n.cfg.Central {
		s.agent.Centralize()
		r.n.proc.KeepIdle()
	}
	r.n.log.Info("this host coordinates", "epoch", s.epoch, "processes", len(live))
	for p, m := range r.members {
		if m.conn != nil || r.selfDone && uint64(p) == r.n.me.Load() {
			s.agent.Connected(p)
		}
	}
	if r.groups != nil {
		for _, p := range r.noted.Notes().IDs() {
			s.agent.Connected(p)
		}
	}
	s.nameAll()
}

// giveRoster tells the coordinator which processes this host has.
func (s *seat) giveRoster() {
	r, st := s.r, s.state()
	c := r.council
	live, dead := r.liveAndDead()
	m := &proto.Msg{Kind: proto.KRoster, Epoch: st.Seat, Birth: c.birth, Procs: live, Dead: dead}
	if r.noted != nil {
		m.Groups = r.noted.Notes().IDs()
	}
	s.told = st.Seat
	to := st.Coordinator
	c.hosts.send(to, m)
	for _, p := range dead {
		s.sendJournal(to, p)
	}
	for _, j := range s.joins {
		s.sendJoin(to, j)
	}
	for _, p := range live {
		if x := r.members[p]; x.conn != nil || r.selfDone && uint64(p) == r.n.me.Load() {
			c.hosts.send(to, &proto.Msg{Kind: proto.KReached, Proc: p})
		}
	}
	if r.groups != nil {
		for _, p := range m.Groups {
			c.hosts.send(to, &proto.Msg{Kind: proto.KReached, Proc: p})
		}
	}
	for p := range s.where {
		c.hosts.send(to, &proto.Msg{Kind: proto.KWhere, Proc: p})
	}
}

func (s *seat) sendJournal(to proto.HostID, dead proto.ProcID) {
	m := &proto.Msg{Kind: proto.KJournal, Proc: dead, Flags: proto.JournalAll}
	if f := s.r.dead[dead]; f != nil {
		m.Records = journal.Records(f)
		var all bool
		if m.Procs, all = journal.Peers(f); !all {
			m.Flags = 0
		}
	}
	s.r.council.hosts.send(to, m)
}

// streamLost: what was under way to the agent at that address is lost.
func (s *seat) streamLost(addr netip.AddrPort) {
	st := s.state()
	if k := s.r.council.hosts.known[st.Coordinator]; k != nil && k.addr == addr {
		s.told = 0
	}
}

// tick tries again what waits.
func (s *seat) tick() {
	if st := s.state(); s.r.council.in && s.r.leased && !s.coordinates() && st.Coordinator != 0 && s.told != st.Seat {
		s.hostsChanged()
	}
}

// join asks for a name.
func (s *seat) join(isGroup bool, named func(id proto.ProcID, view uint64)) {
	s.last++
	j := &joining{s.last, isGroup, named}
	s.joins = append(s.joins, j)
	if s.agent != nil {
		s.nameAll()
	} else if to := s.remote(); to != 0 {
		s.sendJoin(to, j)
	}
}

func (s *seat) sendJoin(to proto.HostID, j *joining) {
	m := &proto.Msg{Kind: proto.KJoin, Epoch: s.state().Seat, Number: j.number}
	if j.group {
		m.Flags = 1
	}
	s.r.council.hosts.send(to, m)
}

// nameAll gives names to all who wait.
func (s *seat) nameAll() {
	for len(s.joins) > 0 && s.agent != nil {
		j := s.joins[0]
		s.joins = s.joins[1:]
		if j.group {
			s.agent.JoinGroup(j.named)
		} else {
			j.named(s.agent.Join())
		}
	}
}

// JoinGroup implements group.Registry.
func (s *seat) JoinGroup(named func(id proto.ProcID, view uint64)) { s.join(true, named) }

// Connected implements group.Registry.
func (s *seat) Connected(p proto.ProcID) {
	if s.agent != nil {
		s.agent.Connected(p)
	} else if to := s.remote(); to != 0 {
		s.r.council.hosts.send(to, &proto.Msg{Kind: proto.KReached, Proc: p})
	}
}

// Dead implements group.Registry: a process of this host has ended.
func (s *seat) Dead(p proto.ProcID) {
	if s.agent != nil {
		s.agent.Dead(p)
		return
	}
	if to := s.remote(); to != 0 {
		s.r.council.hosts.send(to, &proto.Msg{Kind: proto.KDied, Proc: p})
		if s.r.dead[p] != nil {
			s.sendJournal(to, p)
		}
	}
}

// FromProcess implements group.Registry.
func (s *seat) FromProcess(p proto.ProcID, m *proto.Msg) {
	if s.agent != nil {
		s.agent.FromProcess(p, m)
	} else if to := s.remote(); to != 0 {
		s.r.council.hosts.send(to, &proto.Msg{Kind: proto.KForward, Proc: p, Data: proto.Append(nil, m)})
	}
}

// View implements group.Registry.
func (s *seat) View() uint64 {
	if s.agent != nil {
		return s.agent.View()
	}
	return uint64(s.state().Epoch) << 32
}

// fromHost takes a message of another agent, or holds it back until what stands before
// it can be taken.
func (s *seat) fromHost(i *hostIn, m *proto.Msg) {
	if len(i.held) > 0 || !s.due(i, m) {
		c := &proto.Msg{}
		if err := proto.Parse(proto.Append(nil, m), c); err == nil {
			i.held = append(i.held, c)
		}
		return
	}
	s.take(i, m)
}

// due reports whether a message can be taken now.
func (s *seat) due(i *hostIn, m *proto.Msg) bool {
	switch m.Kind {
	case proto.KDeliver, proto.KJoined, proto.KRetire, proto.KForget, proto.KHome:
		return true
	case proto.KRoster:
		return m.Epoch <= s.state().Seat && s.r.leased
	}
	return s.agent != nil || s.rosters[i.id] == nil
}

func (s *seat) release(i *hostIn) {
	for len(i.held) > 0 && s.due(i, i.held[0]) {
		m := i.held[0]
		i.held = i.held[1:]
		s.take(i, m)
	}
}

func (s *seat) take(i *hostIn, m *proto.Msg) {
	switch m.Kind {
	case proto.KDeliver, proto.KJoined, proto.KRetire, proto.KForget, proto.KHome:
		if i.id == s.remote() {
			s.fromCoordinator(m)
		}
		return
	case proto.KRoster:
		s.takeRoster(i, m)
		return
	}
	if s.agent == nil || s.rosters[i.id] == nil {
		return // of a coordination that is over; the sender will say it anew
	}
	home, known := s.homes[m.Proc]
	if m.Kind == proto.KWhere {
		if p := m.Proc; known || s.r.members[p] != nil || s.r.isGroup(p) {
			if !known {
				home = s.r.council.me
			}
			s.r.council.hosts.send(i.id, &proto.Msg{Kind: proto.KHome, Proc: p, Host: home})
		}
		return
	}
	if m.Kind == proto.KJoin {
		s.joinFrom(i, m)
		return
	}
	if !known || home != i.id {
		if m.Kind == proto.KJournal { // nobody needs it any more
			s.r.council.hosts.send(i.id, &proto.Msg{Kind: proto.KForget, Proc: m.Proc})
		}
		return
	}
	switch m.Kind {
	case proto.KForward:
		var inner proto.Msg
		err := proto.Parse(m.Data, &inner)
		if err == nil {
			err = between(&inner, proto.KLookup, proto.KWhere)
		}
		if err != nil {
			s.r.n.log.Error("message of a process of another host", "proc", m.Proc, "error", err)
			return
		}
		s.agent.FromProcess(m.Proc, &inner)
	case proto.KDied:
		s.agent.Died([]proto.ProcID{m.Proc}, agent.JournalComing)
	case proto.KReached:
		s.agent.Connected(m.Proc)
	case proto.KJournal:
		c := *m
		c.Procs, c.Records = slices.Clone(m.Procs), slices.Clone(m.Records)
		s.journals[m.Proc] = &c
		s.agent.Journal(m.Proc)
	}
}

func (s *seat) joinFrom(i *hostIn, m *proto.Msg) {
	if m.Epoch != s.epoch {
		return
	}
	number := m.Number
	named := func(id proto.ProcID, view uint64) {
		s.homes[id] = i.id
		s.r.council.hosts.send(i.id, &proto.Msg{Kind: proto.KJoined, Number: number, Proc: id, View: view})
	}
	if m.Flags == 1 {
		s.agent.JoinGroup(named)
	} else {
		named(s.agent.Join())
	}
}

// takeRoster: a host says what processes it has. If it has said so before, its agent is
// another now.
func (s *seat) takeRoster(i *hostIn, m *proto.Msg) {
	h := view.Find(s.state(), i.id)
	if m.Epoch != s.epoch || h == nil || h.Out || h.Birth != m.Birth {
		return
	}
	c := *m
	c.Procs, c.Groups, c.Dead = slices.Clone(m.Procs), slices.Clone(m.Groups), slices.Clone(m.Dead)
	s.rosters[i.id] = &roster{m.Birth, &c}
	if s.agent == nil {
		s.sit()
		return
	}
	var gone []proto.ProcID
	for p, home := range s.homes {
		if home == i.id && !slices.Contains(c.Procs, p) && !slices.Contains(c.Groups, p) {
			gone = append(gone, p)
		}
	}
	slices.Sort(gone)
	for _, p := range gone {
		if slices.Contains(c.Dead, p) {
			s.agent.Died([]proto.ProcID{p}, agent.JournalComing)
		} else {
			s.agent.Died([]proto.ProcID{p}, agent.JournalLost)
			delete(s.homes, p)
		}
	}
}

// fromCoordinator takes what the coordinator says.
func (s *seat) fromCoordinator(m *proto.Msg) {
	r := s.r
	switch m.Kind {
	case proto.KDeliver:
		var inner proto.Msg
		if err := proto.Parse(m.Data, &inner); err != nil {
			r.n.log.Error("message of the coordinator", "proc", m.Proc, "error", err)
			return
		}
		(*agentWorld)(r).sendLocal(m.Proc, &inner)
	case proto.KJoined:
		at := slices.IndexFunc(s.joins, func(j *joining) bool { return j.number == m.Number })
		if at < 0 {
			r.council.hosts.send(s.remote(), &proto.Msg{Kind: proto.KDied, Proc: m.Proc})
			return
		}
		j := s.joins[at]
		s.joins = slices.Delete(s.joins, at, at+1)
		j.named(m.Proc, m.View)
	case proto.KRetire:
		if f := r.dead[m.Proc]; f != nil {
			journal.Retire(f, m.Domain)
		}
	case proto.KForget:
		(*agentWorld)(r).forgetLocal(m.Proc)
	case proto.KHome:
		s.places[m.Proc] = m.Host
		for _, p := range s.where[m.Proc] {
			s.tellPlace(p, m.Proc)
		}
		delete(s.where, m.Proc)
	}
}

// whereIs answers a process of this host, now or when the coordinator has answered.
func (s *seat) whereIs(asker, p proto.ProcID) {
	_, known := s.places[p]
	if known || s.agent != nil || s.r.members[p] != nil || s.r.isGroup(p) {
		s.tellPlace(asker, p)
		return
	}
	if s.where[p] == nil {
		if to := s.remote(); to != 0 {
			s.r.council.hosts.send(to, &proto.Msg{Kind: proto.KWhere, Proc: p})
		}
	}
	s.where[p] = append(s.where[p], asker)
}

func (s *seat) tellPlace(asker, p proto.ProcID) {
	m := &proto.Msg{Kind: proto.KPlace, Proc: p}
	if s.r.members[p] == nil && !s.r.isGroup(p) {
		home, known := s.places[p]
		if !known {
			home, known = s.homes[p]
		}
		h := view.Find(s.state(), home)
		if !known || h == nil {
			return // dead, which a view will tell
		}
		if home != s.r.council.me {
			m.Text = h.Addr
		}
	}
	(*agentWorld)(s.r).sendLocal(asker, m)
}
