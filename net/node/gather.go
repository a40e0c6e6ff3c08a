package node

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// Seeing what happens, the side of the agent: it asks the processes of its host and the
// agents of the others, and passes on what they say. Who has not answered in time is
// named. The agent mutex guards all of it.

const (
	// maxGatherings bounds how many are answered at a time.
	maxGatherings = 16
	// gatherTime is how long an agent waits for a word of others if nobody says,
	// gatherMost how long for all of it.
	gatherTime = 2 * time.Second
	gatherMost = time.Minute
	// gatherBacklog is how many bytes may wait for another host before more of an
	// answer is left out: the stream is needed for other things.
	gatherBacklog = 4 << 20
)

// gathering is an answer under way.
type gathering struct {
	r      *role
	number uint64
	tell   func(*proto.Sight) bool // false: there is no room for it
	procs  map[proto.ProcID]*proto.SeenSilent
	hosts  map[proto.HostID]*proto.SeenSilent
	silent []proto.SeenSilent
	still  map[proto.ProcID]bool // stopped when they were asked
	heard  map[any]time.Time     // processes and hosts that have said something
	began  time.Time
	left   int // of the limit
	cut    bool
}

// gather begins to answer. deep: with other hosts.
func (r *role) gather(q *proto.Inquiry, deep bool, tell func(*proto.Sight) bool) error {
	if len(r.gatherings) >= maxGatherings {
		return errors.New("too many look at the same time")
	}
	r.lastGathering++
	g := &gathering{
		r: r, number: r.lastGathering, tell: tell, left: int(q.Limit),
		procs: map[proto.ProcID]*proto.SeenSilent{}, hosts: map[proto.HostID]*proto.SeenSilent{},
		still: map[proto.ProcID]bool{}, heard: map[any]time.Time{}, began: time.Now(),
	}
	r.gatherings[g.number] = g
	patience := time.Duration(q.Patience)
	if patience <= 0 {
		patience = gatherTime
	}
	g.own(q)
	if deep {
		others := *q
		others.Patience = int64(patience * 3 / 4) // they tell who is silent there
		g.ask(&others)
	}
	g.askProcesses(q)
	g.finish()
	g.watch(patience, patience)
	return nil
}

// watch gives up those who say nothing for too long.
func (g *gathering) watch(after, patience time.Duration) {
	r := g.r
	r.n.clock.after(after, func() {
		r.mu.Lock()
		if r.gatherings[g.number] == g {
			least := g.giveUp(patience)
			if r.gatherings[g.number] == g {
				g.watch(least, patience)
			}
		}
		r.mu.Unlock()
		r.n.Flush()
	})
}

