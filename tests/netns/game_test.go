package netns

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

const (
	accounts = 4
	funds    = 1000
	tellers  = 2 // on each host
)

// bank is what the locks guard, and knows nothing of them but their tokens: what comes
// with an older token than it has seen is refused.
type bank struct {
	sync.Mutex
	balance [accounts]int
	seen    [accounts]lab.Token
	fenced  int
}

// game is tellers on all hosts that move money between accounts while hosts, agents and
// links fail.
type game struct {
	t       *testing.T
	l       *lab.Lab
	bank    bank
	history *history
	seats   []*seat
	closing atomic.Bool
	data    atomic.Uint64 // what was written last into any block
	errors  struct {
		sync.Mutex
		list []string
	}
}

// seat is where one teller works after the other.
type seat struct {
	g     *game
	host  *lab.Host
	name  string
	luck  *rand.Rand
	done  atomic.Int64 // transfers
	lost  atomic.Int64 // tellers that were told that all is lost
	ended atomic.Int64 // that were killed
	shut  atomic.Int64 // that could not join
	// holding is the program that has both locks of a transfer; nil: there is none.
	holding atomic.Pointer[lab.Player]
	mu      sync.Mutex // held while there can be no teller: the host is down
	// stopped is when the teller at work was stopped, so that it may be told late; 0: it
	// was not.
	stopped atomic.Int64
}

var (
	errLost = errors.New("all locks are lost")
	errOver = errors.New("the game is over")
	errShut = errors.New("the host was removed when the program wanted to join")
)

// play plays a game in which the faults come one after the other.
func play(t *testing.T, hosts int, seed uint64, faults ...string) {
	needLab(t)
	l := newLab(t, hosts, func(o *lab.Options) { o.Seed = seed })
	g := &game{t: t, l: l, history: newHistory()}
	g.history.late = worst
	for i := range g.bank.balance {
		g.bank.balance[i] = funds
	}
	luck := rand.New(rand.NewPCG(seed, 2))
	var work sync.WaitGroup
	t.Cleanup(func() { g.end(&work) }) // before the lab's: tellers start programs
	for _, h := range l.Hosts {
		for i := range tellers {
			s := &seat{g: g, host: h, name: fmt.Sprint(h.Name, i), luck: rand.New(rand.NewPCG(seed, luck.Uint64()))}
			g.seats = append(g.seats, s)
			work.Go(s.work)
		}
	}
	g.allWork()
	for i, f := range faults {
		g.strike(luck, f)
		// A fault marked so is followed by the next at once. It may be that nobody keeps
		// the accounts then, and they are new ones.
		if !strings.HasSuffix(f, " and") || i == len(faults)-1 {
			g.allWork()
		}
		if t.Failed() {
			break
		}
	}
	g.closing.Store(true)
	work.Wait()
	g.judge()
}

