package rundir

import (
	"testing"

	"github.com/godlm/godlm/core/proto"
)

func openGroups(t *testing.T, d *Dir, boot string) *GroupsFile {
	t.Helper()
	f, err := d.OpenGroups(boot, func(int) {}, func(int) {})
	must(t, err)
	return f
}

// Notes outlive the agent, but not the machine.
func TestGroupsFile(t *testing.T) {
	d := open(t, fresh(t))
	f := openGroups(t, d, "first")
	must(t, f.Reserve(10))
	must(t, f.Note([]*proto.Msg{
		{Kind: proto.KNoteCount, Number: 7, Text: "first"},
		{Kind: proto.KNoteGroup, NotedGroup: &proto.NotedGroup{Number: 7, Proc: 70}},
		{Kind: proto.KNoteLock, NotedLock: &proto.NotedLock{Group: 70, Lock: 1, Root: proto.Root{Name: proto.MakeName([]byte("r"))}}},
	}))
	must(t, f.Note([]*proto.Msg{{Kind: proto.KNoteGroup, NotedGroup: &proto.NotedGroup{Number: 8, Proc: 80}}}))
	must(t, f.Note([]*proto.Msg{{Kind: proto.KDropGroup, Proc: 80}}))
	must(t, f.Close())

	for range 2 { // the second time after it was written anew
		f = openGroups(t, d, "first")
		if ids := f.Notes().IDs(); len(ids) != 1 || ids[0] != 70 || len(f.Notes().All()) != 3 {
			t.Fatalf("containers %v, %d notes", ids, len(f.Notes().All()))
		}
		must(t, f.Close())
	}
	f = openGroups(t, d, "second")
	if all := f.Notes().All(); len(all) != 1 || all[0].Number != 7 || all[0].Text != "second" {
		t.Fatalf("after the machine was started again: %+v", all)
	}
	must(t, f.Note([]*proto.Msg{{Kind: proto.KNoteGroup, NotedGroup: &proto.NotedGroup{Number: 9, Proc: 90}}}))
	must(t, f.Close())
	f = openGroups(t, d, "second")
	if ids := f.Notes().IDs(); len(ids) != 1 || ids[0] != 90 {
		t.Fatalf("containers %v", ids)
	}
	must(t, f.Close())
}
