package gossip

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// limit is how long a condition may take to come true. A test that passes does not wait
// for it.
const limit = 20 * time.Second

// node is a member with what a test wants to know of it.
type node struct {
	*Gossip
	t       *testing.T
	changed chan struct{} // has room for one
	mu      sync.Mutex
	seen    map[string][]State // by name: each State once it is another one
}

// calm gossips fast but suspects nobody in the time of a test, however busy the machine.
func calm() Config {
	c := Config{Cluster: "test", ProbeInterval: 10 * time.Second}
	c.tune.rejoin = 50 * time.Millisecond
	c.tune.settings = func(m *memberlist.Config) { m.GossipInterval = 10 * time.Millisecond }
	return c
}

// nervous finds a member failed within half a second and forgets it soon after that.
func nervous() Config {
	c := calm()
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = 100*time.Millisecond, 50*time.Millisecond, 2
	c.tune.settings = func(m *memberlist.Config) {
		m.GossipInterval = 10 * time.Millisecond
		m.GossipToTheDeadTime = 50 * time.Millisecond
	}
	return c
}

// start makes a member of c, on a loopback port of its own if c names none. It is closed
// with the test. c.Changed is called before the test is told.
func start(t *testing.T, name string, c Config, seeds ...*node) *node {
	t.Helper()
	n := &node{t: t, changed: make(chan struct{}, 1), seen: make(map[string][]State)}
	c.Name = name
	if !c.Bind.IsValid() {
		c.Bind = netip.MustParseAddrPort("127.0.0.1:0")
	}
	for _, s := range seeds {
		c.Seeds = append(c.Seeds, s.Addr().String())
	}
	user := c.Changed
	c.Changed = func(g *Gossip) {
		n.note(g.Members())
		if user != nil {
			user(g)
		}
		select {
		case n.changed <- struct{}{}:
		default:
		}
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Gossip = g
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		n.ended()
	})
	return n
}

func (n *node) note(list []Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range list {
		if s := n.seen[m.Name]; len(s) == 0 || s[len(s)-1] != m.State {
			n.seen[m.Name] = append(s, m.State)
		}
	}
}

// history is all that n has been told of name.
func (n *node) history(name string) []State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen[name])
}

// ended waits until no goroutine of the package is left.
func (n *node) ended() {
	n.t.Helper()
	done := make(chan struct{})
	go func() { n.work.Wait(); close(done) }()
	wait(n.t, done, "the end of all goroutines")
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Fatalf("%s: not within %s", what, limit)
	}
}

// says is what n believes, for comparison: "a=alive b=failed".
func (n *node) says() string {
	var words []string
	for _, m := range n.Members() {
		words = append(words, fmt.Sprintf("%s=%s", m.Name, m.State))
	}
	return strings.Join(words, " ")
}

// await waits until n says want, looking again whenever Changed was called.
func (n *node) await(want string) {
	n.t.Helper()
	n.until(want, func() bool { return n.says() == want })
}

func (n *node) until(what string, ok func() bool) {
	n.t.Helper()
	late := time.After(limit)
	for !ok() {
		select {
		case <-n.changed:
		case <-late:
			n.t.Fatalf("not within %s: %s\nit says: %s", limit, what, n.says())
		}
	}
}

func (n *node) member(name string) Member {
	n.t.Helper()
	for _, m := range n.Members() {
		if m.Name == name {
			return m
		}
	}
	n.t.Fatalf("no member %s: %s", name, n.says())
	return Member{}
}

// Names, cluster and meta data as long as they may be fit in the datagrams.
func TestThreeFindEachOther(t *testing.T) {
	c := calm()
	c.tune.settings = func(m *memberlist.Config) {
		m.GossipInterval = 10 * time.Millisecond
		m.PushPullInterval = 0 // so that b can learn of c by a datagram only
	}
	c.Cluster = strings.Repeat("c", clusterLimit)
	c.Key = bytes.Repeat([]byte{7}, KeySize)
	// What does not compress.
	c.Meta = make([]byte, MetaLimit)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range c.Meta {
		c.Meta[i] = byte(rnd.Uint32())
	}
	long := func(s string) string {
		b := []byte(s)
		for len(b) < nameLimit {
			b = append(b, byte('a'+rnd.IntN(26)))
		}
		return string(b)
	}
	names := []string{long("a"), long("b"), long("c")}
	a := start(t, names[0], c)
	b := start(t, names[1], c, a)
	d := start(t, names[2], c, a)
	for _, n := range []*node{a, b, d} {
		n.await(fmt.Sprintf("%s=alive %s=alive %s=alive", names[0], names[1], names[2]))
		for i, other := range []*node{a, b, d} {
			m := n.member(names[i])
			if m.Addr != other.Addr() || !bytes.Equal(m.Meta, c.Meta) || m.Since.IsZero() {
				t.Errorf("%s at %s with %d bytes since %v; it is at %s", m.Name[:1], m.Addr, len(m.Meta), m.Since, other.Addr())
			}
		}
	}
	// It is a copy.
	a.Members()[1].Meta[0]++
	if !bytes.Equal(a.member(names[1]).Meta, c.Meta) {
		t.Error("who changes an answer of Members changes the table")
	}
}

