package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/rundir"
)

// States of a process as one who is no member can tell.
const (
	Running = "running"
	Stopped = "stopped" // by a signal or a debugger: who waits for it waits
	Ended   = "ended"   // and the agent has yet to notice
	Hidden  = "hidden"  // alive, in another pid namespace
	Joining = "joining" // it waits to be welcomed, by the agent or, if it is that, by the other hosts
)

// Kinds of host.Stall that are seen from outside, beside those that the agent tells of.
const (
	StoppedProgram = "stopped program"
	StoppedAgent   = "stopped agent"
	NoAgent        = "no agent"
	MuteAgent      = "mute agent" // there is one, which does not answer
)

// OutsideKinds are all of them.
var OutsideKinds = []string{StoppedProgram, StoppedAgent, NoAgent, MuteAgent}

// Seen is a process of a runtime directory as seen from outside.
type Seen struct {
	Proc    proto.ProcID
	Pid     int    // 0: hidden
	Program string // its name; "" if nobody can tell
	State   string
	Agent   bool
	// Since is for how long it is Stopped, Bound how well that is known.
	Since time.Duration
	Bound host.Bound
}

// Inspect looks at a runtime directory without joining: which processes there are, in
// the order in which they joined. A directory that does not exist has none. The caller
// must not be a member: looking would end its proof of life.
func Inspect(path string) (out []Seen, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	d, err := rundir.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	states, err := d.Scan("")
	if err != nil {
		return nil, err
	}
	agent := d.AgentPid()
	for _, s := range states {
		if s.Proc == 0 && !s.Locked {
			continue // it was never welcomed
		}
		x := Seen{Proc: s.Proc, Pid: s.Pid, State: Ended}
		if s.Locked {
			x.Program, x.State = lookAt(s.Pid)
			x.Agent = s.Pid != 0 && s.Pid == agent
			switch {
			case x.State == Stopped:
				x.Since, x.Bound = stoppedFor(s.Pid)
			case s.Proc == 0 && x.State == Running:
				x.State = Joining
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// ownName is what people call this program.

func ownName() string {
	name, _ := lookAt(os.Getpid())
	return name
}

// lookAt is a process's name and state, from /proc.
func lookAt(pid int) (name, state string) {
	if pid == 0 {
		return "", Hidden
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "", Running
	}
	state = Running
	if f := statFields(fmt.Sprintf("/proc/%d", pid)); len(f) > 0 && strings.ContainsAny(f[0], "Tt") {
		state = Stopped
	}
	return strings.TrimSpace(string(comm)), state
}

// AgentBegan is when the latest agent of a runtime directory took the role.
func AgentBegan(path string) (at time.Time, err error) {
	err = withDir(path, func(d *rundir.Dir) error {
		at, err = d.AgentBegan()
		return err
	})
	return at, err
}
