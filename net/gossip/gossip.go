// Package gossip finds the other hosts of a cluster and tells which of them seem to be
// gone. It is hashicorp/memberlist with a table of its own. Only the agent uses it.
//
// What it tells is a hint. Hosts differ in what they believe, and in the order in which
// they come to it; a member that has Failed may be alive and well. It removes nobody from
// anything: views do (net/views). It carries no lock, no view and no proof of a death.
//
//	memberlist -- callbacks --> queue --> run: table --> Config.Changed
//	     ^                                       |
//	     +------- Join <-- rejoin: <-------------+ who is not there
//
// memberlist calls back with its own locks held, so the callbacks put into a queue what
// they are told and return. It does not find together again after a partition, so what is
// not there is joined again and again. And it does not say whether a member has left or
// failed (the State of a Node in an event is never set), so who leaves tells it in a
// message of this package, the goodbye.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// KeySize is the size of Config.Key in bytes.
	KeySize = 32
	// MetaLimit is how many bytes of Meta a member may have.
	MetaLimit = memberlist.MetaMaxSize

	// A name, a label and the meta data must fit in one datagram of 1400 bytes.
	nameLimit    = 255
	clusterLimit = memberlist.LabelMaxSize

	// pushPullInterval is less than memberlist's 30 s: a mass join of 100 hosts waited
	// for it, and clusters are small enough to afford it.
	pushPullInterval = 10 * time.Second

	rejoinInterval = 5 * time.Second
	keepTime       = 10 * time.Minute
	keepMost       = 1024
)

// Config is what New needs to know. It is not changed later.
type Config struct {
	// Cluster is the cluster's name, of 1 to 255 bytes. Hosts of another one are not
	// heard.
	Cluster string
	// Name is this member's name, of 1 to 255 bytes. It must be another one at each
	// start: a restart under the same name goes unnoticed.
	Name string
	// Bind is the address for UDP and TCP. Port 0 chooses one, see Addr.
	Bind netip.AddrPort
	// Advertise is where others reach this member, if that is not Bind. Port 0 stands
	// for the port that is bound.
	Advertise netip.AddrPort
	// Key encrypts and authenticates all gossip: KeySize bytes, which nothing else may
	// use. Who has it is believed everything. Without one, every process that reaches
	// the port is, so it can only be left out if both addresses are loopback.
	Key []byte
	// Meta is what the others see as this member's Meta, up to MetaLimit bytes.
	Meta []byte
	// Seeds are addresses, "host:port", that are joined until they are there. This
	// host's own may be among them. A name counts as there if one of its addresses is.
	// They should be what those hosts advertise: others never count as there, which
	// costs an exchange each 5 s.
	Seeds []string
	// ProbeInterval is how often this member probes another one; ProbeTimeout is how
	// long it waits for the answer before it asks others to try. 0: 1 s and 500 ms, or
	// half the interval if that is less.
	ProbeInterval, ProbeTimeout time.Duration
	// SuspicionMult says how long a member that does not answer is suspected before it
	// has Failed: SuspicionMult * max(1, log10 of the members) * ProbeInterval if there
	// are enough others to confirm it, up to 6 times as long if not. 0: 4.
	SuspicionMult int
	// Changed is called whenever Members would answer something new, and never twice at
	// a time; several changes may be one call. It may call any method of its argument.
	// Calls may begin before New has returned, and one may be running when Close
	// returns. May be nil.
	Changed func(*Gossip)
	// Log gets what memberlist has to say, all at level Debug. May be nil.
	Log *slog.Logger

	tune tuning
}

// tuning is what tests set otherwise. What is zero has its usual value.
type tuning struct {
	rejoin   time.Duration
	keep     time.Duration
	most     int
	settings func(*memberlist.Config)
	network  func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport
}

// Gossip is this host's part in the gossip. All methods may be called at any time, by any
// goroutine.
type Gossip struct {
	config Config
	addr   netip.AddrPort
	ml     *memberlist.Memberlist
	stop   context.CancelFunc
	work   sync.WaitGroup // the goroutines

	events events
	// goodbyes are on their way to others; alive is how many those are.
	goodbyes memberlist.TransmitLimitedQueue
	alive    atomic.Int32

	// ending is held through Leave and Close: memberlist panics at a Leave that comes
	// after its Shutdown.
	ending sync.Mutex
	closed bool

	mu      sync.Mutex
	table   table
	joining map[netip.AddrPort]bool
}

// New begins to gossip. It does not wait for any other member.
func New(config Config) (*Gossip, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	seeds, err := parseSeeds(config.Seeds)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g := &Gossip{
		config:  config,
		events:  events{wake: make(chan struct{}, 1)},
		table:   table{self: config.Name, keep: config.tune.keep, most: config.tune.most},
		joining: make(map[netip.AddrPort]bool),
	}
	g.goodbyes.NumNodes = func() int { return int(g.alive.Load()) }
	if err := g.listen(); err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", config.Bind, err)
	}
	// This member itself is there before anybody looks.
	g.digest(time.Now())
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.work.Go(func() { g.run(ctx) })
	g.work.Go(func() { g.rejoin(ctx, seeds) })
	return g, nil
}

