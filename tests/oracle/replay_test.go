package oracle

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/cluster"
)

// layout says where the recorded processes run here.
type layout string

const (
	together layout = "together" // all in one process, which is master
	apart    layout = "apart"    // each in its own; the first locker is master
	below    layout = "below"    // each in its own; master is yet another process, the resource is a sub-resource
)

// lock is a recorded lock handle.
type lock struct {
	id      proto.LockID
	p       string // recorded process
	owner   *cluster.Member
	buffer  string // what its value buffer holds
	granted mode.Mode

	// The latest request.
	token   uint64
	convert bool
	value   bool      // with a value block
	from    mode.Mode // None for a new lock
	to      mode.Mode
}

// replay carries a scenario out and compares.
type replay struct {
	t       *testing.T
	c       *cluster.Cluster
	where   layout
	root    proto.Root
	path    []proto.Name // of the resource below root
	members map[string]*cluster.Member
	parents map[*cluster.Member]proto.LockID
	locks   map[string]*lock
	order   []string // names of locks in order of creation
	diffs   []string
}

func newReplay(t *testing.T, where layout) *replay {
	r := &replay{
		t: t, c: cluster.New(), where: where, root: proto.Root{Name: proto.MakeName([]byte("R"))},
		members: map[string]*cluster.Member{}, parents: map[*cluster.Member]proto.LockID{}, locks: map[string]*lock{},
	}
	if where == below {
		r.path = []proto.Name{proto.MakeName([]byte("sub"))}
		r.parent(r.c.Join("master"))
	}
	return r
}

// parent takes the lock under which m finds the resource.
func (r *replay) parent(m *cluster.Member) {
	var res process.Result
	m.Lock(&process.LockRequest{Name: r.root.Name, Mode: mode.NL, Token: r.c.Token()}, &res)
	r.c.Settle()
	m.Take()
	r.parents[m] = res.Lock
}

func (r *replay) member(name string) *cluster.Member {
	if r.where == together {
		name = "all"
	}
	m := r.members[name]
	if m == nil {
		m = r.c.Join(name)
		r.members[name] = m
		if r.where == below {
			r.parent(m)
		}
	}
	return m
}

func (r *replay) differ(n int, format string, args ...any) {
	r.diffs = append(r.diffs, fmt.Sprintf("step %d: ", n)+fmt.Sprintf(format, args...))
}

func modeOf(name string) mode.Mode {
	for m := mode.NL; m <= mode.EX; m++ {
		if m.String() == name {
			return m
		}
	}
	return mode.None
}

// flagsOf translates the kernel's flags; those with no counterpart are dropped,
// which shows where they matter.
func flagsOf(d *do) (f dlm.Flags) {
	for _, name := range d.Flags {
		f |= map[string]dlm.Flags{
			"NOQUEUE": dlm.NoQueue, "VALBLK": dlm.ValB, "IVVALBLK": dlm.InvValBlk, "EXPEDITE": dlm.Expedite, "QUECVT": dlm.QueCvt,
		}[name]
	}
	return f
}

func value(s string) (v proto.Value) {
	copy(v[:], s)
	return v
}

func text(v *proto.Value) string { return strings.TrimRight(string(v[:]), "\x00") }

// errnos are the kernel's names for what a call answers.
var errnos = map[dlm.Status]string{
	dlm.Success: "OK", dlm.Synch: "OK", dlm.SuccValNotValid: "OK", dlm.SyncValNotValid: "OK", dlm.Pending: "OK",
	dlm.NotQueued:  "OK", // the kernel accepts the call and refuses in the completion
	dlm.CvtUngrant: "EBUSY", dlm.IvLockID: "ENOENT", dlm.BadParam: "EINVAL", dlm.CancelGrant: "CANCELGRANT",
}

func (r *replay) run(s *scenario) []string {
	for i := range s.Steps {
		n := i + 1
		st := &s.Steps[i]
		if st.Do.Op == "wait" {
			continue
		}
		rv, told := r.call(&st.Do)
		r.c.Settle()
		if rv != st.RV {
			r.differ(n, "returns %s, kernel %s", rv, st.RV)
		}
		r.compareEvents(n, st, told)
		r.compareState(n, st.State)
	}
	return r.diffs
}

