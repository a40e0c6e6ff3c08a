package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// placement says which CPUs servers and clients may use.
type placement struct {
	name            string
	servers, client *unix.CPUSet // nil: all that this process may use
}

// placements are one CPU for all, one for servers and one for clients, and all for all.
// The second is nil where there is only one CPU.
func placements() (one, two, all *placement, err error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return nil, nil, nil, fmt.Errorf("CPUs that may be used: %w", err)
	}
	var each []*unix.CPUSet
	for cpu := range len(may) * 64 {
		if may.IsSet(cpu) {
			s := &unix.CPUSet{}
			s.Set(cpu)
			each = append(each, s)
		}
	}
	one = &placement{"one CPU", each[0], each[0]}
	if len(each) > 1 {
		two = &placement{"two CPUs", each[0], each[1]}
	}
	return one, two, &placement{fmt.Sprintf("all %d CPUs", len(each)), nil, nil}, nil
}

// site is where the processes of one measurement are: a directory, and addresses of the
// loopback network that no other run uses.
type site struct {
	dir   string
	place *placement
	procs []*process
}

// command is what will be a process.
type command struct {
	*exec.Cmd
	as  *syscall.Credential // whom it runs as; nil: as this one
	end syscall.Signal      // what ends it, also when this process ends
}

// process is a server or a client.
type process struct {
	*command
	name  string
	log   string        // what it has to say
	ended chan struct{} // closed when it has
}

func newSite(base string, place *placement) (*site, error) {
	dir, err := os.MkdirTemp(base, "s")
	if err == nil {
		err = os.Chmod(dir, 0o755) // servers that do not run as root have theirs in it
	}
	return &site{dir: dir, place: place}, err
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// ip is the address of the server of that number.
func (s *site) ip(i int) string { return loopback(i) }

func loopback(i int) string {
	return fmt.Sprintf("127.%d.%d.%d", 100+os.Getpid()>>8%100, os.Getpid()&255, i+1)
}

// freePorts finds ports, one after the other, that are free now and that nobody else in
// this run has been given.
func freePorts(ip string, n int) (ports []int, err error) {
	for range portTries {
		if ports, err = portsFrom(ip, n); err == nil {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("%d free ports at %s: %w", n, ip, err)
}

const portTries = 100

// given are the ports that servers have or will have.
var given = map[int]bool{}

func portsFrom(ip string, n int) (ports []int, err error) {
	next := 0 // any
	for range n {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, next))
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // after all have been found
		port := l.Addr().(*net.TCPAddr).Port
		if given[port] {
			return nil, fmt.Errorf("port %d is given away", port)
		}
		ports, next = append(ports, port), port+1
	}
	for _, p := range ports {
		given[p] = true
	}
	return ports, nil
}

// command prepares a program, which knows nothing of this one's environment.
func (s *site) command(name string, arg ...string) *command {
	c := &command{Cmd: exec.Command(name, arg...), end: syscall.SIGKILL}
	c.Dir = s.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C"}
	return c
}

// startServer starts a process on the servers' CPUs.
func (s *site) startServer(name string, c *command) error {
	_, err := s.start(name, c, s.place.servers)
	return err
}

// run runs a program to its end.
func (s *site) run(name string, c *command) error {
	p, err := s.start(name, c, nil)
	if err != nil {
		return err
	}
	<-p.ended
	if !p.ProcessState.Success() {
		return p.failure(p.ProcessState.String())
	}
	return nil
}

func (s *site) start(name string, c *command, cpus *unix.CPUSet) (*process, error) {
	p := &process{command: c, name: name, log: s.path(fmt.Sprintf("%s.%d.log", name, len(s.procs))), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has it
	c.Stderr = log
	if c.Stdout == nil {
		c.Stdout = log
	}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: c.end, Credential: c.as}
	if err := onStarter(func() error { return startOn(c.Cmd, cpus) }); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = c.Wait() // how it has ended is in its ProcessState
		close(p.ended)
	}()
	s.procs = append(s.procs, p)
	return p, nil
}

// startOn starts a process on some CPUs; it is the starter that calls it.
func startOn(c *exec.Cmd, cpus *unix.CPUSet) error {
	if cpus == nil {
		return c.Start()
	}
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, cpus); err != nil {
		return err
	}
	return errors.Join(c.Start(), unix.SchedSetaffinity(0, &before))
}

// starter is a thread that starts all processes, and that ends with this one: the
// kernel ends a child with the thread that has started it.
var starter = func() chan func() {
	do := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range do {
			f()
		}
	}()
	return do
}()

func onStarter(f func() error) error {
	done := make(chan error)
	starter <- func() { done <- f() }
	return <-done
}

// died is the first process, if any, that should not have ended and has.
func (s *site) died() error {
	for _, p := range s.procs {
		select {
		case <-p.ended:
			if !p.ProcessState.Success() && !killed(p.ProcessState) {
				return p.failure(p.ProcessState.String())
			}
		default:
		}
	}
	return nil
}

func killed(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}

// failure is an error with the last words of a process.
func (p *process) failure(what string) error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		text = []byte(err.Error())
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[max(0, len(lines)-5):]
	return fmt.Errorf("%s: %s: %s", p.name, what, strings.Join(lines, "\n    "))
}

// endBound is how long a server may take to end in order.
const endBound = 10 * time.Second

// close ends all processes, and removes what they have left.
func (s *site) close() error {
	for _, p := range s.procs {
		_ = p.Process.Signal(p.end) // it may have ended
	}
	bound := time.After(endBound)
	for _, p := range s.procs {
		select {
		case <-p.ended:
		case <-bound:
			_ = p.Process.Kill() // as above
			<-p.ended
			bound = time.After(0)
		}
	}
	return os.RemoveAll(s.dir)
}

// beJanitor waits until who started this process has ended, which closes standard input,
// and removes the directory that it may have left.
func beJanitor(dir string) error {
	var b [1]byte
	for {
		if n, err := os.Stdin.Read(b[:]); n == 0 && err != nil {
			break
		}
	}
	// Servers that end with it may be writing their last.
	return again(endBound, func() error { return os.RemoveAll(dir) })
}

// base is the directory of the run, which goes with this process however it ends.
type base struct {
	dir string
	// alive is open as long as this process lives: the janitor has the other end.
	alive *os.File
}

func newBase(parent string) (*base, error) {
	dir, err := os.MkdirTemp(parent, "godlm-rivals.")
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	b := &base{dir: dir, alive: w}
	c := exec.Command(self, "janitor", dir)
	c.Stdin = r
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt from the terminal is not for it
	if err := errors.Join(os.Chmod(dir, 0o755), c.Start(), r.Close()); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *base) close() error { return errors.Join(os.RemoveAll(b.dir), b.alive.Close()) }
