package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// A member of the cluster can say anything to the agents of other hosts, at any time and
// in any order, in messages and in the log. Whatever it says, nothing here panics, and
// memory stays in proportion to what is bounded.

// dice makes choices out of the fuzzer's bytes.
type dice struct{ b []byte }

func (d *dice) n(limit int) int {
	if len(d.b) == 0 {
		return 0
	}
	x := int(d.b[0])
	d.b = d.b[1:]
	return x % limit
}

func (d *dice) yes() bool { return d.n(2) == 1 }

func pick[T any](d *dice, of ...T) T { return of[d.n(len(of))] }

// someWorld is a World, a Log and a File that the dice drive.
type someWorld struct {
	h    *Host
	now  int64
	dice *dice

	later   []func()
	leader  uint64
	decided [][]byte // proposed, or said by others, and not applied yet
	applied uint64
	tokens  []uint64
	sync    bool // what is proposed is decided at once
	broken  bool // the log has failed

	birth, directory uint32
	until            int64
	ended            bool
	former           *bool // whether someone is left of another membership; nil: the dice say it

	live, dead, groups []proto.ProcID
	asked              []proto.Msg // by the agent, of processes here
	told               int
	draws              uint64
}

const (
	fuzzMe   = 1
	fuzzSelf = 77 // the agent's own process, before it has a name
)

func newSomeWorld(b []byte) *someWorld {
	w := &someWorld{dice: &dice{b}, now: 1e12}
	cfg := Config{Name: pick(w.dice, "a", "b", "z"), Addr: "10.0.0.1:4440", Voters: []string{"a", "b", "c"},
		Lease: 5e9, Over: 5.05e9, Suspect: 3e9, Tick: 1e8, Central: w.dice.yes()}
	w.birth = pick(w.dice, uint32(0), 0, 7)
	w.sync = w.dice.yes()
	w.h = New(w, (*someFile)(w), cfg, fuzzMe)
	if err := w.h.Start(w.dice.yes()); err != nil {
		panic(err)
	}
	return w
}

// World

func (w *someWorld) Now() int64                 { return w.now }
func (w *someWorld) Date() uint32               { return 1000 }
func (w *someWorld) Random() uint64             { w.draws++; return w.draws }
func (w *someWorld) Note(Level, string)         {}
func (w *someWorld) Open([]uint64) (Log, error) { return (*someLog)(w), nil }
func (w *someWorld) Calls(data []byte) bool     { return len(data)%2 == 0 }
func (w *someWorld) Tell(_ proto.HostID, m *proto.Msg) {
	w.told += len(proto.Append(nil, m)) // it can be said
}
func (w *someWorld) Reach(proto.HostID, string) {}
func (w *someWorld) Begin(uint32) bool          { return true }
func (w *someWorld) Serve()                     {}
func (w *someWorld) Drop(string)                { w.live, w.dead, w.groups = nil, nil, nil }
func (w *someWorld) Former() bool {
	if w.former != nil {
		return *w.former
	}
	return w.dice.yes()
}
func (w *someWorld) Lost(string) {}
func (w *someWorld) Left()       {}

func (w *someWorld) Processes() (live, dead []proto.ProcID) {
	return slices.Clone(w.live), slices.Clone(w.dead)
}
func (w *someWorld) Connected() []proto.ProcID  { return slices.Clone(w.live) }
func (w *someWorld) Containers() []proto.ProcID { return slices.Clone(w.groups) }
func (w *someWorld) Here(p proto.ProcID) bool   { return slices.Contains(w.live, p) }
func (w *someWorld) Past(bool) *agent.Lasting   { return &agent.Lasting{} }
func (w *someWorld) Self() proto.ProcID         { return fuzzSelf }
func (w *someWorld) Obituary(p proto.ProcID) proto.Obituary {
	return proto.Obituary{Proc: p}
}
func (w *someWorld) Put(agent.Entry) error { return pick(w.dice, nil, nil, nil, errors.New("no room")) }
func (w *someWorld) Delete(proto.Digest)   {}
func (w *someWorld) Later(do func())       { w.later = append(w.later, do) }
func (w *someWorld) Keep(*proto.Kept) error {
	return pick(w.dice, nil, nil, nil, errors.New("no room"))
}
func (w *someWorld) Unkeep(*proto.Kept)                {}
func (w *someWorld) Doubt(proto.Digest, bool) error    { return nil }
func (w *someWorld) Retire(proto.ProcID, proto.Digest) {}

