package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/node"
)

// picture is what a look at all hosts has shown: the parts of the answer put together, and
// names for the numbers in them.
type picture struct {
	At      time.Time
	Members map[proto.ProcID]*who
	Trees   []tree
	Waits   []ask
	Counts  []count
	Events  []event
	Silent  []silent
	Cut     bool // there is more than was asked for
}

// who is a process, as far as it is known. It is in the JSON of all commands.
type who struct {
	Process string `json:"process"` // as in logs
	Host    string `json:"host,omitempty"`
	Pid     uint32 `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	State   string `json:"state,omitempty"`
	Group   bool   `json:"container,omitempty"` // a group lock container
	agent   bool
	version string
	id      proto.ProcID
}

// tree is one at its master.
type tree struct {
	Master *who
	proto.SeenTree
}

// ask is a request without an answer, where it was made.
type ask struct {
	Owner *who
	proto.SeenWait
}

// count is the counters of a process, or of a host's agent (process 0).
type count struct {
	Who *who
	proto.Counts
}

type event struct {
	Who *who
	proto.SeenEvent
}

// silent is who has not answered.
type silent struct {
	Host    string `json:"host,omitempty"`
	Process string `json:"process,omitempty"`
	Pid     uint32 `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	Why     string `json:"why"`
}

func (s *silent) String() string {
	name := "host " + strconv.Quote(s.Host)
	if s.Process != "" {
		name = (&who{Process: s.Process, Host: s.Host, Pid: s.Pid, Program: s.Program}).String()
	}
	return name + ": " + s.Why
}

// source is where a picture comes from: a runtime directory, or the node of this process.
type source func(q *proto.Inquiry, each func(*proto.Sight) error) error

// lookAt looks from outside.
func lookAt(path string) source {
	return func(q *proto.Inquiry, each func(*proto.Sight) error) error { return node.Look(path, q, each) }
}

