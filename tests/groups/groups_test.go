package groups

import (
	"flag"
	"strings"
	"testing"
)

var (
	schedules = flag.Int("schedules", 1000, "how many schedules to run")
	first     = flag.Uint64("first", 1, "seed of the first schedule")
	seed      = flag.Uint64("seed", 0, "run only this seed, with its whole trace")
)

// TestSchedules runs many seeds. A failing one is run again with its trace.
func TestSchedules(t *testing.T) {
	if *seed != 0 {
		fault, trace, _, _ := Run(*seed, true)
		t.Logf("%s\n%s", strings.Join(trace, "\n"), fault)
		if fault != "" {
			t.Fail()
		}
		return
	}
	calls, kills, failed := 0, 0, 0
	for i := range *schedules {
		n := *first + uint64(i)
		fault, _, c, k := Run(n, false)
		calls, kills = calls+c, kills+k
		if fault == "" {
			continue
		}
		if failed++; failed == 1 {
			_, trace, _, _ := Run(n, true)
			t.Errorf("seed %d: %s\n%s\nagain with: go test ./tests/groups -run TestSchedules -seed=%d -v",
				n, fault, strings.Join(trace[max(0, len(trace)-60):], "\n"), n)
		} else if failed < 12 {
			t.Errorf("seed %d: %s", n, fault)
		}
	}
	t.Logf("%d schedules, %d calls, %d kills, %d failed", *schedules, calls, kills, failed)
	if kills < *schedules/2 {
		t.Errorf("only %d kills in %d schedules", kills, *schedules)
	}
}

// TestReplay: a seed is a schedule, every time.
func TestReplay(t *testing.T) {
	for n := uint64(1); n <= 30; n++ {
		_, a, _, _ := Run(n, true)
		_, b, _, _ := Run(n, true)
		for i := range a {
			if i >= len(b) || a[i] != b[i] {
				t.Fatalf("seed %d differs at line %d: %s", n, i, a[i])
			}
		}
	}
}
