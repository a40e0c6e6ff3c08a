package script

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/cluster"
)

// handle is a lock of the script.
type handle struct {
	name  string
	proc  string // the script's process
	owner *cluster.Member
	id    proto.LockID
	token uint64 // of the latest request
}

// script is one run of a story.
type script struct {
	t       *testing.T
	c       *cluster.Cluster
	where   layout
	members map[string]*cluster.Member
	parents map[*cluster.Member]proto.LockID // in layout remote: the hidden parent
	procs   []string
	handles []*handle
	held    map[string]bool // processes that leave notifications alone
}

// hiddenRoot is the root resource below which everything lies in layout remote;
// its master is a process of its own, so that resources come and go as ever.
var hiddenRoot = proto.Root{Name: proto.MakeName([]byte("hidden root"))}

func newScript(where layout) *script {
	s := &script{
		c: cluster.New(), where: where, members: map[string]*cluster.Member{},
		parents: map[*cluster.Member]proto.LockID{}, held: map[string]bool{},
	}
	if where == remote {
		m := s.c.Join("master")
		s.members["master"] = m
		s.adopt(m)
	}
	return s
}

// adopt gives a process its hidden parent lock.
func (s *script) adopt(m *cluster.Member) {
	var res process.Result
	m.Lock(&process.LockRequest{Name: hiddenRoot.Name, Mode: mode.NL, Token: s.c.Token()}, &res)
	s.c.Settle()
	m.Take()
	s.parents[m] = res.Lock
}

func (s *script) member(name string) *cluster.Member {
	if !slices.Contains(s.procs, name) {
		s.procs = append(s.procs, name)
	}
	if s.where == together {
		name = "all"
	}
	m := s.members[name]
	if m == nil {
		m = s.c.Join(name)
		s.members[name] = m
		if s.where == remote {
			s.adopt(m)
		}
	}
	return m
}

// args are the words behind a command.
type args struct {
	words []string
	opts  map[string]string
}

func (s *script) run(d *datadriven.TestData) string {
	a := args{opts: map[string]string{}}
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 {
			a.words = append(a.words, arg.Key)
		} else {
			a.opts[arg.Key] = arg.Vals[0]
		}
	}
	do := map[string]func(*args) string{
		"lock": s.lock, "convert": s.convert, "unlock": s.unlock, "cancel": s.cancel, "expire": s.expire,
		"detach": s.detach, "state": s.state, "info": s.info, "resource": s.resource, "locks": s.locks,
		"hold": s.hold, "deliver": s.deliver, "kill": s.kill, "agent": s.agent,
	}[d.Cmd]
	if do == nil {
		d.Fatalf(s.t, "no command %s", d.Cmd)
	}
	out := do(&a)
	if len(a.words) > 0 {
		d.Fatalf(s.t, "left over: %v", a.words)
	}
	s.c.Settle()
	return out + s.events()
}

