package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Modes, flags and statuses of <sys/dlm.h> that the players use.
const (
	modeNL, modePR, modeEX = 1, 4, 6
	flagValB, flagInvalid  = 0x1000, 0x400
	invalid                = 2 // DLM_SUCCVALNOTVALID
	deadlock               = 23
)

type seenWho struct {
	Process, Host, Program, State string
	Pid                           int
}

type seenWaiter struct {
	Owner, Master   seenWho
	Resource, State string
	Wanted          string
	AgeSeconds      float64 `json:"age_seconds"`
	WaitsFor        []struct {
		Owner  seenWho
		Mode   string
		Queued bool
	} `json:"waits_for"`
}

type seenSilent struct {
	Host, Process, Program, Why string
	Pid                         int
}

type seen struct {
	Locks []struct {
		Resource, Granted, Requested, Queue string
		Owner                               seenWho
	}
	Waiters   []seenWaiter
	Deadlocks []struct{ Text string }
	Resources []struct {
		Resource  string
		Valid     bool
		Master    seenWho
		MasterWhy string  `json:"master_why"`
		Before    seenWho `json:"master_before"`
		Cause     struct {
			Kind string
			Who  seenWho
			At   string
		}
		Waiters []seenWaiter
	}
	Silent   []seenSilent
	Complete bool
}

