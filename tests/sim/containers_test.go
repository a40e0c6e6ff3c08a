package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/godlm/godlm/tests/programs"
)

var containerSchedules = flag.Int("containerschedules", 400, "how many schedules of several hosts with containers to run")

// TestContainerSchedules runs many seeds with several hosts whose programs use group lock
// containers.
func TestContainerSchedules(t *testing.T) {
	dir := stores(t)
	if *seed != 0 {
		out := RunContainers(*seed, dir, true)
		t.Logf("seed %d, %d steps\n%s\n%s", *seed, out.Steps, strings.Join(out.Trace, "\n"), out.Failure)
		if out.Failure != "" {
			t.Fail()
		}
		return
	}
	var counts [countEnd]int
	var crowd [crowdEnd]int
	var reached programs.Counts
	states := map[uint64]struct{}{}
	steps, failed := 0, 0
	for i := 0; i < *containerSchedules; i++ {
		n := *first + uint64(i)
		out := RunContainers(n, dir, false)
		steps += out.Steps
		maps.Copy(states, out.States)
		out.add(&counts)
		reached.Add(&out.Programs)
		for j, c := range out.Crowd {
			crowd[j] += c
		}
		if out.Failure == "" {
			continue
		}
		failed++
		if failed == 1 {
			again := RunContainers(n, dir, true)
			from := max(0, len(again.Trace)-*lines)
			t.Errorf("seed %d: %s\n%s\nagain with: go test ./tests/sim -run TestContainerSchedules -seed=%d -v",
				n, out.Failure, strings.Join(again.Trace[from:], "\n"), n)
			if again.Failure != out.Failure {
				t.Errorf("seed %d does not replay: %s", n, again.Failure)
			}
		} else if failed <= 40 {
			t.Errorf("seed %d: %s", n, out.Failure)
		}
	}
	fmt.Fprintf(os.Stderr, "%d schedules of several hosts with containers, %d steps, %d states of the hosts, %d failed\n%s%s",
		*containerSchedules, steps, len(states), failed, ReportCrowd(&crowd, &reached), Report(&counts, otherwise...))
	if *containerSchedules < 400 {
		return
	}
	for i := range countEnd {
		if counts[i] == 0 && !slices.Contains(otherwise, i) {
			t.Errorf("never: %s", strings.TrimSpace(countNames[i]))
		}
	}
	for i, n := range crowd {
		if n == 0 {
			t.Errorf("never: %s", strings.TrimSpace(crowdNames[i]))
		}
	}
	for _, x := range reached.List() {
		if x.N == 0 {
			t.Errorf("never: %s", strings.TrimSpace(x.Name))
		}
	}
}

// otherwise is what these schedules do not count: what TestHostSchedules does, and what
// programs with containers count for themselves.
var otherwise = append(slices.Clone(seldom), tokens, notices, invalidations, deadWriters, readInvalid, grantAfterUnlock,
	cancels, expiries, detaches, deadlocks, collections, validations, doubts, imagesWithout, keptValid, directs)

// TestContainerReplay: a seed is a schedule, every time.
func TestContainerReplay(t *testing.T) {
	dir := stores(t)
	for n := uint64(1); n <= 5; n++ {
		a, b := RunContainers(n, dir, true), RunContainers(n, dir, true)
		if len(a.Trace) != len(b.Trace) {
			t.Errorf("seed %d has %d lines, then %d", n, len(a.Trace), len(b.Trace))
		}
		for i := range a.Trace {
			if i >= len(b.Trace) || a.Trace[i] != b.Trace[i] {
				t.Fatalf("seed %d differs at line %d: %s", n, i, a.Trace[i])
			}
		}
	}
}
