package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/config"
	"github.com/godlm/godlm/net/node"
	"github.com/godlm/godlm/net/rundir"
)

// finding is what `godlm doctor` has found about one thing.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // "ok", "warning", "error"
	Text    string `json:"text"`
	Mend    string `json:"mend,omitempty"` // what to do
}

// Verdicts.
const (
	isOK      = "ok"
	isWarning = "warning"
	isError   = "error"
)

// doctor collects findings.
type doctor struct {
	o       *options
	env     func(string) string
	path    string
	list    []finding
	cluster *node.Cluster
	members []member
}

func (d *doctor) say(check, verdict, mend, format string, args ...any) {
	d.list = append(d.list, finding{check, verdict, fmt.Sprintf(format, args...), mend})
}

func newDoctor(o *options) *cobra.Command {
	return o.jsonFlag(&cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what to mend",
		Long: "Look at the configuration, the runtime directory, the key, clocks, ports, limits, signals and versions of the\n" +
			"programs here, and of the other hosts, and say what to mend. The exit status is 0 if all is well, 7 with\n" +
			"warnings, 8 if something is wrong.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := &doctor{o: o}
			d.run()
			var err error
			if o.json {
				err = printJSON(c.OutOrStdout(), struct {
					Findings []finding `json:"findings"`
				}{d.list})
			} else {
				err = d.print(c.OutOrStdout())
			}
			if err != nil {
				return err
			}
			worst := exitOK
			for _, f := range d.list {
				switch {
				case f.Verdict == isError:
					worst = exitWrong
				case f.Verdict == isWarning && worst == exitOK:
					worst = exitWarning
				}
			}
			if worst != exitOK {
				return &exit{status: worst}
			}
			return nil
		},
	})
}

func (d *doctor) print(w io.Writer) error {
	for _, f := range d.list {
		if err := printf(w, "%-8s %-14s %s\n", f.Verdict, f.Check, f.Text); err != nil {
			return err
		}
		if f.Mend != "" {
			if err := printf(w, "%-8s %-14s to mend it: %s\n", "", "", f.Mend); err != nil {
				return err
			}
		}
	}
	return nil
}

// run looks at everything, as far as what comes before allows.
func (d *doctor) run() {
	d.clocks()
	d.limits()
	if !d.configuration() || !d.directory() {
		return
	}
	d.ports()
	d.programs()
	if d.running() {
		d.versions()
		d.hosts()
	}
}

func (d *doctor) configuration() bool {
	path, _, err := config.Path(d.o.getenv)
	if err == nil {
		d.env, err = d.o.environment()
	}
	if err == nil {
		d.cluster, err = node.ClusterFrom(d.env)
		if err != nil {
			err = config.Blame(d.o.getenv, err)
		}
	}
	if err != nil {
		d.say("configuration", isError, "correct that, and run godlm config check", "%v", err)
		return false
	}
	if _, err := os.Stat(path); err != nil {
		path = "no file; the defaults and the environment count"
	}
	d.say("configuration", isOK, "", "%s", path)
	if d.cluster != nil {
		d.say("key", isOK, "", "the key is there and closed to others; among several hosts it must be the same on all")
	}
	return true
}

