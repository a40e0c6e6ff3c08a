package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/journal"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/views"
)

// hostWorld is the role as core/host sees it. Its methods are called with the agent
// mutex held.
type hostWorld role

var _ host.World = (*hostWorld)(nil)

// Now implements host.World.
func (w *hostWorld) Now() int64 { return w.n.cfg.Cluster.boottime() }

// Date implements host.World.
func (w *hostWorld) Date() uint32 { return uint32(time.Now().Unix()) }

// Obituary implements host.World.
func (w *hostWorld) Obituary(dead proto.ProcID) proto.Obituary {
	o := proto.Obituary{Proc: dead}
	if f := w.dead[dead]; f != nil && f.Chunks() > 0 {
		if h, err := journal.ParseHead(f.Chunk(0)); err == nil {
			o.Pid, o.Program = uint32(h.Pid), h.Program
		}
	}
	return o
}

// Random implements host.World.
func (w *hostWorld) Random() uint64 { return random() }

func random() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // the kernel always has some
	}
	return binary.BigEndian.Uint64(b[:]) | 1
}

// Note implements host.World.
func (w *hostWorld) Note(level host.Level, text string) {
	levels := [...]slog.Level{host.Debug: slog.LevelDebug, host.Info: slog.LevelInfo, host.Warn: slog.LevelWarn, host.Error: slog.LevelError}
	w.n.log.Log(context.Background(), levels[level], text)
}

// Open implements host.World.
func (w *hostWorld) Open(initial []uint64) (host.Log, error) {
	defer w.n.holdForks()()
	g, err := views.New((*logHost)(w), w.store, uint64(w.host.ID()), initial)
	if err != nil {
		return nil, err
	}
	if w.n.cfg.Cluster != nil {
		g.KeepBy(w.disk.keep)
	}
	return viewsLog{g}, nil
}

// Calls implements host.World.
func (w *hostWorld) Calls(data []byte) bool { return views.Addressee(data) == uint64(w.host.ID()) }

// Tell implements host.World.
func (w *hostWorld) Tell(to proto.HostID, m *proto.Msg) { w.hosts.send(to, m) }

// Reach implements host.World.
func (w *hostWorld) Reach(id proto.HostID, addr string) { w.hosts.learn(id, addr) }

// Begin implements host.World.
func (w *hostWorld) Begin(birth uint32) bool { return (*role)(w).openNotes(birth) }

// Serve implements host.World.
func (w *hostWorld) Serve() { (*role)(w).serve() }

// Drop implements host.World.
func (w *hostWorld) Drop(why string) { (*role)(w).dropMembers(why) }

// Former implements host.World.
func (w *hostWorld) Former() bool { return (*role)(w).someLive() }

// Lost implements host.World.
func (w *hostWorld) Lost(why string) {
	n := w.n
	n.clock.after(0, func() { n.removed(why) })
}

// Left implements host.World.
func (w *hostWorld) Left() {
	if w.leaving != nil {
		close(w.leaving.done)
	}
}

// Processes implements host.World.
func (w *hostWorld) Processes() (live, dead []proto.ProcID) { return (*role)(w).liveAndDead() }

