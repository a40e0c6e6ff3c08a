package node

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// program is a user of a node: a Sink and the calls, one at a time.
type program struct {
	n       *Node
	done    chan process.Completion
	notices chan process.Notice
	// by CLOCK_BOOTTIME: that its locks are lost, and the latest answer
	lostAt, doneAt atomic.Int64
}

func newSink() *program {
	return &program{done: make(chan process.Completion, 1000), notices: make(chan process.Notice, 1000)}
}

func newProgram(dir string, timeout time.Duration) (*program, error) {
	p := newSink()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("GODLM_LOG") == "debug" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("pid", os.Getpid())
	}
	var err error
	p.n, err = Open(Config{Dir: dir, Sink: p, Log: log, Cluster: clusterOf(os.Getenv("NODE_CLUSTER")), Leave: patience, joinTimeout: timeout})
	return p, err
}

func (p *program) Complete(c *process.Completion) { p.doneAt.Store(boottime()); p.done <- *c }
func (p *program) Blocking(n *process.Notice)     { p.notices <- *n }
func (p *program) Discard(proto.LockID) bool      { return true }
func (p *program) Lost()                          { p.lostAt.Store(boottime()) }

// do runs one command and gives its answer:
//
//	lock NAME MODE        request and wait         LOCK STATUS VALUE
//	ask NAME MODE         request, do not wait     LOCK STATUS VALUE
//	done                  wait for a completion    LOCK STATUS VALUE
//	convert LOCK MODE VALUE   with DLM_VALB        LOCK STATUS VALUE
//	unlock LOCK VALUE         with DLM_VALB        LOCK STATUS VALUE
//	agent                 is the agent here?       true or false
//	times                 when locks were lost, and the latest answer came
//	spin NAME COUNT       lock and unlock so often COUNT
func (p *program) do(words []string) string {
	num := func(i int) uint64 {
		v, err := strconv.ParseUint(words[i], 10, 64)
		if err != nil {
			panic(err)
		}
		return v
	}
	var res process.Result
	if words[0] == "times" {
		return fmt.Sprint(p.lostAt.Load(), p.doneAt.Load())
	}
	p.n.Expired()
	switch words[0] {
	case "lock", "ask":
		p.request(words[1], mode.Mode(num(2)), &res)
		if words[0] == "ask" {
			return result(res.Lock, res.Status, res.Value)
		}
	case "done":
		res.Status = dlm.Pending
	case "convert":
		r := process.ConvertRequest{Lock: proto.LockID(num(1)), Mode: mode.Mode(num(2)), Flags: dlm.ValB, Token: 1}
		copy(r.Value[:], words[3])
		p.n.Process().Convert(&r, &res)
		p.n.Flush()
	case "unlock":
		r := process.UnlockRequest{Lock: proto.LockID(num(1)), Flags: dlm.ValB, Token: 1}
		copy(r.Value[:], words[2])
		p.n.Process().Unlock(&r, &res)
		p.n.Flush()
	case "lost":
		return fmt.Sprint(p.n.Expired() || p.n.lost.Load())
	case "suspected": // by gossip
		r := p.n.role.Load()
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Sprint(r.rumour.g != nil, len(r.rumour.suspected))
	case "coordinator":
		r := p.n.role.Load()
		if r == nil {
			return "false"
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Sprint(r.host.Coordinates())
	case "agent":
		return fmt.Sprint(p.n.role.Load() != nil)
	case "spin":
		for i := uint64(0); i < num(2); i++ {
			id, st := p.lock(words[1], mode.EX)
			if st != dlm.Success && st != dlm.SuccValNotValid {
				return fmt.Sprint("lock: ", st)
			}
			if s := p.do([]string{"unlock", fmt.Sprint(uint64(id)), fmt.Sprint(i)}); !strings.Contains(s, " 0 ") {
				return "unlock: " + s
			}
		}
		return words[2]
	default:
		return "what?"
	}
	return p.wait(&res)
}

func (p *program) request(name string, m mode.Mode, res *process.Result) {
	p.n.Process().Lock(&process.LockRequest{Name: proto.MakeName([]byte(name)), Mode: m, Flags: dlm.ValB, Token: 1,
		User: process.User{BlkRtn: 1}}, res)
	p.n.Flush()
}

func (p *program) lock(name string, m mode.Mode) (proto.LockID, dlm.Status) {
	var res process.Result
	p.request(name, m, &res)
	if res.Status == dlm.Pending {
		c := <-p.done
		return c.Lock, c.Status
	}
	return res.Lock, res.Status
}

func (p *program) wait(res *process.Result) string {
	if res.Status != dlm.Pending {
		return result(res.Lock, res.Status, res.Value)
	}
	select {
	case c := <-p.done:
		return result(c.Lock, c.Status, c.Value)
	case <-time.After(patience):
		return "no completion"
	}
}

func result(id proto.LockID, st dlm.Status, v proto.Value) string {
	return fmt.Sprintf("%d %d %q", uint64(id), st, strings.TrimRight(string(v[:]), "\x00"))
}

// TestMain lets the test binary play a process that obeys its standard input.
func TestMain(m *testing.M) {
	dir := os.Getenv("NODE_CHILD")
	if dir == "" {
		os.Exit(m.Run())
	}
	p, err := newProgram(dir, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.n.me.Load())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if words[0] == "close" {
			p.n.Close()
			break
		}
		fmt.Println(p.do(words))
	}
}

