package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var (
	schedules = flag.Int("schedules", 2000, "how many schedules to run")
	first     = flag.Uint64("first", 1, "seed of the first schedule")
	seed      = flag.Uint64("seed", 0, "run only this seed, with its whole trace")
	lines     = flag.Int("lines", 80, "lines of trace to print of a failing run")
)

// TestSchedules runs many seeds. A failing one is run again with its trace.
func TestSchedules(t *testing.T) {
	if *seed != 0 {
		out := Run(*seed, true)
		t.Logf("seed %d, %d steps\n%s\n%s", *seed, out.Steps, strings.Join(out.Trace, "\n"), out.Failure)
		if out.Failure != "" {
			t.Fail()
		}
		return
	}
	var counts [countEnd]int
	steps, failed := 0, 0
	for i := 0; i < *schedules; i++ {
		n := *first + uint64(i)
		out := Run(n, false)
		steps += out.Steps
		out.add(&counts)
		if out.Failure == "" {
			continue
		}
		failed++
		if failed == 1 {
			again := Run(n, true)
			from := max(0, len(again.Trace)-*lines)
			t.Errorf("seed %d: %s\n%s\nagain with: go test ./tests/sim -run TestSchedules -seed=%d -v",
				n, out.Failure, strings.Join(again.Trace[from:], "\n"), n)
			if again.Failure != out.Failure {
				t.Errorf("seed %d does not replay: %s", n, again.Failure)
			}
		} else if failed <= 12 {
			t.Errorf("seed %d: %s", n, out.Failure)
		}
	}
	fmt.Fprintf(os.Stderr, "%d schedules, %d steps, %d failed\n%s", *schedules, steps, failed, Report(&counts))
}

// TestReplay: a seed is a schedule, every time.
func TestReplay(t *testing.T) {
	for n := uint64(1); n <= 30; n++ {
		a, b := Run(n, true), Run(n, true)
		for i := range a.Trace {
			if i >= len(b.Trace) || a.Trace[i] != b.Trace[i] {
				t.Fatalf("seed %d differs at line %d: %s", n, i, a.Trace[i])
			}
		}
	}
}
