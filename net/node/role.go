package node

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/rundir"
)

// Pauses between looks at the lock of a process whose connection has ended.
const (
	lookFirst = 50 * time.Microsecond
	lookLast  = time.Second
)

// role is the agent role while this process has it. It tells the agent who
// lives, carries its messages and keeps its files.
type role struct {
	n    *Node
	sock *link.Listener

	mu      sync.Mutex // the agent mutex; held while the agent works
	agent   *agent.Agent
	members map[proto.ProcID]*member
	dead    map[proto.ProcID]*rundir.Dead
	file    *rundir.DirectoryFile
	dir     *journal.Directory
	kept    *rundir.RecoveryFile
	groups  *group.Groups
	noted   *rundir.GroupsFile
	term    uint64 // of this agent, for the connections of containers
	alarm   alarm  // of the containers
	closed  bool

	hostsMu sync.Mutex // after mu
	hosts   map[proto.ProcID]*groupHost
}

// member is a live process.
type member struct {
	id       proto.ProcID
	name     string     // of its file
	conn     *link.Conn // nil: not connected, and so looked at from time to time
	came     bool       // it has connected to this agent
	watching bool       // a look is due
	missing  bool       // that its file is missing has been logged
}

// becomeAgent takes up the role, whose lock this process has just got.
func (n *Node) becomeAgent() error {
	r := &role{n: n, members: map[proto.ProcID]*member{}, dead: map[proto.ProcID]*rundir.Dead{}, hosts: map[proto.ProcID]*groupHost{}}
	if err := r.start(); err != nil {
		return errors.Join(err, r.close())
	}
	n.role.Store(r)
	if err := r.admitSelf(); err != nil {
		n.role.Store(nil)
		return errors.Join(err, r.close())
	}
	err := n.dir.RemoveAgentSock()
	if err == nil {
		r.sock, err = n.loop.Listen(n.dir.AgentSock(), r.accept)
	}
	if err != nil {
		// It is known to itself only; without others it may go on.
		n.log.Error("open the agent's socket", "dir", n.dir.Path(), "error", err)
	}
	r.mu.Lock()
	var others []proto.ProcID
	for id, m := range r.members {
		if m.conn == nil && uint64(id) != n.me.Load() {
			m.watching = true
			others = append(others, id)
		}
	}
	r.mu.Unlock()
	for _, id := range others {
		r.look(id, lookFirst)
	}
	n.log.Info("this process is the agent", "dir", n.dir.Path())
	return nil
}

// start reads what earlier agents and dead processes have left.
func (r *role) start() error {
	n := r.n
	defer n.holdForks()()
	gen, err := n.dir.NextGeneration()
	if err != nil {
		return err
	}
	if r.file, err = n.dir.OpenDirectory(n.cfg.Map); err != nil {
		return err
	}
	n.openFD(r.file.FD())
	if r.dir, err = journal.Load(r.file); err != nil {
		return fmt.Errorf("directory in %s: %w", n.dir.Path(), err)
	}
	if r.kept, err = n.dir.OpenRecovery(n.openFD, n.closeFD); err != nil {
		return err
	}
	if r.noted, err = n.dir.OpenGroups(bootID(), n.openFD, n.closeFD); err != nil {
		return err
	}
	states, err := n.dir.Scan(n.file.Name)
	if err != nil {
		return err
	}
	var live, dead []proto.ProcID
	if me := proto.ProcID(n.me.Load()); me != 0 {
		live = append(live, me)
		r.members[me] = &member{id: me, name: n.file.Name}
	}
	for _, s := range states {
		switch {
		case !s.Locked && s.Proc == 0:
			r.sweep(s.Name)
		case !s.Locked:
			dead = append(dead, s.Proc)
			r.exhume(s.Proc, s.Name)
		case s.Proc != 0:
			live = append(live, s.Proc)
			r.members[s.Proc] = &member{id: s.Proc, name: s.Name}
		}
	}
	var past agent.Lasting
	for _, e := range r.dir.Entries() {
		past.Directory = append(past.Directory, agent.Entry(e))
	}
	r.kept.Fill(&past)
	past.Groups = r.noted.Notes().IDs()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = uint64(gen) << 32
	r.agent = agent.New((*agentWorld)(r), r.term, live, dead, &past)
	if n.cfg.Central {
		r.agent.Centralize()
		n.proc.KeepIdle()
	}
	r.groups = group.New((*groupWorld)(r), r.noted.Notes(), uint32(time.Now().Unix())&(1<<31-1))
	r.groups.Start(r.agent, func(p proto.ProcID) bool { return r.members[p] != nil })
	return nil
}

