package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/rundir"
)

// Why Open fails; errors.Is finds them.
var (
	ErrUnsafeDir  = rundir.ErrUnsafe
	ErrNetworkDir = rundir.ErrNetwork
	ErrBadName    = rundir.ErrName
	// ErrNoAgent: who has the agent role does not answer.
	ErrNoAgent = errors.New("the agent does not answer")
	// ErrRefused: the agent does not take this process.
	ErrRefused = errors.New("refused by the agent")
	// ErrRemoved: this host was removed from the cluster while this process joined. It can
	// try again.
	ErrRemoved = errors.New("this host is just being removed from the cluster")
	// ErrOpen: this process has a node in this directory already.
	ErrOpen = errors.New("already open in this process")
)

// joinTimeout is how long Open waits for an agent's welcome.
const joinTimeout = 10 * time.Second

// Sink takes what is for the program. Its methods are called with a mutex of
// core held: they queue and return.
type Sink interface {
	Complete(*process.Completion)
	Blocking(*process.Notice)
	Discard(proto.LockID) bool
	// Lost says that all locks are lost; requests have been answered.
	Lost()
}

// Config says how to open a node.
type Config struct {
	Dir string // runtime directory with the cluster name; "" = as the environment says
	// Getenv reads the environment; nil: os.Getenv.
	Getenv func(name string) string
	Sink   Sink
	// OpenFD and CloseFD, if set, are told of the descriptors that a forked child
	// must close.
	OpenFD, CloseFD func(fd int)
	// HoldForks, if set, keeps the program from forking until done is called.
	HoldForks func() (done func())
	// Yield, if set, waits while a caller is to wake up by a descriptor of its own
	// in the epoll set.
	Yield func()
	// Callers, if set, are threads that wait on EpollFD.
	Callers link.Callers
	// Lent, if set, is where trees that only this process uses are lent to its callers.
	Lent *lent.Table
	// Map, if set, is told of the mapped memory. Children do not inherit it.
	Map func(addr uintptr, n int)
	// DeadlockWait is how long a request waits before the first search for a
	// deadlock; 0: the default.
	DeadlockWait time.Duration
	// Central: while this process is the agent, it masters all trees that it can.
	Central bool
	// Stay: trees that are in use do not move to who uses them most.
	Stay bool
	// Cluster: this host is one of several; nil: it is alone, and nothing is opened to
	// any network.
	Cluster *Cluster
	// Boottime, if set, reads CLOCK_BOOTTIME for a cluster with less effort than a system call.
	Boottime func() int64
	// Context, if set, bounds how long Open waits; otherwise that is joinTimeout.
	Context context.Context
	// Leave bounds how long Close waits for other hosts to take over; 0: it does not.
	Leave time.Duration
	Log   *slog.Logger // nil: nothing is logged
	// Told, if set, hears what keeps programs of this host waiting, "" if nothing does: as
	// soon as this process listens for other hosts, or has found who does, and when that
	// changes, at most once a second. No mutex is held.
	Told func(stalls string)

	joinTimeout time.Duration // for tests
}

// Node is this process's place in a runtime directory.
type Node struct {
	cfg   Config
	log   *slog.Logger
	dir   *rundir.Dir
	file  *rundir.ProcFile
	book  *journal.File
	loop  *link.Loop
	proc  *process.Process
	peers peers
	local local
	clock clock
	alarm alarm
	key   dirKey

	flushing sync.RWMutex // held for reading in Flush

	me    atomic.Uint64             // ProcID, 0 until welcomed
	agent atomic.Pointer[agentLink] // nil while there is none
	lost  atomic.Bool
	lease atomic.Pointer[lease] // nil: this host is alone
	// groupsDue: a container here has something to do beyond sending.
	groupsDue atomic.Bool
	buries    atomic.Bool // the agent here has files of the dead to let go
	closed    atomic.Bool
	unwelcome unwelcome // hosts that are not let in
	recent    recent
	looking   sync.Mutex // one look at a time

	role   atomic.Pointer[role] // if this process is the agent
	ending sync.Once            // of the proof of life
	gone   chan struct{}        // closed when leaveAll is done
	unpoll sync.Once            // of the epoll set

	mu      sync.Mutex
	joined  chan struct{} // closed when the welcome is taken or joinErr is set
	ended   bool          // joined is closed
	joinErr error
	// hindrance is why this process could not become the agent last time.
	hindrance error
	stop      chan struct{} // closed by Close
	seeking   sync.WaitGroup
}

// dirKey names a directory, whatever path leads there.
type dirKey struct{ dev, ino uint64 }

var (
	openMu sync.Mutex
	opened = map[dirKey]bool{}
)

// Open enters the runtime directory and returns when an agent, perhaps this
// process itself, has welcomed it.
func Open(cfg Config) (*Node, error) {
	n := newNode(cfg)
	if err := n.open(); err != nil {
		n.Close()
		return nil, fmt.Errorf("godlm: %w", err)
	}
	return n, nil
}