// child is a process under the test's control.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	id  proto.ProcID
}

func freshDir(t *testing.T) string { return filepath.Join(t.TempDir(), "base", "cluster") }

func startChild(t testing.TB, dir string) *child {
	t.Helper()
	c := beginChild(t, dir, "")
	c.joined()
	return c
}

// beginChild starts a process; joined waits until it has its name.
func beginChild(t testing.TB, dir, cluster string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), "NODE_CHILD="+dir, "NODE_CLUSTER="+cluster)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	return c
}

func (c *child) joined() {
	c.t.Helper()
	s := c.read()
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		c.t.Fatalf("child: %s", s)
	}
	c.id = proto.ProcID(id)
}

// send gives a command; read takes its answer.
func (c *child) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) read() string {
	c.t.Helper()
	type line struct {
		s   string
		err error
	}
	ch := make(chan line, 1)
	go func() {
		s, err := c.out.ReadString('\n')
		ch <- line{s, err}
	}()
	select {
	case l := <-ch:
		if l.err != nil {
			c.t.Fatalf("child: %v after %q", l.err, l.s)
		}
		return strings.TrimSpace(l.s)
	case <-time.After(patience + 5*time.Second):
		c.t.Fatal("child is silent")
		return ""
	}
}

func (c *child) do(format string, args ...any) string {
	c.t.Helper()
	c.send(format, args...)
	return c.read()
}

// want runs a command, checks status and value, and gives the lock.
func (c *child) want(st dlm.Status, value, format string, args ...any) uint64 {
	c.t.Helper()
	return c.check(st, value, c.do(format, args...), fmt.Sprintf(format, args...))
}

func (c *child) check(st dlm.Status, value, got, command string) uint64 {
	c.t.Helper()
	var id uint64
	var status int
	var v string
	if _, err := fmt.Sscanf(got, "%d %d %q", &id, &status, &v); err != nil {
		c.t.Fatalf("%s: %s", command, got)
	}
	if dlm.Status(status) != st || v != value {
		c.t.Fatalf("%s: status %d value %q, want %d %q", command, status, v, st, value)
	}
	return id
}

// signal sends a signal; stop waits until the kernel has stopped the process.
func (c *child) signal(s unix.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) stop() {
	c.t.Helper()
	c.signal(unix.SIGSTOP)
	var si unix.Siginfo
	if err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, &si, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may be dead
	_ = c.cmd.Wait()         // it was killed
}

// until waits for a condition on something that says nothing when it changes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