// see runs a command with --json, checks that against its schema, and reads it.
func (p *place) see(code int, args ...string) (s seen) {
	p.t.Helper()
	out, errs, got := p.run(append(args, "--json")...)
	if got != code {
		p.t.Fatalf("godlm %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	p.conforms(args[0], out)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// queued waits until so many requests wait.
func (p *place) queued(n int) (s seen) {
	p.t.Helper()
	p.until(fmt.Sprintf("%d requests wait", n), func() bool {
		out, _, code := p.run("waiters", "--json")
		s = seen{}
		return json.Unmarshal([]byte(out), &s) == nil && len(s.Waiters) == n && (code == 3 || n == 0)
	})
	return s
}

func TestLocksAndWaiters(t *testing.T) {
	p := newPlace(t)
	p.want(4, "no program uses", "locks")
	p.want(4, "no program uses", "waiters")
	p.want(4, "no program uses", "explain", "R")
	a, b, c := p.player(), p.player(), p.player()
	p.want(0, "nobody waits", "waiters")
	if s := p.see(0, "locks"); len(s.Locks) != 0 || !s.Complete {
		t.Fatalf("%+v", s)
	}
	a.want(0, "lock 0 %d 0 0 0 jobs", modeEX)
	a.want(0, "lock 1 %d 0 0 0 other", modePR)
	b.begin("lock 0 %d 0 0 0 jobs", modePR)
	p.queued(1)
	c.begin("lock 0 %d 0 0 0 jobs", modeEX)
	s := p.queued(2)
	for i, x := range []*player{b, c} {
		w := s.Waiters[i]
		if w.Owner.Pid != x.pid() || w.Owner.Program != "player" || w.Resource != `"jobs"` || w.AgeSeconds < 0 || w.State != "queued" || len(w.WaitsFor) != 1 ||
			w.WaitsFor[0].Owner.Pid != a.pid() || w.WaitsFor[0].Mode != "EX" {
			t.Fatalf("waiter %d: %+v", i, w)
		}
	}
	p.see(3, "waiters")
	p.want(3, fmt.Sprintf(`pid %d (player) waits `, b.pid()), "waiters")
	p.want(3, fmt.Sprintf(`: pid %d (player) holds EX`, a.pid()), "waiters")
	dot := p.want(3, "digraph waits {", "waiters", "--dot")
	if strings.Count(dot, "->") != 2 || !strings.Contains(dot, `label="EX \"jobs\" `) {
		t.Fatal(dot)
	}

	if s := p.see(0, "locks"); len(s.Locks) != 4 {
		t.Fatalf("%+v", s)
	}
	for _, x := range []struct {
		n    int
		args []string
	}{
		{3, []string{"--tree", "jobs"}}, {0, []string{"--tree", "job"}}, {3, []string{"--tree", "jo", "--prefix"}}, {2, []string{"--mode", "EX"}},
		{2, []string{"--mode", "pr"}}, {2, []string{"--owner", fmt.Sprint(a.pid())}}, {4, []string{"--owner", "player"}}, {2, []string{"--waiting"}},
		{3, []string{"--tree", `\x6aobs`, "-e"}},
	} {
		if s := p.see(0, append([]string{"locks"}, x.args...)...); len(s.Locks) != x.n {
			t.Fatalf("locks %v: %+v", x.args, s.Locks)
		}
	}
	if s := p.see(5, "locks", "--limit", "1"); s.Complete || len(s.Locks) == 0 || len(s.Locks) > 3 {
		t.Fatalf("%+v", s)
	}
	p.want(6, "nobody of that name has joined", "locks", "--owner", "nobody")
	p.want(2, "is no mode", "locks", "--mode", "XX")
	p.want(2, "at most", "locks", "--limit", "1000000")
	p.want(2, "wrong escape", "explain", "-e", `\q`)
	p.want(2, "they have 64 at most", "explain", strings.Repeat("x", 65))

	a.want(0, "unlock 0 0 0 0")
	if b.end() != 0 {
		t.Fatal("not granted")
	}
	b.want(0, "unlock 0 0 0 0")
	if c.end() != 0 {
		t.Fatal("not granted")
	}
	p.want(0, "nobody waits", "waiters")
}

// Names are any bytes; a terminal must not take them for orders.
func TestNamesAreQuoted(t *testing.T) {
	p := newPlace(t)
	a := p.player()
	a.want(0, "lock 0 %d 0 0 0 %s", modePR, "\x1b[31m\xff\"")
	out := p.want(0, `"\x1b[31m\xff\""`, "locks")
	if strings.Contains(out, "\x1b") || strings.Contains(out, "\xff") {
		t.Fatalf("%q", out)
	}
	p.want(0, `its value is valid`, "explain", "-e", `\x1b[31m\xff\"`)
	s := p.see(0, "explain", "-e", `\x1b[31m\xff\"`)
	if s.Resources[0].Resource != `"\x1b[31m\xff\""` {
		t.Fatalf("%+v", s)
	}
}

// Who does not answer is named, and nobody waits for it without end.
func TestStoppedProgramIsNamed(t *testing.T) {
	p := newPlace(t)
	a, b, c := p.player(), p.player(), p.player() // a is the agent
	a.want(0, "lock 1 %d 0 0 0 other", modeNL)
	b.want(0, "lock 0 %d 0 0 0 jobs", modeEX)
	c.begin("lock 0 %d 0 0 0 jobs", modeEX)
	p.queued(1)
	p.signal(b.cmd, syscall.SIGSTOP)
	p.until("it is stopped", func() bool { return p.members()[1].State == "stopped" })
	s := p.see(5, "locks")
	if len(s.Silent) != 1 || s.Silent[0].Pid != b.pid() || s.Silent[0].Program != "player" || !strings.Contains(s.Silent[0].Why, "kill -CONT") {
		t.Fatalf("%+v", s)
	}
	p.want(5, "no answer of pid", "locks")
	// The waiter is known by its own word, though its master says nothing.
	s = p.see(3, "waiters")
	if len(s.Waiters) != 1 || s.Waiters[0].Owner.Pid != c.pid() || s.Waiters[0].Master.Pid != b.pid() || s.Waiters[0].Master.State != "stopped" || s.Complete {
		t.Fatalf("%+v", s)
	}
	p.signal(b.cmd, syscall.SIGCONT)
	p.until("it answers", func() bool { _, _, code := p.run("locks"); return code == 0 })
	p.signal(a.cmd, syscall.SIGSTOP)
	p.until("the agent is stopped", func() bool { return p.members()[0].State == "stopped" })
	p.want(1, fmt.Sprintf("it is process %d (player), which is stopped", a.pid()), "locks", "--wait", "100ms")
	p.signal(a.cmd, syscall.SIGCONT)
}

// Why a value is not valid is told as long as it is not, whoever has died since.
func TestExplain(t *testing.T) {
	p := newPlace(t)
	a, b, c := p.player(), p.player(), p.player()
	a.want(0, "lock 0 %d 0 0 0 cache", modeNL)
	b.want(0, "lock 0 %d 0 0 0 cache", modeEX)
	c.want(0, "lock 0 %d 0 0 0 cache", modeNL)
	p.want(0, "its value is valid", "explain", "cache")
	p.want(0, "it was the first to ask", "explain", "cache")
	p.want(6, `no program uses "nothing"`, "explain", "nothing")
	dead := b.pid()
	b.kill()
	said := fmt.Sprintf("pid %d (player) died holding it in PW or EX", dead)
	p.until("the death is told", func() bool { out, _, _ := p.run("explain", "cache"); return strings.Contains(out, said) })
	master := a.pid()
	a.kill()
	p.until("c decides", func() bool {
		out, _, _ := p.run("explain", "cache")
		return strings.Contains(out, fmt.Sprintf("decided by pid %d ", c.pid()))
	})
	p.want(0, said, "explain", "cache")
	s := p.see(0, "explain", "cache")
	r := s.Resources[0]
	if r.Valid || r.MasterWhy != "rebuilt" || r.Before.Pid != master || r.Cause.Kind != "holder_died" || r.Cause.Who.Pid != dead || r.Cause.Who.Program != "player" || r.Cause.At == "" {
		t.Fatalf("%+v", r)
	}
	c.want(invalid, "cvt 0 %d %d 0 0", modeEX, flagValB)
	c.want(0, "cvt 0 %d %d 1 1", modeNL, flagValB)
	if r := p.see(0, "explain", "cache").Resources[0]; !r.Valid || r.Cause.Kind != "" {
		t.Fatalf("%+v", r)
	}
	c.want(0, "cvt 0 %d 0 0 0", modeEX)
	c.want(0, "cvt 0 %d %d 0 0", modeNL, flagInvalid)
	if r := p.see(0, "explain", "cache").Resources[0]; r.Valid || r.Cause.Kind != "invalidated" || r.Cause.Who.Pid != c.pid() {
		t.Fatalf("%+v", r)
	}
}

// Watching shows again and again, until a signal ends it in good order.
func TestWatch(t *testing.T) {
	p := newPlace(t)
	a, b := p.player(), p.player()
	a.want(0, "lock 0 %d 0 0 0 jobs", modeEX)
	c := exec.Command(godlm, "waiters", "--watch", "--every", "100ms")
	c.Env = p.env
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(30*time.Second, func() { _ = c.Process.Kill() })
	defer stop.Stop()
	begun := false
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if !begun && strings.Contains(lines.Text(), "nobody waits") {
			begun = true
			b.begin("lock 0 %d 0 0 0 jobs", modePR)
		}
		if strings.Contains(lines.Text(), fmt.Sprintf("pid %d (player) waits ", b.pid())) {
			p.signal(c, syscall.SIGINT)
			break
		}
	}
	for lines.Scan() { // to the end
	}
	if err := c.Wait(); err != nil || !begun {
		t.Fatalf("it ends with %v", err)
	}
}

func TestDeadlocksAreTold(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "GODLM_DEADLOCK_WAIT_MS=50")
	a, b := p.player(), p.player()
	a.want(0, "lock 0 %d 0 0 0 one", modeEX)
	b.want(0, "lock 0 %d 0 0 0 two", modeEX)
	a.begin("lock 1 %d 0 0 0 two", modeEX)
	p.queued(1)
	b.begin("lock 1 %d 0 0 0 one", modeEX)
	if st := b.end(); st != deadlock {
		t.Fatalf("status %d", st)
	}
	p.until("it is told", func() bool { return len(p.see(3, "waiters").Deadlocks) == 1 })
	p.want(3, "deadlock cycle=", "waiters")
	b.want(0, "unlock 0 0 0 0")
	if a.end() != 0 {
		t.Fatal("not granted")
	}
}

func TestTop(t *testing.T) {
	p := newPlace(t)
	p.want(4, "no program uses", "top", "--once")
	a, b := p.player(), p.player()
	a.want(0, "lock 0 %d 0 0 0 busy", modeEX)
	b.begin("lock 0 %d 0 0 0 busy", modeEX)
	p.queued(1)
	go func() { // the player is this goroutine's until the test ends
		for range 200_000 {
			if _, err := fmt.Fprintf(a.in, "cvt 0 %d 0 0 0\n", modeEX); err != nil || !a.out.Scan() {
				return
			}
		}
	}()
	out := p.want(0, "MOST USED", "top", "--once", "--every", "300ms")
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	for _, l := range lines {
		if len(l) > 80 {
			t.Errorf("wider than 80: %q", l)
		}
	}
	if len(lines) > 24 || !regexp.MustCompile(`"busy" +[0-9.]+k? +2 +1 +pid `).MatchString(out) || !strings.Contains(out, `wants EX on "busy" of pid `) {
		t.Fatal(out)
	}
	s, _, code := p.run("top", "--json", "--every", "100ms")
	if code != 0 {
		t.Fatalf("status %d", code)
	}
	p.conforms("top", s)
	p.want(2, "top needs a terminal", "top")
	p.want(2, "at least 100ms", "top", "--every", "1ms")
}

func TestDoctor(t *testing.T) {
	p := newPlace(t)
	out, _, code := p.run("doctor", "--json")
	p.conforms("doctor", out)
	if code != 0 && code != 7 { // a machine may have its weaknesses
		t.Fatalf("status %d\n%s", code, out)
	}
	a := p.player()
	text := p.want(code, "1 programs have version", "doctor")
	if !strings.Contains(text, "ok       directory") {
		t.Fatal(text)
	}
	p.signal(a.cmd, syscall.SIGSTOP)
	p.until("it is stopped", func() bool { return p.members()[0].State == "stopped" })
	p.want(8, fmt.Sprintf("to mend it: continue it (kill -CONT %d)", a.pid()), "doctor")
	p.signal(a.cmd, syscall.SIGCONT)

	bad := newPlace(t)
	if out, err := exec.Command("chmod", "755", bad.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	bad.want(8, "error    directory", "doctor")
	bad.env = append(bad.env, "GODLM_BIND=127.0.0.1")
	bad.want(8, "error    configuration", "doctor")
}

// Programs of several hosts: who waits where, a host that is silent, a host that is lost.
func TestHostsAreSeen(t *testing.T) {
	hosts := newHosts(t, 3000, 1500, "alpha", "beta", "gamma")
	var agents []*exec.Cmd
	for _, p := range hosts {
		agents = append(agents, p.begin())
	}
	for _, p := range hosts {
		p.says(0, "all is well", "status")
	}
	a, b, c := hosts[0].player(), hosts[1].player(), hosts[2].player()
	a.want(0, "lock 0 %d 0 0 0 shared", modeEX)
	b.begin("lock 0 %d 0 0 0 shared", modePR)
	s := hosts[2].queued(1)
	w := s.Waiters[0]
	if w.Owner.Pid != b.pid() || w.Owner.Host != "beta" || w.Master.Host != "alpha" || w.WaitsFor[0].Owner.Host != "alpha" || w.AgeSeconds < 0 || !s.Complete {
		t.Fatalf("%+v", w)
	}
	for _, x := range []string{"beta", "beta:player", fmt.Sprintf("beta:%d", b.pid())} {
		if s := hosts[2].see(0, "locks", "--owner", x); len(s.Locks) != 1 || s.Locks[0].Requested != "PR" {
			t.Fatalf("%s: %+v", x, s)
		}
	}
	if s := hosts[2].see(0, "locks", "--here"); len(s.Locks) != 0 {
		t.Fatalf("%+v", s)
	}

	// An agent is stopped, and with it its host silent: it is named in time.
	hosts[1].signal(agents[1], syscall.SIGSTOP)
	s = hosts[2].see(5, "locks", "--wait", "500ms")
	if len(s.Silent) != 1 || s.Silent[0].Host != "beta" || s.Silent[0].Process != "" {
		t.Fatalf("%+v", s)
	}
	hosts[1].signal(agents[1], syscall.SIGCONT)
	hosts[2].until("beta answers", func() bool { _, _, code := hosts[2].run("locks"); return code == 0 })

	// The host of the holder, who decides, is lost.
	a.want(0, "unlock 0 0 0 0")
	if b.end() != 0 {
		t.Fatal("not granted")
	}
	b.want(0, "unlock 0 0 0 0")
	a.want(0, "lock 1 %d 0 0 0 cache", modeEX)
	c.want(0, "lock 1 %d 0 0 0 cache", modeNL)
	_ = agents[0].Process.Kill()
	a.kill()
	hosts[2].until("its locks are free", func() bool {
		out, _, _ := hosts[2].run("explain", "cache")
		return strings.Contains(out, "NOT VALID")
	})
	r := hosts[2].see(5, "explain", "cache").Resources[0]
	// If alpha has coordinated nobody else knows which of its programs decided.
	if r.Cause.Kind != "host_lost" || r.Cause.Who.Process != "" && r.Cause.Who.Host != "alpha" || r.Master.Host != "gamma" || r.MasterWhy != "rebuilt" {
		t.Fatalf("%+v", r)
	}
	out, _, _ := hosts[2].run("doctor", "--json")
	hosts[2].conforms("doctor", out)
	out, _, _ = hosts[2].run("status", "--json")
	hosts[2].conforms("status", out)
	out, _, _ = hosts[2].run("members", "--hosts", "--json")
	hosts[2].conforms("hosts", out)
	out, _, _ = hosts[2].run("members", "--json")
	hosts[2].conforms("members", out)
}
