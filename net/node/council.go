package node

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
	"github.com/godlm/godlm/net/store"
	"github.com/godlm/godlm/net/views"
)

// council is this host's part in the agreement on hosts: its vote, what is agreed, and
// the lease that follows. The agent mutex is held in all methods. A host alone is a
// council of one.
type council struct {
	r     *role
	cfg   *Cluster // nil: alone
	store *store.Store
	group *views.Group // nil: it is not known yet of which group this host is
	me    proto.HostID
	nonce uint64 // of this agent

	state   *proto.HostState
	changed bool

	// in: this host is a member, of that birth. refused: it is not any more, and what
	// it had under that birth is lost.
	in      bool
	birth   uint32
	refused bool
	asked   time.Time // when membership was asked for last
	ask     uint64    // names that question

	out     map[outKey]int64 // when it was seen that a host is out
	heard   map[proto.HostID]int64
	ticked  int64
	renewal struct {
		token uint64
		start int64
		sent  time.Time
	}
	changing time.Time // when other voters were asked for last
	hosts    hosts
}

// outKey names a membership that has ended.
type outKey struct {
	id    proto.HostID
	birth uint32
}

// openCouncil takes up the store.
func (r *role) openCouncil() error {
	n := r.n
	c := &council{
		r: r, cfg: n.cfg.Cluster, state: &proto.HostState{}, nonce: random(),
		out: map[outKey]int64{}, heard: map[proto.HostID]int64{},
	}
	r.council = c
	dir, opt := n.dir.Path(), store.Options{Cluster: "alone", Opened: n.openFD, Closed: n.closeFD}
	if c.cfg != nil {
		dir, opt.Cluster, opt.Sync = c.cfg.StateDir, c.cfg.Name, true
		if err := makeStateDir(dir); err != nil {
			return err
		}
		c.hosts.init(c)
	}
	var err error
	if c.store, err = store.Open(dir, opt); err != nil {
		return err
	}
	id := c.store.Identity()
	c.me = proto.HostID(binary.BigEndian.Uint64(id[:]) | 1)
	switch {
	case c.cfg == nil:
		c.group, err = views.New(c, c.store, uint64(c.me), []uint64{uint64(c.me)})
	case !c.store.Fresh():
		c.group, err = views.New(c, c.store, uint64(c.me), nil)
	}
	if err != nil {
		return err
	}
	c.settle()
	if c.cfg == nil {
		c.askUp()
		if !c.in {
			return fmt.Errorf("%s does not belong to the processes in %s: remove it when no process uses it", dir, n.dir.Path())
		}
		return nil
	}
	return c.hosts.listen()
}

func random() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // the kernel always has some
	}
	return binary.BigEndian.Uint64(b[:]) | 1
}

func (c *council) close() error {
	c.hosts.close()
	if c.store == nil {
		return nil
	}
	return c.store.Close()
}

// now is the clock that leases go by.
func (c *council) now() int64 { return c.cfg.boottime() }

// step does something with the log, and what follows.
func (c *council) step(do func() error) error {
	if c.group == nil {
		return views.ErrNoLeader
	}
	defer c.r.n.holdForks()()
	err := do()
	c.settle()
	return err
}

func (c *council) settle() {
	for c.changed {
		c.changed = false
		c.hostsChanged()
	}
	if c.group != nil && c.group.Err() != nil && !c.refused {
		c.leave(c.group.Err().Error())
	}
}

// Send implements views.Host.
func (c *council) Send(to uint64, data []byte) {
	c.hosts.send(proto.HostID(to), &proto.Msg{Kind: proto.KRaft, Data: data})
}

// Apply implements views.Host.
func (c *council) Apply(_ uint64, data []byte) {
	var m proto.Msg
	if err := proto.Parse(data, &m); err != nil || m.Kind != proto.KHostEntry {
		c.r.n.log.Error("entry of the log of views", "kind", m.Kind, "error", err)
		return
	}
	e := m.HostEntry
	done := view.Apply(c.state, e)
	if done {
		c.changed = true
		if e.Verb != proto.HostUp || e.Host.ID != c.me {
			c.r.n.log.Debug("hosts", "epoch", c.state.Epoch, "verb", int(e.Verb), "host", e.Host.Name)
		}
	}
	if e.Verb == proto.HostUp && e.Host.ID == c.me && e.Host.Asked == c.ask {
		c.upDecided(done, e.Host.Birth)
	}
}

// Restore implements views.Host.
func (c *council) Restore(_ uint64, data []byte) {
	var m proto.Msg
	if err := proto.Parse(data, &m); err != nil || m.Kind != proto.KHostState {
		c.r.n.log.Error("snapshot of the log of views", "kind", m.Kind, "error", err)
		return
	}
	c.state = m.HostState
	c.changed = true
}

