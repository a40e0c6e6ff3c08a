package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godlm/godlm/tests/lab"
)

// A lease is a promise about time, and a machine that gives a process no processor, or no
// disk, for the rest of it ends it: that is what a lease is for. So a test here is tried
// with a short lease first. If a host to which nothing was done has lost its lease, the
// machine decides what that means: if it was as slow, by its own measure, the test cannot
// say more and is tried again with twice the lease; if not, that is an error. What may
// never be, however slow the machine, is an error each time: an Error, and all that the
// judge of the histories says. A Fatal that is not excused is one, too.

const (
	// lease is that of the first trial.
	lease   = time.Second
	suspect = lease * 3 / 5
	// trials is how many there are, each with twice the lease of the one before.
	trials = 5
	// slow: where things were late by more than that part of a lease, all together, it is
	// the machine that could not hold it. A third of it is what the loss of a leader leaves.
	slow = 6
	// lateness is what no measure sees.
	lateness = 10 * time.Millisecond
)

// pulse measures this machine. nil: it cannot have a lab.
var pulse *lab.Pulse

// trial is one attempt of a test.
type trial struct {
	*testing.T
	lease, suspect time.Duration
	lab            *lab.Lab

	mu       sync.Mutex
	errors   []string // that nothing excuses
	fatal    string   // why it could not go on; "": it could
	log      []string
	cleanups []func()
	strikes  []strike
	losses   map[*lab.Host][]int64 // of leases, when the trial had ended
	late     func(from, to int64) (sum, worst time.Duration)
}

// strike is a time in which something was done to a host. to is 0 until it is over.
type strike struct {
	host     *lab.Host
	from, to int64
}

// try runs a test.
func try(t *testing.T, do func(t *trial)) {
	t.Helper()
	needLab(t)
	for n := range trials {
		x := &trial{T: t, lease: lease << n, suspect: suspect << n, late: pulse.Late}
		done := make(chan struct{})
		go func() { // a Fatal ends the goroutine and not the test
			defer close(done)
			defer x.end()
			do(x)
		}()
		<-done
		if x.again(n == trials-1) {
			continue
		}
		return
	}
}

// needLab skips what cannot be done on this machine.
func needLab(t *testing.T) {
	t.Helper()
	if missing == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("hosts on this machine: %v", missing)
	}
	t.Skipf("hosts on this machine: %v", missing)
}

// again reports whether the test is to be tried once more. Otherwise it tells what there is
// to tell.
func (x *trial) again(last bool) bool {
	x.T.Helper()
	excuse, errors := x.verdict(last)
	if excuse != "" {
		x.T.Log(excuse)
		return true
	}
	for _, line := range x.log {
		x.T.Log(line)
	}
	for _, e := range errors {
		x.T.Error(e)
	}
	return false
}

// verdict is why the trial says nothing, or else what was wrong.
func (x *trial) verdict(last bool) (excuse string, errors []string) {
	errors = slices.Clone(x.errors)
	if x.fatal != "" {
		errors = append(errors, x.fatal)
	}
	host, at := x.lossOf()
	if host == nil {
		return "", errors
	}
	late, _ := x.late(at-int64(x.lease*5/4), at) // it was asked for a quarter before the lease that it did not get
	switch {
	case late <= x.lease/slow:
		return "", append(errors, fmt.Sprintf("host %s, to which nothing was done, has lost its lease of %v; things were no more than %v late meanwhile", host.Name, x.lease, late))
	case len(x.errors) > 0 || x.fatal == "" || last:
		return "", errors
	}
	return fmt.Sprintf("with a lease of %v host %s has lost it, and things were %v late meanwhile: once more, with twice that (%s)", x.lease, host.Name, late, x.fatal), nil
}

// lossOf is a host that has lost its lease though nothing was done to it, and when; nil: there
// is none. Whoever is struck may be told a lease later.
func (x *trial) lossOf() (*lab.Host, int64) {
	if x.lab == nil {
		return nil, 0
	}
	for _, h := range x.lab.Hosts {
		for _, at := range x.losses[h] {
			if !slices.ContainsFunc(x.strikes, func(s strike) bool { return s.host == h && at >= s.from && (s.to == 0 || at <= s.to) }) {
				return h, at
			}
		}
	}
	return nil, 0
}

