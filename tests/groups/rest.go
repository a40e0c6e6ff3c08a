package groups

import (
	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// releaseAll gives everything up and looks whether anything is left.
func (s *sim) releaseAll() {
	s.note("everything is given up")
	for round := 0; ; round++ {
		s.calm()
		s.exclusion()
		busy := 0
		for _, l := range s.locks {
			if l.gone {
				continue
			}
			busy++
			p := l.owner
			if l.grp != nil {
				for _, m := range l.grp.members {
					if !m.dead && m.group == l.grp {
						p = m
					}
				}
				if p == nil { // PERM without members
					l.gone = true
				}
			}
			if p == nil || p.dead {
				if l.owner != nil && l.owner.dead {
					l.gone = true
				}
				continue
			}
			if l.id != 0 && (l.busy == nil || l.busy.verb < askUnlock) {
				s.unlock(p, l, false)
			}
		}
		if busy == 0 {
			break
		}
		if round > 60 {
			s.stuck()
		}
	}
	for _, p := range s.alive() {
		if p.group != nil && !p.dead {
			s.leave(p)
			s.calm()
		}
	}
	for _, m := range s.notes.All() { // also those of which nobody has heard
		if m.Kind == proto.KNoteGroup && !m.NotedGroup.Ended {
			p := s.alive()[0]
			o, token := s.newOp(askDestroy, p)
			o.g = &grp{}
			s.about(p, token, &process.GroupRequest{Verb: proto.GroupDestroy, Container: m.NotedGroup.Number, Flags: group.Force, Spaces: spaces})
			s.calm()
		}
	}
	s.calm()
	if len(s.ops) > 0 {
		s.stuck()
	}
	for _, m := range s.notes.All() {
		if m.Kind == proto.KNoteLock || m.Kind == proto.KNoteGroup {
			s.fail("a note is left: %+v %+v", m.NotedLock, m.NotedGroup)
		}
	}
	for _, p := range s.alive() {
		p.p.Walk(func(h process.Held) {
			if h.Serving && h.Tree.RootResource().Info().Locks > 0 {
				s.fail("%s still masters %d locks on %s", p.name, h.Tree.RootResource().Info().Locks, h.Root.Name.Bytes())
			}
		})
	}
}

func (s *sim) stuck() {
	for token, o := range s.ops {
		s.note("not answered: token %d verb %d of %s", token, o.verb, o.p.name)
	}
	for _, l := range s.locks {
		if !l.gone {
			s.note("not gone: %x on %s %v busy %v", uint64(l.id), l.res.name, l.mode, l.busy != nil)
		}
	}
	s.fail("calls are not answered")
}