// look takes a picture.
func (from source) look(q proto.Inquiry) (*picture, error) {
	if q.Limit == 0 {
		q.Limit = proto.SeeMost
	}
	p := &picture{At: time.Now(), Members: map[proto.ProcID]*who{}}
	var sights []*proto.Sight
	err := from(&q, func(s *proto.Sight) error {
		sights = append(sights, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range sights { // first, so that all have names
		for i := range s.Members {
			m := &s.Members[i]
			p.Members[m.Proc] = &who{
				Process: fmt.Sprintf("%#x", uint64(m.Proc)), Host: s.Host, Pid: m.Pid, Program: m.Program, State: m.State,
				Group: m.Group, agent: m.Agent, id: m.Proc,
			}
		}
	}
	for _, s := range sights {
		p.add(s)
	}
	slices.SortStableFunc(p.Trees, func(x, y tree) int {
		return cmp.Or(compareRoots(&x.Root, &y.Root), cmp.Compare(x.Master.id, y.Master.id))
	})
	slices.SortStableFunc(p.Waits, func(x, y ask) int { return cmp.Compare(y.Age, x.Age) })
	slices.SortStableFunc(p.Events, func(x, y event) int { return cmp.Compare(x.At, y.At) })
	return p, nil
}

func compareRoots(x, y *proto.Root) int {
	return cmp.Or(cmp.Compare(x.Space.Kind, y.Space.Kind), cmp.Compare(x.Space.ID, y.Space.ID),
		cmp.Compare(string(x.Name.Bytes()), string(y.Name.Bytes())))
}

func (p *picture) add(s *proto.Sight) {
	w := &who{Host: s.Host, Program: "agent", version: s.Version}
	if s.Proc != 0 {
		w = p.who(s.Proc)
		w.version = s.Version
	}
	for i := range s.Trees {
		p.addTree(w, &s.Trees[i])
	}
	for _, x := range s.Waits {
		p.Waits = append(p.Waits, ask{w, x})
	}
	for _, c := range s.Counts {
		p.Counts = append(p.Counts, count{w, c})
	}
	for _, e := range s.Events {
		p.Events = append(p.Events, event{w, e})
	}
	for _, x := range s.Silent {
		n := silent{Host: x.Host, Pid: x.Pid, Program: x.Program, Why: x.Why}
		if x.Proc != 0 {
			n.Process = fmt.Sprintf("%#x", uint64(x.Proc))
		}
		p.Silent = append(p.Silent, n)
	}
	p.Cut = p.Cut || s.Cut
}

// addTree adds a tree, or more of one that has come in parts.
func (p *picture) addTree(master *who, t *proto.SeenTree) {
	if n := len(p.Trees); n > 0 {
		if last := &p.Trees[n-1]; last.Master == master && last.Root == t.Root && last.Assign == t.Assign {
			last.Resources = append(last.Resources, t.Resources...)
			return
		}
	}
	p.Trees = append(p.Trees, tree{master, *t})
}

// who is a process by its number.
func (p *picture) who(id proto.ProcID) *who {
	w := p.Members[id]
	if w == nil {
		w = &who{Process: fmt.Sprintf("%#x", uint64(id)), id: id}
		p.Members[id] = w
	}
	return w
}

// String names a process for a person.
func (w *who) String() string {
	s := "process " + w.Process
	switch {
	case w.Group:
		s = "group lock container " + w.Process
	case w.Pid != 0:
		s = fmt.Sprintf("pid %d (%s", w.Pid, printable(w.Program))
		if w.State == node.Stopped || w.State == node.Ended {
			s += ", " + w.State
		}
		s += ")"
	case w.Program != "":
		s += " (" + printable(w.Program) + ")"
	}
	if w.Host != "" {
		s += " on " + w.Host
	}
	return s
}

// printable is a text without what a terminal might take for orders.
func printable(s string) string { return strings.Trim(strconv.Quote(s), `"`) }

// resourceName is a resource for a person: the names on its way, quoted, since they may be
// any bytes.
func resourceName(r *proto.Root, path []proto.Name) string {
	s := strconv.Quote(string(r.Name.Bytes()))
	for i := range path {
		s += "/" + strconv.Quote(string(path[i].Bytes()))
	}
	return s
}

// pathOf is the same for JSON: bytes that are no text are escaped as in Go.
func pathOf(r *proto.Root, path []proto.Name) []string {
	out := []string{printable(string(r.Name.Bytes()))}
	for i := range path {
		out = append(out, printable(string(path[i].Bytes())))
	}
	return out
}

func spaceName(s proto.Namespace) string {
	switch s.Kind {
	case proto.PerUser:
		return fmt.Sprintf("user %d", s.ID)
	case proto.PerGroup:
		return fmt.Sprintf("group %d", s.ID)
	}
	return "system"
}

func lockName(id proto.LockID) string { return fmt.Sprintf("%d.%d", uint64(id)>>32, uint32(id)) }

func partyName(p proto.Party, owner proto.ProcID) string {
	switch {
	case p.Kind == proto.PartyLocalTx:
		return fmt.Sprintf("transaction %d", p.ID)
	case p.Kind == proto.PartyGlobalTx:
		return fmt.Sprintf("global transaction %d", p.ID)
	case p.ID != uint64(owner):
		return fmt.Sprintf("member %#x", p.ID)
	}
	return ""
}

// inquiryFlags are those of the commands that look.
type inquiryFlags struct {
	tree, owner string
	prefix      bool
	escapes     bool
	here        bool
	modes       []string
	limit       uint32
	wait        time.Duration
}

// inquiry is what the flags ask for. Owners are looked up by what is told of them.
func (f *inquiryFlags) inquiry(from source, what proto.See) (q proto.Inquiry, err error) {
	q = proto.Inquiry{What: what, Limit: f.limit, Patience: int64(f.wait), Prefix: f.prefix, Here: f.here}
	if q.Name, err = readName(f.tree, f.escapes); err != nil {
		return q, err
	}
	for _, s := range f.modes {
		m, ok := modeNamed(s)
		if !ok {
			return q, fmt.Errorf("%q is no mode: NL, CR, CW, PR, PW, EX", s)
		}
		q.Modes |= mode.Bit(m)
	}
	if f.limit > proto.SeeMost {
		return q, fmt.Errorf("limit %d: at most %d", f.limit, proto.SeeMost)
	}
	if f.wait < 0 || int64(f.wait) > proto.SeePatience {
		return q, fmt.Errorf("wait %v: at most %v", f.wait, time.Duration(proto.SeePatience))
	}
	if f.owner != "" {
		q.Owners, err = from.owners(f.owner, f.here)
	}
	return q, err
}

func modeNamed(s string) (mode.Mode, bool) {
	for m := mode.NL; m <= mode.EX; m++ {
		if strings.EqualFold(s, m.String()) {
			return m, true
		}
	}
	return 0, false
}

// readName takes a name as it is, or with the escapes with which it is shown.
func readName(s string, escapes bool) (proto.Name, error) {
	if escapes {
		t, err := strconv.Unquote(`"` + s + `"`)
		if err != nil {
			return proto.Name{}, fmt.Errorf("%s has a wrong escape", s)
		}
		s = t
	}
	if len(s) > proto.MaxName {
		return proto.Name{}, fmt.Errorf("a name of %d bytes; they have %d at most", len(s), proto.MaxName)
	}
	return proto.MakeName([]byte(s)), nil
}

// errNoOwner: what was given for an owner names nobody.
var errNoOwner = errors.New("nobody of that name has joined")

// owners finds processes by what is known of them: PID, HOST:PID, HOST, PROGRAM, or the
// number 0x… of a process.
func (from source) owners(s string, here bool) (out []proto.ProcID, err error) {
	if n, err := strconv.ParseUint(s, 0, 64); err == nil && strings.HasPrefix(s, "0x") {
		return []proto.ProcID{proto.ProcID(n)}, nil
	}
	p, err := from.look(proto.Inquiry{Here: here})
	if err != nil {
		return nil, err
	}
	host, rest, both := strings.Cut(s, ":")
	for id, w := range p.Members {
		is := s == fmt.Sprint(w.Pid) && w.Pid != 0 || s == w.Host && s != "" || s == w.Program
		if both {
			is = host == w.Host && (rest == fmt.Sprint(w.Pid) && w.Pid != 0 || rest == w.Program)
		}
		if is {
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("owner %q: %w", s, errNoOwner)
	}
	slices.Sort(out)
	return out, nil
}
