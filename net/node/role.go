package node

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/rundir"
	"github.com/godlm/godlm/net/store"
)

// Pauses between looks at the lock of a process whose connection has ended.
const (
	lookFirst = 50 * time.Microsecond
	lookLast  = time.Second
)

// role is the agent role while this process has it. It tells the coordinator who
// lives, carries the messages of the processes and keeps the host's files.
type role struct {
	n    *Node
	sock *link.Listener

	mu       sync.Mutex // the agent mutex; held while the agent works
	host     *host.Host
	hosts    hosts
	store    *store.Store
	disk     disk      // of the store, if there are other hosts
	due      time.Time // of the next step of the clock of the agreement on hosts
	members  map[proto.ProcID]*member
	dead     map[proto.ProcID]*rundir.Dead
	graves   []*rundir.Dead // without a name, to be let go
	former   []string       // files of processes of a membership that has ended
	doomed   bool           // this process is one of them
	hostFile *rundir.HostFile
	rebooted bool // the machine was started anew since the files here were used
	file     *rundir.DirectoryFile
	dir      *journal.Directory
	kept     *rundir.RecoveryFile
	groups   *group.Groups // nil before this host is a member
	noted    *rundir.GroupsFile
	term     uint64 // of this agent, for the connections of containers
	alarm    alarm  // of the containers
	closed   bool
	told     toldOf
	rumour   rumour   // of other hosts
	leaving  *leaving // this process ends, and with it the host's part

	joining  bool // this process has asked for its name
	selfDone bool // this process is connected to its own agent
	waiting  []*waiting

	gatherings    map[uint64]*gathering
	lastGathering uint64

	groupsMu   sync.Mutex // after mu
	groupHosts map[proto.ProcID]*groupHost
}

