package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// turns are a measurement of a system that is made up of several turns. Those of all
// systems alternate, so that what else the machine does disturbs them alike.
type turns interface {
	many() int
	turn(n int) error
	rows() []row // after the last turn
}

// kind is a kind of measurement.
type kind struct {
	name   string // as it is asked for
	what   string // is its first row
	places []*placement
	start  func(*bench) ([]turns, error)
	// waits: leases are waited for, so that all of these can be waited for at once.
	waits bool
}

// entrant is a system that takes part in a contest, until it fails.
type entrant struct {
	*bench
	x     *system
	turns []turns
	err   error
}

// contest measures some systems, with all servers running from beginning to end.
func contest(base string, some []*system, k kind, place *placement) (rows []row, failed error) {
	all := make([]*entrant, len(some))
	for i, x := range some {
		say("%s, %s: %s starts", k.what, place.name, x)
		all[i] = enter(base, x, k, place)
	}
	if k.waits {
		waitTogether(all)
	}
	takeTurns(all, k, place)
	for _, e := range all {
		if e.bench != nil {
			e.fail(e.close())
		}
		if e.err != nil {
			err := fmt.Errorf("%s: %s, %s: %w", e.x, k.what, place.name, e.err)
			say("%v", err)
			failed = errors.Join(failed, err)
			rows = append(rows, row{Name: e.x.String(), What: k.what, Placement: place.name, LeftOut: e.err.Error(), x: e.x})
			continue
		}
		for _, t := range e.turns {
			for _, r := range t.rows() {
				r.Placement, r.x = place.name, e.x
				rows = append(rows, r)
			}
		}
	}
	return rows, failed
}

// enter starts a system's servers and clients.
func enter(base string, x *system, k kind, place *placement) *entrant {
	e := &entrant{x: x}
	e.bench, e.err = newBench(base, x, place)
	if e.err == nil {
		e.turns, e.err = k.start(e.bench)
	}
	return e
}

func (e *entrant) fail(err error) { e.err = errors.Join(e.err, err) }

// takeTurns lets one after the other have a turn, until all have had all theirs.
func takeTurns(all []*entrant, k kind, place *placement) {
	for n, more := 0, true; more; n++ {
		more = false
		for _, e := range all {
			if k.waits && e.x.leased {
				continue
			}
			for _, t := range e.turns {
				if e.err == nil && n < t.many() {
					if !more {
						say("%s, %s: turn %d", k.what, place.name, n+1)
					}
					more = true
					e.fail(t.turn(n))
				}
			}
		}
	}
}

// waitTogether lets those who have leases have their turns, all at once.
func waitTogether(all []*entrant) {
	var done sync.WaitGroup
	for _, e := range all {
		if e.err != nil || !e.x.leased {
			continue
		}
		say("%s: leases", e.x)
		done.Go(func() {
			for _, t := range e.turns {
				for n := range t.many() {
					if e.err == nil {
						e.fail(t.turn(n))
					}
				}
			}
		})
	}
	done.Wait()
}

// say tells what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
