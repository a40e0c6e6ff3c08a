package host

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// Report is what this host knows of the cluster, for people.
type Report struct {
	Host        string   `json:"host"`
	ID          string   `json:"id"`
	Member      bool     `json:"member"` // with a lease
	Lease       int64    `json:"lease_ns"`
	Epoch       uint32   `json:"epoch"`
	Voters      int      `json:"voters"`      // whose majority agrees on hosts
	Leader      string   `json:"leader"`      // "" if none is known
	Coordinator string   `json:"coordinator"` // "" while there is none
	Hosts       []Line   `json:"hosts"`
	Stalls      []string `json:"stalls"`  // why programs wait, and since when
	Reasons     []Stall  `json:"reasons"` // the same for programs
}

// Line is a host of the cluster, or a configured voter that is not there.
type Line struct {
	Name  string `json:"name"`
	ID    string `json:"id"` // "" if it is not known
	Addr  string `json:"addr"`
	State string `json:"state"` // "member", "removed", "missing"
	Vote  string `json:"vote"`  // "voter", "learner", "" if it has no part in the log
	Birth uint32 `json:"birth"` // epoch in which it has joined
	Why   string `json:"why"`   // it was removed
	Since int64  `json:"since_ns"`
}

// States of a Line.
const (
	IsMember  = "member"
	IsRemoved = "removed" // others may have to wait for its lease
	IsMissing = "missing" // a voter that is no member
)

// silence is after how long a voter that says nothing is one that is missed: while there
// is no leader all of them ask each other at shorter intervals.
const silence = 3 * second

// Report tells what this host knows now.
func (h *Host) Report() *Report {
	now := h.world.Now()
	r := &Report{
		Host: h.cfg.Name, ID: hex(h.me), Member: h.in && h.leased, Epoch: h.state.Epoch,
		Coordinator: h.nameOf(h.state.Coordinator), Hosts: []Line{}, Stalls: []string{}, Reasons: []Stall{},
	}
	if r.Member {
		r.Lease = max(0, h.file.Until()-now)
	}
	if h.log != nil {
		r.Leader, r.Voters = h.nameOf(proto.HostID(h.log.Leader())), len(h.log.Voters())
	}
	for i := range h.state.Hosts {
		x := &h.state.Hosts[i]
		l := Line{Name: x.Name, ID: hex(x.ID), Addr: x.Addr, State: IsMember, Vote: h.voteOf(x.ID), Birth: x.Birth, Why: x.Why}
		if x.Out {
			l.State = IsRemoved
			l.Since = now - h.out[outKey{x.ID, x.Birth}]
		}
		r.Hosts = append(r.Hosts, l)
	}
	for _, name := range h.cfg.Voters {
		if !slices.ContainsFunc(h.state.Hosts, func(x proto.Host) bool { return x.Name == name }) {
			id := h.named(name)
			l := Line{Name: name, State: IsMissing, Vote: h.voteOf(id), Since: now - h.lastOf(id)}
			if id != 0 {
				l.ID = hex(id)
			}
			r.Hosts = append(r.Hosts, l)
		}
	}
	for _, s := range h.stalls(now) {
		r.Add(s)
	}
	return r
}

// Add adds a reason.
func (r *Report) Add(s Stall) {
	r.Stalls, r.Reasons = append(r.Stalls, s.Text), append(r.Reasons, s)
}