func TestLeftAndFailed(t *testing.T) {
	t.Run("leave", func(t *testing.T) {
		a := start(t, "a", calm())
		b := start(t, "b", calm(), a)
		c := start(t, "c", calm(), a)
		for _, n := range []*node{a, b, c} {
			n.await("a=alive b=alive c=alive")
		}
		if err := c.Leave(limit); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*node{a, b} {
			n.await("a=alive b=alive c=left")
		}
		if err := c.Leave(limit); err == nil {
			t.Error("it has left twice")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("close", func(t *testing.T) {
		a := start(t, "a", nervous())
		b := start(t, "b", nervous(), a)
		c := start(t, "c", nervous(), a)
		for _, n := range []*node{a, b, c} {
			n.await("a=alive b=alive c=alive")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		a.await("a=alive b=alive c=failed")
		b.await("a=alive b=alive c=failed")
		if err := c.Leave(limit); err == nil {
			t.Error("it has left when it was closed")
		}
	})
	t.Run("alone", func(t *testing.T) {
		a := start(t, "a", calm())
		if err := a.Leave(limit); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("no time", func(t *testing.T) {
		a := start(t, "a", calm())
		mute := calm()
		mute.tune.settings = func(m *memberlist.Config) { m.GossipInterval = time.Hour }
		b := start(t, "b", mute, a)
		b.await("a=alive b=alive")
		a.await("a=alive b=alive")
		if err := b.Leave(0); err == nil {
			t.Error("it has not waited for the goodbye, and does not say so")
		}
		a.await("a=alive b=left") // by what is sent at once
		if h := a.history("b"); !slices.Equal(h, []State{Alive, Left}) {
			t.Errorf("it was %v", h)
		}
	})
}

// apart is an address which nobody opens connections from, so that a port of it is still
// free when it is bound again.
var apart = netip.MustParseAddrPort("127.0.0.2:0")

// Under the same name it would go unnoticed.
func TestRestartAtTheSamePort(t *testing.T) {
	a := start(t, "a", nervous())
	c := nervous()
	c.Bind = apart
	old := start(t, "b#1", c, a)
	a.await("a=alive b#1=alive")
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	c.Bind = old.Addr()
	renewed := start(t, "b#2", c, a)
	a.await("a=alive b#1=failed b#2=alive")
	if x, y := a.member("b#1").Addr, a.member("b#2").Addr; x != y {
		t.Errorf("the old one was at %s, the new one is at %s", x, y)
	}
	renewed.until("it sees a", func() bool { return strings.HasPrefix(renewed.says(), "a=alive ") })
}

// network can cut members off each other, for packets and for new streams.
type network struct {
	mu  sync.Mutex
	cut map[[2]string]bool // addresses, from and to
	// refused are the streams that were cut off, by who wanted them.
	refused map[string]int
	tried   chan struct{} // has room for one
}

func newNetwork() *network {
	return &network{cut: make(map[[2]string]bool), refused: make(map[string]int), tried: make(chan struct{}, 1)}
}

func (w *network) set(cut bool, from, to []*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range from {
		for _, b := range to {
			w.cut[[2]string{a.Addr().String(), b.Addr().String()}] = cut
			w.cut[[2]string{b.Addr().String(), a.Addr().String()}] = cut
		}
	}
}

type cuttable struct {
	memberlist.NodeAwareTransport
	from string
	w    *network
}

func (w *network) wrap(tr memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
	ip, port, err := tr.FinalAdvertiseAddr("", 0)
	if err != nil {
		panic(err)
	}
	return &cuttable{tr, net.JoinHostPort(ip.String(), fmt.Sprint(port)), w}
}

func (c *cuttable) isCut(to string) bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.w.cut[[2]string{c.from, to}]
}

func (c *cuttable) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if c.isCut(to.Addr) {
		return time.Now(), nil
	}
	return c.NodeAwareTransport.WriteToAddress(b, to)
}

func (c *cuttable) DialAddressTimeout(to memberlist.Address, d time.Duration) (net.Conn, error) {
	if c.isCut(to.Addr) {
		c.w.mu.Lock()
		c.w.refused[c.from]++
		c.w.mu.Unlock()
		select {
		case c.w.tried <- struct{}{}:
		default:
		}
		return nil, fmt.Errorf("%s: cut off", to.Addr)
	}
	return c.NodeAwareTransport.DialAddressTimeout(to, d)
}

// Both sides forget each other, and memberlist alone would leave them apart.
func TestPartitionHeals(t *testing.T) {
	w := newNetwork()
	conf := nervous()
	conf.tune.network = w.wrap
	a := start(t, "a", conf)
	b := start(t, "b", conf, a)
	c := start(t, "c", conf, a)
	d := start(t, "d", conf, a)
	left, right := []*node{a, b}, []*node{c, d}
	for _, n := range []*node{a, b, c, d} {
		n.await("a=alive b=alive c=alive d=alive")
	}
	w.set(true, left, right)
	for _, n := range left {
		n.await("a=alive b=alive c=failed d=failed")
	}
	for _, n := range right {
		n.await("a=failed b=failed c=alive d=alive")
	}
	for _, n := range []*node{a, b, c, d} {
		w.inVain(n, 30) // about a second: memberlist has forgotten by then
	}
	w.set(false, left, right)
	for _, n := range []*node{a, b, c, d} {
		n.await("a=alive b=alive c=alive d=alive")
	}
}

// inVain waits until n has tried to open times streams that were cut off.
func (w *network) inVain(n *node, times int) {
	n.t.Helper()
	late := time.After(limit)
	tried := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.refused[n.Addr().String()]
	}
	for end := tried() + times; tried() < end; {
		select {
		case <-w.tried:
		case <-late:
			n.t.Fatalf("%d attempts within %s", tried(), limit)
		}
	}
}

func TestFailedAreForgotten(t *testing.T) {
	conf := nervous()
	conf.tune.keep = 100 * time.Millisecond
	a := start(t, "a", conf)
	b := start(t, "b", conf, a)
	a.await("a=alive b=alive")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a.until("b is gone", func() bool { return slices.Contains(a.history("b"), Failed) && a.says() == "a=alive" })
}

func TestChangedMayCallAnything(t *testing.T) {
	a := start(t, "a", calm())
	var once sync.Once
	left := make(chan struct{})
	conf := calm()
	conf.Changed = func(g *Gossip) {
		if len(g.Members()) < 2 {
			return
		}
		once.Do(func() {
			if err := g.Leave(limit); err != nil {
				t.Error(err)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			close(left)
		})
	}
	start(t, "b", conf, a)
	wait(t, left, "leaving from Changed")
	a.until("b has gone", func() bool {
		return a.says() == "a=alive b=left"
	})
}

func TestRefused(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	for what, change := range map[string]func(*Config){
		"no cluster":            func(c *Config) { c.Cluster = "" },
		"long cluster":          func(c *Config) { c.Cluster = strings.Repeat("c", 256) },
		"no name":               func(c *Config) { c.Name = "" },
		"long name":             func(c *Config) { c.Name = strings.Repeat("n", 256) },
		"long meta":             func(c *Config) { c.Meta = make([]byte, 513) },
		"short key":             func(c *Config) { c.Key = key[:16] },
		"no address":            func(c *Config) { c.Bind = netip.AddrPort{} },
		"no key":                func(c *Config) { c.Bind = netip.MustParseAddrPort("192.0.2.1:0") },
		"no key, all addresses": func(c *Config) { c.Bind = netip.MustParseAddrPort("0.0.0.0:0") },
		"no key, mapped":        func(c *Config) { c.Bind = netip.MustParseAddrPort("[::ffff:192.0.2.1]:0") },
		"no key, advertised":    func(c *Config) { c.Advertise = netip.MustParseAddrPort("192.0.2.1:0") },
		"unspecified":           func(c *Config) { c.Key, c.Bind = key, netip.MustParseAddrPort("[::]:0") },
		"zone":                  func(c *Config) { c.Key, c.Bind = key, netip.MustParseAddrPort("[fe80::1%lo]:0") },
		"seed without port":     func(c *Config) { c.Seeds = []string{"127.0.0.1"} },
		"seed with port 0":      func(c *Config) { c.Seeds = []string{"127.0.0.1:0"} },
		"seed without host":     func(c *Config) { c.Seeds = []string{":7"} },
		"slow probe":            func(c *Config) { c.ProbeTimeout = time.Minute },
		"negative":              func(c *Config) { c.SuspicionMult = -1 },
		"address in use":        func(c *Config) { c.Bind = occupied(t) },
	} {
		c := Config{Cluster: "test", Name: "a", Bind: netip.MustParseAddrPort("127.0.0.1:0")}
		change(&c)
		g, err := New(c)
		if err == nil {
			t.Errorf("%s: not refused", what)
			_ = g.Close() // the test has failed already
		} else if !strings.HasPrefix(err.Error(), "gossip") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// occupied is an address that somebody else has, for TCP.
func occupied(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody has used it
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// dials counts the streams that a member has opened.
type dials struct {
	memberlist.NodeAwareTransport
	at chan struct{}
}

func (d dials) DialAddressTimeout(to memberlist.Address, wait time.Duration) (net.Conn, error) {
	c, err := d.NodeAwareTransport.DialAddressTimeout(to, wait)
	if err == nil {
		select {
		case d.at <- struct{}{}:
		default:
		}
	}
	return c, err
}

// Strangers join, send a goodbye in a member's name, and are never seen. Nor is anything
// they have been told.
func TestStrangers(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }
	cases := []struct {
		name         string
		ours, theirs []byte
		cluster      string
	}{
		{"another key", key(1), key(2), "test"},
		{"no key", key(1), nil, "test"},
		{"a key, we none", nil, key(2), "test"},
		{"another cluster", key(1), key(1), "other"},
		{"another cluster, no keys", nil, nil, "other"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			conf := calm()
			conf.Key = tc.ours
			a := start(t, "a", conf)
			b := start(t, "b", conf, a)
			b.await("a=alive b=alive")
			a.await("a=alive b=alive")

			joined := make(chan struct{}, 3)
			theirs := calm()
			theirs.Key, theirs.Cluster = tc.theirs, tc.cluster
			theirs.tune.network = func(tr memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
				return dials{tr, joined}
			}
			stranger := start(t, "stranger", theirs, a, b)
			for range cap(joined) + 1 { // one that came after others were through
				wait(t, joined, "the stranger's attempts to join")
			}
			for _, victim := range []*node{a, b} {
				to := memberlist.Address{Addr: victim.Addr().String()}
				for _, name := range []string{"a", "b"} {
					if err := stranger.ml.SendToAddress(to, goodbye{name: name}.Message()); err != nil {
						t.Fatal(err)
					}
				}
			}
			c := start(t, "c", conf, a)
			for _, n := range []*node{a, b, c} {
				n.await("a=alive b=alive c=alive")
				if h := n.history("stranger"); len(h) > 0 {
					t.Errorf("the stranger was %v", h)
				}
			}
			if s := stranger.says(); s != "stranger=alive" {
				t.Errorf("the stranger says: %s", s)
			}
		})
	}
}

// A goodbye in the right clothes is heard, or the above shows nothing; one of the member
// itself, of somebody unknown and an empty one are not.
func TestGoodbye(t *testing.T) {
	a := start(t, "a", calm())
	b := start(t, "b", calm(), a)
	c := start(t, "c", calm(), a)
	for _, n := range []*node{a, b, c} {
		n.await("a=alive b=alive c=alive")
	}
	to := memberlist.Address{Addr: a.Addr().String()}
	for _, msg := range []string{"", "\x01", "\x02b", "\x01nobody", "\x01a", "\x01c"} {
		if err := b.ml.SendToAddress(to, []byte(msg)); err != nil {
			t.Fatal(err)
		}
	}
	a.await("a=alive b=alive c=left")
	b.await("a=alive b=alive c=left") // which a has told
}

func TestGarbage(t *testing.T) {
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, KeySize)} {
		conf := calm()
		conf.Key = key
		a := start(t, "a", conf)
		b := start(t, "b", conf, a)
		a.await("a=alive b=alive")
		throw(t, a.Addr(), "test")
		c := start(t, "c", conf, a)
		for _, n := range []*node{a, b, c} {
			n.await("a=alive b=alive c=alive")
		}
	}
}

// throw sends packets and streams of rubbish, some with the right label and a kind of
// message that there is.
func throw(t *testing.T, to netip.AddrPort, label string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(3, 4))
	rubbish := func(i, most int) []byte {
		b := make([]byte, 1+rnd.IntN(most))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		if i%2 == 0 {
			b[0] = byte(i / 2 % 16)
			b = append(append([]byte{244, byte(len(label))}, label...), b...)
		}
		return b
	}
	udp, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }() // all is sent
	for i := range 500 {
		if _, err := udp.Write(rubbish(i, 1400)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		tcp, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		// It may have closed already: that is its right.
		_, _ = tcp.Write(rubbish(i, 4000))
		_ = tcp.Close()
	}
}

// A name is looked up again until one of its addresses is there.
func TestSeedByName(t *testing.T) {
	a := start(t, "a", calm())
	conf := calm()
	conf.Seeds = []string{fmt.Sprintf("localhost:%d", a.Addr().Port())}
	b := start(t, "b", conf)
	a.await("a=alive b=alive")
	b.await("a=alive b=alive")
}

// A seed that comes later than who wants to join it.
func TestSeedComesLater(t *testing.T) {
	conf := calm()
	conf.Bind = apart
	first := start(t, "first", conf)
	at := first.Addr()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	conf = calm()
	conf.Seeds = []string{at.String()}
	b := start(t, "b", conf)
	conf.Bind = at
	a := start(t, "a", conf) // which is its own seed too
	a.await("a=alive b=alive")
	b.await("a=alive b=alive")
}
