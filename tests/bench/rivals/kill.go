package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// killTurns measures from the end of a holder's process until who waits has the lock.
type killTurns struct {
	*bench
	role       role
	id         int
	took, ends []float64
}

func newKill(b *bench) (all []turns, err error) {
	for i, role := range b.x.roles(killRoles) {
		all = append(all, &killTurns{bench: b, role: role, id: i})
	}
	return all, nil
}

func (t *killTurns) many() int {
	if t.x.leased {
		return 1 // of several that die at once: it is waiting that takes the time
	}
	return *kills
}

func (t *killTurns) turn(run int) error {
	end, err := endOfConnection(t.bench)
	if err != nil {
		return err
	}
	n := 1
	if t.x.leased {
		n = *leases
	}
	took, err := killOnce(t.bench, t.role, fmt.Sprintf("kill%d.%d", t.id, run), n)
	if err != nil {
		return err
	}
	t.ends, t.took = append(t.ends, end), append(t.took, took...)
	return nil
}

func (t *killTurns) rows() []row {
	name, n := t.role.of(t.x), len(t.took)
	figure := func(what string, v, base float64) row {
		return row{Name: name, What: what, Unit: "ms", Value: num(v), Baseline: num(base), Ratio: num(v / base), Runs: n}
	}
	return []row{
		figure(whatKill, median(t.took), median(t.ends)),
		figure(whatWorst, slices.Max(t.took), slices.Max(t.ends)),
	}
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
	if role.bystander {
		d, err := b.client(1)
		if err != nil {
			return nil, err
		}
		defer d.quit()
	}
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