func (w *someWorld) Send(to proto.ProcID, m *proto.Msg) {
	var c proto.Msg
	if err := proto.Parse(proto.Append(nil, m), &c); err != nil {
		panic(fmt.Sprintf("a message of kind %d that cannot be read: %v", m.Kind, err))
	}
	if c.Proc = to; len(w.asked) < 100 {
		w.asked = append(w.asked, c)
	}
}

func (w *someWorld) Records(dead proto.ProcID) []proto.Record {
	return []proto.Record{{Tree: proto.Digest{1}, Writer: dead}}
}

func (w *someWorld) Peers(proto.ProcID) ([]proto.ProcID, bool) { return w.live, w.dice.yes() }

func (w *someWorld) Forget(p proto.ProcID) {
	w.dead = slices.DeleteFunc(w.dead, func(x proto.ProcID) bool { return x == p })
}

// someFile is the File.
type someFile someWorld

func (f *someFile) Birth() uint32             { return f.birth }
func (f *someFile) SetBirth(b uint32)         { f.birth, f.until, f.ended = b, 0, false }
func (f *someFile) End()                      { f.ended = true }
func (f *someFile) Ended() bool               { return f.ended }
func (f *someFile) Until() int64              { return f.until }
func (f *someFile) Extend(t int64)            { f.until = t }
func (f *someFile) Directory() uint32         { return f.directory }
func (f *someFile) SetDirectory(since uint32) { f.directory = since }

// someLog is the Log: it decides what it is told to.
type someLog someWorld

func (l *someLog) Empty() bool                                { return l.applied == 0 }
func (l *someLog) Leader() uint64                             { return l.leader }
func (l *someLog) Voters() []uint64                           { return []uint64{1, 2} }
func (l *someLog) Learners() []uint64                         { return []uint64{3} }
func (l *someLog) CaughtUp(uint64) bool                       { return l.dice.yes() }
func (l *someLog) Tick() error                                { return nil }
func (l *someLog) Campaign() error                            { return nil }
func (l *someLog) Transfer(uint64) error                      { return nil }
func (l *someLog) Change(add, promote, remove []uint64) error { return nil }

func (l *someLog) Err() error {
	if l.broken {
		return errors.New("the disk is full")
	}
	return nil
}

func (l *someLog) Propose(e []byte) error {
	if l.leader == 0 {
		return errors.New("no leader")
	}
	l.decided = append(l.decided, e)
	if l.sync {
		(*someWorld)(l).decide()
	}
	return nil
}

func (l *someLog) Confirm(token uint64) error {
	l.tokens = append(l.tokens, token)
	if l.sync {
		l.h.Confirmed(token)
	}
	return nil
}

// Receive is the log's own traffic: what has been decided meanwhile comes with it.
func (l *someLog) Receive(uint64, []byte) error {
	w := (*someWorld)(l)
	if w.dice.yes() && len(w.tokens) > 0 {
		w.h.Confirmed(w.tokens[w.dice.n(len(w.tokens))])
		w.tokens = w.tokens[:0]
	}
	switch w.dice.n(8) {
	case 0: // a member proposes what it likes
		e := w.entry()
		w.decided = append(w.decided, proto.Append(nil, &proto.Msg{Kind: proto.KHostEntry, HostEntry: &e}))
	case 1:
		w.decided = append(w.decided, w.raw())
	case 2:
		w.h.Restore(w.applied, w.h.Snapshot())
	case 3:
		w.h.Restore(w.applied, w.raw())
	}
	w.decide()
	return nil
}

func (w *someWorld) decide() {
	for len(w.later) > 0 && w.dice.yes() {
		do := w.later[0]
		w.later = w.later[1:]
		do()
	}
	for len(w.decided) > 0 {
		e := w.decided[0]
		w.decided = w.decided[1:]
		w.applied++
		w.h.Apply(w.applied, e)
	}
}

