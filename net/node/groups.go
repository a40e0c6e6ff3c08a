package node

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// groupHost is what a container of this agent has of a process's outside: a table of
// peers and a socket.
type groupHost struct {
	id        proto.ProcID
	peers     peers
	sock      *link.Listener
	fromAgent queue
	pumping   sync.Mutex
	msg       proto.Msg
}

// groupWorld is the role as core/group sees it. Its methods are called with the
// agent mutex held.
type groupWorld role

var _ group.World = (*groupWorld)(nil)

// Send implements group.World.
func (w *groupWorld) Send(to proto.ProcID, m *proto.Msg) { (*hostWorld)(w).Send(to, m) }

// Carry implements group.World.
func (w *groupWorld) Carry(id, to proto.ProcID, side proto.Role, m *proto.Msg) {
	h := w.groupHost(id)
	switch {
	case h == nil:
		return
	case side == proto.ToMaster:
		h.peers.toMaster(to, m)
	default:
		h.peers.toOwner(to, m)
	}
	if h.peers.some.Load() {
		w.n.groupsDue.Store(true)
	}
}

// Reserve implements group.World.
func (w *groupWorld) Reserve(records int) error { return w.noted.Reserve(records) }

// Note implements group.World.
func (w *groupWorld) Note(records []*proto.Msg) error {
	defer w.n.holdForks()() // the file may be written anew
	err := w.noted.Note(records)
	if err != nil {
		w.n.log.Error("note the state of a group lock container; its members wait until there is room", "error", err, "do", "make room in the runtime directory")
	}
	return err
}

// Open implements group.World.
func (w *groupWorld) Open(id proto.ProcID) {
	h := &groupHost{id: id}
	r, n := (*role)(w), w.n
	h.peers.init(n, party{
		id:      func() proto.ProcID { return id },
		term:    w.term,
		take:    func(from proto.ProcID, side proto.Role, m *proto.Msg) { r.fromGroupPeer(id, from, side, m) },
		refused: func(why string) { n.clock.after(0, func() { r.groupBroken(id, why) }) },
		remind:  func(proto.ProcID) {},
		where:   func(p proto.ProcID) { r.later(func() { r.host.Where(id, p) }) },
	})
	w.groupsMu.Lock()
	w.groupHosts[id] = h
	w.groupsMu.Unlock()
	err := n.dir.RemoveProcSock(id)
	if err == nil {
		h.sock, err = n.loop.Listen(n.dir.ProcSock(id), h.peers.accept)
	}
	if err != nil {
		// Only the search for deadlocks needs it.
		n.log.Error("open the socket of a group lock container", "dir", n.dir.Path(), "error", err)
	}
}

// Close implements group.World.
func (w *groupWorld) Close(id proto.ProcID) {
	h := w.groupHost(id)
	if h == nil {
		return
	}
	w.groupsMu.Lock()
	delete(w.groupHosts, id)
	w.groupsMu.Unlock()
	if h.sock != nil {
		h.sock.Close()
	}
	h.peers.close()
	if err := w.n.dir.RemoveProcSock(id); err != nil {
		w.n.log.Warn("remove the socket of a group lock container", "error", err)
	}
}

// Kill implements group.World. The process is named by a descriptor while the lock
// of its file is looked at, so that it is that process and no later one.
func (w *groupWorld) Kill(p proto.ProcID) error {
	m := w.members[p]
	if m == nil {
		return nil
	}
	defer w.n.holdForks()()
	s, err := w.n.dir.Look(m.name)
	if p == proto.ProcID(w.n.me.Load()) {
		return unix.Kill(unix.Getpid(), unix.SIGKILL)
	}
	if err != nil || !s.Locked {
		return err
	}
	fd, err := unix.PidfdOpen(s.Pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill process %d: %w", s.Pid, err)
	}
	again, err := w.n.dir.Look(m.name)
	if err == nil && again.Locked && again.Pid == s.Pid {
		w.n.log.Info("a member of a group lock container is killed with it", "pid", s.Pid)
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if err == unix.ESRCH {
		err = nil
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		w.n.log.Error("kill a member of a group lock container", "pid", s.Pid, "error", err)
	}
	return err
}

// Self implements group.World.
func (w *groupWorld) Self() proto.ProcID { return proto.ProcID(w.n.me.Load()) }

// Now implements group.World.
func (w *groupWorld) Now() int64 { return (*world)(w.n).Now() }

// Alarm implements group.World.
func (w *groupWorld) Alarm(at int64) {
	r, n := (*role)(w), w.n
	w.alarm.set(n, at, func() {
		r.mu.Lock()
		if !r.closed {
			r.groups.Tick()
		}
		r.mu.Unlock()
		n.Flush()
	})
}

// Deadlock implements group.World.
func (w *groupWorld) Deadlock(c []process.Link) { (*world)(w.n).Deadlock(c) }

// host finds a container's.
func (w *groupWorld) groupHost(id proto.ProcID) *groupHost {
	w.groupsMu.Lock()
	defer w.groupsMu.Unlock()
	return w.groupHosts[id]
}

// fromGroupPeer takes what a process says to a container.
func (r *role) fromGroupPeer(id, from proto.ProcID, side proto.Role, m *proto.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.groups.FromPeer(id, from, side, m)
	}
}

// groupBroken ends a container with which a process does not talk any more.
func (r *role) groupBroken(id proto.ProcID, why string) {
	r.n.log.Error("a group lock container has ended", "reason", why)
	r.mu.Lock()
	if !r.closed {
		r.groups.Broken(id)
	}
	r.mu.Unlock()
	r.n.Flush()
}

// pumpGroups delivers what the agent says to its containers and connects them to
// processes. No mutex is held: a view lets connections be read to their ends.
func (r *role) pumpGroups() {
	if !r.n.groupsDue.Swap(false) {
		return
	}
	r.groupsMu.Lock()
	hosts := make([]*groupHost, 0, len(r.groupHosts))
	for _, h := range r.groupHosts {
		hosts = append(hosts, h)
	}
	r.groupsMu.Unlock()
	if r.n.Expired() {
		return
	}
	for _, h := range hosts {
		for h.fromAgent.some.Load() && h.pumping.TryLock() {
			err := link.EachFrame(h.fromAgent.take(), &h.msg, func(m *proto.Msg) { r.toGroup(h, m) })
			h.pumping.Unlock()
			if err != nil {
				r.n.log.Error("message to a group lock container", "error", err)
			}
		}
		h.peers.dial()
	}
}

func (r *role) toGroup(h *groupHost, m *proto.Msg) {
	switch m.Kind {
	case proto.KPlace:
		h.peers.place(m)
		return
	case proto.KView:
		h.peers.view(m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.groups.FromAgent(h.id, m)
	}
}

// close ends all connections.
func (t *peers) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, x := range t.byID {
		for _, c := range []*link.Conn{x.out, x.in} {
			if c != nil {
				c.Close()
			}
		}
		delete(t.byID, id)
	}
}
