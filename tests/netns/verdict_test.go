package netns

import (
	"strings"
	"testing"
	"time"

	"github.com/godlm/godlm/tests/lab"
)

// TestVerdict: what a slow machine excuses, and what it does not.
func TestVerdict(t *testing.T) {
	a, b := &lab.Host{Name: "a"}, &lab.Host{Name: "b"}
	const quick, lazy = time.Millisecond, lease / 2
	struck := []strike{{host: a, from: 10, to: 20}}
	for _, c := range []struct {
		name, fatal, err string
		losses           map[*lab.Host][]int64
		late             time.Duration
		last             bool
		again            bool
		faults           string // part of each, in order, a blank between; "": none
	}{
		{name: "all well", late: lazy},
		{name: "who was struck has lost its lease", losses: map[*lab.Host][]int64{a: {15}}, late: quick},
		{name: "another has, and the machine is quick", losses: map[*lab.Host][]int64{b: {15}}, late: quick, faults: "lease"},
		{name: "it has when it was not struck any more", losses: map[*lab.Host][]int64{a: {15, 25}}, late: quick, faults: "lease"},
		{name: "another has, and the test goes well", losses: map[*lab.Host][]int64{b: {15}}, late: lazy},
		{name: "another has, and the test does not go on", losses: map[*lab.Host][]int64{b: {15}}, late: lazy, fatal: "F", again: true},
		{name: "nor on a quick machine", losses: map[*lab.Host][]int64{b: {15}}, late: quick, fatal: "F", faults: "F lease"},
		{name: "nor with the longest lease", losses: map[*lab.Host][]int64{b: {15}}, late: lazy, fatal: "F", last: true, faults: "F"},
		{name: "it does not go on, and nobody has lost anything", late: lazy, fatal: "F", faults: "F"},
		{name: "it does not go on without who was struck", losses: map[*lab.Host][]int64{a: {15}}, late: lazy, fatal: "F", faults: "F"},
		{name: "what must never be", losses: map[*lab.Host][]int64{b: {15}}, late: lazy, fatal: "F", err: "E", faults: "E F"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &trial{lease: lease, lab: &lab.Lab{Hosts: []*lab.Host{a, b}}, strikes: struck, losses: c.losses, fatal: c.fatal,
				late: func(int64, int64) (time.Duration, time.Duration) { return c.late, 0 }}
			if c.err != "" {
				x.errors = []string{c.err}
			}
			excuse, faults := x.verdict(c.last)
			want := strings.Fields(c.faults)
			ok := (excuse != "") == c.again && len(faults) == len(want)
			for i := 0; ok && i < len(want); i++ {
				ok = strings.Contains(faults[i], want[i])
			}
			if !ok {
				t.Errorf("excuse %q, faults %q; want again %v, faults %q", excuse, faults, c.again, want)
			}
		})
	}
}