// pause lets a thread go on that has lost the processor while it was at a cell of the lent.Table.
func pause() { time.Sleep(20 * time.Microsecond) }

func newNode(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	if cfg.joinTimeout == 0 {
		cfg.joinTimeout = joinTimeout
	}
	n := &Node{cfg: cfg, log: cfg.Log, joined: make(chan struct{}), stop: make(chan struct{}), gone: make(chan struct{})}
	n.log = remembered(n.log, &n.recent)
	n.unwelcome.init(n.log, time.Now)
	return n
}

func (n *Node) open() error {
	if err := n.enter(); err != nil {
		return err
	}
	err := n.createProc()
	if err != nil {
		return err
	}
	if n.book, err = journal.Create(n.file, os.Getpid()); err != nil {
		return err
	}
	n.book.SetProgram(ownName())
	if n.loop, err = link.New(link.Config{OpenFD: n.cfg.OpenFD, CloseFD: n.cfg.CloseFD, HoldForks: n.cfg.HoldForks, Yield: n.cfg.Yield, Callers: n.cfg.Callers, Log: n.log}); err != nil {
		return err
	}
	n.peers.init(n, party{
		id: func() proto.ProcID { return proto.ProcID(n.me.Load()) },
		take: func(from proto.ProcID, role proto.Role, m *proto.Msg) {
			if !n.Expired() {
				n.proc.FromPeer(from, role, m)
			}
		},
		refused: n.refused,
		remind:  func(group proto.ProcID) { n.proc.Remind(group) },
		where:   func(p proto.ProcID) { (*world)(n).SendAgent(&proto.Msg{Kind: proto.KWhere, Proc: p}) },
	})
	n.proc = process.New((*world)(n), n.book)
	if n.cfg.Stay {
		n.proc.SetMoving(0, process.MoveWait)
	}
	n.proc.SendOff(func() {
		if a := n.agent.Load(); a != nil && a.conn != nil {
			a.conn.Flush()
		}
	})
	n.proc.LookAround(n.loop.LookAround)
	if n.cfg.Lent != nil {
		n.proc.Lend(n.cfg.Lent, process.LendAfter, pause)
	}
	if n.cfg.DeadlockWait > 0 {
		n.proc.SetDeadlockWait(int64(n.cfg.DeadlockWait))
	}
	n.loop.Run(n.Flush)
	n.seek(0)
	ctx := n.cfg.Context
	if ctx == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.Background(), n.cfg.joinTimeout)
		defer cancel()
	}
	select {
	case <-n.joined:
		return n.joinErr
	case <-ctx.Done():
		return n.tooLate(ctx.Err())
	}
}

// tooLate says why nobody has welcomed this process in time.
func (n *Node) tooLate(err error) error {
	if r := n.role.Load(); r != nil && n.cfg.Cluster != nil {
		r.mu.Lock()
		stalls := r.host.Report().Stalls
		r.mu.Unlock()
		return fmt.Errorf("join %s: this host is no member of the cluster within %v: %s: %w", n.dir.Path(), n.cfg.joinTimeout, strings.Join(stalls, "; "), err)
	}
	n.mu.Lock()
	hindrance := n.hindrance
	n.mu.Unlock()
	if hindrance != nil {
		return fmt.Errorf("join %s: not within %v: %w: %w", n.dir.Path(), n.cfg.joinTimeout, hindrance, err)
	}
	return fmt.Errorf("join %s: %w within %v; the agent is %s: %w", n.dir.Path(), ErrNoAgent, n.cfg.joinTimeout, describe(n.dir.AgentPid()), err)
}

// enter opens the runtime directory, unless this process has it open already: a
// second descriptor of agent.lock, once closed, would end the role.
func (n *Node) enter() (err error) {
	path := n.cfg.Dir
	if path == "" {
		if path, err = rundir.Path(n.cfg.Getenv); err != nil {
			return err
		}
	}
	openMu.Lock()
	defer openMu.Unlock()
	defer n.holdForks()()
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && opened[dirKey{uint64(st.Dev), st.Ino}] {
		return fmt.Errorf("%s: %w", path, ErrOpen)
	}
	if n.dir, err = rundir.Open(path); err != nil {
		return err
	}
	for _, fd := range n.dir.FDs() {
		n.openFD(fd)
	}
	if n.key.dev, n.key.ino, err = n.dir.Identity(); err != nil {
		return err
	}
	opened[n.key] = true
	return nil
}

// createProc makes this process's file.
func (n *Node) createProc() (err error) {
	defer n.holdForks()()
	if n.file, err = n.dir.CreateProc(n.cfg.Map); err == nil {
		n.openFD(n.file.FD())
	}
	return err
}

// leave closes the runtime directory.
func (n *Node) leave() error {
	openMu.Lock()
	defer openMu.Unlock()
	delete(opened, n.key)
	for _, fd := range n.dir.FDs() {
		n.closeFD(fd)
	}
	return n.dir.Close()
}

