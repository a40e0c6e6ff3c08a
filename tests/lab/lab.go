package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/net/node"
)

// Deadline bounds how long anything that must happen may take.
const Deadline = 30 * time.Second

// T is what a lab needs of a test, or of a benchmark.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// Options say what lab to make.
type Options struct {
	Hosts          int
	Lease, Suspect time.Duration
	OnLost         string // "abort", or "" for telling the program
	Voters         int    // how many of the hosts vote; 0: all
	Seed           uint64 // of the wire's luck
	// Loopback: no namespaces and no wire, but addresses of the loopback network.
	Loopback bool
	// Direct: two hosts with a link between them and no wire in it, for what is timed.
	Direct bool
}

// Lab is a few hosts.
type Lab struct {
	T
	Wire  *Wire // nil on loopback addresses
	Hosts []*Host

	opt  Options
	root string // of the repository
	base string
}

// cluster is the name of the lab's cluster.
const cluster = "lab"

// New makes hosts on which nothing runs yet.
func New(t T, opt Options) *Lab {
	t.Helper()
	l := &Lab{T: t, opt: opt}
	l.must(l.make())
	return l
}

func (l *Lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("%v", err)
	}
}

func (l *Lab) make() (err error) {
	if l.root, err = Root(); err != nil {
		return err
	}
	if l.base, err = os.MkdirTemp(os.Getenv(inside), "l"); err != nil {
		return err
	}
	l.Cleanup(l.close)
	if !l.opt.Loopback && !l.opt.Direct {
		l.Wire = newWire(l.opt.Seed)
	}
	for i := range l.opt.Hosts {
		h := &Host{lab: l, Index: i, Name: string(rune('a' + i)), dir: filepath.Join(l.base, string(rune('a'+i)))}
		l.Hosts = append(l.Hosts, h)
		if h.addr, err = l.addr(i); err != nil {
			return err
		}
		if l.Wire != nil {
			if h.net, err = newNet(l.Wire, i); err != nil {
				return err
			}
		}
	}
	if l.opt.Direct {
		if l.Hosts[0].net, l.Hosts[1].net, err = newPair(); err != nil {
			return err
		}
	}
	voters := l.Hosts
	if l.opt.Voters > 0 {
		voters = l.Hosts[:l.opt.Voters]
	}
	for _, h := range l.Hosts {
		if err := h.furnish(voters); err != nil {
			return err
		}
	}
	return nil
}

// addr is where a host's agent listens.
func (l *Lab) addr(i int) (string, error) {
	if !l.opt.Loopback {
		return fmt.Sprintf("%s:%d", addrOf(i), node.DefaultPort), nil
	}
	s, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 77+os.Getpid()>>8%100, os.Getpid()&255, i+1))
	if err != nil {
		return "", err
	}
	return s.Addr().String(), s.Close()
}

// close ends everything.
func (l *Lab) close() {
	if l.Failed() {
		for _, h := range l.Hosts {
			h.dump()
		}
	}
	var errs []error
	for _, h := range l.Hosts {
		h.Kill()
	}
	if l.Wire != nil {
		errs = append(errs, l.Wire.close())
	}
	for _, h := range l.Hosts {
		if h.net != nil {
			errs = append(errs, h.net.close())
		}
	}
	errs = append(errs, os.RemoveAll(l.base))
	if err := errors.Join(errs...); err != nil {
		l.Logf("end of the lab: %v", err)
	}
}

// Start starts the agents of all hosts and returns when they are members.
func (l *Lab) Start() {
	l.Helper()
	for _, h := range l.Hosts {
		h.StartAgent()
	}
	l.AwaitMembers(l.Hosts...)
}

// AwaitMembers waits until hosts are members, as they see it themselves, and see the
// same coordinator.
func (l *Lab) AwaitMembers(hosts ...*Host) {
	l.Helper()
	l.Until("hosts are members", func() bool {
		for _, h := range hosts {
			r, err := h.Report()
			if err != nil || !r.Member || r.Coordinator == "" || r.Leader == "" {
				return false
			}
		}
		return true
	})
}

// Until waits for something to become true.
func (l *Lab) Until(what string, done func() bool) {
	l.Helper()
	for end := time.Now().Add(Deadline); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("never true: %s", what)
		}
	}
}

