package main

import (
	"fmt"
	"time"
)

// What is measured; it is in each row.
const (
	whatPairs   = "lock+unlock, one client"
	whatHot     = "hot lock"
	whatJain    = "hot lock, fairness (Jain)"
	whatMinMax  = "hot lock, fairness (min/max)"
	whatLongest = "hot lock, longest wait"
	whatBroken  = "hot lock, two holders at once"
	whatKill    = "holder killed, median"
	whatWorst   = "holder killed, worst"
)

const (
	// roundTime is what a round of pairs takes, about.
	roundTime = 200 * time.Millisecond
	// settle is how long a request is given to get into a queue.
	settle = 200 * time.Millisecond
	// warmUp is for how long a lock is hot before pairs count.
	warmUp = time.Second
)

// bench is a system on a site of its own.
type bench struct {
	*site
	x     *system
	addrs []string
}

// newBench starts a system's servers.
func newBench(base string, x *system, place *placement) (*bench, error) {
	s, err := newSite(base, place)
	if err != nil {
		return nil, err
	}
	b := &bench{site: s, x: x}
	b.addrs, err = x.start(s, x.nodes)
	return b, err
}

// client is a client where clients are to be.
func (b *bench) client(host int) (*driven, error) {
	d, _, err := b.startClient(fmt.Sprint("client of host ", host), b.x.client(b.site, b.addrs, host), b.place.client)
	return d, err
}

// keeper is a process, where the servers are, that masters a resource and goes on to do
// so although another uses it more.
func (b *bench) keeper(host int, resource string) (*driven, error) {
	c := b.x.client(b.site, b.addrs, host)
	c.Env = append(c.Env, "GODLM_MASTER=first")
	d, _, err := b.startClient("keeper", c, b.place.servers)
	if err == nil {
		_, err = d.ask("keep %s", resource)
	}
	return d, err
}

// pinger is a client whose pairs are round trips over TCP.
func (b *bench) pinger(place *placement) (*driven, error) {
	ip := b.ip(0)
	// It is ready when it is connected; the other end, when it says its port.
	_, port, err := b.startClient("echo", b.command(clientC(), "echo", ip), place.servers)
	if err != nil {
		return nil, err
	}
	d, _, err := b.startClient("ping", b.command(clientC(), "ping", ip, fmt.Sprint(port)), place.client)
	return d, err
}

// rate is a client that does pairs, so many in a round.
type rate struct {
	*driven
	resource string
	n        int64
}

// newRate finds out how many fit.
func newRate(d *driven, resource string) (*rate, error) {
	r := &rate{driven: d, resource: resource}
	for r.n = 8; ; r.n *= 2 {
		a, err := d.ask("pairs %s %d", resource, r.n)
		if err != nil {
			return nil, err
		}
		if took := time.Duration(a[0]); took > roundTime/8 {
			r.n = max(1, r.n*int64(roundTime)/int64(took))
			return r, nil
		}
	}
}

// round is what a pair took in one round, in microseconds.
func (r *rate) round() (float64, error) {
	a, err := r.ask("pairs %s %d", r.resource, r.n)
	if err != nil {
		return 0, err
	}
	return float64(a[0]) / float64(r.n) / 1e3, nil
}
