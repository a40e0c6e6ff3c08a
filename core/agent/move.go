package agent

import "github.com/godlm/godlm/core/proto"

// A tree in use goes from its master to the process that uses it most (see package
// process). For the agent that is the placing of a tree whose master lives. It decides
// when the heir says that it holds the tree, and tells both.

// move: a master wants its tree moved.
func (a *Agent) move(p proto.ProcID, m *proto.Msg) {
	t := a.claimed(p, &m.Image.Root, m.Assign)
	if t == nil {
		return
	}
	t.moving, t.root = true, m.Image.Root
	if to := m.Proc; !a.live[to] || !a.connected[to] || a.groups[to] || a.central {
		a.giveBack(t)
		return
	}
	a.assign++
	m.Image.Assign = a.assign
	t.placing, t.next = m.Proc, a.assign
	a.send(t.placing, proto.Msg{Kind: proto.KInstall, Image: m.Image})
}

// stay: a master wants its tree back, whose move takes too long.
func (a *Agent) stay(p proto.ProcID, m *proto.Msg) {
	t := a.claimed(p, &m.Root, m.Assign)
	if t == nil {
		return
	}
	t.moving, t.root = true, m.Root
	a.giveBack(t)
}

// claimed is the tree that p masters, under that assignment. If it has another master by
// now, p is told.
func (a *Agent) claimed(p proto.ProcID, root *proto.Root, assign uint64) *tree {
	d := root.Digest()
	t, known := a.dir.of(d)
	if known && t.master == p && t.assign == assign {
		l := a.dir.loosen(d)
		l.held = true
		return l
	}
	answer := proto.Msg{Kind: proto.KMoved, Root: *root, Assign: assign}
	if known {
		answer.Proc, answer.Number = t.master, t.assign
	}
	a.send(p, answer)
	return nil
}

// giveBack leaves a tree with its master, under a new assignment: an heir that has it
// installed, or will have, comes too late.
func (a *Agent) giveBack(t *tree) {
	old := t.assign
	t.placing, t.moving = 0, false
	a.assign++
	// The entry exists and is replaced in place, which needs no room. If it fails all the
	// same, a successor knows an older assignment, and who asks the master under that is
	// told the newer one.
	_ = a.world.Put(Entry{t.digest, t.master, a.assign})
	t.assign, t.held = a.assign, true
	a.send(t.master, proto.Msg{Kind: proto.KMoved, Root: t.root, Assign: old, Proc: t.master, Number: t.assign})
	a.serve(t)
	a.settle(t)
}

// handedOver tells the former master of a tree.
func (a *Agent) handedOver(t *tree, master proto.ProcID, assign uint64) {
	if t.moving && a.live[master] {
		a.send(master, proto.Msg{Kind: proto.KMoved, Root: t.root, Assign: assign, Proc: t.master, Number: t.assign})
	}
	t.moving = false
}

// unplaced is for trees whose heir will not have them: if the master lives they go back,
// else they are lost like others.
func (a *Agent) unplaced(list map[proto.Digest]*tree) {
	for _, d := range inOrder(list) {
		t := list[d]
		t.placing = 0
		switch {
		case !t.moving:
		case a.live[t.master]:
			a.giveBack(t)
		default:
			t.moving = false
		}
	}
}

// serve answers those who have asked for a tree that has a master now.
func (a *Agent) serve(t *tree) {
	asking := t.asking
	t.asking = nil
	for _, q := range asking {
		if q.proc == t.master {
			a.answer(q, t.master, t.assign)
		} else {
			a.lookup(q)
		}
	}
}