// waiting is a process that has said hello before it could be welcomed.
type waiting struct {
	h *fromMember
	c *link.Conn
	m proto.Msg
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
	r := &role{n: n, members: map[proto.ProcID]*member{}, dead: map[proto.ProcID]*rundir.Dead{}, groupHosts: map[proto.ProcID]*groupHost{}, gatherings: map[uint64]*gathering{}}
	r.disk.r = r
	n.role.Store(r)
	if err := r.start(); err != nil {
		n.role.Store(nil)
		return errors.Join(err, r.close())
	}
	err := n.dir.RemoveAgentSock()
	if err == nil {
		r.sock, err = n.loop.Listen(n.dir.AgentSock(), r.accept)
	}
	if err != nil {
		// It is known to itself only; without others it may go on.
		n.log.Error("open the agent's socket", "dir", n.dir.Path(), "error", err, "do", "nobody can join until that works: look at the directory, its room and its permissions")
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
	r.mu.Lock()
	tell := r.tell()
	r.mu.Unlock()
	tell()
	r.bury()
	return nil
}

// toldOf is what Config.Told was told last.
type toldOf struct {
	stalls string
	at     time.Time // zero: nothing yet
}

// tell is what to do for Config.Told, without the agent mutex, which is held here.
func (r *role) tell() func() {
	hears := r.n.cfg.Told
	if hears == nil || r.n.cfg.Cluster == nil || time.Since(r.told.at) < time.Second {
		return func() {}
	}
	stalls := strings.Join(r.host.Report().Stalls, "; ")
	if !r.told.at.IsZero() && stalls == r.told.stalls {
		return func() {}
	}
	r.told = toldOf{stalls, time.Now()}
	return func() { hears(stalls) }
}

// start reads what earlier agents and dead processes have left, and takes this host's
// part among the hosts.
func (r *role) start() error {
	n := r.n
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.openFiles(); err != nil {
		return err
	}
	if err := r.openHost(); err != nil {
		return err
	}
	if n.cfg.Cluster != nil {
		r.again()
		r.startGossip()
	}
	return nil
}

// openHost takes up this host's part among the hosts.
func (r *role) openHost() (err error) {
	n := r.n
	cfg := host.Config{Alone: true, Central: n.cfg.Central}
	dir, opt := n.dir.Path(), store.Options{Cluster: "alone", Opened: n.openFD, Closed: n.closeFD, HoldForks: n.cfg.HoldForks}
	if c := n.cfg.Cluster; c != nil {
		cfg = c.host()
		cfg.Central = n.cfg.Central
		dir, opt.Cluster, opt.Sync = c.StateDir, c.Name, true
		if err := makeStateDir(dir); err != nil {
			return err
		}
	}
	if r.store, err = store.Open(dir, opt); err != nil {
		return err
	}
	id := r.store.Identity()
	r.host = host.New((*hostWorld)(r), r.hostFile, cfg, proto.HostID(binary.BigEndian.Uint64(id[:])|1))
	r.hosts.init(r)
	if err := r.host.Start(!r.store.Fresh()); err != nil {
		return fmt.Errorf("%s: %w; remove it when no process uses it", dir, err)
	}
	if n.cfg.Cluster == nil {
		return nil
	}
	return r.hosts.listen()
}

// registry is the role as containers that ask for names see it.
type registry role

var _ group.Registry = (*registry)(nil)

// JoinGroup implements group.Registry.
func (r *registry) JoinGroup(named func(id proto.ProcID, view uint64)) { r.host.JoinGroup(named) }

// Connected implements group.Registry.
func (r *registry) Connected(p proto.ProcID) { r.host.Reached(p) }

// Dead implements group.Registry.
func (r *registry) Dead(p proto.ProcID) { r.host.Dead(p) }

// FromProcess implements group.Registry.
func (r *registry) FromProcess(p proto.ProcID, m *proto.Msg) { r.host.FromProcess(p, m) }

// View implements group.Registry.
func (r *registry) View() uint64 { return r.host.View() }

// again has the clock of the agreement on hosts go on. On a busy machine each step comes
// late; they must not come more seldom, or a leader would be missed after the lease.
func (r *role) again() {
	tick, now := r.n.cfg.Cluster.tick(), time.Now()
	r.due = r.due.Add(tick)
	if now.Sub(r.due) > 2*tick { // this process was stopped, or begins
		r.due = now.Add(tick)
	}
	r.n.clock.after(max(time.Until(r.due), time.Millisecond), func() {
		tell := func() {}
		r.mu.Lock()
		if !r.closed {
			r.hosts.dial()
			r.host.Tick()
			r.again()
			tell = r.tell()
		}
		r.mu.Unlock()
		r.n.Flush()
		tell()
	})
}

// later does something with the agent mutex held, not in the caller's thread.
func (r *role) later(do func()) {
	r.n.clock.after(0, func() {
		r.mu.Lock()
		if !r.closed {
			do()
		}
		r.mu.Unlock()
		r.n.Flush()
	})
}

func (r *role) openFiles() (err error) {
	n := r.n
	defer n.holdForks()()
	if r.hostFile, err = n.dir.OpenHost(n.cfg.Map); err != nil {
		return err
	}
	n.openFD(r.hostFile.FD())
	r.sinceBoot()
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
	states, err := n.dir.Scan(n.file.Name)
	if err != nil {
		return err
	}
	if me := proto.ProcID(n.me.Load()); me != 0 {
		if n.Expired() {
			return errors.New("this host's membership in the cluster has ended, to which this process belongs")
		}
		r.members[me] = &member{id: me, name: n.file.Name}
	}
	for _, s := range states {
		former := n.cfg.Cluster != nil && s.Birth != r.hostFile.Birth()
		switch {
		case !s.Locked && (s.Proc == 0 || former || r.rebooted):
			r.sweep(s.Name)
		case !s.Locked:
			r.exhume(s.Proc, s.Name)
		case s.Proc != 0 && former:
			r.former = append(r.former, s.Name)
		case s.Proc != 0:
			r.members[s.Proc] = &member{id: s.Proc, name: s.Name}
		}
	}
	return nil
}

// sinceBoot finds out whether the machine was started anew since the files here were used:
// then nobody of before is left, and what they have mapped may be older than what others
// have seen.
func (r *role) sinceBoot() {
	id, err := hex.DecodeString(strings.ReplaceAll(bootID(), "-", ""))
	if err != nil || len(id) != 16 || !r.hostFile.Since([16]byte(id)) {
		return
	}
	r.rebooted = true
	if r.n.cfg.Cluster != nil {
		r.hostFile.SetBirth(0)
	}
	r.hostFile.SetDirectory(0)
}

// liveAndDead are the processes of this host that live, and those of which something
// is left.
func (r *role) liveAndDead() (live, dead []proto.ProcID) {
	return slices.Sorted(maps.Keys(r.members)), slices.Sorted(maps.Keys(r.dead))
}

// serve goes on with who waits for this host to be a member.
func (r *role) serve() {
	if r.leaving != nil {
		r.sendAway()
		return
	}
	if !r.host.Leased() || r.closed {
		return
	}
	if r.n.cfg.Central && r.host.Coordinates() {
		r.n.proc.KeepIdle()
	}
	if r.groups == nil && r.noted != nil && r.host.Ready() {
		r.startGroups()
	}
	if r.groups == nil {
		return
	}
	r.admitSelf()
	waiting := r.waiting
	r.waiting = nil
	for _, w := range waiting {
		if !w.h.gone {
			if err := w.h.welcome(w.c, &w.m); err != nil {
				w.h.refuse(w.c, err)
			}
		}
	}
}

// sendAway has those who wait try again with the agent to come.
func (r *role) sendAway() {
	for _, w := range r.waiting {
		w.h.refuse(w.c, errLeaving)
	}
	r.waiting = nil
}

// openNotes reads which containers this host has, once it is a member.
func (r *role) openNotes(birth uint32) bool {
	n := r.n
	var err error
	if r.noted, err = n.dir.OpenGroups(fmt.Sprintf("%s/%d", bootID(), birth), n.openFD, n.closeFD); err != nil {
		n.log.Error("containers of group locks", "error", err, "do", "nobody can join until that works: make room, or see what the error says")
		n.endJoin(err)
	}
	return err == nil
}

// startGroups brings the containers back to life.
func (r *role) startGroups() {
	r.term = uint64(r.host.State().Epoch) << 32
	r.groups = group.New((*groupWorld)(r), r.noted.Notes(), uint32(time.Now().Unix())&(1<<31-1))
	r.groups.Start((*registry)(r), func(p proto.ProcID) bool { return r.members[p] != nil })
}

// dropMembers: the membership has ended to which the processes here belonged.
func (r *role) dropMembers(why string) {
	for id, m := range r.members {
		if uint64(id) == r.n.me.Load() {
			r.doomed = true
			r.n.clock.after(0, func() { r.n.removed(why) })
		} else {
			r.former = append(r.former, m.name)
		}
		if m.conn != nil {
			m.conn.Send(&proto.Msg{Kind: proto.KReject, Text: why})
		}
		delete(r.members, id)
	}
	for id := range r.dead {
		(*hostWorld)(r).Forget(id)
	}
}

// someLive reports whether a process of a former membership may still run. Its own file
// must not be looked at: that gives its lock up.
func (r *role) someLive() bool {
	if r.doomed {
		return true
	}
	defer r.n.holdForks()()
	r.former = slices.DeleteFunc(r.former, func(name string) bool {
		s, err := r.n.dir.Look(name)
		return err == nil && !s.Locked || errors.Is(err, unix.ENOENT)
	})
	return len(r.former) > 0
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
func (r *role) admitSelf() {
	n := r.n
	id := proto.ProcID(n.me.Load())
	switch {
	case r.selfDone:
	case id != 0:
		r.welcomeSelf(id, 0)
	case !r.joining && r.host.Ready():
		r.joining = true
		r.host.Join(func(id proto.ProcID, view uint64) {
			n.book.SetProc(id, r.host.Birth())
			r.members[id] = &member{id: id, name: n.file.Name}
			r.welcomeSelf(id, view)
		})
	}
}

func (r *role) welcomeSelf(id proto.ProcID, view uint64) {
	r.selfDone = true
	if err := r.n.welcomed(id, view, r.host.Birth(), &agentLink{}); err != nil {
		r.n.log.Error("join", "error", err)
		return
	}
	r.host.Reached(id)
	r.groups.Reached(id)
}

// close gives the files up. The role itself ends with its lock.
func (r *role) close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.disk.close()
	r.endGossip()
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	r.hosts.close()
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.hostFile != nil {
		r.n.closeFD(r.hostFile.FD())
		errs = append(errs, r.hostFile.Close())
	}
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
	for _, f := range r.graves {
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
	r.take(id, m)
}

// take is fromProcess with the agent mutex held.
func (r *role) take(id proto.ProcID, m *proto.Msg) {
	switch {
	case r.closed:
	case m.Kind == proto.KGroup:
		r.groups.FromMember(id, m.Call)
	default:
		r.host.FromProcess(id, m)
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
			r.n.log.Error("cannot tell whether a process lives", "proc", m.id, "error", err, "do", "its locks stay until that is known; see godlm doctor")
			m.missing = true
		}
		return false
	}
	if s.Locked {
		return false
	}
	r.exhume(m.id, m.name)
	o := (*hostWorld)(r).Obituary(m.id)
	r.n.log.Info("a process has ended", "proc", fmt.Sprintf("%#x", uint64(m.id)), "pid", o.Pid, "program", o.Program)
	delete(r.members, m.id)
	for _, g := range r.gatherings {
		g.gone(m.id)
	}
	r.host.Dead(m.id)
	if r.groups != nil {
		r.groups.Died(m.id)
	}
	return true
}