// stalls are the reasons for which programs of this host may wait.
func (h *Host) stalls(now int64) []Stall {
	l := &stallList{h: h, now: now}
	switch {
	case h.Fresh():
		l.say(NoCluster, h.began, "no cluster yet: %s", h.absent(now))
	case h.log.Err() != nil:
		from := l.noted("broken")
		l.say(NoLog, from, "this host takes no part in the agreement of hosts, since %s: %v", l.ago(from), h.log.Err())
	case h.log.Leader() == 0:
		l.say(NoQuorum, h.leaderless(now), "no quorum: %s", h.absent(now))
	case !h.in && h.bye != 0:
		l.say(Leaving, h.bye, "this host is leaving, since %s", l.ago(h.bye))
	case !h.in && h.refused && h.world.Former():
		from := l.noted("former")
		l.say(Former, from, "programs of this host's former membership are still there, since %s; it comes back when their lease is over, in %s", l.ago(from), ago(max(0, h.file.Until()-now)))
	case !h.in && h.rival() != nil:
		x, from := h.rival(), l.noted("rival")
		l.say(Namesake, from, "another host of the cluster is called %s, too: that at %s; this one waits until it has ended, since %s", x.Name, x.Addr, l.ago(from))
	case !h.in || !h.leased:
		from := l.noted("outside")
		l.say(Outside, from, "this host is not a member yet; the leader, host %s, has been asked, since %s", h.nameOf(proto.HostID(h.log.Leader())), l.ago(from))
	}
	for i := range h.state.Hosts {
		if x := &h.state.Hosts[i]; x.Out {
			l.removed(x)
		}
	}
	if h.in && h.leased {
		l.chair()
	}
	return l.list
}

// removed: a host is out. An agent that has begun after that knows since when only that it
// was so then.
func (l *stallList) removed(x *proto.Host) {
	from := l.h.out[outKey{x.ID, x.Birth}]
	s := Stall{Kind: HostOut, Since: l.now - from, Bound: Exact}
	when := l.ago(from)
	if from <= l.h.began+second {
		s.Bound, when = AtLeast, "at least "+when
	}
	s.Text = fmt.Sprintf("host %s was removed %s ago (%s); who waits for its locks does so until its lease must be over, in %s (godlm evict %s, if its programs have ended)",
		x.Name, when, x.Why, ago(max(0, l.h.cfg.Over-s.Since)), x.Name)
	l.add(s)
}

// leaderless is since when this host knows of no leader.
func (h *Host) leaderless(now int64) int64 {
	switch {
	case h.Fresh():
		return h.began // there was none
	case h.missing == 0:
		return now // it has been so for less than a Tick
	}
	return h.missing
}

// stalledSince notes, once in a Tick, since when something is so that a report tells of.
func (h *Host) stalledSince(now int64) {
	for what, is := range map[string]bool{
		"broken":    h.log != nil && h.log.Err() != nil,
		"former":    !h.in && h.refused,
		"rival":     !h.in && h.rival() != nil,
		"outside":   !h.in || !h.leased,
		"untold":    h.in && h.state.Coordinator != 0 && !h.coordinates() && h.remote() == 0,
		"gathering": h.coordinates() && h.agent == nil,
	} {
		if _, was := h.stalled[what]; is && !was {
			h.stalled[what] = now
		} else if !is {
			delete(h.stalled, what)
		}
	}
}

// chair tells of the directory.
func (l *stallList) chair() {
	h := l.h
	switch {
	case h.state.Coordinator == 0:
		return // a host is on the way out, which has been told
	case h.remote() != 0 && len(h.joins) > 0:
		from := h.joins[0].since
		l.say(Unnamed, from, "host %s coordinates, and has yet to name %d new programs of this host, since %s", h.nameOf(h.state.Coordinator), len(h.joins), l.ago(from))
	case !h.coordinates() && h.remote() == 0:
		from := l.noted("untold")
		l.say(Untold, from, "host %s coordinates, and has not been told of the programs of this host, since %s", h.nameOf(h.state.Coordinator), l.ago(from))
	case h.coordinates() && h.agent == nil:
		from := l.noted("gathering")
		for _, x := range h.state.Hosts {
			if !x.Out && x.ID != h.me && h.rosters[x.ID] == nil {
				l.say(Gathering, from, "this host coordinates as soon as host %s has told of its programs, since %s; it was heard %s ago", x.Name, l.ago(from), l.ago(h.lastOf(x.ID)))
			}
		}
	}
	if h.agent == nil {
		return
	}
	if n := len(h.pending); n > 0 {
		l.say(Undecided, h.memory.since, "%d changes of persistent resources and recovery domains are not agreed on yet; the oldest was asked for %s ago", n, l.ago(h.memory.since))
	}
	untold, coming := h.agent.Missing()
	from := h.rebuilding
	if from == 0 {
		from = l.now // it has been so for less than a Tick
	}
	for _, p := range untold {
		l.say(Rebuilding, from, "resources are rebuilt; process %#x on host %s has yet to report, since %s", uint64(p), h.nameOf(h.homeOf(p)), l.ago(from))
	}
	for _, p := range coming {
		l.say(Rebuilding, from, "resources are rebuilt; what process %#x has left on host %s has yet to come, since %s", uint64(p), h.nameOf(h.homeOf(p)), l.ago(from))
	}
}

