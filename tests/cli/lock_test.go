package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// running is a godlm command under way. What it prints goes to files: what it has started may
// outlive it.
type running struct {
	*exec.Cmd
	out, errs *os.File
}

func (p *place) output() *os.File {
	p.t.Helper()
	f, err := os.CreateTemp(p.dir, "out")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = f.Close() })
	return f
}

func printed(f *os.File) string {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (p *place) start(args ...string) *running {
	p.t.Helper()
	r := &running{exec.Command(godlm, args...), p.output(), p.output()}
	r.Env, r.Stdout, r.Stderr = p.env, r.out, r.errs
	r.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal of whoever runs the test
	if err := r.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = r.Process.Kill(); _ = r.Wait() })
	return r
}

// end waits for its end.
func (p *place) end(r *running, code int) {
	p.t.Helper()
	t := time.AfterFunc(30*time.Second, func() { _ = r.Process.Kill() })
	defer t.Stop()
	_ = r.Wait() // the status tells
	if st := r.ProcessState.ExitCode(); st != code {
		p.t.Fatalf("%v: status %d, want %d\n%s%s", r.Args[1:], st, code, printed(r.out), printed(r.errs))
	}
}

// file is a path in the place, and a way to wait for a program to make it.
func (p *place) file(name string) string { return filepath.Join(p.dir, name) }

func (p *place) appears(name string) (text string) {
	p.t.Helper()
	p.until(name+" is there", func() bool {
		b, err := os.ReadFile(p.file(name))
		text = string(b)
		return err == nil && strings.HasSuffix(text, "\n")
	})
	return strings.TrimSpace(text)
}

// keep has an agent of its own hold an NL lock on a name, so that its value stays.
func (p *place) keep(name string) {
	p.t.Helper()
	p.start("lock", "--mode", "NL", name, "--", "sh", "-c", "echo > "+p.file("kept-"+name)+"; exec sleep 1000")
	p.appears("kept-" + name)
}

// state is the letter of /proc/PID/stat; "" when there is no such process, or only what is left
// of it.
func state(pid string) string {
	b, err := os.ReadFile("/proc/" + strings.TrimSpace(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	if s := rest[:1]; s != "Z" && s != "X" {
		return s
	}
	return ""
}

func TestLockStatus(t *testing.T) {
	p := newPlace(t)
	p.keep("taken")
	holder := p.start("lock", "taken", "sh", "-c", "echo > "+p.file("held")+"; exec sleep 1000")
	p.appears("held")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "", []string{"free", "true"}},
		{3, "", []string{"free", "--", "sh", "-c", "exit 3"}},
		{143, "", []string{"free", "sh", "-c", "kill -TERM $$"}},
		{0, "--mode", []string{"free", "echo", "--mode"}}, // what comes after the name is the command's
		{126, "permission denied", []string{"free", "/etc/passwd"}},
		{127, "no-such-program", []string{"free", "no-such-program"}},
		{125, "unknown flag", []string{"--bad", "free", "true"}},
		{125, "wants a name and a command", []string{"free"}},
		{125, "wants a name and a command", []string{"free", "--"}},
		{125, "no lock mode", []string{"--mode", "XX", "free", "true"}},
		{125, "is no signal", []string{"--on-lost", "SIGNO", "free", "true"}},
		{125, "exclude each other", []string{"-n", "-w", "1s", "free", "true"}},
		{125, "under PW or EX", []string{"--mode", "pr", "--value", "x", "free", "true"}},
		{125, "do not fit", []string{"--value", strings.Repeat("x", 33), "free", "true"}},
		{125, "1 to 64 bytes", []string{strings.Repeat("n", 65), "true"}},
		{125, "not for this user", []string{"--group", "4294967294", "free", "true"}},
		{123, "would have to wait", []string{"-n", "taken", "true"}},
		{124, "not granted in time", []string{"-w", "10ms", "taken", "true"}},
		{9, "", []string{"-E", "9", "-n", "taken", "true"}},
		{9, "", []string{"-E", "9", "-w", "10ms", "taken", "true"}},
		{0, "", []string{"--mode", "NL", "-n", "taken", "true"}},
	} {
		p.want(c.code, c.says, append([]string{"lock"}, c.args...)...)
	}
	// Who waits can be ended, and can be told who is in the way.
	waiter := p.start("lock", "-v", "taken", "true")
	p.until("it waits", func() bool { return p.locks("taken") == 3 })
	p.signal(waiter.Cmd, syscall.SIGTERM)
	p.end(waiter, 143)
	p.want(124, fmt.Sprintf("waiting for \"taken\": process %d (godlm) holds EX", holder.Process.Pid), "lock", "-v", "-w", "3s", "taken", "true")
	p.signal(holder.Cmd, syscall.SIGTERM)
	p.end(holder, 143)
}

