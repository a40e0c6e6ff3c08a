package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/host"
)

// Since when a program is stopped. Nobody is told when that happens, but its parent. What
// the kernel knows is when each thread has run last (proc_pid_sched(5), se.exec_start),
// by a clock that each CPU has: it goes on while something else runs there or nothing
// does, without the time that interrupts or other guests of the machine have taken, and
// without that of a suspended machine. So the difference to a thread that runs on that
// CPU now is at most what has passed, and a program of which no thread runs is stopped
// for as long, or longer. Where that is not to be seen, its age is at least as much.

// userHz is the unit of times in /proc/<pid>/stat, which the kernel's interface fixes.
const userHz = 100

// stoppedFor is for how long a process that is stopped has been so, as far as can be told.
func stoppedFor(pid int) (time.Duration, host.Bound) {
	if d, ok := idleFor(pid); ok {
		return d, host.AtLeast
	}
	return ageOf(pid), host.AtMost
}

// idleFor is for how long no thread of a process has run, at least.
func idleFor(pid int) (idle time.Duration, ok bool) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return 0, false
	}
	ran := map[int]time.Duration{} // by CPU
	for _, dir := range threads {
		last, cpu, ok := lastRun(dir)
		if !ok {
			return 0, false
		}
		ran[cpu] = max(ran[cpu], last)
	}
	for cpu, last := range ran {
		now, there := clockOf(cpu)
		if !there {
			return 0, false
		}
		if d := max(0, now-last); !ok || d < idle {
			idle, ok = d, true
		}
	}
	return idle, ok
}

// lastRun is when a thread has run last, and on which CPU.
func lastRun(dir string) (at time.Duration, cpu int, ok bool) {
	f := statFields(dir)
	if len(f) < 37 {
		return 0, 0, false
	}
	cpu, err := strconv.Atoi(f[36])
	if err != nil {
		return 0, 0, false
	}
	b, err := os.ReadFile(filepath.Join(dir, "sched"))
	if err != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "se.exec_start" {
			ms, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return time.Duration(ms * float64(time.Millisecond)), cpu, err == nil && ms > 0
		}
	}
	return 0, 0, false
}

// clockOf is what the clock of a CPU has shown not long ago: when a thread here began to
// run on it. That is why it may be a little less than now, and is never more.
func clockOf(cpu int) (now time.Duration, ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		var set unix.CPUSet
		set.Set(cpu)
		if unix.SchedSetaffinity(0, &set) != nil {
			return // this process must not run there, or nobody can now
		}
		var on int
		if now, on, ok = lastRun("/proc/thread-self"); on != cpu {
			ok = false
		}
	}()
	<-done
	return now, ok
}

// ageOf is for how long a process has been there.
func ageOf(pid int) time.Duration {
	f := statFields(fmt.Sprintf("/proc/%d", pid))
	var now unix.Timespec
	if len(f) < 20 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	ticks, err := strconv.ParseInt(f[19], 10, 64)
	if err != nil {
		return 0
	}
	return max(0, time.Duration(now.Nano())-time.Duration(ticks)*time.Second/userHz)
}

// statFields are the fields of a stat file behind the program's name, the state first.
func statFields(dir string) []string {
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	i := strings.LastIndex(string(b), ") ")
	if err != nil || i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+2:]))
}
