// Package view is what the entries of the log of views do to the list of hosts (design
// §6): who is a member, who is on the way out, and which host coordinates. It is the
// same everywhere since the entries are. It knows no process: the coordinator numbers
// those, below the epoch that is decided here.
//
// A host goes through these states; each change is an epoch:
//
//	      HostUp            HostOut              HostOver
//	none ───────► member ───────────► out ─────────────────► none
//	                │  ▲                │
//	                │  └── HostUp ──────│── (of the same birth: its agent has changed)
//	                └──── HostBye ──────┴──────────────────► none
package view

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// Apply changes s by an entry. It reports whether anything has changed: an entry that
// was overtaken by another does nothing.
func Apply(s *proto.HostState, e *proto.HostEntry) bool {
	if e.Verb >= proto.HostKeep {
		return note(s, e)
	}
	at := slices.IndexFunc(s.Hosts, func(h proto.Host) bool { return h.ID == e.Host.ID })
	switch e.Verb {
	case proto.HostUp:
		return up(s, e, at)
	case proto.HostOut:
		if at < 0 || s.Hosts[at].Birth != e.Host.Birth || s.Hosts[at].Out {
			return false
		}
		advance(s)
		s.Hosts[at].Out, s.Hosts[at].Why = true, e.Host.Why
	case proto.HostOver:
		if at < 0 || s.Hosts[at].Birth != e.Host.Birth || !s.Hosts[at].Out {
			return false
		}
		advance(s)
		s.Hosts = slices.Delete(s.Hosts, at, at+1)
	case proto.HostBye:
		if at < 0 || s.Hosts[at].Birth != e.Host.Birth {
			return false
		}
		advance(s)
		s.Hosts = slices.Delete(s.Hosts, at, at+1)
	default:
		return false
	}
	coordinate(s)
	return true
}

// note remembers what a coordinator must not lose. What one before the present one has
// asked for is too late: the present one may have decided otherwise.
func note(s *proto.HostState, e *proto.HostEntry) bool {
	if e.Epoch != s.Seat || Noted(s, e) {
		return false
	}
	switch e.Verb {
	case proto.HostKeep:
		s.Kept = append(s.Kept, proto.Kept{Root: e.Kept.Root, Path: slices.Clone(e.Kept.Path), Domain: e.Kept.Domain})
	case proto.HostUnkeep:
		s.Kept = slices.DeleteFunc(s.Kept, func(k proto.Kept) bool { return same(&k, &e.Kept) })
	case proto.HostDoubt:
		s.Doubted = append(s.Doubted, e.Kept.Domain)
	case proto.HostBelieve:
		s.Doubted = slices.DeleteFunc(s.Doubted, func(d proto.Digest) bool { return d == e.Kept.Domain })
	default:
		return false
	}
	return true
}

// Noted reports whether what such an entry says is so.
func Noted(s *proto.HostState, e *proto.HostEntry) bool {
	switch e.Verb {
	case proto.HostKeep, proto.HostUnkeep:
		there := slices.ContainsFunc(s.Kept, func(k proto.Kept) bool { return same(&k, &e.Kept) })
		return there == (e.Verb == proto.HostKeep)
	default:
		return slices.Contains(s.Doubted, e.Kept.Domain) == (e.Verb == proto.HostDoubt)
	}
}

// same reports whether two name the same resource.
func same(a, b *proto.Kept) bool { return a.Root == b.Root && slices.Equal(a.Path, b.Path) }

// up: an agent has taken up its work. With the birth of a member it goes on with that
// host's processes. Otherwise it has none: those of the birth that it names as the former
// one are gone, which only their own host can say. What was said of an earlier one, and
// comes late, ends no later one.
func up(s *proto.HostState, e *proto.HostEntry, at int) bool {
	if at >= 0 && s.Hosts[at].Asked == e.Host.Asked {
		return false // the same once more
	}
	goesOn := at >= 0 && s.Hosts[at].Birth == e.Host.Birth
	if goesOn && s.Hosts[at].Out {
		return false
	}
	if e.Host.Birth != 0 && !goesOn {
		return false // of a membership that has ended
	}
	if at >= 0 && !goesOn && s.Hosts[at].Birth != e.Host.Former {
		return false
	}
	if slices.ContainsFunc(s.Hosts, func(h proto.Host) bool { return h.Name == e.Host.Name && h.ID != e.Host.ID }) {
		return false // two hosts of one name; or one that was lost, and then it is soon out
	}
	if s.Epoch == 0 {
		s.Epoch = e.Epoch
	}
	advance(s)
	h := e.Host
	h.Out, h.Why, h.Former = false, "", 0
	if goesOn {
		s.Hosts[at] = h
	} else {
		if at >= 0 {
			s.Hosts = slices.Delete(s.Hosts, at, at+1)
		}
		h.Birth = s.Epoch
		s.Hosts = append(s.Hosts, h)
	}
	if h.ID == s.Coordinator && goesOn {
		s.Seat = s.Epoch
	}
	name(s, h)
	coordinate(s)
	return true
}

// name notes who has a name now.
func name(s *proto.HostState, h proto.Host) {
	h = proto.Host{ID: h.ID, Name: h.Name, Voter: h.Voter}
	i := slices.IndexFunc(s.Names, func(x proto.Host) bool { return x.Name == h.Name })
	if i < 0 {
		s.Names = append(s.Names, h)
		return
	}
	if s.Names[i].ID != h.ID {
		s.Replaced = append(s.Replaced, s.Names[i].ID)
	}
	s.Names[i] = h
}

func advance(s *proto.HostState) { s.Epoch++ }

// coordinate chooses the coordinator. It stays who it is, and while it is on the way
// out there is none: what it has given out stands until its lease is over.
func coordinate(s *proto.HostState) {
	if i := slices.IndexFunc(s.Hosts, func(h proto.Host) bool { return h.ID == s.Coordinator }); i >= 0 && s.Hosts[i].Birth <= s.Since {
		return // also when it is out
	}
	s.Coordinator = 0
	for _, h := range s.Hosts {
		if !h.Out {
			s.Coordinator, s.Since, s.Seat = h.ID, s.Epoch, s.Epoch
			return
		}
	}
}

// Find is the entry of a host; nil if it has none.
func Find(s *proto.HostState, id proto.HostID) *proto.Host {
	for i := range s.Hosts {
		if s.Hosts[i].ID == id {
			return &s.Hosts[i]
		}
	}
	return nil
}

// Clone is an independent copy.
func Clone(s *proto.HostState) *proto.HostState {
	c := *s
	c.Hosts, c.Names, c.Replaced = slices.Clone(s.Hosts), slices.Clone(s.Names), slices.Clone(s.Replaced)
	c.Kept, c.Doubted = slices.Clone(s.Kept), slices.Clone(s.Doubted)
	return &c
}
