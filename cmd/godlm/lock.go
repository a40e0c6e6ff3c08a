package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/godlm/godlm"
)

// Exit statuses of lock, whose others are those of its command; documented in
// godlm-lock(1). The last three are those of env(1), nice(1) and their like.
const (
	lockLost    = 122
	lockBlocked = 123
	lockTimeout = 124
	lockFailed  = 125
	lockNoExec  = 126
	lockNoFile  = 127
	lockSignal  = 128 // and the signal's number
)

// guard is one run of a command under a lock.
type guard struct {
	target
	mode         modeFlag
	conflictCode int
	value        string
	writes       bool // value was given
	invalidate   bool
	onLost       signalFlag
	killAfter    time.Duration
	onDeath      signalFlag

	signals chan os.Signal
	child   *os.Process
}

func newLock(o *options) *cobra.Command {
	g := &guard{target: target{o: o}, mode: modeFlag{godlm.EX}, onLost: signalFlag{unix.SIGTERM}, onDeath: signalFlag{unix.SIGKILL}}
	c := &cobra.Command{
		Use:   "lock [options] NAME [--] COMMAND [ARGUMENT...]",
		Short: "Run a command under a lock",
		Long: "Locks NAME, runs COMMAND, and gives the lock up when that ends. The exit status is that of COMMAND.\n" +
			"COMMAND finds GODLM_LOCK_NAME, GODLM_TOKEN, GODLM_VALUE, GODLM_VALUE_HEX and GODLM_VALUE_VALID in its environment.",
		Example: "  godlm lock backup -- /usr/local/sbin/backup\n  godlm lock --nonblock --mode PR report -- make report",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) == 2 && args[1] == "--" {
				return &exit{lockFailed, errors.New("lock wants a name and a command")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			g.writes = c.Flags().Changed("value")
			name := args[0]
			if args[1] == "--" {
				args = args[1:]
			}
			return g.run(name, args[1:])
		},
	}
	g.flags(c)
	f := c.Flags()
	f.SetInterspersed(false)
	f.VarP(&g.mode, "mode", "m", "lock in this mode: NL, CR, CW, PR (shared), PW or EX (exclusive)")
	f.IntVarP(&g.conflictCode, "conflict-exit-code", "E", 0, "exit status if the lock is not got, instead of 123 and 124")
	f.StringVar(&g.value, "value", "", "text to write into the value block if COMMAND ends with status 0")
	f.BoolVar(&g.invalidate, "invalidate-on-failure", false, "mark the value block as not valid if it does not")
	f.Var(&g.onLost, "on-lost", "signal for COMMAND if the lock is lost while it runs, or none")
	f.DurationVar(&g.killAfter, "kill-after", 0, "kill COMMAND if it still runs so long after that; 0: do not")
	f.Var(&g.onDeath, "on-death", "signal for COMMAND if this program is killed while it runs, or none")
	_ = c.RegisterFlagCompletionFunc("mode", completeModes) // it has that flag
	_ = c.RegisterFlagCompletionFunc("on-lost", completeSignals)
	_ = c.RegisterFlagCompletionFunc("on-death", completeSignals)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exit{lockFailed, err} })
	return c
}

// passed are the signals that go to the command.
var passed = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT, unix.SIGTSTP,
	unix.SIGWINCH, unix.SIGPWR,
}

func (g *guard) run(name string, command []string) error {
	write, err := g.check()
	if err != nil {
		return &exit{lockFailed, err}
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return cannotRun(err)
	}
	// The kernel sends the signal of --on-death when this thread ends.
	runtime.LockOSThread()
	g.signals = make(chan os.Signal, 16)
	for _, s := range passed {
		if !signal.Ignored(s) { // as nohup(1) has it
			signal.Notify(g.signals, s)
		}
	}
	// A message that nobody reads must not end this program, and the lock with it.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	ns, l, err := g.get(name)
	if err != nil {
		return err
	}
	status, lost, err := g.supervise(ns, l, path, command)
	if err != nil { // it has not run, and written nothing
		return errors.Join(err, l.Unlock(context.Background()), ns.Close())
	}
	err = g.giveUp(l, status, write)
	switch {
	case lost || errors.Is(err, godlm.ErrLost):
		return &exit{lockLost, fmt.Errorf("the lock on %q was lost while the command ran (its status: %d)", name, status)}
	case err != nil:
		return &exit{lockFailed, err}
	}
	if err := ns.Close(); err != nil {
		return &exit{lockFailed, err}
	}
	return &exit{status: status}
}

// check looks at what the options say together.
func (g *guard) check() (write godlm.Value, err error) {
	if err := g.exclusive(); err != nil {
		return write, err
	}
	writer := g.mode.Mode == godlm.PW || g.mode.Mode == godlm.EX
	if (g.writes || g.invalidate) && !writer {
		return write, fmt.Errorf("the value block is written under PW or EX, not %v", g.mode.Mode)
	}
	if g.conflictCode < 0 || g.conflictCode > 255 {
		return write, fmt.Errorf("%d is no exit status", g.conflictCode)
	}
	return godlm.TextValue(g.value)
}

func cannotRun(err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return &exit{lockNoFile, err}
	}
	return &exit{lockNoExec, err}
}