// check refuses what memberlist would take for something else, and fills in the rest.
func (c *Config) check() error {
	c.Bind = unmap(c.Bind)
	c.Advertise = unmap(c.Advertise)
	c.Key, c.Meta = slices.Clone(c.Key), slices.Clone(c.Meta)
	if !c.Advertise.IsValid() {
		c.Advertise = c.Bind
	}
	bind, adv := c.Bind.Addr(), c.Advertise.Addr()
	switch {
	case len(c.Cluster) < 1 || len(c.Cluster) > clusterLimit:
		return fmt.Errorf("the cluster's name has %d bytes, not 1 to %d", len(c.Cluster), clusterLimit)
	case len(c.Name) < 1 || len(c.Name) > nameLimit:
		return fmt.Errorf("the name has %d bytes, not 1 to %d", len(c.Name), nameLimit)
	case len(c.Meta) > MetaLimit:
		return fmt.Errorf("the meta data has %d bytes, not up to %d", len(c.Meta), MetaLimit)
	case !bind.IsValid():
		return errors.New("no address to bind")
	case bind.Zone() != "" || adv.Zone() != "":
		// memberlist would bind every address instead.
		return fmt.Errorf("bind %s, advertise %s: an address with a zone is of no use to others", bind, adv)
	case adv.IsUnspecified():
		return fmt.Errorf("%s is not an address that others can use", adv)
	case len(c.Key) != 0 && len(c.Key) != KeySize:
		return fmt.Errorf("the key has %d bytes, not %d", len(c.Key), KeySize)
	case len(c.Key) == 0 && !(bind.IsLoopback() && adv.IsLoopback()):
		return fmt.Errorf("bind %s, advertise %s: an address beyond this host needs a key", bind, adv)
	case c.ProbeInterval < 0 || c.ProbeTimeout < 0 || c.SuspicionMult < 0:
		return errors.New("negative times to probe and to suspect")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.tune.rejoin == 0 {
		c.tune.rejoin = rejoinInterval
	}
	if c.tune.keep == 0 {
		c.tune.keep = keepTime
	}
	if c.tune.most == 0 {
		c.tune.most = keepMost
	}
	return nil
}

// listen makes the sockets and puts memberlist upon them.
func (g *Gossip) listen() error {
	c, mc := &g.config, memberlist.DefaultLANConfig()
	mc.Name = c.Name
	mc.Label = c.Cluster
	mc.SecretKey = c.Key
	mc.GossipVerifyIncoming = true
	mc.GossipVerifyOutgoing = true
	mc.PushPullInterval = pushPullInterval
	if c.ProbeInterval > 0 {
		mc.ProbeInterval = c.ProbeInterval
		mc.ProbeTimeout = min(mc.ProbeTimeout, c.ProbeInterval/2)
	}
	if c.ProbeTimeout > 0 {
		mc.ProbeTimeout = c.ProbeTimeout
	}
	if mc.ProbeTimeout > mc.ProbeInterval {
		return fmt.Errorf("a probe takes %s, but there is one each %s", mc.ProbeTimeout, mc.ProbeInterval)
	}
	if c.SuspicionMult > 0 {
		mc.SuspicionMult = c.SuspicionMult
	}
	mc.Logger = slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug)
	mc.Delegate, mc.Events = delegate{g}, delegate{g}
	if c.tune.settings != nil {
		c.tune.settings(mc)
	}
	g.goodbyes.RetransmitMult = mc.RetransmitMult

	sockets, err := bind(&memberlist.NetTransportConfig{
		BindAddrs: []string{c.Bind.Addr().String()},
		BindPort:  int(c.Bind.Port()),
		Logger:    mc.Logger,
	})
	if err != nil {
		return err
	}
	var transport memberlist.NodeAwareTransport = sockets
	if c.tune.network != nil {
		transport = c.tune.network(sockets)
	}
	port := sockets.GetAutoBindPort()
	g.addr = c.Advertise
	if g.addr.Port() == 0 {
		g.addr = netip.AddrPortFrom(g.addr.Addr(), uint16(port))
	}
	mc.Transport = transport
	mc.BindAddr, mc.BindPort = c.Bind.Addr().String(), port
	mc.AdvertiseAddr, mc.AdvertisePort = g.addr.Addr().String(), int(g.addr.Port())
	ml, err := memberlist.Create(mc)
	if err != nil {
		// Create may have closed them already; a second time does no harm.
		return errors.Join(err, sockets.Shutdown())
	}
	g.ml = ml
	return nil
}

