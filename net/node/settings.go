package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godlm/godlm/net/config"
	"github.com/godlm/godlm/net/owned"
	"github.com/godlm/godlm/net/rundir"
	"github.com/godlm/godlm/net/secure"
)

// DefaultPort is the port for streams between hosts; gossip has the one above it.
const DefaultPort = 4440

// ClusterFrom reads the settings of several hosts (godlm.toml(5)). Without voters this
// host is alone: nil.
func ClusterFrom(getenv func(string) string) (*Cluster, error) {
	if getenv("GODLM_VOTERS") == "" {
		for _, name := range [...]string{"GODLM_BIND", "GODLM_ADVERTISE", "GODLM_KEY_FILE", "GODLM_STATE_DIR"} {
			if getenv(name) != "" {
				return nil, wrong(name, errors.New("it is set, but there are no voters (GODLM_VOTERS, or [voters] in the configuration file)"))
			}
		}
		return nil, nil
	}
	c, err := clusterFrom(getenv)
	if err != nil {
		return nil, fmt.Errorf("configuration of hosts: %w", err)
	}
	return c, nil
}

// wrong blames a setting.
func wrong(name string, err error) error { return &config.SettingError{Name: name, Err: err} }

func clusterFrom(getenv func(string) string) (c *Cluster, err error) {
	c = &Cluster{Host: getenv("GODLM_HOST")}
	if c.Name, err = rundir.Cluster(getenv); err != nil {
		return nil, err
	}
	if c.Host == "" {
		if c.Host, err = os.Hostname(); err != nil {
			return nil, err
		}
		c.Host, _, _ = strings.Cut(c.Host, ".")
	}
	if c.Voters, err = readVoters(getenv("GODLM_VOTERS")); err != nil {
		return nil, err
	}
	if err := c.readAddresses(getenv); err != nil {
		return nil, err
	}
	if path := getenv("GODLM_KEY_FILE"); path != "" {
		if c.Key, err = secure.LoadKey(path); err != nil {
			return nil, wrong("GODLM_KEY_FILE", err)
		}
	} else if !c.loopback() {
		return nil, wrong("GODLM_VOTERS", errors.New("hosts beyond this machine need a key: make one (godlm key FILE) and set key_file (GODLM_KEY_FILE)"))
	}
	if c.Lease, err = readTime(getenv, "GODLM_LEASE_MS", defaultLease, time.Second, time.Hour); err != nil {
		return nil, err
	}
	if c.Suspect, err = readTime(getenv, "GODLM_SUSPECT_MS", c.suspect(), 500*time.Millisecond, time.Hour); err != nil {
		return nil, err
	}
	if c.Probe, err = readTime(getenv, "GODLM_PROBE_MS", DefaultProbe, 100*time.Millisecond, time.Minute); err != nil {
		return nil, err
	}
	if c.StateDir = getenv("GODLM_STATE_DIR"); c.StateDir == "" {
		c.StateDir = stateDir(getenv, c.Name)
	}
	if !filepath.IsAbs(c.StateDir) {
		return nil, wrong("GODLM_STATE_DIR", fmt.Errorf("%q is no absolute path", c.StateDir))
	}
	if c.Suspect > c.Lease {
		return nil, wrong("GODLM_SUSPECT_MS", fmt.Errorf("%v is longer than the lease, %v: a silent host would be waited for longer than it can have anything", c.Suspect, c.Lease))
	}
	return c, nil
}

// readVoters reads "name=address,name=address".
func readVoters(s string) (out []Voter, err error) {
	seen := map[string]bool{}
	for _, item := range strings.Split(s, ",") {
		name, addr, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || !validHost(name) {
			return nil, wrong("GODLM_VOTERS", fmt.Errorf("voter %q is not name=address, with a name of 1 to 64 letters, digits, '-', '_' and '.'", item))
		}
		bad := func(err error) error { return &config.SettingError{Name: "GODLM_VOTERS", Item: name, Err: err} }
		if seen[name] {
			return nil, bad(fmt.Errorf("voter %s is there twice", name))
		}
		seen[name] = true
		v := Voter{Name: name}
		if v.Addr, err = resolve(addr); err != nil {
			return nil, bad(fmt.Errorf("voter %s: %w", name, err))
		}
		for _, other := range out {
			if other.Addr == v.Addr {
				return nil, bad(fmt.Errorf("voters %s and %s have the same address, %s", other.Name, name, v.Addr))
			}
		}
		out = append(out, v)
	}
	return out, nil
}