// locks counts the locks on a name, held or waited for.
func (p *place) locks(name string) int {
	var s struct{ Locks int }
	out, errs, _ := p.run("get", "--json", name)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		p.t.Fatalf("%v\n%s%s", err, out, errs)
	}
	return s.Locks
}

func TestLockEnvironment(t *testing.T) {
	p := newPlace(t)
	p.keep("n")
	p.want(0, "", "set", "n", "hello")
	print := `echo "$GODLM_LOCK_NAME $GODLM_VALUE $GODLM_VALUE_HEX $GODLM_VALUE_VALID ${#GODLM_TOKEN}"`
	hex := "68656c6c6f" + strings.Repeat("0", 54)
	p.want(0, "n hello "+hex+" 1 32\n", "lock", "n", "sh", "-c", print)
	p.want(0, "n hello "+hex+" 1 0\n", "lock", "--mode", "PR", "n", "sh", "-c", print)
	a := p.want(0, "", "lock", "n", "sh", "-c", "echo $GODLM_TOKEN")
	b := p.want(0, "", "lock", "n", "sh", "-c", "echo $GODLM_TOKEN")
	if a >= b {
		t.Errorf("tokens %s, %s", a, b)
	}
	// Nothing of an outer lock is left in an inner one's environment.
	p.want(0, "-none-\n", "lock", "n", godlm, "lock", "--mode", "PR", "other", "sh", "-c", `echo "-${GODLM_TOKEN-none}-"`)
}

func TestLockValue(t *testing.T) {
	p := newPlace(t)
	p.keep("v")
	p.want(0, "", "lock", "--value", "one", "v", "true")
	p.want(0, "one\n", "get", "v")
	p.want(1, "", "lock", "--value", "two", "v", "false")
	p.want(0, "one\n", "get", "v")
	p.want(1, "", "lock", "--value", "two", "--invalidate-on-failure", "v", "false")
	p.want(9, "one\n", "get", "v")
	p.want(0, "1 one 0\n", "lock", "--value", "two", "--invalidate-on-failure", "v", "sh", "-c", "echo 1 $GODLM_VALUE $GODLM_VALUE_VALID")
	p.want(0, "two\n", "get", "v")
	// What could not run has written nothing.
	p.want(126, "", "lock", "--value", "three", "v", "/etc/passwd")
	p.want(0, "two\n", "get", "v")
}

// When the program that has the lock is killed, so is the command: others have the lock now.
func TestLockKilled(t *testing.T) {
	p := newPlace(t)
	p.keep("k")
	g := p.start("lock", "k", "sh", "-c", "echo $$ > "+p.file("pid")+"; exec sleep 1000")
	child := p.appears("pid")
	p.signal(g.Cmd, syscall.SIGKILL)
	p.want(0, "", "lock", "--mode", "PR", "k", "true")
	p.until("the command is dead", func() bool { return state(child) == "" })
	p.want(9, "", "get", "k")

	g = p.start("lock", "--on-death", "none", "k", "sh", "-c", "echo $$ > "+p.file("pid2")+"; exec sleep 1000")
	child = p.appears("pid2")
	p.signal(g.Cmd, syscall.SIGKILL)
	_ = g.Wait()
	p.want(0, "", "lock", "k", "true")
	if state(child) == "" {
		t.Error("the command is dead")
	}
	kill(t, child, syscall.SIGKILL)
}

func kill(t *testing.T, pid string, s syscall.Signal) {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil || n <= 1 {
		t.Fatalf("pid %q: %v", pid, err)
	}
	if err := syscall.Kill(n, s); err != nil {
		t.Fatal(err)
	}
}

func TestLockSignals(t *testing.T) {
	p := newPlace(t)
	for name, s := range map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2} {
		ready := "ready-" + name
		g := p.start("lock", "s", "sh", "-c", "trap 'echo got; exit 5' "+name+"; echo > "+p.file(ready)+"; while :; do sleep 0.01; done")
		p.appears(ready)
		p.signal(g.Cmd, s)
		p.end(g, 5)
		if printed(g.out) != "got\n" {
			t.Errorf("%s: %q", name, printed(g.out))
		}
	}
}

