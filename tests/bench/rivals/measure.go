package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
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

// bench is one measurement of a system on a site of its own.
type bench struct {
	*site
	x     *system
	addrs []string
	rows  []row
}

// measure makes a site with the system's servers, and measures.
func measure(base string, x *system, place *placement, f func(*bench) error) (rows []row, err error) {
	s, err := newSite(base, place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	b := &bench{site: s, x: x}
	if b.addrs, err = x.start(s, x.nodes); err != nil {
		return nil, err
	}
	if err = f(b); err != nil {
		return nil, err
	}
	return b.rows, nil
}

func (b *bench) client(host int) (*driven, error) {
	d, _, err := b.startClient(fmt.Sprint("client of host ", host), b.x.client(b.site, b.addrs, host), b.place.client)
	return d, err
}

// keeper is a process, where the servers are, that masters a resource.
func (b *bench) keeper(host int, resource string) (*driven, error) {
	d, _, err := b.startClient("keeper", b.x.client(b.site, b.addrs, host), b.place.servers)
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

// measurePairs measures lock and unlock of one client whom nobody disturbs. It takes turns with
// round trips.
func measurePairs(b *bench) error {
	for i, role := range b.x.roles(pairRoles) {
		if err := pairsOf(b, role, fmt.Sprint("pairs", i)); err != nil {
			return err
		}
	}
	return nil
}

func pairsOf(b *bench, role role, resource string) error {
	if role.keeper {
		k, err := b.keeper(1, resource)
		if err != nil {
			return err
		}
		defer k.quit()
	}
	d, err := b.client(0)
	if err != nil {
		return err
	}
	defer d.quit()
	trip, err := b.pinger(b.place)
	if err != nil {
		return err
	}
	defer trip.quit()
	mine, err := newRate(d, resource)
	if err != nil {
		return err
	}
	base, err := newRate(trip, "-")
	if err != nil {
		return err
	}
	var took, trips, ratios []float64
	for range *runs {
		t, err := base.round()
		if err != nil {
			return err
		}
		v, err := mine.round()
		if err != nil {
			return err
		}
		took, trips, ratios = append(took, v), append(trips, t), append(ratios, v/t)
	}
	b.row(role, row{What: whatPairs, Unit: "us", Value: num(median(took)), Baseline: num(median(trips)), Ratio: num(median(ratios)), Runs: *runs})
	return nil
}

// measureHot measures many clients that all want the same lock all the time. Two
// processes that may use all CPUs sometimes share one and sometimes do not, which makes
// a difference of ten times; so the round trips are on one CPU.
func measureHot(b *bench) error {
	one, _, _, err := placements()
	if err != nil {
		return err
	}
	trip, err := b.pinger(one)
	if err != nil {
		return err
	}
	base, err := newRate(trip, "-")
	if err != nil {
		return err
	}
	all := make([]*driven, *clients)
	for i := range all {
		// One after the other: so many connecting at once say nothing about locks.
		if all[i], err = b.client(i); err != nil {
			return err
		}
	}
	word := b.path("holder")
	if err := os.WriteFile(word, make([]byte, 8), 0o600); err != nil {
		return err
	}
	var speed, trips, ratios, jains, extremes, waits []float64
	broken := 0.0
	for run := range *runs {
		t, err := base.round()
		if err != nil {
			return err
		}
		counts, longest, twice, err := hotOnce(all, fmt.Sprint("hot", run), word)
		if err != nil {
			return err
		}
		v, t := sum(counts)/window.Seconds(), 1e6/t
		speed, trips, ratios = append(speed, v), append(trips, t), append(ratios, v/t)
		jains, extremes = append(jains, jain(counts)), append(extremes, slices.Min(counts)/max(1, slices.Max(counts)))
		waits = append(waits, longest)
		broken += twice
	}
	b.row(role{}, row{What: whatHot, Unit: "pairs/s", Value: num(median(speed)), Baseline: num(median(trips)), Ratio: num(median(ratios)), Runs: *runs})
	b.row(role{}, row{What: whatJain, Unit: "index", Value: num(median(jains)), Runs: *runs})
	b.row(role{}, row{What: whatMinMax, Unit: "ratio", Value: num(median(extremes)), Runs: *runs})
	b.row(role{}, row{What: whatLongest, Unit: "ms", Value: num(median(waits)), Runs: *runs})
	b.row(role{}, row{What: whatBroken, Unit: "times", Value: num(broken), Runs: *runs})
	return nil
}

// hotOnce is one run: how many pairs each client did, the longest wait of any, and how
// often two held the lock at once.
func hotOnce(all []*driven, resource, word string) (counts []float64, longest, broken float64, err error) {
	start := now() + int64(100*time.Millisecond) // all have been told by then
	from := start + int64(warmUp)
	until := from + int64(*window)
	for _, d := range all {
		if err := d.send("hot %s %d %d %d %s", resource, start, from, until, word); err != nil {
			return nil, 0, 0, err
		}
	}
	for _, d := range all {
		a, err := d.receive(warmUp + *window + answerBound)
		if err != nil {
			return nil, 0, 0, err
		}
		counts = append(counts, float64(a[0]))
		longest, broken = max(longest, float64(a[1])/1e6), broken+float64(a[2])
	}
	return counts, longest, broken, nil
}

// measureKill measures from the end of a holder's process until who waits has the lock.
func measureKill(b *bench) error {
	for i, role := range b.x.roles(killRoles) {
		n, each := *kills, 1
		if b.x.leased {
			// It is waiting that takes the time: they wait together.
			n, each = *leases, *leases
		}
		var took, ends []float64
		for i0 := 0; i0 < n; i0 += each {
			resource := fmt.Sprintf("kill%d.%d", i, i0)
			t, err := endOfConnection(b)
			if err != nil {
				return err
			}
			v, err := killOnce(b, role, resource, each)
			if err != nil {
				return err
			}
			ends, took = append(ends, t), append(took, v...)
		}
		m, base := median(took), median(ends)
		b.row(role, row{What: whatKill, Unit: "ms", Value: num(m), Baseline: num(base), Ratio: num(m / base), Runs: n})
		b.row(role, row{What: whatWorst, Unit: "ms", Value: num(slices.Max(took)), Baseline: num(slices.Max(ends)), Ratio: num(slices.Max(took) / slices.Max(ends)), Runs: n})
	}
	return nil
}

// killOnce kills the holders of some locks, and returns how long each waiter had to wait.
func killOnce(b *bench, role role, resource string, n int) ([]float64, error) {
	var holders, waiters []*driven
	name := func(i int) string { return fmt.Sprintf("%s.%d", resource, i) }
	defer func() {
		for _, d := range slices.Concat(waiters, holders) {
			d.quit()
		}
	}()
	for i := range n {
		if role.keeper {
			k, err := b.keeper(2, name(i))
			if err != nil {
				return nil, err
			}
			defer k.quit()
		}
		h, err := b.client(1)
		if err != nil {
			return nil, err
		}
		holders = append(holders, h)
		w, err := b.client(0)
		if err != nil {
			return nil, err
		}
		waiters = append(waiters, w)
	}
	for i, h := range holders {
		if _, err := h.ask("lock %s", name(i)); err != nil {
			return nil, err
		}
		if err := waiters[i].send("lock %s", name(i)); err != nil {
			return nil, err
		}
	}
	for _, w := range waiters {
		if _, err := w.receive(settle / time.Duration(n)); !errors.Is(err, errSilent) {
			return nil, fmt.Errorf("two hold a lock, or %w", err)
		}
	}
	return endAndWait(holders, waiters)
}

// endAndWait kills each holder, and returns how many milliseconds passed from then until
// the waiter had what it waited for.
func endAndWait(holders, waiters []*driven) (took []float64, err error) {
	at := make([]int64, len(holders))
	for i, h := range holders {
		if at[i], err = h.kill(); err != nil {
			return nil, err
		}
	}
	for i, w := range waiters {
		a, err := w.receive(answerBound)
		if err != nil {
			return nil, err
		}
		took = append(took, float64(a[0]-at[i])/1e6)
	}
	return took, nil
}

// endOfConnection is how long it takes until a process sees that another, to whom it has
// a connection, was killed.
func endOfConnection(b *bench) (float64, error) {
	ip := b.ip(0)
	w, port, err := b.startClient("eof", b.command(clientC(), "eof", ip), b.place.servers)
	if err != nil {
		return 0, err
	}
	defer w.quit()
	h, _, err := b.startClient("ping", b.command(clientC(), "ping", ip, fmt.Sprint(port)), b.place.client)
	if err != nil {
		return 0, err
	}
	defer h.quit()
	if err := w.send("lock -"); err != nil {
		return 0, err
	}
	if _, err := w.receive(settle); !errors.Is(err, errSilent) {
		return 0, fmt.Errorf("the connection has ended, or %w", err)
	}
	took, err := endAndWait([]*driven{h}, []*driven{w})
	if err != nil {
		return 0, err
	}
	return took[0], nil
}
