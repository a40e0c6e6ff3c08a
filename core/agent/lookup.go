package agent

import (
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/rebuild"
)

// lookup answers who masters a root, now or when it is known.
func (a *Agent) lookup(q asker) {
	d := q.root.Digest()
	t, known := a.dir.of(d)
	switch {
	case !known && q.only:
		a.answer(q, 0, 0)
	case !known:
		a.appoint(d, q)
	case !a.live[t.master] || t.placing == q.proc:
		l := a.loosen(d)
		l.asking = append(l.asking, q)
	case t.master == q.proc && !t.held:
		// It has given the tree up, or never heard that it got it. In both cases
		// it starts anew, so that stamps go on (design §4).
		a.ended(d)
		a.appoint(d, q)
	default:
		a.answer(q, t.master, t.assign)
	}
}

// appoint makes the asker master of an empty tree.
func (a *Agent) appoint(d proto.Digest, q asker) {
	if self := a.world.Self(); a.groups[q.proc] || a.central && q.proc != self && a.connected[self] {
		t := a.dir.loosen(d)
		if t == nil {
			t = a.dir.add(d)
		}
		a.appointFor(t, q)
		return
	}
	a.assign++
	if a.world.Put(Entry{d, q.proc, a.assign}) != nil {
		a.answer(q, 0, process.DirectoryFull)
		return
	}
	a.dir.settle(d, q.proc, a.assign, false)
	a.answer(q, q.proc, a.assign)
}

// appointFor has the agent's own process take an empty tree on behalf of another. When that
// has ended, and the agent is about to leave, or it has yet to join, anybody does.
func (a *Agent) appointFor(t *tree, q asker) {
	t.root = q.root
	a.assign++
	t.asking = append(t.asking, q)
	t.master, t.held = 0, false
	to := a.world.Self()
	if !a.live[to] {
		to = a.anybody(t)
	}
	t.placing, t.next = to, a.assign
	if to == 0 {
		return // it waits for the next process
	}
	a.send(t.placing, proto.Msg{Kind: proto.KInstall, Image: rebuild.Empty(q.root, a.assign)})
}

// noRoom: the directory cannot take a tree that was placed on behalf of a container.
func (a *Agent) noRoom(t *tree) {
	a.dir.remove(t.digest)
	a.send(t.placing, proto.Msg{Kind: proto.KDiscard, Root: t.root, Assign: t.next})
	for _, q := range t.asking {
		a.answer(q, 0, process.DirectoryFull)
	}
}

func (a *Agent) answer(q asker, master proto.ProcID, assign uint64) {
	a.send(q.proc, proto.Msg{Kind: proto.KMaster, Root: q.root, Proc: master, Assign: assign, Number: q.number})
}

// dropped: a master gives a tree up.
func (a *Agent) dropped(p proto.ProcID, m *proto.Msg) {
	d := m.Root.Digest()
	t, known := a.dir.of(d)
	switch {
	case !known:
	case t.placing == p && t.next == m.Assign && a.live[t.master]:
		a.giveBack(a.dir.loosen(d))
	case t.placing == p && t.next == m.Assign:
		l := a.dir.loosen(d)
		l.placing, l.moving = 0, false
		if l.refused == nil {
			l.refused = map[proto.ProcID]bool{}
		}
		l.refused[p] = true
		a.reportAgain()
	case t.master == p && t.assign == m.Assign:
		a.ended(d)
		a.world.Delete(d)
		a.dir.remove(d)
	}
}

// ended: whoever asks for the tree gets a new one.
func (a *Agent) ended(d proto.Digest) {
	a.forgetKept(d)
	a.retire(d)
}

// givenUp: a lookup brings the word of a master that it does not have the tree
// any more. It has told us itself, but its word may be slow or lost, and the one
// who asks would meanwhile be sent to it again and again.
func (a *Agent) givenUp(m *proto.Msg) {
	if m.Assign == 0 {
		return
	}
	d := m.Root.Digest()
	if t, known := a.dir.of(d); known && t.assign == m.Assign && a.live[t.master] {
		a.ended(d)
		a.world.Delete(d)
		a.dir.remove(d)
	}
}
