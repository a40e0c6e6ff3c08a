package groups

import (
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/programs"
)

// releaseAll gives everything up and looks whether anything is left.
func (s *sim) releaseAll() {
	s.all.ReleaseAll(s.calm, s.left)
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

// left are the containers that are noted.
func (s *sim) left() (out []programs.Left) {
	for _, m := range s.notes.All() {
		if m.Kind == proto.KNoteGroup && !m.NotedGroup.Ended {
			out = append(out, programs.Left{Process: s.alive()[0], Container: m.NotedGroup.Number})
		}
	}
	return out
}