// bind tries several times if the port is the kernel's choice: it chooses one that is
// free for TCP, and another program may have it for UDP.
func bind(c *memberlist.NetTransportConfig) (t *memberlist.NetTransport, err error) {
	for range 10 {
		t, err = memberlist.NewNetTransport(c)
		// memberlist wraps its errors as text.
		if err == nil || c.BindPort != 0 || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			break
		}
	}
	return t, err
}

// Addr is where others reach this member.
func (g *Gossip) Addr() netip.AddrPort { return g.addr }

// Members are those that this member knows, itself among them, by name. Failed ones and
// those that have left are told for 10 minutes, and up to 1024 of them. After Close it
// answers what it knew last.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.table.list()
}

// Leave says goodbye, waits up to timeout until that is on its way, and closes, also
// after an error. Others learn that this member has Left, if no more than some of the
// goodbye is lost: otherwise it has Failed for them.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.ending.Lock()
	defer g.ending.Unlock()
	if g.closed {
		return errors.New("gossip: leave: closed already")
	}
	deadline := time.Now().Add(timeout)
	bye := goodbye{name: g.config.Name, sent: make(chan struct{})}
	g.goodbyes.QueueBroadcast(bye)
	others := 0
	for _, m := range g.Members() {
		if m.State == Alive && m.Name != g.config.Name {
			others++
			// At once and to each, so that it is there before memberlist's own message
			// makes the member a failed one. One that is lost comes by the queue.
			_ = g.ml.SendToAddress(memberlist.Address{Addr: m.Addr.String(), Name: m.Name}, bye.Message())
		}
	}
	err := g.ml.Leave(max(timeout, 1)) // 0 would be for ever
	if err == nil && others > 0 {
		select {
		case <-bye.sent:
		case <-time.After(time.Until(deadline)):
			err = fmt.Errorf("no time for all of the goodbye in %s", timeout)
		}
	}
	if err != nil {
		err = fmt.Errorf("gossip: leave: %w", err)
	}
	return errors.Join(err, g.close())
}

// Close ends the gossip without a word: for the others this member will have Failed. It
// does not wait for a call of Changed. Closing twice is no error.
func (g *Gossip) Close() error {
	g.ending.Lock()
	defer g.ending.Unlock()
	if g.closed {
		return nil
	}
	return g.close()
}

// close is called with ending held.
func (g *Gossip) close() error {
	g.closed = true
	g.stop()
	if err := g.ml.Shutdown(); err != nil {
		return fmt.Errorf("gossip: close: %w", err)
	}
	return nil
}

// run turns events into the table, and has it forget in time.
func (g *Gossip) run(ctx context.Context) {
	timer := time.NewTimer(g.config.tune.keep)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.events.wake:
		case <-timer.C:
		}
		now := time.Now()
		changed, next := g.digest(now)
		timer.Reset(next.Sub(now))
		if changed && g.config.Changed != nil && ctx.Err() == nil {
			g.config.Changed(g)
		}
	}
}

// digest brings the table up to date. It says whether that changed anything and when the
// next one is due.
func (g *Gossip) digest(now time.Time) (changed bool, next time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events.take() {
		if !g.table.apply(e, now) {
			continue
		}
		changed = true
		if e.kind == saidGoodbye {
			// Whoever hears it for the first time passes it on.
			g.goodbyes.QueueBroadcast(goodbye{name: e.Name})
		}
	}
	gone, next := g.table.forget(now)
	g.alive.Store(int32(g.table.alive()))
	return changed || gone, next
}

// delegate is what memberlist calls. It holds locks meanwhile, so nothing here calls it
// or waits. The queue of goodbyes is its code too, but has nothing to do with its locks.
type delegate struct{ g *Gossip }

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.g.events.push(appeared, n) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.g.events.push(appeared, n) }
func (d delegate) NotifyLeave(n *memberlist.Node)  { d.g.events.push(vanished, n) }

func (d delegate) NodeMeta(int) []byte { return d.g.config.Meta }

func (d delegate) NotifyMsg(msg []byte) {
	if len(msg) > 1 && msg[0] == goodbyeKind {
		d.g.events.push(saidGoodbye, &memberlist.Node{Name: string(msg[1:])})
	}
}

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.goodbyes.GetBroadcasts(overhead, limit)
}

func (d delegate) LocalState(bool) []byte        { return nil }
func (d delegate) MergeRemoteState([]byte, bool) {}

// goodbye is the message that a member has left: its kind, and the name. As a name is
// never used again, it is true for ever.
type goodbye struct {
	name string
	sent chan struct{} // closed when it is on its way; may be nil
}

const goodbyeKind = 1

// Message is for memberlist's queue, like the other methods.
func (b goodbye) Message() []byte { return append([]byte{goodbyeKind}, b.name...) }

// Name makes a second goodbye of the same member replace the first.
func (b goodbye) Name() string { return b.name }

// Invalidates is not asked, as there is Name.
func (b goodbye) Invalidates(memberlist.Broadcast) bool { return false }

// Finished is called with the queue's lock held.
func (b goodbye) Finished() {
	if b.sent != nil {
		close(b.sent)
	}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
