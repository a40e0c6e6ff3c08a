// Package cli runs the godlm command as a shell does, with real programs: agents are
// programs like any other, so they stand for them.
package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var godlm string // the program

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "godlm-cli")
	if err != nil {
		panic(err)
	}
	godlm = filepath.Join(dir, "godlm")
	build := exec.Command("go", "build", "-o", godlm, "../../cmd/godlm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// place is an environment with a runtime directory of its own.
type place struct {
	t   *testing.T
	dir string
	env []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "g") // short: sockets live there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &place{t: t, dir: dir, env: []string{"PATH=" + os.Getenv("PATH"), "GODLM_DIR=" + dir}}
}

// run runs a command to its end.
func (p *place) run(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	c := exec.Command(godlm, args...)
	c.Env = p.env
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// want runs a command and checks its exit status and that it says something.
func (p *place) want(code int, text string, args ...string) string {
	p.t.Helper()
	out, errs, got := p.run(args...)
	if got != code || !strings.Contains(out+errs, text) {
		p.t.Fatalf("godlm %s: status %d, want %d with %q\n%s%s", strings.Join(args, " "), got, code, text, out, errs)
	}
	return out
}

// agent starts one and returns when it says that it is ready.
func (p *place) agent() *exec.Cmd {
	p.t.Helper()
	path := filepath.Join(p.dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = l.Close(); _ = os.Remove(path) }()
	c := exec.Command(godlm, "agent")
	c.Env = append(p.env, "NOTIFY_SOCKET="+path)
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = c.Process.Kill()
		_, _ = c.Process.Wait()
	})
	var b [100]byte
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	n, err := l.Read(b[:])
	if err != nil || string(b[:n]) != "READY=1" {
		p.t.Fatalf("the agent says %q, %v\n%s", b[:n], err, log.String())
	}
	return c
}

type member struct {
	Process, Program, State string
	Pid                     int
	Agent                   bool
}

func (p *place) members() (list []member) {
	p.t.Helper()
	out, errs, code := p.run("members", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 && code != 4 {
		p.t.Fatalf("status %d, %v\n%s%s", code, err, out, errs)
	}
	return list
}

// until waits for something that other programs bring about.
func (p *place) until(what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			p.t.Fatalf("never: %s; members %+v", what, p.members())
		}
	}
}

func (p *place) signal(c *exec.Cmd, s syscall.Signal) {
	p.t.Helper()
	if err := c.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func TestAgentMembersStatus(t *testing.T) {
	p := newPlace(t)
	p.want(4, "no program uses "+p.dir+"/default", "status")
	p.want(4, "PROCESS", "members")
	if _, err := os.Stat(filepath.Join(p.dir, "default")); err == nil {
		t.Fatal("looking has made the directory")
	}

	first := p.agent()
	second := p.agent()
	p.want(0, "all is well: 2 programs", "status")
	list := p.members()
	if len(list) != 2 || list[0].Pid != first.Process.Pid || list[1].Pid != second.Process.Pid || !list[0].Agent || list[1].Agent ||
		list[0].Program != "godlm" || list[0].State != "running" {
		t.Fatalf("members %+v", list)
	}
	p.want(0, "agent", "members")
	p.want(4, "no program", "status", "--cluster", "other")

	// A stopped agent is told, with what to do.
	p.signal(first, syscall.SIGSTOP)
	p.until("the agent is stopped", func() bool { return p.members()[0].State == "stopped" })
	p.want(3, "the agent, program godlm (pid ", "status")
	var s struct {
		Programs, Agent int
		Stalls          []string
	}
	out, _, code := p.run("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 3 || s.Programs != 2 || s.Agent != first.Process.Pid || len(s.Stalls) != 1 {
		t.Fatalf("status %d: %v\n%s", code, err, out)
	}
	p.signal(first, syscall.SIGCONT)
	p.until("it goes on", func() bool { return p.members()[0].State == "running" })
	p.want(0, "all is well", "status")

	// It ends in good order, and the other takes over; then that is killed.
	p.signal(first, syscall.SIGTERM)
	if err := first.Wait(); err != nil {
		t.Fatalf("the agent's end: %v", err)
	}
	p.until("the second has the role", func() bool {
		l := p.members()
		return len(l) == 1 && l[0].Agent && l[0].Pid == second.Process.Pid
	})
	p.signal(second, syscall.SIGKILL)
	_, _ = second.Process.Wait()
	p.want(4, "no program uses", "status")
	if l := p.members(); len(l) != 1 || l[0].State != "ended" {
		t.Fatalf("members %+v", l)
	}
	third := p.agent()
	p.until("the dead are forgotten", func() bool { return len(p.members()) == 1 })
	if l := p.members(); l[0].Pid != third.Process.Pid || !l[0].Agent {
		t.Fatalf("members %+v", l)
	}
}

func TestConfigCheck(t *testing.T) {
	p := newPlace(t)
	good := filepath.Join(p.dir, "good.toml")
	bad := filepath.Join(p.dir, "bad.toml")
	for path, text := range map[string]string{good: "log = \"info\"\nmaster = \"agent\"\n", bad: "log = \"info\"\nmastr = \"agent\"\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.want(0, "is right and sets 2 values", "config", "check", good)
	p.want(1, bad+":2:1: unknown key mastr", "config", "check", bad)
	p.want(1, "no such file", "config", "check", good+"x")
	p.want(0, "is not there: the defaults count", "config", "check", "--cluster", "nobody-has-this-one")
	// The commands that join, or look, refuse it as programs do.
	p.env = append(p.env, "GODLM_CONFIG="+bad)
	p.want(1, bad+":2:1: unknown key mastr", "config", "check")
	p.want(1, bad+":2:1: unknown key mastr", "members")
	p.want(1, bad+":2:1: unknown key mastr", "agent")
}

func TestUsage(t *testing.T) {
	p := newPlace(t)
	p.want(0, "Available Commands", "--help")
	p.want(0, "godlm version", "--version")
	p.want(2, "unknown command", "lokcs")
	p.want(2, "unknown flag", "members", "--jsn")
	p.want(2, "accepts at most 1 arg", "config", "check", "a", "b")
	p.want(1, "bad cluster name", "status", "--cluster", "a/b")
	p.want(0, "bash completion", "completion", "bash")
}

// A runtime directory that is not safe is refused, and not touched.
func TestUnsafeDirectory(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(filepath.Join(p.dir, "default"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(p.dir, "default"), 0o777); err != nil {
		t.Fatal(err)
	}
	p.want(1, "unsafe runtime directory", "status")
	p.want(1, "unsafe runtime directory", "agent")
}