// A lock that is lost while the command runs: it is told, and killed if it does not listen.
func TestLockLost(t *testing.T) {
	p := newPlace(t)
	p.agent()
	for i, c := range []struct {
		opts   []string
		script string
		status string
	}{
		{nil, "trap 'echo told; exit 6' TERM", "6"},
		{[]string{"--on-lost", "usr1"}, "trap 'echo told; exit 7' USR1", "7"},
		{[]string{"--kill-after", "1ms"}, "trap 'echo told' TERM", "137"},
		{[]string{"--on-lost", "none"}, "trap 'echo told' TERM; until [ -e " + p.file("others-have-it") + " ]; do sleep 0.01; done; exit 8", "8"},
	} {
		ready := fmt.Sprint("lost", i)
		args := append(append([]string{"lock"}, c.opts...), "l", "sh", "-c", c.script+"; echo > "+p.file(ready)+"; while :; do sleep 0.01; done")
		if c.status == "8" {
			args[len(args)-1] = "echo > " + p.file(ready) + "; " + c.script
		}
		g := p.start(args...)
		p.appears(ready)
		shut(t, g.Process.Pid)
		p.want(0, "", "lock", "l", "true")
		if err := os.WriteFile(p.file("others-have-it"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p.end(g, 122)
		if err := os.Remove(p.file("others-have-it")); err != nil {
			t.Fatal(err)
		}
		if s := printed(g.errs); !strings.Contains(s, "the lock on \"l\" is lost; others may have it") || !strings.Contains(s, "(its status: "+c.status+")") {
			t.Errorf("%v: %s", c.opts, s)
		}
	}
}

// shut ends the connections that a process has opened, as if it had closed what is not its own.
func shut(t *testing.T, pid int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	n := 0
	for fd := 3; fd < 64; fd++ {
		mine, err := unix.PidfdGetfd(pidfd, fd, 0)
		if err == unix.EPERM {
			t.Skip("this system does not let a program look into its children (kernel.yama.ptrace_scope)")
		}
		if err != nil {
			continue
		}
		a, err := unix.Getpeername(mine)
		if u, is := a.(*unix.SockaddrUnix); err == nil && is && u.Name != "" && unix.Shutdown(mine, unix.SHUT_RDWR) == nil {
			n++
		}
		_ = unix.Close(mine)
	}
	if n == 0 {
		t.Fatal("it has no connection")
	}
}

// An interactive shell with a terminal: ^C reaches the command once, ^Z stops both, fg goes on.
func TestLockTerminal(t *testing.T) {
	p := newPlace(t)
	term := p.terminal()
	// It forks nothing later: a child that is stopped before its exec leaves its parent waiting, not stopped.
	term.write(fmt.Sprintf("%s lock t -- sh -c 'trap \"echo int >> %s\" INT; sleep 1000 & echo $! > %s; echo $$ > %s; while [ ! -e %s ]; do wait; done; echo done > %s'\n",
		godlm, p.file("ints"), p.file("sleeper"), p.file("tpid"), p.file("stop"), p.file("done")))
	child := p.appears("tpid")
	var guard string
	p.until("who guards it", func() bool {
		b, err := os.ReadFile("/proc/" + child + "/stat")
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		guard = strings.Fields(rest)[1]
		return true
	})
	term.write("\x03") // ^C
	p.appears("ints")
	term.write("\x1a") // ^Z
	p.until("both are stopped", func() bool { return state(child) == "T" && state(guard) == "T" })
	term.write("fg\n")
	p.until("both go on", func() bool { return state(child) != "T" && state(guard) != "T" })
	// By kill, too, also when the terminal is another job's.
	term.write("\x1a")
	p.until("both are stopped", func() bool { return state(child) == "T" && state(guard) == "T" })
	term.write("bg\n")
	p.until("both go on", func() bool { return state(child) != "T" && state(guard) != "T" })
	kill(t, guard, syscall.SIGTSTP)
	p.until("both are stopped", func() bool { return state(child) == "T" && state(guard) == "T" })
	kill(t, guard, syscall.SIGCONT)
	p.until("both go on", func() bool { return state(child) != "T" && state(guard) != "T" })
	if err := os.WriteFile(p.file("stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, p.appears("sleeper"), syscall.SIGTERM)
	p.appears("done")
	if b, err := os.ReadFile(p.file("ints")); err != nil || string(b) != "int\n" {
		t.Errorf("one ^C has come as %q", b)
	}
}

// terminal is one with an interactive shell in it.
type terminal struct {
	t      *testing.T
	master *os.File
}

func (p *place) terminal() *terminal {
	p.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		p.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		p.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	term := &terminal{p.t, os.NewFile(uintptr(fd), "ptmx")}
	sh := exec.Command("sh", "-i")
	sh.Env = append(p.env, "PS1=", "ENV=")
	sh.Stdin, sh.Stdout, sh.Stderr = slave, slave, slave
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := sh.Start(); err != nil {
		p.t.Fatal(err)
	}
	_ = slave.Close() // the shell has it
	var screen bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = screen.ReadFrom(term.master) }) // ends with the shell
	p.t.Cleanup(func() {
		_ = sh.Process.Kill()
		_ = sh.Wait()
		_ = term.master.Close()
		reading.Wait()
		if p.t.Failed() {
			p.t.Log(screen.String())
		}
	})
	return term
}

func (x *terminal) write(s string) {
	x.t.Helper()
	if _, err := x.master.WriteString(s); err != nil {
		x.t.Fatal(err)
	}
}