// get waits for the lock, until a signal comes that ends programs.
func (g *guard) get(name string) (*godlm.Namespace, *godlm.Lock, error) {
	type result struct {
		ns  *godlm.Namespace
		l   *godlm.Lock
		err error
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := make(chan result, 1)
	go func() {
		ns, l, err := g.lock(ctx, name, g.mode.Mode)
		got <- result{ns, l, err}
	}()
	var by unix.Signal // that has ended the wait
	for {
		select {
		case s := <-g.signals:
			switch s {
			case unix.SIGTSTP:
				stop()
			case unix.SIGCONT, unix.SIGWINCH:
			default:
				by = s.(unix.Signal)
				cancel()
			}
			continue
		case r := <-got:
			switch {
			case by != 0:
				var err error
				if r.err == nil {
					err = errors.Join(r.l.Unlock(context.Background()), r.ns.Close())
				}
				return nil, nil, &exit{lockSignal + int(by), err}
			case r.err == nil:
				return r.ns, r.l, nil
			case conflict(r.err) && g.conflictCode != 0:
				return nil, nil, &exit{g.conflictCode, r.err}
			case errors.Is(r.err, godlm.ErrNotQueued):
				return nil, nil, &exit{lockBlocked, r.err}
			case errors.Is(r.err, godlm.ErrTimeout):
				return nil, nil, &exit{lockTimeout, r.err}
			}
			return nil, nil, &exit{lockFailed, r.err}
		}
	}
}

// stop stops this program as SIGTSTP would, if it were not caught. It returns when the
// program goes on.
func stop() {
	if err := unix.Kill(unix.Getpid(), unix.SIGSTOP); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "godlm: stop:", err) // nobody is left to tell
	}
}

// supervise runs the command to its end.
func (g *guard) supervise(ns *godlm.Namespace, l *godlm.Lock, path string, command []string) (status int, lost bool, err error) {
	env, err := environment(l)
	if err != nil {
		return 0, false, &exit{lockFailed, err}
	}
	g.child, err = os.StartProcess(path, command, &os.ProcAttr{
		Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &unix.SysProcAttr{Pdeathsig: g.onDeath.Signal},
	})
	if err != nil {
		return 0, false, cannotRun(err)
	}
	ended := make(chan *os.ProcessState, 1)
	failed := make(chan error, 1)
	go func() {
		if st, err := g.child.Wait(); err != nil {
			failed <- err
		} else {
			ended <- st
		}
	}()
	done := ns.Done()
	var kill <-chan time.Time
	for {
		select {
		case st := <-ended:
			w := st.Sys().(syscall.WaitStatus)
			if w.Signaled() {
				return lockSignal + int(w.Signal()), lost, nil
			}
			return w.ExitStatus(), lost, nil
		case err := <-failed:
			return 0, lost, &exit{lockFailed, err}
		case s := <-g.signals:
			g.pass(s.(unix.Signal))
		case <-done:
			done, lost = nil, true
			_, _ = fmt.Fprintf(os.Stderr, "godlm: the lock on %q is lost; others may have it\n", l.Name()) // nobody is left to tell
			g.send(g.onLost.Signal)
			if g.killAfter > 0 {
				kill = time.After(g.killAfter)
			}
		case <-kill:
			g.send(unix.SIGKILL)
		}
	}
}

// send sends the command a signal; it may have ended.
func (g *guard) send(s unix.Signal) {
	if s != 0 {
		_ = g.child.Signal(s)
	}
}

// pass passes a signal on. The command is in this program's process group: what the terminal
// sends, or the shell that takes it from one job and gives it to the next, it has got already. A
// second SIGCONT could undo a stop that has come meanwhile.
func (g *guard) pass(s unix.Signal) {
	toGroup := slices.Contains([]unix.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH}, s) && foreground()
	if !toGroup {
		g.send(s)
	}
	if s == unix.SIGTSTP {
		stop()
	}
}

// foreground reports whether this program's process group has a terminal.
func foreground() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }() // it was only asked
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// giveUp unlocks. What the command has left in the value block's charge is written if it went
// well.
func (g *guard) giveUp(l *godlm.Lock, status int, write godlm.Value) error {
	ctx := context.Background()
	switch {
	case status == 0 && g.writes:
		return l.Unlock(ctx, godlm.Write(write))
	case status != 0 && g.invalidate:
		return l.Unlock(ctx, godlm.Invalidate())
	}
	return l.Unlock(ctx)
}

// environment tells the command about its lock.
func environment(l *godlm.Lock) ([]string, error) {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "GODLM_LOCK_NAME=") || strings.HasPrefix(s, "GODLM_TOKEN=") || strings.HasPrefix(s, "GODLM_VALUE")
	})
	b := l.Block()
	ok := "0"
	if b.Valid {
		ok = "1"
	}
	env = append(env, "GODLM_LOCK_NAME="+l.Name(), "GODLM_VALUE_HEX="+hex.EncodeToString(b.Value[:]), "GODLM_VALUE_VALID="+ok)
	if s := b.Value.Text(); utf8.ValidString(s) && !strings.Contains(s, "\x00") {
		env = append(env, "GODLM_VALUE="+s)
	}
	if m := l.Mode(); m == godlm.PW || m == godlm.EX {
		t, err := l.Token()
		if err != nil {
			return nil, err
		}
		env = append(env, "GODLM_TOKEN="+t.String())
	}
	return env, nil
}
