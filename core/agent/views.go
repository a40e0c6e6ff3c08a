package agent

import (
	"maps"
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// A process that reaches the agent is told who lives. From then on it hears what has
// changed, whenever it must: not of processes that join, but with the next death. So a
// death costs each process a message as long as what has happened since the one before,
// however many there are.

// news is what has changed since all were told.
type news struct {
	view   uint64 // with which they were
	joined []proto.ProcID
	groups []proto.ProcID // containers
	dead   []proto.ProcID
}

// tellAll tells those who live, which is what somebody hears first.
func (a *Agent) tellAll(p proto.ProcID) {
	a.send(p, proto.Msg{
		Kind: proto.KView, View: a.view, Procs: a.Live(), Groups: sorted(a.groups), Number: a.number, Flags: a.lostFlag(),
		Obits: a.obits.since(0),
	})
}

// tellNews tells everybody what has changed.
func (a *Agent) tellNews() {
	n := &a.news
	gone := func(p proto.ProcID) bool { return !a.live[p] }
	slices.Sort(n.dead)
	a.msg = proto.Msg{
		Kind: proto.KView, View: a.view, Assign: n.view, Number: a.number, Flags: proto.ViewNews | a.lostFlag(),
		Procs: slices.DeleteFunc(n.joined, gone), Groups: slices.DeleteFunc(n.groups, gone), Dead: n.dead,
		Obits: a.obits.since(n.view),
	}
	*n = news{view: a.view}
	if len(a.connected) > 0 {
		a.world.SendAll(slices.Sorted(maps.Keys(a.connected)), &a.msg)
	}
}

func (a *Agent) lostFlag() uint32 {
	if a.opening.is {
		return proto.DirectoryLost
	}
	return 0
}
