package group

import (
	"errors"
	"slices"
	"testing"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// full is a host whose files have no room, and an agent that names containers.
type full struct {
	notes *Notes
	room  bool
	sent  []*proto.Msg
	open  []proto.ProcID
	dead  []proto.ProcID
}

func (w *full) Send(_ proto.ProcID, m *proto.Msg)                   { w.sent = append(w.sent, m) }
func (w *full) Carry(_, _ proto.ProcID, _ proto.Role, _ *proto.Msg) {}
func (w *full) Reserve(int) error                                   { return nil }
func (w *full) Open(id proto.ProcID)                                { w.open = append(w.open, id) }
func (w *full) Close(proto.ProcID)                                  {}
func (w *full) Kill(proto.ProcID) error                             { return nil }
func (w *full) Self() proto.ProcID                                  { return 1 }
func (w *full) Now() int64                                          { return 0 }
func (w *full) Alarm(int64)                                         {}
func (w *full) Deadlock([]process.Link)                             {}
func (w *full) JoinGroup(named func(id proto.ProcID, view uint64))  { named(7, 7) }
func (w *full) Connected(proto.ProcID)                              {}
func (w *full) Dead(p proto.ProcID)                                 { w.dead = append(w.dead, p) }
func (w *full) FromProcess(proto.ProcID, *proto.Msg)                {}
func (w *full) View() uint64                                        { return 7 }
func (w *full) wants(t *testing.T, what string, got, want []proto.ProcID) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v instead of %v", what, got, want)
	}
}

// Note implements World.
func (w *full) Note(records []*proto.Msg) error {
	if !w.room {
		return errors.New("no room")
	}
	for _, m := range records {
		w.notes.Apply(copyOf(m))
	}
	return nil
}

// A container that cannot be noted yet is there, for those who say who is to be told of
// changes; so is one whose end cannot be. Nobody hears of either before.
func TestContainersWithoutRoom(t *testing.T) {
	w := &full{notes: &Notes{}}
	g := New(w, w.notes, 10)
	g.Start(w, func(proto.ProcID) bool { return true })
	spaces := []proto.Namespace{{}}
	g.FromMember(2, &proto.Call{Verb: proto.GroupCreate, Number: 1, Low: 1, Spaces: spaces})
	w.wants(t, "open", w.open, []proto.ProcID{7})
	w.wants(t, "noted", w.notes.IDs(), nil)
	w.wants(t, "containers", g.IDs(), []proto.ProcID{7})
	if len(w.sent) != 0 {
		t.Fatal("its creator is told of what is not noted")
	}
	w.room = true
	g.Tick()
	w.wants(t, "noted with room", w.notes.IDs(), []proto.ProcID{7})
	if len(w.sent) != 1 {
		t.Fatalf("its creator is told %d times", len(w.sent))
	}
	w.room = false
	g.FromMember(2, &proto.Call{Verb: proto.GroupDetach, Number: 2, Low: 2, Container: w.sent[0].Reply.Container})
	w.wants(t, "containers whose end is not noted", g.IDs(), []proto.ProcID{7})
	w.wants(t, "dead before that is noted", w.dead, nil)
	w.room = true
	g.Tick()
	w.wants(t, "containers in the end", g.IDs(), nil)
	w.wants(t, "dead", w.dead, []proto.ProcID{7})
}

// A copy of notes is of the same boot.
func TestNotesKeepTheirBoot(t *testing.T) {
	n := &Notes{}
	n.Since("a boot")
	if n.Clone().Since("a boot") {
		t.Fatal("a copy of notes is of another boot")
	}
}