// bootID names the time since the machine was started; "" where nobody can tell.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// sweep removes the file of a process that died before it was welcomed.
func (r *role) sweep(name string) {
	f, err := r.n.dir.OpenDead(name)
	if errors.Is(err, unix.EBUSY) {
		return // it was just being made
	}
	if err == nil {
		err = f.Remove()
	}
	if err != nil {
		r.n.log.Warn("remove a file", "error", err)
	}
}

// exhume opens a dead process's file. Without it the process is as dead, but
// what it knew is lost.
func (r *role) exhume(id proto.ProcID, name string) {
	f, err := r.n.dir.OpenDead(name)
	if err != nil {
		r.n.log.Error("value journal of a dead process", "proc", id, "error", err)
		return
	}
	r.dead[id] = f
}

// admitSelf lets the agent's own process join, or meet its new agent.
func (r *role) admitSelf() error {
	n := r.n
	id := proto.ProcID(n.me.Load())
	r.mu.Lock()
	view := r.agent.View()
	if id == 0 {
		id, view = r.agent.Join()
		n.book.SetProc(id)
		r.members[id] = &member{id: id, name: n.file.Name}
	}
	r.mu.Unlock()
	if err := n.welcomed(id, view, &agentLink{}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.agent.Connected(id)
	r.groups.Reached(id)
	return nil
}

// close gives the files up. The role itself ends with its lock.
func (r *role) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	if r.file != nil {
		r.n.closeFD(r.file.FD())
		errs = append(errs, r.file.Close())
	}
	if r.kept != nil {
		errs = append(errs, r.kept.Close())
	}
	if r.noted != nil {
		errs = append(errs, r.noted.Close())
	}
	for _, f := range r.dead {
		errs = append(errs, f.Close())
	}
	if r.sock != nil {
		r.sock.Close()
	}
	return errors.Join(errs...)
}

// fromProcess takes a message for the agent.
func (r *role) fromProcess(id proto.ProcID, m *proto.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
	case m.Kind == proto.KGroup:
		r.groups.FromMember(id, m.Call)
	default:
		r.agent.FromProcess(id, m)
	}
}

// look finds out whether a process without a connection is dead: its lock is
// free. End of file was only a hint. It looks again, less and less often, until
// the process is dead or has said hello.
func (r *role) look(id proto.ProcID, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.members[id]
	if m == nil || r.closed {
		return
	}
	if m.conn != nil || r.isDead(m) {
		m.watching = false
		return
	}
	r.n.clock.after(pause, func() {
		r.look(id, backoff(pause, lookFirst, lookLast))
		r.n.Flush()
	})
}

// isDead looks at the lock and buries the process if it is free. mu is held.
func (r *role) isDead(m *member) bool {
	defer r.n.holdForks()()
	s, err := r.n.dir.Look(m.name)
	if err != nil {
		if !m.missing {
			r.n.log.Error("cannot tell whether a process lives", "proc", m.id, "error", err)
			m.missing = true
		}
		return false
	}
	if s.Locked {
		return false
	}
	r.n.log.Info("a process has ended", "proc", m.id)
	r.exhume(m.id, m.name)
	delete(r.members, m.id)
	r.agent.Dead(m.id)
	r.groups.Died(m.id)
	return true
}