// What is said.

func (w *someWorld) raw() []byte {
	n := min(w.dice.n(64), len(w.dice.b))
	b := w.dice.b[:n]
	w.dice.b = w.dice.b[n:]
	return b
}

func (w *someWorld) host() proto.HostID { return proto.HostID(pick(w.dice, 2, 2, 3, 3, 4, 1, 0)) }

func (w *someWorld) proc() proto.ProcID {
	seat := uint64(w.h.state.Seat) << 32
	p := pick(w.dice, 0, proto.Keeper, fuzzSelf, 1<<63, proto.ProcID(seat+1), proto.ProcID(seat+2), proto.ProcID(seat+3), 5, 6)
	if list := slices.Concat(w.live, w.dead, w.groups); len(list) > 0 && w.dice.yes() {
		p = list[w.dice.n(len(list))]
	}
	return p
}

func (w *someWorld) procs() (out []proto.ProcID) {
	for range w.dice.n(4) {
		out = append(out, w.proc())
	}
	return out
}

func (w *someWorld) epoch() uint32 {
	s := w.h.state
	return pick(w.dice, s.Seat, s.Seat, s.Epoch, s.Since, 0, 1, 7, 1<<32-1)
}

func (w *someWorld) birth32() uint32 {
	if n := len(w.h.state.Hosts); n > 0 && w.dice.yes() {
		return w.h.state.Hosts[w.dice.n(n)].Birth
	}
	return pick(w.dice, 0, w.h.birth, 7, 1<<32-1)
}

func (w *someWorld) view() uint64 {
	return pick(w.dice, w.h.View(), w.h.View()+1, 0, 1<<64-1, uint64(w.epoch())<<32)
}

func (w *someWorld) root() proto.Root {
	return proto.Root{Name: proto.MakeName([]byte(pick(w.dice, "R", "S", "T")))}
}

func (w *someWorld) digest() proto.Digest {
	r := w.root()
	return pick(w.dice, r.Digest(), r.Digest(), proto.Digest{1}, proto.Digest{})
}

func (w *someWorld) entry() proto.HostEntry {
	e := proto.HostEntry{Verb: proto.HostVerb(1 + w.dice.n(4)), Epoch: w.epoch()}
	e.Host = proto.Host{ID: w.host(), Name: pick(w.dice, "a", "b", "c", "d", ""), Addr: pick(w.dice, "10.0.0.2:1", "?"), Birth: w.birth32(),
		Out: w.dice.yes(), Asked: uint64(w.dice.n(4)), Voter: w.dice.yes(), Former: w.birth32()}
	return e
}

