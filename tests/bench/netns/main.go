// Command netns measures locks whose master is on another host: two hosts in network
// namespaces with a link between them, streams encrypted. It prints what the probe prints,
// whose two sides it starts, one on each host.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/godlm/godlm/tests/lab"
)

var (
	runs = flag.Int("runs", 7, "of each figure")
	_    = flag.Bool("json", false, "print JSON, which is all that it does")
)

// port is where the baseline's server listens.
const port = 4001

// goal is that of the synchronous pair, in ping-pongs of the baseline.
const goal = "1.6"

func main() {
	flag.Parse()
	lab.Main(func(missing error) int {
		r := &reporter{}
		defer r.end()
		if missing != nil {
			r.Logf("netns: skipped, there are no network namespaces: %v", missing)
			return 0
		}
		l := lab.New(r, lab.Options{Hosts: 2, Lease: 5 * time.Second, Suspect: 3 * time.Second, Direct: true})
		l.Start()
		for _, cpu := range []int{0, 1} {
			if cpu < runtime.NumCPU() {
				measure(l, cpu)
			}
		}
		return 0
	})
}

// measure has the server's side run on the first CPU and the user's on that one.
func measure(l *lab.Lab, cpu int) {
	probe := filepath.Join(l.Root(), "build/bench/probe")
	address := fmt.Sprintf("%s:%d", l.Hosts[0].Addr(), port+cpu)
	server := exec.Command(probe, "serve", "0", address)
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err == nil {
		_, err = l.Hosts[0].Start(server)
	}
	if err != nil {
		l.Fatalf("%v", err)
	}
	if s := bufio.NewScanner(out); !s.Scan() || s.Text() != "ready" {
		l.Fatalf("the master says %q: %v", s.Text(), s.Err())
	}
	where := [...]string{"two hosts, one CPU", "two hosts, two CPUs"}[cpu]
	user := exec.Command(probe, "--runs", strconv.Itoa(*runs), "use", strconv.Itoa(cpu), address, "hosts", where, goal)
	user.Stdout, user.Stderr = os.Stdout, os.Stderr
	wait, err := l.Hosts[1].Start(user)
	if err == nil {
		err = wait()
	}
	if err != nil {
		l.Fatalf("%v", err)
	}
	_ = server.Process.Kill() // else it ends with the lab
}

// reporter is the lab's T of a program that is no test.
type reporter struct{ cleanups []func() }

var _ lab.T = (*reporter)(nil)

func (r *reporter) Helper()                         {}
func (r *reporter) Failed() bool                    { return false }
func (r *reporter) Cleanup(f func())                { r.cleanups = append(r.cleanups, f) }
func (r *reporter) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf ends the program.
func (r *reporter) Fatalf(format string, args ...any) {
	r.Logf("netns: "+format, args...)
	r.end()
	os.Exit(1)
}

func (r *reporter) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}