// Connected implements host.World.
func (w *hostWorld) Connected() (out []proto.ProcID) {
	for p, m := range w.members {
		if m.conn != nil || w.selfDone && uint64(p) == w.n.me.Load() {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	if w.groups != nil {
		out = append(out, w.groups.IDs()...)
	}
	return out
}

// Containers implements host.World.
func (w *hostWorld) Containers() []proto.ProcID {
	switch {
	case w.groups != nil:
		return w.groups.IDs()
	case w.noted != nil:
		return w.noted.Notes().IDs()
	}
	return nil
}

// Here implements host.World.
func (w *hostWorld) Here(p proto.ProcID) bool {
	return w.members[p] != nil || w.groups != nil && w.groups.IsGroup(p)
}

// Past implements host.World. What is left over of a directory that is not to be
// believed goes.
func (w *hostWorld) Past(believe bool) *agent.Lasting {
	past := &agent.Lasting{}
	w.kept.Fill(past)
	all := w.dir.Entries()
	if believe {
		past.Directory = make([]agent.Entry, 0, len(all))
	}
	for _, e := range all {
		if believe {
			past.Directory = append(past.Directory, agent.Entry(e))
		} else {
			w.dir.Delete(e.Tree)
		}
	}
	if believe {
		return past
	}
	if w.n.cfg.Cluster == nil { // persistent resources there are, but nobody knows their values
		return &agent.Lasting{Kept: past.Kept, Doubted: past.Doubted}
	}
	for i := range past.Kept {
		w.Unkeep(&past.Kept[i])
	}
	for _, d := range past.Doubted {
		_ = w.Doubt(d, false) // what is left over does no more than make values not valid
	}
	return &agent.Lasting{}
}

// Send implements host.World.
func (w *hostWorld) Send(to proto.ProcID, m *proto.Msg) {
	if uint64(to) == w.n.me.Load() {
		if err := w.n.local.toProcess.put(m); err != nil {
			w.n.log.Error("message of the own agent", "kind", m.Kind, "error", err)
		}
		return
	}
	if h := (*groupWorld)(w).groupHost(to); h != nil {
		if err := h.fromAgent.put(m); err != nil {
			w.n.log.Error("message to a group lock container", "kind", m.Kind, "error", err)
		}
		w.n.groupsDue.Store(true)
		return
	}
	if x := w.members[to]; x != nil && x.conn != nil {
		x.conn.Send(m)
	}
}

// Records implements host.World.
func (w *hostWorld) Records(dead proto.ProcID) []proto.Record {
	if f := w.dead[dead]; f != nil {
		return journal.Records(f)
	}
	return nil
}

// Peers implements host.World.
func (w *hostWorld) Peers(dead proto.ProcID) (peers []proto.ProcID, all bool) {
	if f := w.dead[dead]; f != nil {
		return journal.Peers(f)
	}
	return nil, true
}

// Retire implements host.World.
func (w *hostWorld) Retire(dead proto.ProcID, tree proto.Digest) {
	if f := w.dead[dead]; f != nil {
		f.Retire(tree)
	}
}

// Forget implements host.World: it removes what a dead process has left. The names go now,
// before anybody hears of it; the rest can wait until others have.
func (w *hostWorld) Forget(dead proto.ProcID) {
	f := w.dead[dead]
	var err error
	if f != nil {
		err = f.Unlink()
		delete(w.dead, dead)
		w.graves = append(w.graves, f)
		w.n.buries.Store(true)
	}
	if err = errors.Join(err, w.n.dir.RemoveProcSock(dead), w.n.dir.RemoveHandSock(dead)); err != nil {
		w.n.log.Warn("remove what a dead process has left", "proc", dead, "error", err)
	}
	(*role)(w).goOnLeaving()
}

// bury lets go of the files of dead processes, once others were told.
func (r *role) bury() {
	r.mu.Lock()
	graves := r.graves
	r.graves = nil
	r.mu.Unlock()
	defer r.n.holdForks()()
	for _, f := range graves {
		if err := f.Close(); err != nil {
			r.n.log.Warn("let go of a dead process's file", "error", err)
		}
	}
}

// Later implements host.World.
func (w *hostWorld) Later(do func()) { (*role)(w).later(do) }

// Self implements host.World.
func (w *hostWorld) Self() proto.ProcID { return proto.ProcID(w.n.me.Load()) }

// Put implements host.World.
func (w *hostWorld) Put(e agent.Entry) error { return w.dir.Put(journal.Entry(e)) }

// Delete implements host.World.
func (w *hostWorld) Delete(d proto.Digest) { w.dir.Delete(d) }

// Keep implements host.World.
func (w *hostWorld) Keep(k *proto.Kept) error {
	defer w.n.holdForks()() // the file may be written anew
	err := w.kept.Keep(k)
	if err != nil {
		w.n.log.Error("note a persistent resource", "error", err, "do", "make room in the runtime directory")
	}
	return err
}

// Unkeep implements host.World.
func (w *hostWorld) Unkeep(k *proto.Kept) {
	defer w.n.holdForks()()
	if err := w.kept.Unkeep(k); err != nil {
		w.n.log.Warn("forget a persistent resource", "error", err)
	}
}

// Doubt implements host.World.
func (w *hostWorld) Doubt(domain proto.Digest, invalid bool) error {
	defer w.n.holdForks()() // the file may be written anew
	err := w.kept.Doubt(domain, invalid)
	if err != nil {
		w.n.log.Error("note the state of a recovery domain", "error", err, "do", "make room in the runtime directory")
	}
	return err
}