func (r *role) accept(cred *unix.Ucred) link.Handler {
	if err := trusted(cred); err != nil {
		r.n.log.Warn("connection refused", "error", err)
		return nil
	}
	return &fromMember{r: r, pid: int(cred.Pid)}
}

// fromMember handles the connection of a process to this agent.
type fromMember struct {
	r        *role
	pid      int          // as the kernel says
	id       proto.ProcID // 0 until it has said hello
	rejected bool
}

// Message implements link.Handler.
func (h *fromMember) Message(c *link.Conn, m *proto.Msg) error {
	if h.rejected {
		return errors.New("a message after the refusal")
	}
	if h.id != 0 {
		if err := between(m, proto.KLookup, proto.KGroup); err != nil {
			return err
		}
		h.r.fromProcess(h.id, m)
		return nil
	}
	if err := between(m, proto.KHello, proto.KHello); err != nil {
		return err
	}
	err := h.hello(c, m)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotNow):
		return err // the connection is closed, and the peer tries again
	case errors.Is(err, errUnlocked):
		h.r.n.log.Debug("process refused", "pid", h.pid, "error", err) // it has most likely died
	default:
		h.r.n.log.Warn("process refused", "pid", h.pid, "error", err)
	}
	// The peer closes when it has read this.
	h.rejected = true
	c.Send(&proto.Msg{Kind: proto.KReject, Text: err.Error()})
	return nil
}

// Closed implements link.Handler.
func (h *fromMember) Closed(c *link.Conn, _ error) {
	r := h.r
	r.mu.Lock()
	m := r.members[h.id]
	due := m != nil && m.conn == c
	if due {
		m.conn = nil
		due = !m.watching
		m.watching = true
	}
	r.mu.Unlock()
	if due {
		r.look(h.id, lookFirst)
	}
}

// errNotNow is no refusal: what prevents the welcome passes, with this agent or
// with the next one.
var errNotNow = errors.New("not now")

// errUnlocked says that the process has ended, or has thrown away the proof that
// it lives.
var errUnlocked = errors.New("it does not hold the lock of the file it names")

// hello admits a process, new or known.
func (h *fromMember) hello(c *link.Conn, m *proto.Msg) error {
	r := h.r
	if m.Flags != proto.Version {
		return fmt.Errorf("it speaks version %d, the agent %d", m.Flags, proto.Version)
	}
	if m.Text == r.n.file.Name {
		return errors.New("it names the agent's own file")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("%w: the agent is leaving", errNotNow)
	}
	defer r.n.holdForks()()
	s, err := r.n.dir.Look(m.Text)
	switch {
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: %w", errNotNow, err)
	case err != nil:
		return err
	case !s.Locked || s.Pid != h.pid:
		return errUnlocked
	}
	var view uint64
	switch {
	case m.Proc != s.Proc && m.Proc != 0:
		return fmt.Errorf("it says it is %#x, its file says %#x", uint64(m.Proc), uint64(s.Proc))
	case s.Proc != 0 && r.members[s.Proc] == nil:
		return fmt.Errorf("process %#x was declared dead", uint64(s.Proc))
	case s.Proc != 0:
		h.id, view = s.Proc, r.agent.View()
	default:
		if h.id, view, err = r.admit(s.Name); err != nil {
			h.id = 0
			return err
		}
	}
	x := r.members[h.id]
	if x.came {
		h.id = 0
		return errors.New("its connection to the agent broke") // and what was under way is lost
	}
	x.conn, x.came = c, true
	c.Send(&proto.Msg{Kind: proto.KWelcome, Proc: h.id, View: view})
	r.agent.Connected(h.id)
	r.groups.Reached(h.id)
	return nil
}

// admit gives a new process its name, in its file first: so the next agent knows
// it even if this one dies now. mu is held.
func (r *role) admit(name string) (id proto.ProcID, view uint64, err error) {
	id, view = r.agent.Join()
	if err := r.n.dir.SetProc(name, id); err != nil {
		r.agent.Dead(id)
		return 0, 0, err
	}
	r.members[id] = &member{id: id, name: name}
	return id, view, nil
}