// call makes one call and returns its value in the kernel's terms, and what the
// call itself told of the outcome.
func (r *replay) call(d *do) (rv string, told map[string][]string) {
	told = map[string][]string{}
	l := r.locks[d.H]
	if l == nil {
		l = &lock{p: d.P, owner: r.member(d.P)}
		r.locks[d.H] = l
		r.order = append(r.order, d.H)
	}
	if d.LVB != nil {
		l.buffer = *d.LVB
	}
	var res process.Result
	token := r.c.Token()
	switch d.Op {
	case "lock":
		q := process.LockRequest{
			Name: r.root.Name, Mode: modeOf(d.Mode), Flags: flagsOf(d), User: process.User{BlkRtn: 1}, Token: token, Async: true,
		}
		if r.where == below {
			q.Name, q.Parent = r.path[0], r.parents[l.owner]
		}
		l.begin(d, token)
		l.owner.Lock(&q, &res)
		l.id = res.Lock
	case "convert":
		before := *l
		l.begin(d, token)
		l.owner.Convert(&process.ConvertRequest{
			Lock: l.id, Mode: modeOf(d.Mode), Flags: flagsOf(d), Value: value(l.buffer), User: process.User{BlkRtn: 1}, Token: token, Async: true,
		}, &res)
		if res.Status == dlm.CvtUngrant || res.Status == dlm.IvLockID {
			*l = before
			return errnos[res.Status], told
		}
	case "unlock", "libunlock":
		l.owner.Unlock(&process.UnlockRequest{Lock: l.id, Flags: flagsOf(d), Value: value(l.buffer), Token: token}, &res)
		return r.answer(l, &res, token), told
	case "cancel":
		l.owner.Cancel(l.id, flagsOf(d)|dlm.CancelWaitOK, token, &res)
		return r.answer(l, &res, token), told
	default:
		r.t.Fatalf("no call %q", d.Op)
	}
	if res.Status != dlm.Pending {
		told[l.p] = append(told[l.p], r.outcome(d.H, l, res.Status, res.Read, &res.Value))
	}
	return errnos[res.Status], told
}

// begin notes a request.
func (l *lock) begin(d *do, token uint64) {
	l.token, l.convert, l.value = token, d.Op == "convert", d.has("VALBLK")
	l.from, l.to = l.granted, modeOf(d.Mode)
}

// answer waits for the answer of an unlock or a cancel.
func (r *replay) answer(l *lock, res *process.Result, token uint64) string {
	st := res.Status
	if st == dlm.Pending {
		r.c.Settle()
		c := l.owner.Answered(token)
		if c == nil {
			return "no answer"
		}
		st = c.Status
	}
	return errnos[st]
}

// outcome is a completion in the kernel's terms.
func (r *replay) outcome(h string, l *lock, st dlm.Status, read bool, v *proto.Value) string {
	name := map[dlm.Status]string{
		dlm.Success: "OK", dlm.SuccValNotValid: "OK", dlm.NotQueued: "EAGAIN", dlm.Deadlock: "EDEADLK", dlm.Cancel: "ECANCEL", dlm.Abort: "ECANCEL",
	}[st]
	if l.convert && st == dlm.Abort || !l.convert && st == dlm.Cancel || name == "" {
		name = fmt.Sprintf("%v(%d)", l.convert, st) // D-20
	}
	if name == "OK" {
		l.granted = l.to
	}
	out := "ast " + h + " " + name
	if st == dlm.SuccValNotValid {
		out += " VALNOTVALID"
	}
	if read {
		l.buffer = text(v)
		if l.buffer != "" {
			out += " lvb=" + l.buffer
		}
	}
	return out
}

// compareEvents compares what each recorded process was told, in order.
func (r *replay) compareEvents(n int, st *step, got map[string][]string) {
	r.take(&st.Do, got)
	want := map[string][]string{}
	for i := range st.Events {
		if e := &st.Events[i]; e.Status != "EUNLOCK" { // an unlock here has no completion
			want[e.P] = append(want[e.P], r.recorded(e))
		}
	}
	var procs []string
	for p := range got {
		procs = append(procs, p)
	}
	for p := range want {
		if _, ok := got[p]; !ok {
			procs = append(procs, p)
		}
	}
	sort.Strings(procs)
	for _, p := range procs {
		if !slices.Equal(got[p], want[p]) {
			r.differ(n, "%s is told [%s], kernel [%s]", p, strings.Join(got[p], "; "), strings.Join(want[p], "; "))
		}
	}
}

