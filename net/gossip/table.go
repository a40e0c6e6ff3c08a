package gossip

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// State is what the gossip says about a member.
type State int

const (
	// Alive: it answers, or is not yet suspected for long enough.
	Alive State = iota
	// Left: it has said goodbye. That name does not come back.
	Left
	// Failed: others find that it does not answer. It may come back.
	Failed
)

// String is the state's name, in small letters.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Left:
		return "left"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Member is somebody who takes part in the gossip.
type Member struct {
	Name  string
	Addr  netip.AddrPort // what it advertises
	Meta  []byte
	State State
	Since time.Time // when this host learnt the State
}

type eventKind int

const (
	appeared eventKind = iota // also with new meta data or a new address
	vanished
	saidGoodbye // has only a name
)

// event is one thing that memberlist told.
type event struct {
	kind eventKind
	Member
}

// events are what the callbacks have put there and run has not taken. There is no limit:
// a callback that waits would stop memberlist.
type events struct {
	mu   sync.Mutex
	list []event
	wake chan struct{} // has room for one
}

// push copies all of n: it belongs to memberlist, which goes on changing it.
func (q *events) push(kind eventKind, n *memberlist.Node) {
	ip, _ := netip.AddrFromSlice(n.Addr) // a wrong one is never joined
	e := event{kind, Member{
		Name: strings.Clone(n.Name),
		Addr: netip.AddrPortFrom(ip.Unmap(), n.Port),
		Meta: slices.Clone(n.Meta),
	}}
	q.mu.Lock()
	q.list = append(q.list, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // awake already
	}
}

func (q *events) take() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// table is what this host believes about each member.
//
// Invariants: a member that has Left stays so until it is forgotten; self is Alive;
// there are up to most others that are not Alive, none of them for longer than keep.
type table struct {
	self    string
	keep    time.Duration
	most    int
	members map[string]Member
}

// apply notes an event and says whether that changed anything.
func (t *table) apply(e event, now time.Time) bool {
	old, known := t.members[e.Name]
	switch e.kind {
	case appeared:
		m := e.Member
		m.State, m.Since = Alive, now
		if known && old.State == Left {
			return false // an echo of the time before
		}
		if known && old.State == Alive {
			m.Since = old.Since
			if m.Addr == old.Addr && slices.Equal(m.Meta, old.Meta) {
				return false
			}
		}
		t.put(m)
	case vanished:
		if !known || old.State != Alive || e.Name == t.self {
			return false
		}
		old.State, old.Since = Failed, now
		t.put(old)
	case saidGoodbye:
		if !known || old.State == Left || e.Name == t.self {
			return false
		}
		old.State, old.Since = Left, now
		t.put(old)
	}
	return true
}

func (t *table) put(m Member) {
	if t.members == nil {
		t.members = make(map[string]Member)
	}
	t.members[m.Name] = m
}

// forget drops who has been gone for too long. It says whether there was anybody and when
// the next one is due.
func (t *table) forget(now time.Time) (dropped bool, next time.Time) {
	var gone []Member
	for _, m := range t.members {
		if m.State != Alive {
			gone = append(gone, m)
		}
	}
	slices.SortFunc(gone, func(a, b Member) int { return a.Since.Compare(b.Since) })
	for i, m := range gone {
		due := m.Since.Add(t.keep)
		if due.After(now) && len(gone)-i <= t.most {
			return dropped, due
		}
		delete(t.members, m.Name)
		dropped = true
	}
	return dropped, now.Add(t.keep)
}

func (t *table) alive() (n int) {
	for _, m := range t.members {
		if m.State == Alive {
			n++
		}
	}
	return n
}

// list is a copy of all, by name.
func (t *table) list() []Member {
	list := make([]Member, 0, len(t.members))
	for _, m := range t.members {
		m.Meta = slices.Clone(m.Meta)
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return list
}
