package node

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/net/secure"
)

// Cluster says which hosts there are and how they agree.
type Cluster struct {
	Name string // of the cluster
	Host string // of this host, unique in the cluster
	Bind netip.AddrPort
	// Advertise is where the others reach this host; zero: Bind.
	Advertise netip.AddrPort
	// Voters decide by majority; they are also who is looked for.
	Voters []Voter
	Key    secure.Key
	// StateDir is where the log of views outlives the machine's restart.
	StateDir string
	// Lease is how long a host goes on without an answer of the majority; 0: 5 s.
	Lease time.Duration
	// Suspect is how long the leader waits for a silent host before it removes it;
	// 0: 3 s, or three fifths of the lease if that is less.
	Suspect time.Duration
	// Probe is the interval of gossip's probes; 0: 1 s.
	Probe time.Duration

	// Boottime reads CLOCK_BOOTTIME; nil: by a system call. Tests have other clocks.
	Boottime func() int64 `json:"-"`
}

// Voter is a host that votes.
type Voter struct {
	Name string
	Addr netip.AddrPort
}

const (
	defaultLease   = 5 * time.Second
	defaultSuspect = 3 * time.Second
	// DefaultProbe is the interval of gossip's probes.
	DefaultProbe = time.Second
	// clockError is how much faster one host's clock may run than another's, in
	// thousandths: survivors wait that much longer than a lease.
	clockError = 10
	// The step of the log's clock is a fiftieth of a lease, within these limits: a leader
	// must be found, which takes up to 20 steps, and a lease be renewed by it before the
	// quarter that is gone at most when the former leader falls silent becomes the whole.
	tickLeast = 20 * time.Millisecond
	tickMost  = 100 * time.Millisecond
)

func (c *Cluster) lease() time.Duration {
	if c.Lease == 0 {
		return defaultLease
	}
	return c.Lease
}

func (c *Cluster) suspect() time.Duration {
	if c.Suspect == 0 {
		return min(defaultSuspect, c.lease()*3/5)
	}
	return c.Suspect
}

// over is how long survivors wait for a lease that may have been renewed just before
// its host was removed.
func (c *Cluster) over() time.Duration { return c.lease() + c.lease()*clockError/1000 }

func (c *Cluster) tick() time.Duration { return min(max(c.lease()/50, tickLeast), tickMost) }

func (c *Cluster) advertise() netip.AddrPort {
	if c.Advertise.IsValid() {
		return c.Advertise
	}
	return c.Bind
}

// host is what core has to know of it.
func (c *Cluster) host() host.Config {
	cfg := host.Config{
		Name: c.Host, Addr: c.advertise().String(),
		Lease: int64(c.lease()), Over: int64(c.over()), Suspect: int64(c.suspect()), Tick: int64(c.tick()),
	}
	for _, v := range c.Voters {
		cfg.Voters = append(cfg.Voters, v.Name)
	}
	return cfg
}

func (c *Cluster) boottime() int64 {
	if c != nil && c.Boottime != nil {
		return c.Boottime()
	}
	return boottime()
}

// boottime is CLOCK_BOOTTIME, which goes on while the machine is suspended.
func boottime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 1<<63 - 1 // no lease is proven
	}
	return t.Nano()
}
