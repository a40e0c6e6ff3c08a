package main

import "fmt"

// pairsTurns measures lock and unlock of one client whom nobody disturbs. Each round is
// preceded by one of round trips.
type pairsTurns struct {
	*bench
	role        role
	mine, trip  *rate
	took, trips []float64
	ratios      []float64
}

func newPairs(b *bench) (all []turns, err error) {
	for i, role := range b.x.roles(pairRoles) {
		t := &pairsTurns{bench: b, role: role}
		resource := fmt.Sprint("pairs", i)
		if role.keeper {
			if _, err := b.keeper(1, resource); err != nil {
				return nil, err
			}
		}
		d, err := b.client(0)
		if err != nil {
			return nil, err
		}
		if t.mine, err = newRate(d, resource); err != nil {
			return nil, err
		}
		p, err := b.pinger(b.place)
		if err != nil {
			return nil, err
		}
		if t.trip, err = newRate(p, "-"); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func (t *pairsTurns) many() int { return *runs }

func (t *pairsTurns) turn(int) error {
	trip, err := t.trip.round()
	if err != nil {
		return err
	}
	v, err := t.mine.round()
	if err != nil {
		return err
	}
	t.took, t.trips, t.ratios = append(t.took, v), append(t.trips, trip), append(t.ratios, v/trip)
	return nil
}

func (t *pairsTurns) rows() []row {
	return []row{{Name: t.role.of(t.x), What: whatPairs, Unit: "us",
		Value: num(median(t.took)), Baseline: num(median(t.trips)), Ratio: num(median(t.ratios)), Runs: len(t.took)}}
}