// take collects events into got, by recorded process.
func (r *replay) take(d *do, got map[string][]string) {
	seen := map[*cluster.Member]bool{}
	for _, h := range r.order {
		m := r.locks[h].owner
		if seen[m] {
			continue
		}
		seen[m] = true
		for _, e := range m.Take() {
			name, l := r.find(m, e)
			switch {
			case e.Notice != nil:
				got[l.p] = append(got[l.p], fmt.Sprintf("bast %s %v", name, e.Notice.Mode))
			case l.token != e.Completion.Token:
				r.t.Fatalf("%s: completion of no request", name)
			case e.Completion.Status == dlm.Abort && strings.HasSuffix(d.Op, "unlock") && d.H == name:
				// D-20: the request ends with its lock; the kernel tells by EUNLOCK alone.
			default:
				got[l.p] = append(got[l.p], r.outcome(name, l, e.Completion.Status, e.Completion.Read, &e.Completion.Value))
			}
		}
	}
}

// find is the lock that an event is about.
func (r *replay) find(m *cluster.Member, e cluster.Event) (string, *lock) {
	for _, h := range r.order {
		l := r.locks[h]
		if l.owner != m {
			continue
		}
		if e.Notice != nil && l.id == e.Notice.Lock || e.Completion != nil && l.token == e.Completion.Token {
			return h, l
		}
	}
	r.t.Fatalf("an event about no lock: %+v %+v", e.Completion, e.Notice)
	return "", nil
}

// recorded is a recorded event in the words of outcome.
func (r *replay) recorded(e *event) string {
	if e.Ev == "bast" {
		return "bast " + e.H + " " + e.Mode
	}
	out := "ast " + e.H + " " + e.Status
	for _, f := range e.SBFlags {
		out += " " + f
	}
	if l := r.locks[e.H]; l.value && e.Status == "OK" && !l.sentBack() && e.LVB != "" {
		out += " lvb=" + e.LVB
	}
	return out
}

// sentBack reports whether the kernel's value is only the caller's buffer, sent
// back after a conversion down from CR, CW or PR.
func (l *lock) sentBack() bool {
	return l.convert && l.from >= mode.CR && l.from <= mode.PR && l.to < l.from
}

// compareState compares the queues.
func (r *replay) compareState(n int, want *state) {
	if want == nil {
		return
	}
	q := r.c.Queues(r.root, r.path...)
	r.compareQueue(n, "granted", q.Granted, want.Granted, true)
	r.compareQueue(n, "convert", q.Converting, want.Convert, false)
	r.compareQueue(n, "wait", q.Waiting, want.Wait, false)
	if len(want.Granted)+len(want.Convert)+len(want.Wait) == 0 {
		return
	}
	lvb := want.LVB
	if lvb == "" {
		lvb = "00000000" // the kernel has none before it is first written
	}
	if got := fmt.Sprintf("%x", q.Block.Value[:4]); got != lvb {
		r.differ(n, "value %s, kernel %s", got, lvb)
	}
}

// compareQueue compares one queue; that of granted locks has no order.
func (r *replay) compareQueue(n int, which string, got []cluster.Held, want [][3]*string, anyOrder bool) {
	var g, w []string
	for _, h := range got {
		g = append(g, r.describe(h))
	}
	for _, e := range want {
		s := *e[0]
		for _, m := range e[1:] {
			if m != nil {
				s += " " + *m
			}
		}
		w = append(w, s)
	}
	if anyOrder {
		sort.Strings(g)
		sort.Strings(w)
	}
	if !slices.Equal(g, w) {
		r.differ(n, "%s [%s], kernel [%s]", which, strings.Join(g, "; "), strings.Join(w, "; "))
	}
}

// describe is a lock in the queues, checked against what its owner knows.
func (r *replay) describe(h cluster.Held) string {
	for _, name := range r.order {
		l := r.locks[name]
		if l.id != h.Lock || l.owner != h.Owner {
			continue
		}
		info, st := h.Owner.LockInfo(h.Lock)
		if st != dlm.Success || info.Granted.String() != h.Granted || info.Requested.String() != h.Requested {
			r.t.Errorf("%s: its master says %s %s, its owner %v %v (status %d)", name, h.Granted, h.Requested, info.Granted, info.Requested, st)
		}
		switch {
		case h.Granted == "-":
			return name + " " + h.Requested
		case h.Granted == h.Requested:
			return name + " " + h.Granted
		}
		return name + " " + h.Granted + " " + h.Requested
	}
	r.t.Errorf("a lock of nobody is in a queue: %+v", h)
	return "?"
}
