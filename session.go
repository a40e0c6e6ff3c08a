package godlm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/attach"
	"github.com/godlm/godlm/net/node"
	"github.com/godlm/godlm/net/rundir"
)

// joinTime bounds a Join whose context has no deadline. leaveTime is how long the last Close
// waits for other hosts to take over.
const (
	joinTime  = 10 * time.Second
	leaveTime = 400 * time.Millisecond
)

// session is this process's membership in one runtime directory. All namespaces joined
// there share it.
type session struct {
	path  string
	flags dlm.Flags // of every request
	abort bool      // the program ends when the locks are lost
	log   *slog.Logger
	node  *node.Node

	refs    int           // guarded by sessions
	leaving bool          // guarded by sessions; it takes nobody any more
	ready   chan struct{} // closed when node or openErr is set
	left    chan struct{} // closed when the directory is free again
	openErr error

	waits   waiters
	notices notices
	domains struct {
		sync.Mutex
		of   map[string]*Namespace // who is attached, by the domain's name
		open map[string]uint64     // the collections
	}

	gate sync.RWMutex // held for reading while a call is in core; never while one waits
	err  error        // guarded by gate; why there are no more calls
	done chan struct{}
}

// sessions are the open ones, by directory.
var sessions = struct {
	sync.Mutex
	at map[string]*session
}{at: map[string]*session{}}

// acquire gives the session of the directory that the settings name, and opens it if there is
// none.
func acquire(ctx context.Context, set *attach.Settings, log *slog.Logger) (*session, error) {
	path, err := rundir.Path(set.Get)
	if err != nil {
		return nil, err
	}
	for {
		sessions.Lock()
		s := sessions.at[path]
		if s == nil {
			s = &session{path: path, log: log, refs: 1, ready: make(chan struct{}), left: make(chan struct{}), done: make(chan struct{})}
			sessions.at[path] = s
			sessions.Unlock()
			return s, s.open(ctx, set)
		}
		leaving := s.leaving
		if !leaving {
			s.refs++
		}
		sessions.Unlock()
		if leaving {
			select {
			case <-s.left:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			s.release()
			return nil, ctx.Err()
		}
		if s.openErr == nil {
			return s, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !errors.Is(s.openErr, context.Canceled) && !errors.Is(s.openErr, context.DeadlineExceeded) {
			return nil, s.openErr
		}
	}
}

// open opens the node; on failure the session ends.
func (s *session) open(ctx context.Context, set *attach.Settings) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, joinTime)
		defer cancel()
	}
	if set.JoinPersistent() {
		s.flags = dlm.JoinPR
	}
	s.abort = set.AbortOnLost()
	s.notices.init()
	s.domains.of, s.domains.open = map[string]*Namespace{}, map[string]uint64{}
	err := libraryLoaded()
	if err == nil {
		s.node, err = set.Open(node.Config{Sink: (*sink)(s), Context: ctx, Leave: leaveTime, Log: s.log})
	}
	if errors.Is(err, node.ErrOpen) {
		err = fmt.Errorf("%w, under another path or by another library", err)
	}
	if err == nil {
		go s.notify()
		close(s.ready)
		return nil
	}
	s.openErr = err
	s.gone()
	close(s.ready)
	return err
}

// libraryLoaded refuses a second lock manager in this process, see the package comment.
func libraryLoaded() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil // it cannot be told
	}
	if bytes.Contains(maps, []byte("/libgodlm.so")) {
		return errors.New("libgodlm.so is loaded in this process: use it, or this package, but not both")
	}
	return nil
}

// release is the end of one namespace; with the last one the session ends.
func (s *session) release() {
	sessions.Lock()
	s.refs--
	last := s.refs == 0 && !s.leaving
	if last {
		s.leaving = true
	}
	leaving := s.leaving
	sessions.Unlock()
	if last {
		<-s.ready
		if s.openErr == nil {
			s.end(ErrClosed)
		}
		s.gone()
	} else if leaving {
		<-s.left
	}
}

// lose is the end of the session because the locks are lost.
func (s *session) lose() {
	<-s.ready // the locks can be lost as soon as it is a member
	sessions.Lock()
	if s.leaving {
		sessions.Unlock()
		return
	}
	s.leaving = true
	sessions.Unlock()
	s.end(ErrLost)
	s.gone()
}

// gone lets the directory be opened again.
func (s *session) gone() {
	sessions.Lock()
	defer sessions.Unlock()
	s.leaving = true
	if sessions.at[s.path] == s {
		delete(sessions.at, s.path)
		close(s.left)
	}
}

// end refuses further calls, answers all who wait and closes the node.
func (s *session) end(why Status) {
	s.gate.Lock()
	s.err = why
	s.gate.Unlock()
	s.waits.end(why)
	s.notices.close()
	close(s.done)
	s.node.Close()
	if err := s.node.Unmap(); err != nil { // all calls are out, and none comes in
		s.log.Warn("leave", "error", err)
	}
}

// enter begins a call of core, which must not wait; leave ends it.
func (s *session) enter() error {
	s.gate.RLock()
	if s.err != nil {
		err := s.err
		s.gate.RUnlock()
		return err
	}
	s.node.Expired() // a lease that has ended while nobody looked
	return nil
}

// leave sends what the call has brought about.
func (s *session) leave() {
	s.node.Flush()
	s.gate.RUnlock()
}

// why is the reason for which there are no more calls, nil while there are.
func (s *session) why() error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.err
}

// sink is the session as the node sees it: it only appends to memory.
type sink session

var _ node.Sink = (*sink)(nil)

// Complete implements node.Sink.
func (k *sink) Complete(c *process.Completion) { k.waits.complete(c) }

// Blocking implements node.Sink.
func (k *sink) Blocking(n *process.Notice) { k.notices.push(n) }

// Discard implements node.Sink.
func (k *sink) Discard(id proto.LockID) bool { return k.notices.discard(id) }

// Lost implements node.Sink.
func (k *sink) Lost() {
	if k.abort {
		signal.Reset(unix.SIGABRT)
		if err := unix.Kill(os.Getpid(), unix.SIGABRT); err != nil {
			os.Exit(134) // as a shell tells of that signal
		}
	}
	go (*session)(k).lose()
}