// Named is a host by its name; nil if there is none.
func (l *Lab) Named(name string) *Host {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Leader is the host that leads the log of views, Coordinator that which coordinates.
func (l *Lab) Leader() *Host { return l.office(func(r *node.Report) string { return r.Leader }) }

// Coordinator is the host that coordinates.
func (l *Lab) Coordinator() *Host {
	return l.office(func(r *node.Report) string { return r.Coordinator })
}

// office is the host that most hosts agree on.
func (l *Lab) office(of func(*node.Report) string) (who *Host) {
	l.Helper()
	l.Until("most hosts know who leads and who coordinates", func() bool {
		n := map[string]int{}
		for _, h := range l.Hosts {
			if r, err := h.Report(); err == nil {
				n[of(r)]++
			}
		}
		for name, count := range n {
			if who = l.Named(name); who != nil && count > len(l.Hosts)/2 {
				return true
			}
		}
		return false
	})
	return who
}

// Now is the clock that all hosts share, CLOCK_BOOTTIME, in nanoseconds.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // there is no such kernel
	}
	return t.Nano()
}

// Host is one.
type Host struct {
	Name  string
	Index int

	lab  *Lab
	net  *network // nil on loopback addresses
	dir  string
	addr string

	mu      sync.Mutex
	procs   []*process // that have been started
	agent   *process
	players []*Player // that have been started, also those that have ended
}

// process is a real one, of a host.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	at    atomic.Int64  // when it has; 0: it has not
}

// furnish makes the host's directories and files.
func (h *Host) furnish(voters []*Host) error {
	key := strings.Repeat("5a", 32) + "\n"
	return errors.Join(
		os.Mkdir(h.dir, 0o700),
		os.WriteFile(h.path("key"), []byte(key), 0o600),
		h.configure(voters),
	)
}

// Configure says in the host's file who votes. What starts from now on reads it.
func (h *Host) Configure(voters ...*Host) {
	h.lab.Helper()
	h.lab.must(h.configure(voters))
}

func (h *Host) configure(voters []*Host) error {
	conf := fmt.Sprintf("runtime_dir = %q\nhost = %q\nbind = %q\nkey_file = %q\nstate_dir = %q\nlease = %q\nsuspect = %q\n",
		h.path("run"), h.Name, h.addr, h.path("key"), h.path("state"), h.lab.opt.Lease, h.lab.opt.Suspect)
	if h.lab.opt.OnLost != "" {
		conf += fmt.Sprintf("on_lost = %q\n", h.lab.opt.OnLost)
	}
	conf += "[voters]\n"
	for _, x := range voters {
		conf += fmt.Sprintf("%s = %q\n", x.Name, x.addr)
	}
	return os.WriteFile(h.path("godlm.toml"), []byte(conf), 0o600)
}

func (h *Host) path(name string) string { return filepath.Join(h.dir, name) }

// start starts a process in the host.
func (h *Host) start(c *exec.Cmd) (*process, error) {
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "GODLM_CONFIG=" + h.path("godlm.toml"), "GODLM_CLUSTER=" + cluster}
	if level := os.Getenv("GODLM_LOG"); level != "" {
		c.Env = append(c.Env, "GODLM_LOG="+level)
	}
	if c.Stderr == nil {
		log, err := os.OpenFile(h.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { _ = log.Close() }() // the process has it
		c.Stderr = log
	}
	p := &process{cmd: c, ended: make(chan struct{})}
	in := func(f func() error) error { return f() }
	if h.net != nil {
		in = h.net.in
	}
	if err := in(c.Start); err != nil {
		return nil, err
	}
	go func() {
		_ = c.Wait() // how it has ended is in its ProcessState
		p.at.Store(Now())
		close(p.ended)
	}()
	h.mu.Lock()
	h.procs = append(h.procs, p)
	h.mu.Unlock()
	return p, nil
}

// Start starts a program in the host, Wait waits until it has ended, and Kill of the host
// ends it.
func (h *Host) Start(c *exec.Cmd) (wait func() error, err error) {
	p, err := h.start(c)
	if err != nil {
		return nil, err
	}
	return func() error {
		<-p.ended
		if s := p.cmd.ProcessState; !s.Success() {
			return fmt.Errorf("%s: %v", filepath.Base(c.Path), s)
		}
		return nil
	}, nil
}