// strike says that something is done to hosts, so that they lose their leases.
func (x *trial) strike(hosts ...*lab.Host) {
	for _, h := range hosts {
		x.strikes = append(x.strikes, strike{host: h, from: lab.Now()})
	}
}

// back waits until all hosts are members, as nothing is done to them any more.
func (x *trial) back() {
	x.Helper()
	x.lab.AwaitMembers(x.lab.Hosts...)
	for i := range x.strikes {
		if x.strikes[i].to == 0 {
			x.strikes[i].to = lab.Now()
		}
	}
}

// end judges what has happened and ends the lab.
func (x *trial) end() {
	if x.lab != nil {
		x.losses = map[*lab.Host][]int64{}
		for _, h := range x.lab.Hosts {
			x.losses[h] = h.Losses()
		}
		x.judge()
	}
	for _, f := range slices.Backward(x.cleanups) {
		f()
	}
}

// Cleanup implements lab.T.
func (x *trial) Cleanup(f func()) { x.cleanups = append(x.cleanups, f) }

// Failed implements lab.T.
func (x *trial) Failed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fatal != "" || len(x.errors) > 0
}

// Logf implements lab.T.
func (x *trial) Logf(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.log = append(x.log, fmt.Sprintf(format, args...))
}

// Error says what must not be, on no machine.
func (x *trial) Error(args ...any) { x.Errorf("%s", fmt.Sprint(args...)) }

// Errorf is Error.
func (x *trial) Errorf(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.errors = append(x.errors, where()+fmt.Sprintf(format, args...))
}

// Fatal says why the trial cannot go on.
func (x *trial) Fatal(args ...any) { x.Fatalf("%s", fmt.Sprint(args...)) }

// Fatalf implements lab.T, and is Fatal.
func (x *trial) Fatalf(format string, args ...any) {
	x.mu.Lock()
	x.fatal = where() + fmt.Sprintf(format, args...)
	x.mu.Unlock()
	runtime.Goexit()
}

// where is the line of a test that has called; the nearest that is not of this file.
func where() string {
	var pc [32]uintptr
	for frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc[:])]); ; {
		f, more := frames.Next()
		name := filepath.Base(f.File)
		if name != "trial_test.go" && name != "lab.go" {
			return fmt.Sprintf("%s:%d: ", name, f.Line)
		}
		if !more {
			return ""
		}
	}
}

// within: what was begun at a time, by lab.Now, must have ended by another. usual is what it
// takes on a machine that is never late.
func (x *trial) within(what string, from, to int64, usual time.Duration) {
	x.Helper()
	late, _ := x.late(from, to)
	if took, most := time.Duration(to-from), 2*usual+time.Second+4*late; took > most {
		x.Fatalf("%s after %v; it should take %v, and no more than %v as things were %v late", what, took, usual, most, late)
	}
}

// failover is how long others wait for a host that is lost, with the election of another
// leader: the formula of godlm-cluster(7).
func (x *trial) failover() time.Duration { return x.suspect + 20*x.lease/50 + x.lease*101/100 }

// longer is for what needs more of a lease than the loss of a leader does.
func (x *trial) longer(times time.Duration) { x.lease, x.suspect = times*x.lease, times*x.suspect }

// newLab makes hosts whose agents are members.
func newLab(t lab.T, hosts int, opt ...func(*lab.Options)) *lab.Lab {
	t.Helper()
	o := lab.Options{Hosts: hosts, Lease: lease, Suspect: suspect, Seed: *seed}
	x, isTrial := t.(*trial)
	if isTrial {
		o.Lease, o.Suspect = x.lease, x.suspect
	}
	for _, f := range opt {
		f(&o)
	}
	l := lab.New(t, o)
	if isTrial {
		x.lab = l
	}
	l.Start()
	return l
}