// giveUp names those who have said nothing for that long, and tells when to look again.
func (g *gathering) giveUp(patience time.Duration) (again time.Duration) {
	now := time.Now()
	again = patience
	late := func(who any) bool {
		left := patience - now.Sub(g.lastOf(who))
		if left > 0 && now.Sub(g.began) < gatherMost {
			again = min(again, left)
			return false
		}
		return true
	}
	for _, id := range slices.Sorted(maps.Keys(g.procs)) {
		if late(id) {
			g.silence(id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(g.hosts)) {
		if late(id) {
			g.silent = append(g.silent, *g.hosts[id])
			delete(g.hosts, id)
		}
	}
	g.finish()
	return again
}

// lastOf is when a process or host has said something last.
func (g *gathering) lastOf(who any) time.Time {
	if at, ok := g.heard[who]; ok {
		return at
	}
	return g.began
}

// hostName is this host's, "" if it is alone.
func (r *role) hostName() string {
	if c := r.n.cfg.Cluster; c != nil {
		return c.Host
	}
	return ""
}

// own tells what the agent knows itself.
func (g *gathering) own(q *proto.Inquiry) {
	r := g.r
	s := &proto.Sight{Host: r.hostName(), Version: Release}
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		m := r.seenMember(r.members[id])
		s.Members = append(s.Members, m)
		if m.State == Stopped {
			g.still[id] = true
		}
	}
	if r.noted != nil && r.groups != nil {
		for _, id := range r.noted.Notes().IDs() {
			s.Members = append(s.Members, proto.SeenMember{Proc: id, Program: "group lock container", State: Running, Group: true})
		}
	}
	if q.What&proto.SeeCounts != 0 {
		s.Counts = make([]proto.Counts, 1)
		r.host.Count(&s.Counts[0])
	}
	g.tell(s)
}

func (r *role) seenMember(m *member) proto.SeenMember {
	s := proto.SeenMember{Proc: m.id, State: Hidden}
	if uint64(m.id) == r.n.me.Load() {
		return proto.SeenMember{Proc: m.id, Pid: uint32(os.Getpid()), Program: ownName(), State: Running, Agent: true}
	}
	defer r.n.holdForks()()
	f, err := r.n.dir.Look(m.name)
	if err != nil {
		return s
	}
	s.Pid, s.Program = uint32(f.Pid), f.Program
	switch {
	case !f.Locked:
		s.State = Ended
	case f.Pid != 0:
		_, s.State = lookAt(f.Pid)
	}
	return s
}

// ask asks the agents of other hosts.
func (g *gathering) ask(q *proto.Inquiry) {
	r := g.r
	if r.n.cfg.Cluster == nil {
		return
	}
	for _, x := range r.host.Report().Hosts {
		if x.Name == r.hostName() {
			continue
		}
		id := r.host.Named(x.Name)
		silent := &proto.SeenSilent{Host: x.Name, Why: "the host does not answer"}
		switch {
		case x.State == host.IsRemoved:
			silent.Why = "the host was removed from the cluster"
			g.silent = append(g.silent, *silent)
		case x.State != host.IsMember || id == 0:
			silent.Why = "the host is no member of the cluster"
			g.silent = append(g.silent, *silent)
		default:
			g.hosts[id] = silent
			r.hosts.send(id, &proto.Msg{Kind: proto.KInspect, Number: g.number, Inquiry: q})
		}
	}
}

// askProcesses asks those of this host.
func (g *gathering) askProcesses(q *proto.Inquiry) {
	r := g.r
	if q.What == 0 {
		return
	}
	for id, m := range r.members {
		g.procs[id] = &proto.SeenSilent{Host: r.hostName(), Proc: id}
		switch {
		case uint64(id) == r.n.me.Load():
			r.lookSelf(g.number, q)
		case m.conn != nil:
			m.conn.Send(&proto.Msg{Kind: proto.KInspect, Number: g.number, Inquiry: q})
		}
	}
	if r.noted == nil || r.groups == nil {
		return
	}
	for _, id := range r.noted.Notes().IDs() {
		if p := r.groups.Process(id); p != nil {
			g.procs[id] = &proto.SeenSilent{Host: r.hostName(), Proc: id, Program: "group lock container"}
			r.lookGroup(g.number, id, q)
		}
	}
}

// lookSelf looks at the agent's own process.
func (r *role) lookSelf(number uint64, q *proto.Inquiry) {
	n := r.n
	n.clock.after(0, func() {
		n.looking.Lock()
		defer n.looking.Unlock()
		n.see(n.proc.Look(q), q, func(s *proto.Sight) bool {
			done := s.Done
			r.seen(s.Proc, number, s)
			n.Flush()
			return !done && !n.closed.Load()
		})
	})
}

// lookGroup looks at a container's process, which the agent mutex guards.
func (r *role) lookGroup(number uint64, id proto.ProcID, q *proto.Inquiry) {
	n := r.n
	n.clock.after(0, func() {
		n.looking.Lock()
		defer n.looking.Unlock()
		r.mu.Lock()
		p := r.groups.Process(id)
		r.mu.Unlock()
		s := &proto.Sight{Proc: id, Program: "group lock container", Version: Release}
		if p == nil {
			s.Done = true
			r.seen(id, number, s)
			return
		}
		k := p.Look(q)
		for more := true; more; {
			r.mu.Lock()
			more = k.Next(s)
			r.mu.Unlock()
		}
		s.Done = true
		r.seen(id, number, s)
		n.Flush()
	})
}

// seen takes a part of a process's answer. mu is not held.
func (r *role) seen(p proto.ProcID, number uint64, s *proto.Sight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sees(p, number, s)
}

// sees is seen with mu held.
func (r *role) sees(p proto.ProcID, number uint64, s *proto.Sight) {
	g := r.gatherings[number]
	if g == nil || g.procs[p] == nil || r.closed {
		return
	}
	s.Proc, s.Host, s.Members, s.Silent, s.End = p, r.hostName(), nil, nil, false
	done := s.Done
	g.heard[p] = time.Now()
	g.pass(s)
	if done {
		delete(g.procs, p)
		g.finish()
	}
}

// seenHost takes a part of another host's answer.
func (r *role) seenHost(id proto.HostID, number uint64, s *proto.Sight) {
	g := r.gatherings[number]
	if g == nil || g.hosts[id] == nil {
		return
	}
	name := g.hosts[id].Host
	s.Host = name
	for i := range s.Silent {
		s.Silent[i].Host = name
	}
	g.silent = append(g.silent, s.Silent...)
	end := s.End
	g.heard[id] = time.Now()
	s.Silent, s.End = nil, false
	g.pass(s)
	if end {
		delete(g.hosts, id)
		g.finish()
	}
}

// pass passes a part on, as far as the limit lets it.
func (g *gathering) pass(s *proto.Sight) {
	n := rows(s)
	if n > g.left && n > 0 {
		if g.left <= 0 {
			s.Trees, s.Waits, s.Cut = nil, nil, true
		} else if len(s.Waits) > g.left {
			s.Waits, s.Cut = s.Waits[:g.left], true
		}
	}
	g.left -= n
	g.cut = g.cut || s.Cut
	if !g.tell(s) {
		g.cut = true
	}
}

// gone: a process of this host has ended before it answered.
func (g *gathering) gone(p proto.ProcID) {
	if s := g.procs[p]; s != nil {
		s.Why = "it has just ended"
		g.silent = append(g.silent, *s)
		delete(g.procs, p)
		g.finish()
	}
}

// silence names a process that has not answered, and why.
func (g *gathering) silence(id proto.ProcID) {
	r, s := g.r, g.procs[id]
	s.Why = "it does not answer"
	if m := r.members[id]; m != nil {
		x := r.seenMember(m)
		s.Pid, s.Program = x.Pid, x.Program
		switch {
		case x.State == Stopped:
			s.Why = fmt.Sprintf("it is stopped; continue it (kill -CONT %d) or end it", x.Pid)
		case x.State == Ended:
			s.Why = "it has just ended"
		case m.conn == nil && !x.Agent:
			s.Why = "it has no connection to the agent"
		}
	}
	g.silent = append(g.silent, *s)
	delete(g.procs, id)
}

// finish ends the answer when nobody is waited for.
func (g *gathering) finish() {
	if g.r.gatherings[g.number] != g {
		return
	}
	if len(g.hosts) > 0 || len(g.procs) > 0 {
		for id := range g.procs {
			if !g.still[id] {
				return
			}
		}
		if len(g.hosts) > 0 {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(g.procs)) { // who is stopped will not answer
			g.silence(id)
		}
	}
	delete(g.r.gatherings, g.number)
	g.tell(&proto.Sight{Host: g.r.hostName(), Silent: g.silent, Cut: g.cut, End: true})
}

// inspect answers a command.
func (h *fromMember) inspect(c *link.Conn, m *proto.Msg) error {
	r, number := h.r, m.Number
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errNotNow
	}
	err := r.gather(m.Inquiry, !m.Inquiry.Here, func(s *proto.Sight) bool {
		c.Send(&proto.Msg{Kind: proto.KSeen, Number: number, Sight: s})
		return true
	})
	if err != nil {
		h.reject(c, err)
	}
	return nil
}

// inspectFor answers another agent.
func (r *role) inspectFor(id proto.HostID, m *proto.Msg) {
	number := m.Number
	err := r.gather(m.Inquiry, false, func(s *proto.Sight) bool {
		room := r.hosts.backlog(id) < gatherBacklog
		if !room {
			s.Trees, s.Waits, s.Cut = nil, nil, true
		}
		r.hosts.send(id, &proto.Msg{Kind: proto.KSeen, Number: number, Sight: s})
		return room
	})
	if err != nil {
		r.n.log.Debug("another host looks", "error", err)
	}
}
