package script

import (
	"fmt"
	"strings"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/cluster"
)

// place is where a resource named in a script lies.
func (s *script) place(path string) (root proto.Root, below []proto.Name) {
	for _, n := range strings.Split(path, "/") {
		below = append(below, proto.MakeName([]byte(n)))
	}
	if s.where == remote {
		return hiddenRoot, below
	}
	return proto.Root{Name: below[0]}, below[1:]
}

// state shows the queues of a resource at its master, and checks that owners see
// their locks in the same way.
func (s *script) state(a *args) string {
	root, path := s.place(a.next())
	q := s.c.Queues(root, path...)
	if q.Master == nil || len(q.Granted)+len(q.Converting)+len(q.Waiting) == 0 {
		return "no locks\n"
	}
	var out strings.Builder
	for _, queue := range []struct {
		name  string
		locks []cluster.Held
	}{{"granted", q.Granted}, {"converting", q.Converting}, {"waiting", q.Waiting}} {
		if len(queue.locks) == 0 {
			continue
		}
		out.WriteString(queue.name + ":")
		for _, l := range queue.locks {
			out.WriteString(" " + s.entry(l))
		}
		out.WriteString("\n")
	}
	validity := "valid"
	if !q.Block.Valid {
		validity = "not valid"
	}
	fmt.Fprintf(&out, "value:%s %s\n", shown(true, &q.Block.Value), validity)
	return out.String()
}

// entry describes one lock in a queue.
func (s *script) entry(l cluster.Held) string {
	for _, h := range s.handles {
		if h.owner != l.Owner || h.id != l.Lock {
			continue
		}
		info, st := h.owner.LockInfo(h.id)
		if st != dlm.Success || info.Granted.String() != l.Granted || info.Requested.String() != l.Requested {
			s.t.Errorf("%s: the master says %s %s, the owner %v %v (%s)", h.name, l.Granted, l.Requested, info.Granted, info.Requested, name(st))
		}
		if l.Granted == l.Requested || l.Granted == mode.None.String() {
			return h.name + "=" + l.Requested
		}
		return h.name + "=" + l.Granted + ">" + l.Requested
	}
	s.t.Errorf("a lock that no line made: %+v", l)
	return "?"
}

var states = map[process.State]string{
	process.InTransit: "in transit", process.Granted: "granted", process.Converting: "converting", process.Waiting: "waiting",
}

func (s *script) info(a *args) string {
	h := s.handle(a.next())
	n, st := h.owner.LockInfo(h.id)
	if st != dlm.Success {
		return name(st) + "\n"
	}
	up := ""
	if n.Parent != 0 && n.Parent != s.parents[h.owner] {
		for _, o := range s.handles {
			if o.owner == h.owner && o.id == n.Parent {
				up = ", under " + o.name
			}
		}
	}
	return fmt.Sprintf("%s: %s, granted %v, requested %v%s\n", n.Name.Bytes(), states[n.State], n.Granted, n.Requested, up)
}

func (s *script) resource(a *args) string {
	m := s.member(a.next())
	path := strings.Split(a.next(), "/")
	up := a.opts["under"]
	var parent proto.LockID
	switch {
	case up != "":
		parent = s.handle(up).id
	case s.where == remote:
		parent = s.parents[m]
	}
	var res process.Result
	token := s.c.Token()
	m.ResourceInfo(proto.Namespace{}, proto.MakeName([]byte(path[len(path)-1])), parent, token, &res)
	st, n := res.Status, res.Info
	if st == dlm.Pending {
		s.c.Settle()
		c := m.Answered(token)
		if c == nil {
			return "no answer\n"
		}
		st, n = c.Status, c.Info
	}
	if st != dlm.Success {
		return name(st) + "\n"
	}
	return fmt.Sprintf("locks %d, with blocking routine %d, strongest %v by %d, converting to %v, waiting for %v, sub-resources %d, writes %d, valid %v\n",
		n.Locks, n.Blocking, n.GroupMode, n.AtGroupMode, n.ConvertMode, n.WaitMode, n.SubResources, n.Writes, n.Block.Valid)
}

func (s *script) locks(a *args) string {
	m := s.member(a.next())
	var below proto.LockID
	if b := a.opts["below"]; b != "" {
		below = s.handle(b).id
	}
	var out []string
	for _, id := range m.Locks(nil, below, nil) {
		for _, h := range s.handles {
			if h.owner == m && h.id == id {
				out = append(out, h.name)
			}
		}
	}
	if len(out) == 0 {
		return "none\n"
	}
	return strings.Join(out, " ") + "\n"
}
