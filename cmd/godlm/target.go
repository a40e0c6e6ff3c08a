package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/godlm/godlm"
)

// Exit statuses of get and set beside the common ones, documented in godlm-get(1) and
// godlm-set(1).
const (
	exitNotValid = 9  // the value block is not valid
	exitConflict = 10 // not got in time, or it would have to wait
	exitUnequal  = 11 // set: the value is not the one that was expected
)

// joinTime is how long godlm.Join waits if nothing else is said.
const joinTime = 10 * time.Second

// target is the name that a command locks: where it is, and how long to wait for it.
type target struct {
	o        *options
	public   bool
	group    string
	domain   string
	timeout  time.Duration
	nonblock bool
	verbose  bool
}

func (x *target) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&x.public, "public", false, "use the public namespace, not this user's")
	f.StringVar(&x.group, "group", "", "use the namespace of this group (name or number)")
	f.StringVar(&x.domain, "domain", "", "the name is a persistent resource of this recovery domain")
	f.DurationVarP(&x.timeout, "timeout", "w", 0, "wait no longer for the lock, for example 10s; 0: as long as it takes")
	f.BoolVarP(&x.nonblock, "nonblock", "n", false, "do not wait for the lock")
	f.BoolVarP(&x.verbose, "verbose", "v", false, "say on standard error who is in the way")
}

// exclusive is the error of options that do not go together, each status being the command's
// own business.
func (x *target) exclusive() error {
	switch {
	case x.public && x.group != "":
		return errors.New("--public and --group exclude each other")
	case x.nonblock && x.timeout != 0:
		return errors.New("--nonblock and --timeout exclude each other")
	case x.timeout < 0:
		return fmt.Errorf("--timeout %v is less than no time", x.timeout)
	}
	return nil
}

// join joins the namespace. What the program is to do when the locks are lost is the
// command's business, not the environment's.
func (x *target) join(ctx context.Context) (*godlm.Namespace, error) {
	opts := []godlm.JoinOption{godlm.Getenv(func(name string) string {
		if name == "GODLM_ON_LOST" {
			return "tell"
		}
		return x.o.getenv(name)
	})}
	switch {
	case x.public:
		opts = append(opts, godlm.Public())
	case x.group != "":
		gid, err := strconv.ParseUint(x.group, 10, 32)
		if err != nil {
			g, err := user.LookupGroup(x.group)
			if err != nil {
				return nil, err
			}
			if gid, err = strconv.ParseUint(g.Gid, 10, 32); err != nil {
				return nil, err
			}
		}
		opts = append(opts, godlm.Group(int(gid)))
	}
	return godlm.Join(ctx, opts...)
}

// lock joins and locks the name. The lock ends with the namespace.
func (x *target) lock(ctx context.Context, name string, m godlm.Mode) (*godlm.Namespace, *godlm.Lock, error) {
	joining := ctx
	if x.timeout > joinTime { // who waits so long for a lock waits as long for a majority of hosts
		var cancel context.CancelFunc
		joining, cancel = context.WithTimeout(ctx, x.timeout)
		defer cancel()
	}
	ns, err := x.join(joining)
	if err != nil {
		return nil, nil, err
	}
	l, err := x.lockIn(ctx, ns, name, m)
	if err != nil {
		return nil, nil, errors.Join(err, ns.Close())
	}
	return ns, l, nil
}

func (x *target) lockIn(ctx context.Context, ns *godlm.Namespace, name string, m godlm.Mode) (*godlm.Lock, error) {
	var opts []godlm.LockOption
	if x.domain != "" {
		d, err := ns.Attach(ctx, x.domain)
		if err != nil {
			return nil, err
		}
		opts = append(opts, godlm.Persistent(d))
	}
	if x.nonblock {
		opts = append(opts, godlm.NoQueue())
	}
	if x.timeout > 0 {
		opts = append(opts, godlm.Timeout(x.timeout))
	}
	if x.verbose {
		said := ""
		opts = append(opts, godlm.WhileWaiting(time.Second, func(list []godlm.Blocker) {
			var all []string
			for _, b := range list {
				all = append(all, b.Text)
			}
			if s := strings.Join(all, "; "); s != said {
				said = s
				_, _ = fmt.Fprintf(os.Stderr, "godlm: waiting for %q: %s\n", name, s) // nobody is left to tell
			}
		}))
	}
	return ns.Lock(ctx, name, m, opts...)
}

// conflict reports whether the lock was not got because somebody else has it.
func conflict(err error) bool {
	return errors.Is(err, godlm.ErrNotQueued) || errors.Is(err, godlm.ErrTimeout)
}

// refused is what a command ends with that could not lock, or not go on.
func refused(err error) error {
	if conflict(err) {
		return &exit{exitConflict, err}
	}
	return &exit{exitError, err}
}

// untilSignal is a context that the usual signals end.
func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
}

// modeFlag reads a lock mode in either case.
type modeFlag struct{ godlm.Mode }

// Set implements pflag.Value.
func (m *modeFlag) Set(s string) (err error) {
	m.Mode, err = godlm.ParseMode(strings.ToUpper(s))
	return err
}

// Type implements pflag.Value.
func (m *modeFlag) Type() string { return "mode" }

// String implements pflag.Value.
func (m *modeFlag) String() string {
	if m.Mode == 0 {
		return ""
	}
	return m.Mode.String()
}

func completeModes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"NL", "CR", "CW", "PR", "PW", "EX"}, cobra.ShellCompDirectiveNoFileComp
}

// signalFlag reads the name or number of a signal; "none" is 0.
type signalFlag struct{ unix.Signal }

// Set implements pflag.Value.
func (s *signalFlag) Set(text string) error {
	if text == "none" {
		s.Signal = 0
		return nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		s.Signal = unix.Signal(n)
		return nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s.Signal = unix.SignalNum(name); s.Signal == 0 {
		return fmt.Errorf("%q is no signal", text)
	}
	return nil
}

// Type implements pflag.Value.
func (s *signalFlag) Type() string { return "signal" }

// String implements pflag.Value.
func (s *signalFlag) String() string {
	if s.Signal == 0 {
		return "none"
	}
	return strings.TrimPrefix(unix.SignalName(s.Signal), "SIG")
}

func completeSignals(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return slices.Concat([]string{"none"}, []string{"TERM", "INT", "HUP", "QUIT", "KILL", "STOP", "USR1", "USR2"}), cobra.ShellCompDirectiveNoFileComp
}
