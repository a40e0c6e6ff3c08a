package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var hostSchedules = flag.Int("hostschedules", 5000, "how many schedules of several hosts to run")

// stores is a directory in memory if there is one: the stores are written a lot.
func stores(t *testing.T) string {
	base := "/dev/shm"
	if st, err := os.Stat(base); err != nil || !st.IsDir() {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "godlm-sim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestHostSchedules runs many seeds with several hosts.
func TestHostSchedules(t *testing.T) {
	dir := stores(t)
	if *seed != 0 {
		out := RunHosts(*seed, dir, true)
		t.Logf("seed %d, %d steps\n%s\n%s", *seed, out.Steps, strings.Join(out.Trace, "\n"), out.Failure)
		if out.Failure != "" {
			t.Fail()
		}
		return
	}
	var counts [countEnd]int
	states := map[uint64]struct{}{}
	steps, failed := 0, 0
	for i := 0; i < *hostSchedules; i++ {
		n := *first + uint64(i)
		out := RunHosts(n, dir, false)
		steps += out.Steps
		maps.Copy(states, out.States)
		out.add(&counts)
		if out.Failure == "" {
			continue
		}
		failed++
		if failed == 1 {
			again := RunHosts(n, dir, true)
			from := max(0, len(again.Trace)-*lines)
			t.Errorf("seed %d: %s\n%s\nagain with: go test ./tests/sim -run TestHostSchedules -seed=%d -v",
				n, out.Failure, strings.Join(again.Trace[from:], "\n"), n)
			if again.Failure != out.Failure {
				t.Errorf("seed %d does not replay: %s", n, again.Failure)
			}
		} else if failed <= 40 {
			t.Errorf("seed %d: %s", n, out.Failure)
		}
	}
	fmt.Fprintf(os.Stderr, "%d schedules of several hosts, %d steps, %d states of the hosts, %d failed\n%s", *hostSchedules, steps, len(states), failed, Report(&counts))
	if *hostSchedules < 5000 {
		return
	}
	for i := range countEnd {
		if counts[i] == 0 && !slices.Contains(seldom, i) {
			t.Errorf("never: %s", strings.TrimSpace(countNames[i]))
		}
	}
}

// seldom is what schedules of several hosts need not reach: what those of a host alone do.
var seldom = []int{journalFull, directoryFull, rebuiltInvalid, lastWords}

// TestHostReplay: a seed is a schedule, every time.
func TestHostReplay(t *testing.T) {
	dir := stores(t)
	for n := uint64(1); n <= 10; n++ {
		a, b := RunHosts(n, dir, true), RunHosts(n, dir, true)
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
