package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	// resolveTimeout is how long all names of seeds together may take to resolve.
	resolveTimeout = 5 * time.Second
	// joinMost is how many addresses are joined at a time. One that swallows packets
	// takes memberlist 10 s.
	joinMost = 16
)

// seed is one of Config.Seeds.
type seed struct {
	host  string // "" if it is an address
	port  uint16
	addrs []netip.AddrPort // of a name: when it was last resolved
}

func parseSeeds(list []string) ([]*seed, error) {
	var seeds []*seed
	for _, text := range list {
		host, service, err := net.SplitHostPort(text)
		port, bad := strconv.ParseUint(service, 10, 16)
		if err != nil || bad != nil || port == 0 || host == "" {
			return nil, fmt.Errorf("seed %q is not host:port", text)
		}
		s := &seed{host: host, port: uint16(port)}
		if ip, err := netip.ParseAddr(host); err == nil {
			s.host = ""
			s.addrs = []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), s.port)}
		}
		seeds = append(seeds, s)
	}
	return seeds, nil
}

// rejoin joins who is not there, again and again: memberlist forgets the dead after a
// while, and two sides that have forgotten each other stay apart.
func (g *Gossip) rejoin(ctx context.Context, seeds []*seed) {
	ticker := time.NewTicker(g.config.tune.rejoin)
	defer ticker.Stop()
	for {
		for _, addr := range g.missing(ctx, seeds) {
			g.join(ctx, addr)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// missing are the addresses of seeds and of Failed members at which nobody is Alive, in
// no order, so that in time each has its turn. An address at which somebody else has come
// since is not missing.
func (g *Gossip) missing(ctx context.Context, seeds []*seed) []netip.AddrPort {
	there := make(map[netip.AddrPort]bool)
	want := make(map[netip.AddrPort]bool)
	for _, m := range g.Members() {
		if m.State == Alive && m.Name != g.config.Name {
			there[m.Addr] = true
		}
	}
	for _, m := range g.Members() {
		if m.State == Failed && !there[m.Addr] {
			want[m.Addr] = true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	for _, s := range seeds {
		if slices.ContainsFunc(s.addrs, func(a netip.AddrPort) bool { return there[a] }) {
			continue
		}
		s.resolve(ctx)
		for _, a := range s.addrs {
			want[a] = true
		}
	}
	delete(want, g.addr)
	list := make([]netip.AddrPort, 0, len(want))
	for a := range want {
		list = append(list, a)
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// resolve asks for a name's addresses. If there is no answer, the former ones stay.
func (s *seed) resolve(ctx context.Context) {
	if s.host == "" {
		return
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host)
	if err != nil {
		return // next time, perhaps
	}
	s.addrs = nil
	for _, ip := range ips {
		s.addrs = append(s.addrs, netip.AddrPortFrom(ip.Unmap(), s.port))
	}
}

// join exchanges all that both know with whoever is at addr. It does not wait for that.
func (g *Gossip) join(ctx context.Context, addr netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !addr.Addr().IsValid() || g.joining[addr] || len(g.joining) >= joinMost {
		return
	}
	g.joining[addr] = true
	g.work.Go(func() {
		if ctx.Err() == nil {
			// memberlist has logged why if it fails; there will be a next time.
			_, _ = g.ml.Join([]string{addr.String()})
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.joining, addr)
	})
}