// end ends the game, wherever it was left.
func (g *game) end(work *sync.WaitGroup) {
	g.closing.Store(true)
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	for {
		for _, h := range g.l.Hosts {
			h.Kill() // tellers that wait for an answer
		}
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// allWork waits until hosts are members again and each seat gets on.
func (g *game) allWork() {
	g.t.Helper()
	g.l.AwaitMembers(g.l.Hosts...)
	for _, s := range g.seats {
		was := s.done.Load()
		g.l.Until("teller "+s.name+" gets on", func() bool { return s.done.Load() > was+1 || g.broken() })
	}
	if g.broken() {
		g.t.Error("tellers have stopped")
	}
}

func (g *game) broken() bool {
	g.errors.Lock()
	defer g.errors.Unlock()
	return len(g.errors.list) > 0
}

func (g *game) fault(format string, args ...any) {
	g.errors.Lock()
	defer g.errors.Unlock()
	g.errors.list = append(g.errors.list, fmt.Sprintf(format, args...))
}

// judge looks at all that has happened.
func (g *game) judge() {
	var total int
	var transfers, lost, ended, shut int64
	for _, b := range g.bank.balance {
		total += b
	}
	for _, s := range g.seats {
		transfers += s.done.Load()
		lost, ended, shut = lost+s.lost.Load(), ended+s.ended.Load(), shut+s.shut.Load()
	}
	if total != accounts*funds {
		g.fault("%d units, not %d", total, accounts*funds)
	}
	doubts := 0
	for _, holds := range g.history.holds {
		for _, x := range holds {
			if !x.grant.Valid() {
				doubts++
			}
		}
	}
	for _, f := range append(g.errors.list, g.history.check()...) {
		g.t.Error(f)
	}
	g.t.Logf("%d transfers, %d refused by the bank; %d tellers lost their locks, %d were killed, %d could not join; %d blocks in doubt, %d times all were lost; %d frames carried, %d lost",
		transfers, g.bank.fenced, lost, ended, shut, doubts, len(g.history.gaps()), g.l.Wire.Carried.Load(), g.l.Wire.Lost.Load())
}

// work has a teller at the seat until the game is over.
func (s *seat) work() {
	for !s.g.closing.Load() {
		s.mu.Lock() // not while the host is down
		s.stopped.Store(0)
		p, err := s.host.NewPlayer()
		s.mu.Unlock()
		if err != nil {
			s.g.fault("%s: %v", s.name, err)
			return
		}
		err = s.teller(p)
		p.Kill()
		switch {
		case errors.Is(err, errLost):
			s.lost.Add(1)
		case errors.Is(err, errShut):
			s.shut.Add(1)
		case errors.Is(err, lab.ErrEnded):
			s.ended.Add(1)
			if how := p.Ended(); how != "signal: killed" {
				s.g.fault("%s: a teller has ended: %s", s.name, how)
				return
			}
		case !errors.Is(err, errOver):
			s.g.fault("%s: %v", s.name, err)
			return
		}
	}
}

// status turns what a call gave into an error.
func status(what string, a lab.Answer, err error) error {
	switch {
	case err != nil:
		return err
	case a.Status == dlm.Lost:
		return errLost
	case !a.Granted():
		return fmt.Errorf("%s from %d to %d: %v", what, a.Begin, a.End, a)
	}
	return nil
}

// teller is one program's life.
func (s *seat) teller(p *lab.Player) error {
	switch a, err := p.Join(); {
	case err == nil && a.Status == dlm.ENoSys:
		return errShut
	case status("join", a, err) != nil:
		return status("join", a, err)
	}
	for i := range accounts {
		a, err := p.Lock(i, mode.NL, 0, fmt.Sprint("account", i))
		if err := status("lock", a, err); err != nil {
			return err
		}
	}
	since := lab.Now()
	defer func() { s.g.history.keep(since, cmp.Or(s.stopped.Load(), p.Lost.Load(), lab.Now())) }()
	for !s.g.closing.Load() {
		if err := s.transfer(p); err != nil {
			return err
		}
		s.done.Add(1)
		time.Sleep(time.Duration(s.luck.IntN(4000)) * time.Microsecond) // somebody has to come with a wish
	}
	return errOver
}

// transfer moves money between two accounts.
func (s *seat) transfer(p *lab.Player) (err error) {
	a := s.luck.IntN(accounts - 1)
	b := a + 1 + s.luck.IntN(accounts-1-a)
	var mine [2]*held
	defer func() {
		for i, x := range mine {
			if x == nil {
				continue
			}
			if errors.Is(err, errLost) && s.stopped.Load() == 0 {
				x.lost = p.Lost.Load()
			}
			if x.writing != 0 {
				x.lost = 0 // it was giving it back: others may have it before it is told
			}
			s.g.history.add([2]int{a, b}[i], x)
		}
	}()
	for i, n := range [2]int{a, b} {
		got, err := p.Convert(n, mode.EX, dlm.ValB, lab.Value{})
		if err := status(fmt.Sprint("NL to EX on account ", n), got, err); err != nil {
			return err
		}
		mine[i] = &held{by: s.name, grant: got}
	}
	s.holding.Store(p)
	defer s.holding.Store(nil)
	s.g.bank.Lock()
	from, to := s.g.bank.balance[a], s.g.bank.balance[b]
	s.g.bank.Unlock()
	for range 1 + s.luck.IntN(3) {
		for i, n := range [2]int{a, b} {
			u, err := p.Use(n)
			if err := status(fmt.Sprint("token of account ", n), u, err); err != nil {
				return err
			}
			mine[i].uses = append(mine[i].uses, u)
		}
	}
	sum := s.luck.IntN(from/2 + 1)
	s.g.bank.write([2]int{a, b}, [2]int{from - sum, to + sum}, [2]lab.Token{mine[0].grant.Token, mine[1].grant.Token})
	for i, n := range [2]int{a, b} {
		x := mine[i]
		x.wrote = s.g.data.Add(1)
		x.writing = lab.Now()
		ack, err := p.Convert(n, mode.NL, dlm.ValB, lab.Value{Version: x.grant.Version + 1, Data: x.wrote})
		if err := status(fmt.Sprint("EX to NL on account ", n), ack, err); err != nil {
			return err
		}
		x.writing, x.ack = ack.Begin, ack.End
	}
	return nil
}

// write stores both, or nothing.
func (b *bank) write(account, balance [2]int, token [2]lab.Token) {
	b.Lock()
	defer b.Unlock()
	for i, n := range account {
		if token[i].Less(b.seen[n]) {
			b.fenced++
			return
		}
	}
	for i, n := range account {
		b.balance[n], b.seen[n] = balance[i], token[i]
	}
}

// TestMoney plays games with every fault at least once. Further rounds are games of
// chance.
func TestMoney(t *testing.T) {
	for _, c := range []struct {
		hosts  int
		faults []string
	}{
		{3, []string{"cut", "kill", "flapping"}},
		{3, []string{"silent", "agent killed and", "pair"}},
		{3, []string{"freeze", "lossy", "restart"}},
		{3, []string{"freeze and", "deaf", "deaf and", "cut"}},
		{3, []string{"program killed", "program killed and", "silent"}},
		{5, []string{"partition", "agent stopped", "leave"}},
		{5, []string{"two killed", "deaf and", "two frozen"}},
	} {
		t.Run(fmt.Sprintf("%d hosts/%s", c.hosts, strings.Join(c.faults, ", ")), func(t *testing.T) {
			t.Parallel()
			play(t, c.hosts, *seed, c.faults...)
		})
	}
	for round := 1; round < *rounds; round++ {
		luck := rand.New(rand.NewPCG(*seed, uint64(round)))
		hosts := 3 + 2*luck.IntN(2)
		var faults []string
		for i := range 4 {
			kind := kinds[luck.IntN(len(kinds))]
			if i%2 == 0 && luck.IntN(2) == 0 {
				kind += " and"
			}
			faults = append(faults, kind)
		}
		t.Run(fmt.Sprintf("round %d, %d hosts/%s", round, hosts, strings.Join(faults, ", ")), func(t *testing.T) {
			t.Parallel()
			play(t, hosts, *seed+uint64(round), faults...)
		})
	}
}