func (d *doctor) directory() bool {
	var err error
	if d.path, err = rundir.Path(d.env); err != nil {
		d.say("directory", isError, "", "%v", err)
		return false
	}
	d.members, err = d.o.listMembers(d.path)
	if err != nil {
		d.say("directory", isError, "the message says what to change; GODLM_DIR chooses another directory", "%v", err)
		return false
	}
	var st unix.Statfs_t
	at := d.path
	for unix.Statfs(at, &st) != nil && at != "/" {
		at = at[:max(1, strings.LastIndex(at, "/"))]
	}
	if free := st.Bavail * uint64(st.Bsize); free < 64<<20 {
		d.say("space", isWarning, "make room, or move the directory (GODLM_DIR)", "%d MB are free in %s; value journals grow with the resources that programs share", free>>20, at)
	} else {
		d.say("space", isOK, "", "%d MB are free in %s", free>>20, at)
	}
	if d.cluster != nil {
		if err := unix.Access(d.cluster.StateDir, unix.W_OK); err != nil && !errors.Is(err, unix.ENOENT) {
			d.say("state", isError, "let the user of the programs write there, or set state_dir", "%s: %v", d.cluster.StateDir, err)
		}
	}
	base := filepath.Dir(d.path) // what programs will find before they make the rest
	var own unix.Stat_t
	if err := unix.Lstat(base, &own); err == nil && (own.Mode&0o077 != 0 || int(own.Uid) != os.Geteuid()) {
		d.say("directory", isError, "chmod 700 "+base+" and make it your own, or set GODLM_DIR", "%s is open to others, or belongs to somebody else: programs refuse it", base)
		return false
	}
	if len(d.members) == 0 {
		d.say("directory", isOK, "", "%s, which no program uses", d.path)
	} else {
		d.say("directory", isOK, "", "%s, of %d programs", d.path, len(d.members))
	}
	return true
}

// clocks compares the clock that goes on while the machine sleeps with the one that does
// not, and both with the calendar for a moment.
func (d *doctor) clocks() {
	read := func(id int32) time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(id, &t) != nil {
			return -1
		}
		return time.Duration(t.Nano())
	}
	boot, mono, wall := read(unix.CLOCK_BOOTTIME), read(unix.CLOCK_MONOTONIC), read(unix.CLOCK_REALTIME)
	if boot < 0 {
		d.say("clock", isError, "several hosts need CLOCK_BOOTTIME; a newer kernel, or a sandbox that lets it through", "this machine has no CLOCK_BOOTTIME")
		return
	}
	if asleep := boot - mono; asleep > time.Second {
		d.say("clock", isWarning, "keep machines of a cluster from being suspended", "this machine was suspended for %s since it was started; a host that sleeps longer than its lease loses its locks", span(asleep))
	}
	const look = 200 * time.Millisecond
	time.Sleep(look)
	drift := math.Abs(float64((read(unix.CLOCK_BOOTTIME)-boot)-(read(unix.CLOCK_REALTIME)-wall))) / float64(look)
	if drift > 0.01 {
		d.say("clock", isWarning, "see whether time synchronisation slews the clock, or steps it", "CLOCK_BOOTTIME and the calendar differ by %.1f%% in speed; leases allow 1%% between hosts", drift*100)
		return
	}
	d.say("clock", isOK, "", "CLOCK_BOOTTIME goes as fast as the calendar")
}

// limits are those under which programs of this user start, and of those that run.
func (d *doctor) limits() {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err == nil {
		if l.Cur < 1024 {
			d.say("limits", isWarning, "raise it: ulimit -n 4096, or LimitNOFILE= of the unit", "a program may have %d open files; it needs two for each program with which it shares locks", l.Cur)
		} else {
			d.say("limits", isOK, "", "a program may have %d open files", l.Cur)
		}
	}
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err == nil && l.Cur < 16<<20 {
		d.say("limits", isError, "ulimit -f unlimited", "no file may grow beyond %d bytes; a value journal has to", l.Cur)
	}
}

// ports: is the address of this host free, or used by its agent?
func (d *doctor) ports() {
	if d.cluster == nil {
		return
	}
	for _, x := range [...]struct {
		network, what string
		port          uint16
	}{{"tcp", "streams", d.cluster.Bind.Port()}, {"udp", "gossip", d.cluster.Bind.Port() + 1}} {
		addr := net.JoinHostPort(d.cluster.Bind.Addr().String(), strconv.Itoa(int(x.port)))
		var c io.Closer
		var err error
		if x.network == "tcp" {
			c, err = net.Listen("tcp", addr)
		} else {
			c, err = net.ListenPacket("udp", addr)
		}
		switch {
		case err == nil:
			err = c.Close()
			if err == nil && d.running() {
				d.say("ports", isWarning, "the agent opens it as soon as it can", "%s/%s (%s) is not in use, though programs run", addr, x.network, x.what)
			} else {
				d.say("ports", isOK, "", "%s/%s (%s) is free", addr, x.network, x.what)
			}
		case errors.Is(err, unix.EADDRINUSE) && d.running():
			d.say("ports", isOK, "", "%s/%s (%s) is in use, by the agent it seems", addr, x.network, x.what)
		case errors.Is(err, unix.EADDRINUSE):
			d.say("ports", isError, "end who has it (ss -lpn), or set another port for this host", "%s/%s (%s) is in use, and not by an agent", addr, x.network, x.what)
		default:
			d.say("ports", isError, "bind must be an address of this machine", "%s/%s (%s): %v", addr, x.network, x.what, err)
		}
	}
}

