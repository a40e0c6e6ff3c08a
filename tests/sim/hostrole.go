package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/store"
	"github.com/godlm/godlm/net/views"
)

// council is what an agent has while there are other hosts.
type council struct {
	h      *host.Host
	id     proto.HostID
	st     *store.Store
	next   int64 // of the clock
	dead   []proto.ProcID
	addr   map[proto.HostID]*machine
	out    map[*machine]*mail
	in     map[proto.HostID]*mail
	met    map[*role]bool
	ended  []*machine // streams to them have ended while this process was stopped
	hellos []*link    // who waits until this host is a member

	looked  uint32 // epoch of the state that was looked at last
	voters  []string
	ends    int64 // when it will have ended; 0: nothing is known of that
	leaving bool  // its process has ended but for it
	asked   bool  // it has said goodbye
	playing
}

// enter takes up this host's part.
func (r *role) enter() {
	s, m := r.s, r.m
	r.addr, r.out, r.in = map[proto.HostID]*machine{}, map[*machine]*mail{}, map[proto.HostID]*mail{}
	r.met = map[*role]bool{}
	r.next = s.time + s.rng.Int64N(tickTime)
	var err error
	if r.st, err = store.Open(m.store, store.Options{Cluster: "sim"}); err != nil {
		s.fail("%s: %v", m, err)
	}
	id := r.st.Identity()
	r.id = proto.HostID(binary.BigEndian.Uint64(id[:]) | 1)
	m.id = r.id
	cfg := host.Config{Name: m.name, Addr: m.name, Lease: leaseTime * millisecond, Over: overTime * millisecond, Suspect: suspectTime * millisecond, Tick: tickTime * millisecond}
	r.voters = s.voters // it reads the file once
	cfg.Voters = r.voters
	r.h = host.New(r, &m.file, cfg, r.id)
	if err := r.h.Start(!r.st.Fresh()); err != nil {
		s.fail("%s: %v", m, err)
	}
	for _, x := range s.hosts {
		if x != m {
			r.streamTo(x)
		}
	}
}

// end lets go of what an agent had open.
func (r *role) end() {
	r.abandon()
	if r.st != nil {
		if err := r.st.Close(); err != nil {
			r.s.fail("%s: %v", r.m, err)
		}
		r.st = nil
	}
}

// helloHost welcomes a process when this host is a member.
func (s *sim) helloHost(l *link) {
	r := l.role
	if !r.h.Leased() || r.leaving || s.all != nil && r.groups == nil {
		r.hellos = append(r.hellos, l)
		return
	}
	s.agentStep(r, func() { r.greet(l) })
}

func (r *role) greet(l *link) {
	s, n := r.s, l.n
	switch {
	case l.up.shut || l.greeted || n.dead:
	case n.given == 0:
		r.h.Join(func(id proto.ProcID, view uint64) {
			if n.dead || l.up.shut || n.given != 0 || r.leaving {
				r.h.Dead(id)
				return
			}
			birth := r.h.Birth()
			s.change(
				func() {
					n.given, n.admitted, n.hostID, s.byID[id], s.files[id] = id, birth, r.id, n, n.file
					r.known = append(r.known, id)
				},
				func() { n.given = 0; delete(s.byID, id); delete(s.files, id) })
			s.note("the agent of %s admits %s as %x", r.m, n, uint64(id))
			r.connected(l, view)
		})
	case !slices.Contains(r.known, n.given):
		l.greeted = true
		l.down.msgs = append(l.down.msgs, &proto.Msg{Kind: proto.KReject})
	default:
		r.connected(l, r.h.View())
	}
}

func (r *role) connected(l *link, view uint64) {
	l.greeted = true
	l.down.msgs = append(l.down.msgs, &proto.Msg{Kind: proto.KWelcome, Proc: l.n.given, View: view, Number: uint64(r.h.Birth())})
	r.h.Reached(l.n.given)
	if r.groups != nil {
		r.groups.Reached(l.n.given)
	}
}

// hostsAt are those known to be at an address.
func (r *role) hostsAt(m *machine) (out []proto.HostID) {
	for _, id := range slices.Sorted(maps.Keys(r.addr)) {
		if r.addr[id] == m {
			out = append(out, id)
		}
	}
	return out
}

var _ host.World = (*role)(nil)

// Now implements host.World.
func (r *role) Now() int64 { return r.m.now() + 1 }

// Date implements host.World.
func (r *role) Date() uint32 { return uint32(1000 + r.s.time/10) }

// Random implements host.World.
func (r *role) Random() uint64 { return r.s.rng.Uint64() | 1 }

// Note implements host.World.
func (r *role) Note(level host.Level, text string) {
	if level == host.Error {
		r.s.fail("the agent of %s: %s", r.m, text)
	}
	r.s.note("   the agent of %s: %s", r.m, text)
	if strings.Contains(text, " is removed (epoch ") || strings.Contains(text, " has left (epoch ") {
		r.s.shake() // of its dead, too, nobody reads what they have left; and it may have had the directory
	}
}

// Open implements host.World.
func (r *role) Open(initial []uint64) (host.Log, error) {
	g, err := views.New((*voter)(r), r.st, uint64(r.id), initial)
	if err != nil {
		return nil, err
	}
	if r.s.one(2) {
		g.CompactEvery(20, 5)
	}
	return simLog{g}, nil
}

// Calls implements host.World.
func (r *role) Calls(data []byte) bool { return views.Addressee(data) == uint64(r.id) }

