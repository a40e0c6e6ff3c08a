package agent

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// opening is the time in which a directory that was another host's is put together
// again from what all processes say: what they master, and what locks they have on
// trees whose masters are gone. Until all have spoken nobody can be told who masters
// what, so questions wait.
type opening struct {
	is     bool
	untold map[proto.ProcID]bool // have yet to speak
	held   []heldMsg
	// installed are trees that were to be mastered anew when the agent before ended.
	// Some process may have been told of the new master already.
	installed map[proto.Digest]*proto.Msg
}

type heldMsg struct {
	from proto.ProcID
	msg  *proto.Msg
}

func (o *opening) begin(a *Agent) {
	o.is = true
	o.installed = map[proto.Digest]*proto.Msg{}
	o.again(a)
}

// again: who has spoken has to once more. What the latest dead have mastered nobody may
// have said: they had not, and for the others they lived.
func (o *opening) again(a *Agent) {
	o.untold = map[proto.ProcID]bool{}
	for p := range a.live {
		o.untold[p] = true
	}
}

// hold puts a question off. It reports false when m is to be taken now.
func (o *opening) hold(from proto.ProcID, m *proto.Msg) bool {
	if !o.is {
		return false
	}
	switch m.Kind {
	case proto.KReport, proto.KReportEnd, proto.KMastered, proto.KInstalled:
		return false
	case proto.KMove, proto.KStay:
		return true // who said it will hear that nobody knows where its tree is
	case proto.KKeep:
		if m.Number == 0 { // it was noted before
			return false
		}
	case proto.KDomain:
		if m.Hint == 0 { // it tells what the agent before knew, on which earlier requests rest
			return false
		}
	}
	c := *m
	c.Path = slices.Clone(m.Path)
	o.held = append(o.held, heldMsg{from, &c})
	return true
}

// mastered: a process masters a tree, which the agent before knew.
func (a *Agent) mastered(p proto.ProcID, m *proto.Msg) {
	if !a.opening.is {
		return
	}
	d := m.Root.Digest()
	if t, _ := a.dir.of(d); t.assign >= m.Assign {
		return
	}
	if t := a.dir.loose[d]; t != nil {
		t.master, t.assign, t.held = p, m.Assign, true
		a.settle(t)
	} else {
		a.dir.settle(d, p, m.Assign, true)
	}
	if a.world.Put(Entry{d, p, m.Assign}) != nil {
		a.opened = nil // a successor does not know this tree: it has to ask again too
	}
}

// open ends the opening when all have spoken, and reports whether it is over. Trees
// that have locks and no master are lost; nobody can say who had them.
func (a *Agent) open() bool {
	o := &a.opening
	if !o.is {
		return true
	}
	if len(o.untold) > 0 || len(a.coming) > 0 {
		return false
	}
	o.is = false
	for n := range a.reports {
		for _, said := range a.reports[n].trees {
			if t, known := a.dir.of(said.digest); !known {
				a.lost.add(a.dir.add(said.digest))
			} else if !a.live[t.master] {
				a.lost.add(a.dir.loosen(said.digest))
			}
		}
	}
	for d := range a.recovery.kept {
		if _, known := a.dir.of(d); !known {
			a.lost.add(a.dir.add(d))
		}
	}
	a.lost.sort()
	for _, d := range inOrder(o.installed) {
		t, _ := a.dir.of(d)
		if m := o.installed[d]; t.assign == m.Assign && a.live[t.master] {
			a.send(t.master, proto.Msg{Kind: proto.KActivate, Root: m.Root, Assign: m.Assign})
		}
	}
	held := o.held
	o.held = nil
	for _, h := range held {
		a.FromProcess(h.from, h.msg)
	}
	for _, d := range sorted(a.dead) {
		// What is left of lost trees serves as copies.
		for _, r := range a.world.Records(d) {
			if t, known := a.dir.of(r.Tree); !known || a.live[t.master] {
				a.world.Retire(d, r.Tree)
			}
		}
	}
	if !a.anyLost() {
		a.forgetDead()
	}
	return true
}