// Snapshot implements views.Host.
func (c *council) Snapshot() []byte {
	return proto.Append(nil, &proto.Msg{Kind: proto.KHostState, HostState: c.state})
}

// Confirmed implements views.Host: when it was asked this host was among the majority's,
// and what was decided before is applied.
func (c *council) Confirmed(token uint64) {
	if token != c.renewal.token || !c.in {
		return
	}
	if h := view.Find(c.state, c.me); h == nil || h.Out || h.Birth != c.birth {
		return
	}
	c.r.hostFile.Extend(c.renewal.start + int64(c.cfg.lease()))
	c.renewal.token = 0
	c.r.leased = true
	c.changed = true
}

// propose asks for an entry.
func (c *council) propose(e *proto.HostEntry) {
	err := c.step(func() error {
		return c.group.Propose(proto.Append(nil, &proto.Msg{Kind: proto.KHostEntry, HostEntry: e}))
	})
	if err != nil && !errors.Is(err, views.ErrNoLeader) {
		c.r.n.log.Debug("propose", "verb", int(e.Verb), "error", err)
	}
}

// askUp asks for membership: to go on with the processes that are here, or without any.
func (c *council) askUp() {
	if c.in || c.group == nil || c.group.Leader() == 0 || time.Since(c.asked) < time.Second {
		return
	}
	h := proto.Host{ID: c.me, Name: "alone", Birth: c.r.hostFile.Birth()}
	if c.cfg != nil {
		h.Name, h.Addr, h.Voter = c.cfg.Host, c.cfg.advertise().String(), c.cfg.votes()
	}
	if c.refused {
		if c.r.someLive() && c.now() < c.r.hostFile.Until() {
			return // they may still be at work under the old birth
		}
		h.Birth = 0
	}
	if c.ask == 0 {
		c.ask = random()
	}
	h.Asked = c.ask
	c.asked = time.Now()
	c.propose(&proto.HostEntry{Verb: proto.HostUp, Host: h, Epoch: uint32(time.Now().Unix())})
}

// upDecided: the answer to askUp. birth is what was asked for.
func (c *council) upDecided(done bool, birth uint32) {
	if c.in {
		return
	}
	if !done {
		if birth != 0 {
			c.refused = true // that membership has ended
			c.r.dropMembers()
		}
		c.asked, c.ask = time.Time{}, 0
		return
	}
	c.in, c.refused = true, false
	c.birth = view.Find(c.state, c.me).Birth
	if c.r.hostFile.Birth() != c.birth {
		c.r.hostFile.SetBirth(c.birth)
	}
	if c.cfg == nil {
		c.r.hostFile.Extend(math.MaxInt64)
		c.r.leased = true
	}
}

// hostsChanged follows what was decided.
func (c *council) hostsChanged() {
	if c.in {
		if h := view.Find(c.state, c.me); h == nil || h.Out || h.Birth != c.birth {
			why := "removed from the cluster"
			if h != nil && h.Why != "" {
				why += ": " + h.Why
			}
			c.leave(why)
			return
		}
	}
	if c.cfg != nil {
		now := c.now()
		for _, h := range c.state.Hosts {
			if k := (outKey{h.ID, h.Birth}); h.Out && c.out[k] == 0 {
				c.out[k] = now
				c.r.n.log.Warn("a host is removed", "host", h.Name, "reason", h.Why)
			}
			c.hosts.learn(h.ID, h.Addr)
		}
	}
	c.r.seat.hostsChanged()
}

// leave: this host is out. All that its processes have is lost.
func (c *council) leave(why string) {
	c.in, c.refused = false, true
	c.r.hostFile.Extend(0)
	c.r.n.clock.after(0, func() { c.r.n.refused(why) })
}

// tick is called every tick while there are other hosts.
func (c *council) tick() {
	now := c.now()
	if now-c.ticked > int64(3*tick) {
		// This process was stopped, or the machine: who was silent meanwhile may not
		// have been.
		for id := range c.heard {
			c.heard[id] = now
		}
	}
	c.ticked = now
	c.hosts.dial()
	if c.group == nil {
		c.found()
		return
	}
	if err := c.step(func() error { c.group.Tick(); return nil }); err != nil {
		return
	}
	c.askUp()
	c.renew(now)
	if c.group.Leader() == uint64(c.me) {
		c.lead(now)
	}
	c.r.seat.tick()
}