// watchRebuild notes since when resources are being rebuilt.
func (h *Host) watchRebuild(now int64) {
	if h.agent == nil {
		h.rebuilding = 0
		return
	}
	untold, coming := h.agent.Missing()
	switch {
	case len(untold)+len(coming) == 0:
		h.rebuilding = 0
	case h.rebuilding == 0:
		h.rebuilding = now
	}
}

// absent tells which voters are missed, and since when.
func (h *Host) absent(now int64) string {
	var list []string
	all, here := 0, 0
	miss := func(name string, id proto.HostID) {
		all++
		if id == h.me || name == h.cfg.Name && id == 0 {
			here++
			return
		}
		k := h.known[id]
		if k != nil && k.here && (h.Fresh() || now-k.last <= max(silence, h.cfg.Suspect)) {
			here++
			return
		}
		list = append(list, fmt.Sprintf("host %s since %s", name, ago(now-h.lastOf(id))))
	}
	if h.Fresh() {
		for _, name := range h.cfg.Voters {
			miss(name, h.named(name))
		}
	} else {
		for _, id := range slices.Sorted(slices.Values(h.log.Voters())) {
			miss(h.nameOf(proto.HostID(id)), proto.HostID(id))
		}
	}
	s := fmt.Sprintf("%d of %d voters", here, all)
	slices.Sort(list)
	if len(list) == 0 {
		return fmt.Sprintf("%s; they have agreed on no leader, since %s", s, ago(now-h.leaderless(now)))
	}
	return s + "; waiting for " + strings.Join(list, ", ")
}

// nameOf is what people call a host.
func (h *Host) nameOf(id proto.HostID) string {
	if id == 0 {
		return ""
	}
	if id == h.me && h.cfg.Name != "" {
		return h.cfg.Name
	}
	if x := view.Find(h.state, id); x != nil {
		return x.Name
	}
	for _, x := range h.state.Names {
		if x.ID == id {
			return x.Name
		}
	}
	if k := h.known[id]; k != nil {
		return k.name
	}
	return hex(id)
}

// Named is the host of that name; 0 if none is known.
func (h *Host) Named(name string) proto.HostID {
	for _, x := range h.state.Hosts {
		if x.Name == name && !x.Out {
			return x.ID
		}
	}
	return h.named(name)
}

// named is the latest host of that name; 0 if none is known.
func (h *Host) named(name string) proto.HostID {
	if name == h.cfg.Name {
		return h.me
	}
	for _, id := range slices.Sorted(maps.Keys(h.known)) {
		if k := h.known[id]; k.name == name && k.here {
			return id
		}
	}
	for _, x := range h.state.Names {
		if x.Name == name {
			return x.ID
		}
	}
	return 0
}

// lastOf is when a host was heard last; when this agent began, if it never was.
func (h *Host) lastOf(id proto.HostID) int64 {
	if k := h.known[id]; k != nil {
		return k.last
	}
	return h.began
}

func (h *Host) voteOf(id proto.HostID) string {
	switch {
	case h.log == nil:
	case slices.Contains(h.log.Voters(), uint64(id)):
		return "voter"
	case slices.Contains(h.log.Learners(), uint64(id)):
		return "learner"
	}
	return ""
}

// homeOf is the host of a process that this host, as coordinator, knows.
func (h *Host) homeOf(p proto.ProcID) proto.HostID {
	if id, away := h.homes[p]; away {
		return id
	}
	return h.me
}

func hex(id proto.HostID) string { return fmt.Sprintf("%x", uint64(id)) }

// ago is a duration for people.
func ago(ns int64) string {
	switch s := float64(ns) / float64(second); {
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 3600:
		return fmt.Sprintf("%.0f s", s)
	default:
		return fmt.Sprintf("%.1f h", s/3600)
	}
}