// next takes the next word.
func (a *args) next() string {
	if len(a.words) == 0 {
		return ""
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

func (s *script) handle(name string) *handle {
	for _, h := range s.handles {
		if h.name == name {
			return h
		}
	}
	s.t.Fatalf("no lock is called %q", name)
	return nil
}

func modeOf(name string) mode.Mode {
	for m := mode.NL; m <= mode.EX; m++ {
		if m.String() == name {
			return m
		}
	}
	return mode.None
}

// flags takes the rest of the words.
func (s *script) flags(a *args) (f dlm.Flags, async bool, blk uint64) {
	blk = 1
	for w := a.next(); w != ""; w = a.next() {
		bit, ok := map[string]dlm.Flags{
			"noqueue": dlm.NoQueue, "syncsts": dlm.SyncSts, "nodlckwt": dlm.NoDlckWt, "nodlckblk": dlm.NoDlckBlk, "expedite": dlm.Expedite,
			"quecvt": dlm.QueCvt, "invvalblk": dlm.InvValBlk, "cancelwaitok": dlm.CancelWaitOK, "valb": dlm.ValB,
		}[w]
		switch {
		case ok:
			f |= bit
		case w == "async":
			async = true
		case w == "noblk":
			blk = 0
		default:
			s.t.Fatalf("no flag %q", w)
		}
	}
	return f, async, blk
}

func (a *args) number(key string) uint64 {
	n, err := strconv.ParseUint(a.opts[key], 10, 64)
	if a.opts[key] != "" && err != nil {
		panic(err)
	}
	return n
}

func (a *args) value() (v proto.Value) {
	copy(v[:], a.opts["value"])
	return v
}

func (s *script) lock(a *args) string {
	proc := a.next()
	h := &handle{name: a.next(), proc: proc, owner: s.member(proc), token: s.c.Token()}
	q := process.LockRequest{Name: proto.MakeName([]byte(a.opts["on"])), Mode: modeOf(a.next()), Token: h.token}
	if up := a.opts["under"]; up != "" {
		q.Parent = s.handle(up).id
	} else {
		q.Parent = s.parents[h.owner]
	}
	q.Flags, q.Async, q.User.BlkRtn = s.flags(a)
	q.User.Hint = a.number("hint")
	var res process.Result
	h.owner.Lock(&q, &res)
	h.id = res.Lock
	s.handles = slices.DeleteFunc(s.handles, func(o *handle) bool { return o.name == h.name })
	s.handles = append(s.handles, h)
	return s.answer(h, &res, q.Async)
}

func (s *script) convert(a *args) string {
	h := s.handle(a.next())
	token := s.c.Token()
	q := process.ConvertRequest{Lock: h.id, Mode: modeOf(a.next()), Value: a.value(), Token: token}
	q.Flags, q.Async, q.User.BlkRtn = s.flags(a)
	q.User.Hint = a.number("hint")
	var res process.Result
	h.owner.Convert(&q, &res)
	if res.Status == dlm.CvtUngrant || res.Status == dlm.IvLockID || res.Status == dlm.BadParam {
		return name(res.Status) + "\n"
	}
	h.token = token
	return s.answer(h, &res, q.Async)
}

// answer is what a request's caller gets: at once, or, if the request is
// synchronous and its master has answered, after that.
func (s *script) answer(h *handle, res *process.Result, async bool) string {
	if res.Status != dlm.Pending {
		return name(res.Status) + shown(res.Read, &res.Value) + "\n"
	}
	if async {
		return "accepted\n"
	}
	s.c.Settle()
	if c := h.owner.Answered(h.token); c != nil {
		return name(c.Status) + shown(c.Read, &c.Value) + "\n"
	}
	return "waits\n"
}

func (s *script) unlock(a *args) string {
	h := s.handle(a.next())
	q := process.UnlockRequest{Lock: h.id, Value: a.value(), Token: s.c.Token()}
	q.Flags, _, _ = s.flags(a)
	var res process.Result
	h.owner.Unlock(&q, &res)
	return s.done(h, &res, q.Token)
}

func (s *script) cancel(a *args) string {
	h := s.handle(a.next())
	f, _, _ := s.flags(a)
	var res process.Result
	token := s.c.Token()
	h.owner.Cancel(h.id, f, token, &res)
	return s.done(h, &res, token)
}

// done is the answer to a call that never waits for other locks.
func (s *script) done(h *handle, res *process.Result, token uint64) string {
	if res.Status != dlm.Pending {
		return name(res.Status) + "\n"
	}
	s.c.Settle()
	c := h.owner.Answered(token)
	if c == nil {
		return "no answer\n"
	}
	return name(c.Status) + "\n"
}

func (s *script) expire(a *args) string {
	h := s.handle(a.next())
	h.owner.Expire(h.id, h.token)
	return ""
}

func (s *script) detach(a *args) string {
	h := s.handle(a.next())
	h.owner.Detach(h.id, h.token)
	return ""
}

func (s *script) hold(a *args) string {
	s.held[a.next()] = true
	return ""
}

func (s *script) deliver(a *args) string {
	delete(s.held, a.next())
	return ""
}

func (s *script) kill(a *args) string {
	proc := a.next()
	m := s.members[proc]
	if s.where == together || m == nil {
		s.t.Fatalf("cannot kill %s alone", proc)
	}
	delete(s.members, proc)
	s.handles = slices.DeleteFunc(s.handles, func(h *handle) bool { return h.owner == m })
	s.c.Kill(m)
	return ""
}

func (s *script) agent(*args) string {
	s.c.RestartAgent()
	return ""
}

// events lists what the processes have been told, process by process.
func (s *script) events() string {
	lines := map[string][]string{}
	taken := map[*cluster.Member]bool{}
	for _, h := range s.handles {
		if taken[h.owner] {
			continue
		}
		taken[h.owner] = true
		wanted := func(e cluster.Event) bool { return e.Notice == nil || !s.held[s.about(h.owner, e).proc] }
		for _, e := range h.owner.TakeIf(wanted) {
			about := s.about(h.owner, e)
			lines[about.proc] = append(lines[about.proc], "  "+about.proc+": "+about.describe(e))
		}
	}
	var out strings.Builder
	for _, p := range s.procs {
		for _, line := range lines[p] {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// about is the lock that an event concerns.
func (s *script) about(m *cluster.Member, e cluster.Event) *handle {
	for _, h := range s.handles {
		if h.owner == m && (e.Notice != nil && h.id == e.Notice.Lock || e.Completion != nil && h.token == e.Completion.Token) {
			return h
		}
	}
	s.t.Fatalf("an event about no lock: %+v %+v", e.Completion, e.Notice)
	return nil
}

func (h *handle) describe(e cluster.Event) string {
	if n := e.Notice; n != nil {
		out := fmt.Sprintf("%s blocks %v", h.name, n.Mode)
		if n.Hint != 0 {
			out += fmt.Sprintf(", hint %d", n.Hint)
		}
		return out
	}
	return h.name + " " + name(e.Completion.Status) + shown(e.Completion.Read, &e.Completion.Value)
}

func shown(read bool, v *proto.Value) string {
	if !read {
		return ""
	}
	return fmt.Sprintf(" %q", strings.TrimRight(string(v[:]), "\x00"))
}

// name is a status's name.
func name(st dlm.Status) string {
	names := map[dlm.Status]string{
		dlm.Success: "SUCCESS", dlm.Synch: "SYNCH", dlm.SuccValNotValid: "SUCCVALNOTVALID", dlm.SyncValNotValid: "SYNCVALNOTVALID",
		dlm.Abort: "ABORT", dlm.BadParam: "BADPARAM", dlm.Cancel: "CANCEL", dlm.CancelGrant: "CANCELGRANT", dlm.CancelWait: "CANCELWAIT",
		dlm.CvtUngrant: "CVTUNGRANT", dlm.Deadlock: "DEADLOCK", dlm.ENoEnt: "ENOENT", dlm.IvLockID: "IVLOCKID", dlm.NotQueued: "NOTQUEUED",
		dlm.ParNotGrant: "PARNOTGRANT", dlm.SubLocks: "SUBLOCKS", dlm.Timeout: "TIMEOUT", dlm.Lost: "LOST", dlm.InsfMem: "INSFMEM",
	}
	if n := names[st]; n != "" {
		return n
	}
	return fmt.Sprintf("status %d", st)
}