// msg makes a message of one of the kinds from first to last, or KWhere.
func (w *someWorld) msg(first, last proto.Kind) *proto.Msg {
	d := w.dice
	m := &proto.Msg{Kind: first + proto.Kind(d.n(int(last-first)+2))}
	if m.Kind > last {
		m.Kind = proto.KWhere
	}
	m.Proc, m.Host, m.Epoch, m.Birth, m.View = w.proc(), w.host(), w.epoch(), w.birth32(), w.view()
	m.Number = pick(d, 0, 1, 2, 3, uint64(w.h.epoch), w.h.last)
	m.Flags, m.Text = uint32(d.n(9)), pick(d, "", "a", "b", "3")
	m.Root, m.Domain = w.root(), w.digest()
	m.Assign = pick(d, 0, 1, w.view()+1, w.view(), 1<<64-1)
	m.Hint, m.Op, m.Status = uint64(d.n(3)), uint32(d.n(3)), int32(d.n(5))
	switch m.Kind {
	case proto.KMove:
		m.Image = &proto.Image{Root: m.Root, Resources: []proto.ImageResource{{Parent: -1}}}
	case proto.KForward:
		m.Data = proto.Append(nil, w.msg(proto.KLookup, proto.KStay))
	case proto.KDeliver:
		m.Data = proto.Append(nil, w.msg(proto.KView, proto.KMaster))
	case proto.KRoster, proto.KView:
		m.Procs, m.Groups, m.Dead = w.procs(), w.procs(), w.procs()
	case proto.KJournal:
		m.Procs = w.procs()
		for range d.n(3) {
			m.Records = append(m.Records, proto.Record{Tree: w.digest(), Resource: w.digest(), Writer: w.proc(),
				Block: proto.Block{Valid: d.yes(), Stamp: proto.Stamp{Assign: m.Assign}}})
		}
	case proto.KReport:
		for i := range d.n(3) {
			m.Locks = append(m.Locks, proto.LockReport{Lock: proto.LockID(d.n(4)), Parent: proto.LockID(d.n(4)), Name: proto.MakeName([]byte(pick(d, "", "x"))),
				Granted: mode.Mode(d.n(int(mode.Count))), Requested: mode.Mode(d.n(int(mode.Count))), Pending: proto.PendingKind(d.n(4)),
				Arrival: uint64(d.n(5)), Op: uint32(i), Block: proto.Block{Valid: d.yes()}, Domain: pick(d, proto.Digest{}, w.digest())})
		}
	case proto.KKeep, proto.KUnkeep:
		m.Path = []proto.Name{proto.MakeName([]byte("x"))}[:d.n(2)]
	case proto.KGroup:
		m.Call = &proto.Call{Verb: 1, Number: m.Number}
	case proto.KHostState:
		m.HostState = &proto.HostState{Epoch: w.epoch()}
	case proto.KHostEntry:
		e := w.entry()
		m.HostEntry = &e
	}
	return m
}

// hear has another agent say something, as the wire brings it.
func (w *someWorld) hear(from proto.HostID, b []byte) {
	var m proto.Msg
	if proto.Parse(b, &m) != nil || m.Kind < proto.KForward && m.Kind != proto.KRaft && m.Kind != proto.KWhere || m.Kind > proto.KEvicted {
		return // net/node does not let it through
	}
	if k := w.h.known[from]; k == nil || !k.here {
		w.h.Introduced(from, pick(w.dice, "a", "b", "c"), w.dice.yes())
	}
	if err := w.h.Receive(from, &m); err != nil {
		w.h.Ended(from)
	}
}

// answer has a process here answer the agent, or say something else.
func (w *someWorld) answer() {
	if len(w.asked) == 0 || w.dice.n(4) == 0 {
		w.h.FromProcess(w.proc(), w.msg(proto.KLookup, proto.KStay))
		return
	}
	m := w.asked[0]
	w.asked = w.asked[1:]
	switch m.Kind {
	case proto.KView:
		w.h.FromProcess(m.Proc, &proto.Msg{Kind: proto.KReportEnd, View: m.View, Number: m.Number})
	case proto.KInstall:
		w.h.FromProcess(m.Proc, &proto.Msg{Kind: proto.KInstalled, Root: m.Image.Root, Assign: m.Image.Assign, Flags: uint32(w.dice.n(2))})
	}
}