// Addr is the host's address.
func (h *Host) Addr() net.IP { return addrOf(h.Index) }

// Root is the directory of the repository.
func (l *Lab) Root() string { return l.root }

// StartAgent starts `godlm agent`.
func (h *Host) StartAgent() {
	h.lab.Helper()
	p, err := h.start(exec.Command(filepath.Join(h.lab.root, "build/godlm"), "agent"))
	h.lab.must(err)
	h.mu.Lock()
	h.agent = p
	h.mu.Unlock()
}

// Report is what the host's agent knows of the cluster.
func (h *Host) Report() (*node.Report, error) {
	return node.AskStatus(filepath.Join(h.path("run"), cluster))
}

// Evict has the host's agent remove another host; ended: its programs have ended.
func (h *Host) Evict(name string, ended bool) error {
	return node.Evict(filepath.Join(h.path("run"), cluster), name, ended)
}

// signal sends a signal to processes that have not ended.
func (h *Host) signal(s unix.Signal, to ...*process) {
	for _, p := range to {
		select {
		case <-p.ended:
		default:
			_ = p.cmd.Process.Signal(s) // it may have ended just now
		}
	}
}

func (h *Host) all() []*process {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*process(nil), h.procs...)
}

// Kill ends all processes of the host at once; they have ended when it returns.
func (h *Host) Kill() {
	all := h.all()
	h.signal(unix.SIGKILL, all...)
	for _, p := range all {
		<-p.ended
	}
	h.mu.Lock()
	h.procs, h.agent = nil, nil
	h.mu.Unlock()
}

// KillAgent ends the agent only.
func (h *Host) KillAgent() {
	h.signal(unix.SIGKILL, h.agent)
	<-h.agent.ended
}

// AgentEnded reports whether the host's agent is gone.
func (h *Host) AgentEnded() bool {
	select {
	case <-h.agent.ended:
		return true
	default:
		return false
	}
}

// EndAgent ends the agent cleanly.
func (h *Host) EndAgent() {
	h.signal(unix.SIGTERM, h.agent)
	<-h.agent.ended
}

// StopAgent sends SIGSTOP to the agent, ContinueAgent SIGCONT.
func (h *Host) StopAgent() { h.signal(unix.SIGSTOP, h.agent) }

// ContinueAgent lets a stopped agent go on.
func (h *Host) ContinueAgent() { h.signal(unix.SIGCONT, h.agent) }

// Freeze stops all processes, Thaw lets them go on.
func (h *Host) Freeze() { h.signal(unix.SIGSTOP, h.all()...) }

// Thaw ends a Freeze.
func (h *Host) Thaw() { h.signal(unix.SIGCONT, h.all()...) }

// LoseState removes what the host has written down about the log of views.
func (h *Host) LoseState() {
	h.lab.Helper()
	h.lab.must(os.RemoveAll(h.path("state")))
}

// Reboot removes what does not outlive a machine's restart: the runtime directory.
func (h *Host) Reboot() {
	h.lab.Helper()
	h.lab.must(os.RemoveAll(h.path("run")))
}

// Players are all that were started on the host.
func (h *Host) Players() []*Player {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.players)
}

// Losses are the times, by Now, when processes of the host have said that its lease is over.
func (h *Host) Losses() (out []int64) {
	b, err := os.ReadFile(h.path("log"))
	if err != nil {
		return nil // nothing has run there
	}
	since := time.Now().UnixNano() - Now()
	for _, line := range strings.Split(string(b), "\n") {
		if !strings.Contains(line, "declared dead") {
			continue
		}
		at, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
			out = append(out, t.UnixNano()-since)
		}
	}
	return out
}

// Cut separates the host from all others.
func (h *Host) Cut() { h.lab.Wire.Split(h.Index) }

// dump shows the end of what the host's processes have said.
func (h *Host) dump() {
	b, err := os.ReadFile(h.path("log"))
	if err != nil {
		return // nothing has run there
	}
	lines, most := strings.Split(string(b), "\n"), 40
	if os.Getenv("GODLM_LOG") != "" { // somebody wants to know more
		most = 2000
	}
	lines = lines[max(0, len(lines)-most):]
	h.lab.Logf("host %s:\n%s", h.Name, strings.Join(lines, "\n"))
}
