package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// hotTurns measures many clients that all want the same lock all the time. Two processes
// that may use all CPUs sometimes share one and sometimes do not, which makes a
// difference of ten times; so the round trips are on one CPU.
type hotTurns struct {
	*bench
	trip    *rate
	clients []*driven
	word    string // a file: who holds the lock

	speed, trips, ratios     []float64
	jains, extremes, longest []float64
	broken                   float64
}

func newHot(b *bench) (_ []turns, err error) {
	one, _, _, err := placements()
	if err != nil {
		return nil, err
	}
	p, err := b.pinger(one)
	if err != nil {
		return nil, err
	}
	t := &hotTurns{bench: b, word: b.path("holder")}
	if t.trip, err = newRate(p, "-"); err != nil {
		return nil, err
	}
	for i := range *clients {
		// One after the other: so many connecting at once say nothing about locks.
		d, err := b.client(i)
		if err != nil {
			return nil, err
		}
		t.clients = append(t.clients, d)
	}
	return []turns{t}, os.WriteFile(t.word, make([]byte, 8), 0o600)
}

func (t *hotTurns) many() int { return *runs }

func (t *hotTurns) turn(run int) error {
	us, err := t.trip.round()
	if err != nil {
		return err
	}
	counts, longest, broken, err := hotOnce(t.clients, fmt.Sprint("hot", run), t.word)
	if err != nil {
		return err
	}
	speed, trips := sum(counts)/window.Seconds(), 1e6/us
	t.speed, t.trips, t.ratios = append(t.speed, speed), append(t.trips, trips), append(t.ratios, speed/trips)
	t.jains, t.extremes = append(t.jains, jain(counts)), append(t.extremes, slices.Min(counts)/max(1, slices.Max(counts)))
	t.longest = append(t.longest, longest)
	t.broken += broken
	return nil
}

func (t *hotTurns) rows() []row {
	name, n := t.x.String(), len(t.speed)
	return []row{
		{Name: name, What: whatHot, Unit: "pairs/s", Value: num(median(t.speed)), Baseline: num(median(t.trips)), Ratio: num(median(t.ratios)), Runs: n},
		{Name: name, What: whatJain, Unit: "index", Value: num(median(t.jains)), Runs: n},
		{Name: name, What: whatMinMax, Unit: "ratio", Value: num(median(t.extremes)), Runs: n},
		{Name: name, What: whatLongest, Unit: "ms", Value: num(median(t.longest)), Runs: n},
		{Name: name, What: whatBroken, Unit: "times", Value: num(t.broken), Runs: n},
	}
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