// Tell implements host.World.
func (r *role) Tell(to proto.HostID, m *proto.Msg) {
	x := r.addr[to]
	if x == nil || x == r.m {
		return
	}
	if m.Kind == proto.KDeliver && m.Flags&proto.DeliverAgain == 0 {
		var inner proto.Msg
		if err := proto.Parse(m.Data, &inner); err != nil {
			r.s.fail("%s delivers garbage: %v", r.m, err)
		}
		if inner.Kind == proto.KInstall {
			r.s.checkImage(r, inner.Image)
		}
	}
	q := r.streamTo(x)
	q.msgs = append(q.msgs, r.s.copyOf(m))
}

// Reach implements host.World.
func (r *role) Reach(id proto.HostID, addr string) {
	for _, x := range r.s.hosts {
		if x.name == addr && x != r.m {
			r.addr[id] = x
			r.streamTo(x)
		}
	}
}

// Begin implements host.World.
func (r *role) Begin(birth uint32) bool {
	if r.s.all == nil {
		return true
	}
	m, old := r.m, r.m.notes
	r.begun = true
	r.s.change(
		func() { m.notes = old.Clone(); m.notes.Since(fmt.Sprintf("%d/%d", m.booted, birth)) },
		func() { m.notes = old })
	return true
}

// Serve implements host.World.
func (r *role) Serve() {
	if !r.h.Leased() || r.leaving {
		return
	}
	if r.s.all != nil {
		if r.groups == nil && r.begun && r.h.Ready() {
			r.startGroups()
		}
		if r.groups == nil {
			return
		}
	}
	list := r.hellos
	r.hellos = nil
	for _, l := range list {
		r.greet(l)
	}
}

// Drop implements host.World: the processes are told, and may take their time.
func (r *role) Drop(why string) {
	for _, id := range r.known {
		n := r.s.byID[id]
		r.s.note("%s belongs to a membership that has ended: %s", n, why)
		if n == r.host {
			r.endSoon()
			continue
		}
		for _, l := range r.links {
			if l.n == n && l.greeted && !l.down.shut {
				l.down.msgs = append(l.down.msgs, &proto.Msg{Kind: proto.KReject})
			}
		}
	}
	r.known = nil
	for _, id := range slices.Clone(r.dead) {
		r.Forget(id)
	}
	if !r.m.file.over {
		r.s.fail("%s: processes are dropped, and their lease goes on", r.m)
	}
}

// Former implements host.World.
func (r *role) Former() bool {
	return slices.ContainsFunc(r.s.nodes, func(n *node) bool {
		return n.home == r.m && !n.dead && n.given != 0 && !slices.Contains(r.known, n.given)
	})
}

// Lost implements host.World.
func (r *role) Lost(why string) {
	r.s.note("%s: %s", r.m, why)
	r.endSoon()
}

// Left implements host.World.
func (r *role) Left() {
	r.s.counts[left]++
	r.s.later = append(r.s.later, func() { r.s.endRole(r) })
}

// endSoon ends the agent's own process, behind what it is about or some time later: it
// goes on as agent, and its process may do so until it looks at its lease.
func (r *role) endSoon() {
	switch s := r.s; {
	case r.ends != 0 && !r.leaving:
	case s.one(2):
		r.ends = s.time + s.rng.Int64N(doomTime)
	default:
		r.ends = s.time
		s.later = append(s.later, func() { s.endRole(r) })
	}
}

// Processes implements host.World.
func (r *role) Processes() (live, dead []proto.ProcID) {
	return slices.Sorted(slices.Values(r.known)), slices.Sorted(slices.Values(r.dead))
}

// Connected implements host.World.
func (r *role) Connected() (out []proto.ProcID) {
	for _, l := range r.links {
		if l.greeted && !l.down.shut && slices.Contains(r.known, l.n.given) {
			out = append(out, l.n.given)
		}
	}
	slices.Sort(out)
	if r.groups != nil {
		out = append(out, r.containers()...)
	}
	return out
}

// Containers implements host.World.
func (r *role) Containers() []proto.ProcID { return r.containers() }

// Here implements host.World.
func (r *role) Here(p proto.ProcID) bool {
	return slices.Contains(r.known, p) || r.groups != nil && r.groups.IsGroup(p)
}

// Past implements host.World.
func (r *role) Past(believe bool) *agent.Lasting {
	past := r.m.past()
	if believe {
		return past
	}
	for _, e := range past.Directory {
		r.Delete(e.Tree)
	}
	return &agent.Lasting{}
}

// voter is the agent as the log of views sees it.
type voter role

// Send implements views.Host. Such messages may be lost.
func (v *voter) Send(to uint64, data []byte) {
	if !v.s.one(40) {
		(*role)(v).Tell(proto.HostID(to), &proto.Msg{Kind: proto.KRaft, Data: data})
	}
}

// Apply implements views.Host.
func (v *voter) Apply(index uint64, data []byte) { v.h.Apply(index, data) }

// Restore implements views.Host.
func (v *voter) Restore(index uint64, data []byte) {
	v.s.counts[snapshots]++
	v.h.Restore(index, data)
}

// Snapshot implements views.Host.
func (v *voter) Snapshot() []byte { return v.h.Snapshot() }

// Confirmed implements views.Host.
func (v *voter) Confirmed(token uint64) { v.h.Confirmed(token) }

// simLog is the log, whose clock and candidacy tell of errors.
type simLog struct{ *views.Group }

// Tick implements host.Log.
func (l simLog) Tick() error { l.Group.Tick(); return l.Err() }

// Campaign implements host.Log.
func (l simLog) Campaign() error { l.Group.Campaign(); return l.Err() }