// renew proves that this host is still a member, four times during a lease.
func (c *council) renew(now int64) {
	if !c.in {
		return
	}
	until := c.r.hostFile.Until()
	due := until-now < int64(c.cfg.lease())*3/4
	if !due || c.renewal.token != 0 && time.Since(c.renewal.sent) < c.cfg.lease()/8 {
		return
	}
	c.renewal.token, c.renewal.start, c.renewal.sent = random(), now, time.Now()
	if err := c.step(func() error { return c.group.Confirm(c.renewal.token) }); err != nil {
		c.renewal.token = 0
	}
}

// found makes the group if nobody has one. Only the voter whose name comes first does,
// and only when all others have said that they have none: so there are never two.
func (c *council) found() {
	if len(c.cfg.Voters) == 0 || !c.cfg.votes() {
		return
	}
	initial := []uint64{uint64(c.me)}
	for _, v := range c.cfg.Voters {
		if v.Name < c.cfg.Host {
			return
		}
		if v.Name == c.cfg.Host {
			continue
		}
		id := c.hosts.fresh(v.Name)
		if id == 0 {
			return
		}
		initial = append(initial, uint64(id))
	}
	c.r.n.log.Info("a new cluster", "cluster", c.cfg.Name, "host", c.cfg.Host)
	c.start(initial)
	if c.group != nil {
		_ = c.step(func() error { c.group.Campaign(); return nil }) // else the clock will do it
	}
}

// start makes this host a part of the group that it founds, or that has called it.
func (c *council) start(initial []uint64) {
	defer c.r.n.holdForks()()
	g, err := views.New(c, c.store, uint64(c.me), initial)
	if err != nil {
		c.r.n.log.Error("take part in the agreement on hosts", "error", err)
		return
	}
	c.group = g
	c.settle()
}

// fromHost takes a message of the log of another host.
func (c *council) fromHost(from proto.HostID, data []byte) {
	if c.group == nil {
		c.start(nil)
		if c.group == nil {
			return
		}
	}
	if err := c.step(func() error { return c.group.Receive(uint64(from), data) }); err != nil {
		c.r.n.log.Debug("message of the log of views", "from", from, "error", err)
	}
}

// lead is what only the leader does: it removes silent hosts, waits for their leases,
// and sees to it that the configured voters are those that vote.
func (c *council) lead(now int64) {
	for i := range c.state.Hosts {
		h := c.state.Hosts[i]
		if h.ID == c.me {
			continue
		}
		last, known := c.heard[h.ID]
		if !known {
			c.heard[h.ID] = now
			last = now
		}
		switch {
		case h.Out:
			if now-c.out[outKey{h.ID, h.Birth}] >= int64(c.cfg.over()) {
				c.propose(&proto.HostEntry{Verb: proto.HostOver, Host: h})
				return
			}
		case now-last > int64(c.cfg.suspect()):
			h.Why = fmt.Sprintf("silent for %.1f s", float64(now-last)/1e9)
			c.propose(&proto.HostEntry{Verb: proto.HostOut, Host: h})
			return
		}
	}
	c.voters()
}

// voters brings who votes in line with who is to.
func (c *council) voters() {
	if time.Since(c.changing) < 3*tick {
		return
	}
	voters, learners := c.group.Voters(), c.group.Learners()
	var add, promote, remove []uint64
	for id, p := range c.hosts.known {
		x := uint64(id)
		switch {
		case slices.Contains(c.state.Replaced, id):
		case !slices.Contains(voters, x) && !slices.Contains(learners, x):
			add = append(add, x)
		case slices.Contains(learners, x) && c.configured(p.name) && c.isUp(id) && c.group.CaughtUp(x):
			promote = append(promote, x)
		}
	}
	for _, id := range c.state.Replaced {
		x := uint64(id)
		if slices.Contains(voters, x) || slices.Contains(learners, x) {
			remove = append(remove, x)
		}
	}
	// A new host first learns; then it takes the place of the one it replaces.
	if len(add) > 0 {
		promote, remove = nil, nil
	}
	if len(remove) > 0 && len(promote) == 0 && len(voters)-len(remove) < 1 {
		return
	}
	if len(add)+len(promote)+len(remove) == 0 {
		return
	}
	c.changing = time.Now()
	if err := c.step(func() error { return c.group.Change(add, promote, remove) }); err != nil {
		c.r.n.log.Debug("change who votes", "error", err)
	}
}

func (c *council) configured(name string) bool {
	return slices.ContainsFunc(c.cfg.Voters, func(v Voter) bool { return v.Name == name })
}

func (c *council) isUp(id proto.HostID) bool {
	h := view.Find(c.state, id)
	return h != nil && !h.Out
}