// describe names a process for a person.
func describe(pid int) string {
	if pid == 0 {
		return "a process that is not visible here"
	}
	name, state := lookAt(pid)
	if name == "" {
		return fmt.Sprintf("process %d", pid)
	}
	s := fmt.Sprintf("process %d (%s)", pid, name)
	if state == Stopped {
		s += fmt.Sprintf(", which is stopped; continue it (kill -CONT %d) or end it", pid)
	}
	return s
}

// holdForks brackets the making and closing of descriptors.
func (n *Node) holdForks() (done func()) {
	if n.cfg.HoldForks == nil {
		return func() {}
	}
	return n.cfg.HoldForks()
}

func (n *Node) openFD(fd int) {
	if n.cfg.OpenFD != nil {
		n.cfg.OpenFD(fd)
	}
}

func (n *Node) closeFD(fd int) {
	if n.cfg.CloseFD != nil {
		n.cfg.CloseFD(fd)
	}
}

// Process is the lock manager; after each call of it, call Flush.
func (n *Node) Process() *process.Process { return n.proc }

// EpollFD is readable when Poll or Handle has something to do.
func (n *Node) EpollFD() int { return n.loop.EpollFD() }

// AsideFD is what Config.Callers need to know.
func (n *Node) AsideFD() int { return n.loop.AsideFD() }

// Poll reads and handles everything that is there, without waiting, and sends
// what comes of it.
func (n *Node) Poll() {
	n.loop.Poll()
	n.Flush()
}

// Handle does the same with events that the caller has got from EpollFD.
func (n *Node) Handle(events []unix.EpollEvent) {
	n.loop.Handle(events)
	n.Flush()
}

// Flush sends what calls of core have queued. It never waits. No mutex of core
// may be held, and it must not be called from a Sink.
func (n *Node) Flush() { n.flush(n.loop.Flush) }

func (n *Node) flush(write func()) {
	if n.closed.Load() || !n.local.some() && !n.peers.some.Load() && !n.loop.Pending() && !n.groupsDue.Load() && !n.buries.Load() {
		return
	}
	n.flushing.RLock()
	defer n.flushing.RUnlock()
	n.pump()
	n.peers.dial()
	write()
	if n.buries.Load() && n.buries.Swap(false) {
		if r := n.role.Load(); r != nil {
			r.bury()
		}
	}
}

// FlushAll is Flush, but what another thread has taken upon itself to write is
// written too when it returns. After an asynchronous request: what the caller
// does next must not overtake it.
func (n *Node) FlushAll() { n.flushAll(n.loop.Flush) }

// FlushNear is FlushAll, but what is for other hosts is written soon after: there nothing
// keeps requests of several processes in order. It is for the second and further of many
// asynchronous requests.
func (n *Node) FlushNear() { n.flushAll(n.loop.FlushNear) }

func (n *Node) flushAll(write func()) {
	n.flush(write)
	n.flushing.Lock() // when whoever was in Flush is out
	defer n.flushing.Unlock()
}

// Close leaves: to the others it looks like the end of the process. The caller
// sees to it that no other call of the node or its process runs or follows,
// except threads that wait on EpollFD; they wake up and must then leave. When it
// returns the directory can be opened again, also after the locks were lost.
func (n *Node) Close() {
	n.handOver()
	n.leaveAll()
	<-n.gone
	if n.loop != nil {
		n.unpoll.Do(n.loop.CloseEpoll)
	}
}

// Unmap gives back, after Close, the memory that is kept for threads which come late. It is for a
// caller that knows that there are none.
func (n *Node) Unmap() error {
	var errs []error
	if n.file != nil {
		errs = append(errs, n.file.Unmap())
	}
	if l := n.lease.Load(); l != nil {
		errs = append(errs, l.file.Unmap())
	}
	return errors.Join(errs...)
}

// leaveAll ends connections, proof of life and roles, in this order. The epoll
// set is kept: callers may still wait on it.
func (n *Node) leaveAll() {
	n.mu.Lock()
	again := n.closed.Swap(true)
	n.mu.Unlock()
	if again {
		return
	}
	defer close(n.gone)
	close(n.stop)
	n.seeking.Wait()
	n.clock.halt()
	if n.loop != nil {
		n.loop.Close()
	}
	// Only now, when no more messages can leave, is this process gone.
	var errs []error
	if n.file != nil {
		n.endProc()
		if n.me.Load() == 0 { // never known to anybody
			errs = append(errs, n.dir.RemoveProc(n.file.Name))
		}
	}
	if l := n.lease.Load(); l != nil {
		errs = append(errs, l.close())
	}
	if r := n.role.Load(); r != nil {
		errs = append(errs, r.close())
	}
	if n.dir != nil {
		errs = append(errs, n.leave())
	}
	if err := errors.Join(errs...); err != nil {
		n.log.Warn("leave", "error", err)
	}
}