func (w *someWorld) step() {
	d, h := w.dice, w.h
	switch d.n(20) {
	case 0, 1, 2:
		w.now += int64(pick(d, 1, 1, 1, 10, 100)) * 1e8
		h.Tick()
	case 3, 4, 5:
		w.hear(w.host(), proto.Append(nil, &proto.Msg{Kind: proto.KRaft}))
	case 6, 7, 8, 9, 10:
		w.hear(w.host(), proto.Append(nil, w.msg(proto.KForward, proto.KEvicted)))
	case 11:
		w.hear(w.host(), w.raw())
	case 12:
		from := w.host()
		if from != fuzzMe && from != 0 { // which net/node does not let in
			h.Introduced(from, pick(d, "a", "b", "c", "d", ""), d.yes())
		}
	case 13:
		pick(d, h.Ended, h.Broken, func(id proto.HostID) { h.Suspect(id, d.yes()) })(w.host())
	case 14:
		w.leader = uint64(pick(d, 0, fuzzMe, fuzzMe, 2, 3))
	case 15:
		if len(w.live)+len(w.groups) >= 12 { // each is told of each
			break
		}
		named := func(id proto.ProcID, _ uint64) { w.live = append(w.live, id) }
		if d.n(4) == 0 {
			h.JoinGroup(func(id proto.ProcID, _ uint64) { w.groups = append(w.groups, id) })
		} else {
			h.Join(named)
		}
	case 16:
		p := w.proc()
		if i := slices.Index(w.live, p); i < 0 {
			break
		} else if d.yes() {
			h.Reached(p)
		} else {
			w.live = slices.Delete(w.live, i, i+1)
			w.dead = append(w.dead, p)
			h.Dead(p)
		}
	case 17:
		w.answer()
	case 18:
		h.Evict(pick(d, "a", "b", "c", "3", ""), d.yes(), func(error) {})
		h.Report()
		h.Where(w.proc(), w.proc())
	case 19:
		switch d.n(16) {
		case 0:
			h.Leave()
		case 1:
			w.broken = true
			h.Tick()
		}
	}
	for id, k := range h.known {
		if len(k.held) > maxHeld {
			panic(fmt.Sprintf("%d messages of host %d are held", len(k.held), id))
		}
	}
	if len(h.places) > maxPlaces {
		panic(fmt.Sprintf("%d places are remembered", len(h.places)))
	}
}

// play takes the bytes to their end, and reports what stages were reached.
func play(b []byte) *someWorld {
	w := newSomeWorld(b)
	for len(w.dice.b) > 0 {
		w.step()
	}
	return w
}

func FuzzHost(f *testing.F) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, size := range []int{50, 500, 2000, 2000, 2000} {
		f.Add(someBytes(r, size))
	}
	f.Fuzz(func(_ *testing.T, b []byte) { play(b[:min(len(b), 1<<14)]) })
}

func someBytes(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// The same without a fuzzer; and it says that the dice lead somewhere.
func TestAnythingSaid(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	coordinated, seated, leased, named := 0, 0, 0, 0
	for i := range 3000 {
		b := someBytes(r, 3000)
		func() {
			defer func() {
				if p := recover(); p != nil {
					buf := make([]byte, 4<<10)
					t.Fatalf("run %d: %v\n%s\n%x", i, p, buf[:runtime.Stack(buf, false)], b)
				}
			}()
			w := play(b)
			if w.h.agent != nil {
				coordinated++
			}
			if w.h.remote() != 0 {
				seated++
			}
			if w.h.leased {
				leased++
			}
			named += len(w.live)
		}()
	}
	t.Logf("%d coordinate, %d have a coordinator, %d are leased; %d processes", coordinated, seated, leased, named)
	if coordinated < 30 || seated < 30 || leased < 30 || named < 100 {
		t.Error("the dice do not lead far")
	}
}

// One agent that is told anything for long keeps no more than one that is told little.
func TestAnythingSaidForLong(t *testing.T) {
	const most = 8 << 20 // bytes; what a few hosts and processes take is far less
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for seed := range uint64(4) {
		b := someBytes(rand.New(rand.NewPCG(seed, 9)), 1<<20)
		before := heap()
		w := newSomeWorld(b)
		steps := 0
		for ; len(w.dice.b) > 0; steps++ {
			w.step()
		}
		kept := heap() - before
		t.Logf("seed %d: %d steps, %d bytes are kept", seed, steps, kept)
		if kept > most {
			t.Errorf("seed %d: %d bytes are kept after %d steps", seed, kept, steps)
		}
		runtime.KeepAlive(w)
		runtime.KeepAlive(b)
	}
}

// Hosts that come, say who they are and go are not remembered for ever; members are.
func TestStrangersAreForgotten(t *testing.T) {
	w := flooded(t, false)
	for id := proto.HostID(100); id < 100+3*mostKnown; id++ {
		w.h.Introduced(id, "x", true)
		w.h.Ended(id)
	}
	if n := len(w.h.known); n > mostKnown || len(w.h.heard) > mostKnown+1 {
		t.Errorf("%d hosts are remembered", n)
	}
	for _, id := range []proto.HostID{2, 3} {
		if w.h.known[id] == nil {
			t.Errorf("host %d, a member, is forgotten", id)
		}
	}
}
