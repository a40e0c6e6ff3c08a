package node

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/gossip"
)

const (
	// gossipAgain is the pause after which gossip is tried again, where its port is
	// taken: a child that a program has forked may still have it.
	gossipAgain = 5 * time.Second
	// goodbyeTime bounds how long a host that leaves says so in gossip, too.
	goodbyeTime = 200 * time.Millisecond
)

// rumour is this agent's part in the gossip: hosts that others have found, and a second
// hint that one is gone. Without it hosts find each other by the voters' addresses.
type rumour struct {
	g      *gossip.Gossip
	warned bool
	// suspected are hosts of which every agent that was heard of has failed.
	suspected map[proto.HostID]bool
}

// startGossip begins, without holding anybody up.
func (r *role) startGossip() {
	r.n.clock.after(0, r.tryGossip)
}

func (r *role) tryGossip() {
	n, c := r.n, r.n.cfg.Cluster
	r.mu.Lock()
	if r.closed || r.rumour.g != nil {
		r.mu.Unlock()
		return
	}
	id, nonce := r.host.ID(), r.host.Nonce()
	r.mu.Unlock()
	conf := gossip.Config{
		Cluster: c.Name, Name: fmt.Sprintf("%s/%x", c.Host, nonce),
		Bind: nextPort(c.Bind), Advertise: nextPort(c.advertise()),
		Key:           c.Key.Derive("gossip"),
		Meta:          append(binary.BigEndian.AppendUint64(nil, uint64(id)), c.advertise().String()...),
		ProbeInterval: c.Probe, Log: n.log,
		Changed: func(g *gossip.Gossip) { r.later(func() { r.heardRumour(g) }) },
	}
	for _, v := range c.Voters {
		conf.Seeds = append(conf.Seeds, nextPort(v.Addr).String())
	}
	done := n.holdForks()
	g, err := gossip.New(conf)
	done()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && r.closed:
		go g.Close() // it waits for what may wait for mu
	case err == nil:
		r.rumour.g = g
	default:
		if !r.rumour.warned {
			n.log.Warn("no gossip yet; other hosts are suspected by silence only", "error", err, "do", "it is tried again; see who has the port (ss -lpnu)")
		}
		r.rumour.warned = true
		n.clock.after(gossipAgain, r.tryGossip)
	}
}

// nextPort is where the gossip of an agent is.
func nextPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// heardRumour takes what gossip believes now. mu is held.
func (r *role) heardRumour(g *gossip.Gossip) {
	failed, alive := map[proto.HostID]bool{}, map[proto.HostID]bool{}
	for _, m := range g.Members() {
		if len(m.Meta) < 8 {
			continue
		}
		id := proto.HostID(binary.BigEndian.Uint64(m.Meta))
		if id == r.host.ID() {
			continue
		}
		switch m.State {
		case gossip.Alive:
			alive[id] = true
			if addr, err := netip.ParseAddrPort(string(m.Meta[8:])); err == nil && r.hosts.room(0, addr) {
				r.hosts.to(addr)
			}
		case gossip.Failed:
			failed[id] = true
		}
	}
	for id := range alive {
		delete(failed, id) // another agent of the same host
	}
	for id := range r.rumour.suspected {
		if !failed[id] {
			r.host.Suspect(id, false)
		}
	}
	for id := range failed {
		r.host.Suspect(id, true)
	}
	r.rumour.suspected = failed
}

// endGossip says goodbye if this host leaves, and else nothing.
func (r *role) endGossip() {
	r.mu.Lock()
	g, bye := r.rumour.g, r.leaving != nil
	r.rumour.g = nil
	r.mu.Unlock()
	var err error
	switch {
	case g == nil:
	case bye:
		err = g.Leave(goodbyeTime)
	default:
		err = g.Close()
	}
	if err != nil {
		r.n.log.Debug("end of the gossip", "error", err)
	}
}
