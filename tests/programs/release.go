package programs

import (
	"maps"
	"slices"

	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Left is a container that is still there, and a process that can destroy it.
type Left struct {
	Process   Process
	Container uint32
}

// ReleaseAll has the programs give everything up. calm lets everything happen that is under
// way; left lists the containers that are noted, also those of which nobody has heard.
func (s *All) ReleaseAll(calm func(), left func() []Left) {
	s.note("everything is given up")
	for round := 0; ; round++ {
		calm()
		s.exclusion()
		if s.releaseSome() == 0 {
			break
		}
		if round > 60 {
			s.stuck()
		}
	}
	for _, p := range s.alive() {
		if p.group != nil && !p.Dead() {
			s.leave(p)
			calm()
		}
	}
	for _, x := range left() {
		p := s.of[x.Process]
		o, token := s.newOp(askDestroy, p)
		o.g = &grp{}
		s.about(p, token, &process.GroupRequest{Verb: proto.GroupDestroy, Container: x.Container, Flags: group.Force, Spaces: spaces})
		calm()
	}
	calm()
	if len(s.ops) > 0 {
		s.stuck()
	}
}

// releaseSome gives up what can be, and tells how many locks there are.
func (s *All) releaseSome() (busy int) {
	for _, l := range s.locks {
		if l.gone {
			continue
		}
		busy++
		p := l.owner
		if l.grp != nil {
			for _, m := range l.grp.members {
				if !m.Dead() && m.group == l.grp {
					p = m
				}
			}
			if p == nil { // PERM without members
				l.gone = true
			}
		}
		if p == nil || p.Dead() {
			if l.owner != nil && l.owner.Dead() {
				l.gone = true
			}
			continue
		}
		if l.id != 0 && (l.busy == nil || l.busy.verb < askUnlock) {
			s.unlock(p, l, false)
		}
	}
	return busy
}

func (s *All) stuck() {
	for _, token := range slices.Sorted(maps.Keys(s.ops)) {
		o := s.ops[token]
		s.note("not answered: token %d verb %d of %s", token, o.verb, o.p)
	}
	for _, l := range s.locks {
		if !l.gone {
			s.note("not gone: %x on %s %v busy %v", uint64(l.id), l.res.name, l.mode, l.busy != nil)
		}
	}
	s.fail("calls are not answered")
}