func validHost(name string) bool {
	if len(name) < 1 || len(name) > 64 {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r) {
			return false
		}
	}
	return true
}

func (c *Cluster) readAddresses(getenv func(string) string) (err error) {
	if !validHost(c.Host) {
		return wrong("GODLM_HOST", fmt.Errorf("host name %q: 1 to 64 letters, digits, '-', '_' and '.'", c.Host))
	}
	for _, v := range c.Voters {
		if v.Name == c.Host {
			c.Bind = v.Addr
			c.Advertise = v.Addr
		}
	}
	if s := getenv("GODLM_BIND"); s != "" {
		if c.Bind, err = resolve(s); err != nil {
			return wrong("GODLM_BIND", err)
		}
	}
	if s := getenv("GODLM_ADVERTISE"); s != "" {
		if c.Advertise, err = resolve(s); err != nil {
			return wrong("GODLM_ADVERTISE", err)
		}
	}
	if !c.Bind.IsValid() {
		return wrong("GODLM_VOTERS", fmt.Errorf("host %s is none of them, so it needs an address: set bind (GODLM_BIND)", c.Host))
	}
	if !c.Advertise.IsValid() {
		c.Advertise = c.Bind
	}
	if c.Advertise.Addr().IsUnspecified() {
		return wrong("GODLM_BIND", fmt.Errorf("the others cannot reach %s: set advertise (GODLM_ADVERTISE)", c.Advertise))
	}
	if c.Bind.Port() == 65535 || c.Advertise.Port() == 65535 {
		return wrong("GODLM_BIND", errors.New("gossip needs the port above that of the streams, so that is 65534 at most"))
	}
	for _, v := range c.Voters {
		if v.Name == c.Host && v.Addr != c.Advertise {
			return wrong("GODLM_ADVERTISE", fmt.Errorf("this host advertises %s, but among the voters it has %s", c.Advertise, v.Addr))
		}
	}
	return nil
}

// loopback reports whether nothing leaves the machine.
func (c *Cluster) loopback() bool {
	for _, v := range c.Voters {
		if !v.Addr.Addr().IsLoopback() {
			return false
		}
	}
	return c.Bind.Addr().IsLoopback() && c.Advertise.Addr().IsLoopback()
}

// resolve reads an address with or without a port. Names are looked up.
func resolve(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(s); err == nil && a.Port() == 0 {
		return a, fmt.Errorf("%q has no port from 1 to 65535", s)
	} else if err == nil {
		return a, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, DefaultPort), nil
	}
	host, port := s, uint64(DefaultPort)
	if h, p, err := net.SplitHostPort(s); err == nil {
		host = h
		if port, err = strconv.ParseUint(p, 10, 16); err != nil || port == 0 {
			return netip.AddrPort{}, fmt.Errorf("%q: no port from 1 to 65535", s)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(list) == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address, and no name that is known here", s)
	}
	return netip.AddrPortFrom(list[0].Unmap(), uint16(port)), nil
}

func readTime(getenv func(string) string, name string, usual, least, most time.Duration) (time.Duration, error) {
	s := getenv(name)
	if s == "" {
		return usual, nil
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if d := time.Duration(ms) * time.Millisecond; err == nil && d >= least && d <= most {
		return d, nil
	}
	return 0, wrong(name, fmt.Errorf("%q is no number of milliseconds from %d to %d", s, least.Milliseconds(), most.Milliseconds()))
}

// stateDir is where the log of views is if nothing says so.
func stateDir(getenv func(string) string, cluster string) string {
	if os.Geteuid() == 0 {
		return "/var/lib/godlm/" + cluster
	}
	if s := getenv("XDG_STATE_HOME"); s != "" {
		return filepath.Join(s, "godlm", cluster)
	}
	return filepath.Join(getenv("HOME"), ".local/state/godlm", cluster)
}

// makeStateDir makes the directory if there is none, and refuses one that others may
// write, read or replace.
func makeStateDir(path string) error {
	if err := owned.Directory(path); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}