// running reports whether a program lives here.
func (d *doctor) running() bool {
	for _, m := range d.members {
		if m.State != node.Ended {
			return true
		}
	}
	return false
}

// programs looks at each program: is it stopped, has it descriptors left, do handlers of
// signals have the flag that they need?
func (d *doctor) programs() {
	for _, m := range d.members {
		if m.State == node.Stopped {
			d.say("program", isError, fmt.Sprintf("continue it (kill -CONT %d) or end it", m.Pid), "%s (pid %d) is stopped, since %s %s: who asks for its locks, or for what it decides about, waits", m.Program, m.Pid, m.bound, span(m.since))
		}
		if m.Pid == 0 || m.State == node.Ended {
			continue
		}
		d.files(m)
		d.signals(m)
	}
}

func (d *doctor) files(m member) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", m.Pid))
	if err != nil {
		return
	}
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.Pid))
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(b), "\n") {
		rest, ok := strings.CutPrefix(line, "Max open files")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			continue
		}
		if n, err := strconv.Atoi(f[0]); err == nil && len(list)*10 > n*8 {
			d.say("limits", isWarning, "raise its limit (prlimit --pid "+strconv.Itoa(m.Pid)+" --nofile=…)", "%s (pid %d) has %d of %d files open; without one it cannot talk to others", m.Program, m.Pid, len(list), n)
		}
	}
}

// signals: the runtime of the library interrupts its threads by SIGURG. Whether handlers
// have SA_ONSTACK cannot be seen from outside.
func (d *doctor) signals(m member) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.Pid))
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(b), "\n") {
		set, ok := strings.CutPrefix(line, "SigIgn:")
		if !ok {
			continue
		}
		if v, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64); err == nil && v>>(uint(unix.SIGURG)-1)&1 == 1 {
			d.say("signals", isWarning, "leave SIGURG to the library", "%s (pid %d) ignores SIGURG, by which the runtime of the library interrupts itself; its threads may wait for each other longer", m.Program, m.Pid)
		}
	}
}

// versions compares those of all programs with that of this command.
func (d *doctor) versions() {
	p, err := lookAt(d.path).look(proto.Inquiry{What: proto.SeeCounts})
	if err != nil {
		d.say("agent", isError, "see godlm status", "%v", err)
		return
	}
	good := 0
	for _, w := range p.Members {
		switch w.version {
		case "":
		case node.Release:
			good++
		default:
			d.say("versions", isWarning, "bring all to one version when you can", "%s has version %s of the library, this command is of %s", w, w.version, node.Release)
		}
	}
	d.say("versions", isOK, "", "%d programs have version %s", good, node.Release)
	for i := range p.Silent {
		d.say("answers", isError, "see godlm status", "%s", &p.Silent[i])
	}
}

// hosts is what the agent says of the others.
func (d *doctor) hosts() {
	if d.cluster == nil {
		return
	}
	r, err := node.AskStatus(d.path)
	if err != nil {
		d.say("hosts", isError, "see godlm status", "%v", err)
		return
	}
	for _, s := range r.Stalls {
		d.say("hosts", isError, "see godlm-cluster(7)", "%s", s)
	}
	for why, n := range r.Refused {
		if n > 0 {
			d.say("hosts", isWarning, "compare key, cluster name, version and lease of the hosts", "%d connections between hosts were refused: %s", n, why)
		}
	}
	if len(r.Stalls) == 0 {
		d.say("hosts", isOK, "", "%d hosts; the lease goes on for %s", len(r.Hosts), span(time.Duration(r.Lease)))
	}
}
