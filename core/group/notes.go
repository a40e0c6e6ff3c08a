package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// Notes are what agents have noted of containers: what a World has to keep of Note.
type Notes struct {
	count  uint32
	boot   string // of the machine, when they were made
	groups map[proto.ProcID]*proto.NotedGroup
	locks  map[noteKey]*proto.NotedLock
	calls  map[callKey]*proto.NotedCall
}

type noteKey struct {
	group proto.ProcID
	lock  proto.LockID
}

// Apply takes one record.
func (n *Notes) Apply(m *proto.Msg) {
	if n.groups == nil {
		n.groups = map[proto.ProcID]*proto.NotedGroup{}
		n.locks = map[noteKey]*proto.NotedLock{}
		n.calls = map[callKey]*proto.NotedCall{}
	}
	switch m.Kind {
	case proto.KNoteCount:
		n.count, n.boot = uint32(m.Number), m.Text
	case proto.KNoteGroup:
		n.groups[m.NotedGroup.Proc] = m.NotedGroup
	case proto.KNoteLock:
		n.locks[noteKey{m.NotedLock.Group, m.NotedLock.Lock}] = m.NotedLock
	case proto.KNoteCall:
		n.calls[callKey{m.NotedCall.Proc, m.NotedCall.Reply.Number}] = m.NotedCall
	case proto.KDropGroup:
		delete(n.groups, m.Proc)
		maps.DeleteFunc(n.locks, func(k noteKey, _ *proto.NotedLock) bool { return k.group == m.Proc })
	case proto.KDropLock:
		delete(n.locks, noteKey{m.Proc, m.Lock})
	case proto.KDropCall:
		delete(n.calls, callKey{m.Proc, m.Number})
	}
}

// Since says which boot of the machine this is. Containers of an earlier one have ended
// with it; their numbers are not used again. It reports whether anything changes.
func (n *Notes) Since(boot string) bool {
	changed := n.boot != boot
	if changed {
		n.boot, n.groups, n.locks, n.calls = boot, nil, nil, nil
		n.Apply(&proto.Msg{Kind: proto.KDropGroup}) // makes the maps
	}
	return changed
}

// All are records that say the same in as few words as there can be.
func (n *Notes) All() (out []*proto.Msg) {
	if n.count != 0 {
		out = append(out, &proto.Msg{Kind: proto.KNoteCount, Number: uint64(n.count), Text: n.boot})
	}
	for _, c := range n.callsInOrder() {
		out = append(out, &proto.Msg{Kind: proto.KNoteCall, NotedCall: c})
	}
	for _, g := range n.groupsInOrder() {
		out = append(out, &proto.Msg{Kind: proto.KNoteGroup, NotedGroup: g})
	}
	for _, l := range n.locksInOrder(0) {
		out = append(out, &proto.Msg{Kind: proto.KNoteLock, NotedLock: l})
	}
	return out
}

// Clone is an independent copy.
func (n *Notes) Clone() *Notes {
	return &Notes{count: n.count, boot: n.boot, groups: maps.Clone(n.groups), locks: maps.Clone(n.locks), calls: maps.Clone(n.calls)}
}

func (n *Notes) groupsInOrder() []*proto.NotedGroup {
	return slices.SortedFunc(maps.Values(n.groups), func(x, y *proto.NotedGroup) int { return cmp.Compare(x.Proc, y.Proc) })
}

func (n *Notes) callsInOrder() []*proto.NotedCall {
	return slices.SortedFunc(maps.Values(n.calls), func(x, y *proto.NotedCall) int {
		return cmp.Or(cmp.Compare(x.Proc, y.Proc), cmp.Compare(x.Reply.Number, y.Reply.Number))
	})
}

// locksInOrder are the locks of a container, 0 for all.
func (n *Notes) locksInOrder(group proto.ProcID) (out []*proto.NotedLock) {
	for k, l := range n.locks {
		if group == 0 || k.group == group {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(x, y *proto.NotedLock) int {
		return cmp.Or(cmp.Compare(x.Group, y.Group), cmp.Compare(x.Lock, y.Lock))
	})
	return out
}
