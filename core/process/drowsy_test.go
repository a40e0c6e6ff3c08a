package process_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// story does random things in a cluster and tells all that is answered.
func story(t *testing.T, seed uint64, awake int) (told []string) {
	r := rand.New(rand.NewPCG(seed, 9))
	c, m := newCluster(t, 3)
	for _, x := range m {
		if awake >= 0 {
			x.p.KeepAwake(awake)
		}
	}
	type own struct {
		m    *member
		id   proto.LockID
		name string
	}
	var locks []own
	tell := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	flags := func() (f dlm.Flags) {
		for _, x := range []dlm.Flags{dlm.ValB, dlm.NoQueue, dlm.Expedite, dlm.InvValBlk} {
			if r.IntN(3) == 0 {
				f |= x
			}
		}
		return f
	}
	some := func() mode.Mode { return mode.NL + mode.Mode(r.IntN(6)) }
	for range 250 {
		x := m[r.IntN(len(m))]
		if x.dead || r.IntN(3) > 0 {
			x = m[0] // who has most of it for itself
		}
		name := fmt.Sprintf("r%d", r.IntN(12))
		if r.IntN(2) == 0 {
			name = fmt.Sprintf("%d of %d", r.IntN(40), x.id)
		}
		var at int
		if len(locks) > 0 {
			at = r.IntN(len(locks))
		}
		switch k := r.IntN(20); {
		case len(locks) == 0 || k < 7:
			var res process.Result
			q := process.LockRequest{Name: proto.MakeName([]byte(name)), Mode: some(), Flags: flags(), Token: 1,
				User: process.User{BlkRtn: uint64(r.IntN(2)), Hint: r.Uint64() >> r.IntN(64)}}
			if len(locks) > 0 && locks[at].m == x && r.IntN(5) == 0 {
				q.Parent = locks[at].id
			}
			x.p.Lock(&q, &res)
			id, st, v := x.answer(&res)
			tell("lock %s in %s: %x, status %d, value %q", name, q.Mode, id, st, text(v))
			if id != 0 && st != dlm.NotQueued {
				locks = append(locks, own{x, id, name})
			}
		case k < 12:
			l := locks[at]
			if l.m.dead {
				continue
			}
			st, v := l.m.convert(l.id, some(), flags(), fmt.Sprint(r.IntN(100)))
			tell("convert %x: status %d, value %q", l.id, st, text(v))
		case k < 16:
			l := locks[at]
			if l.m.dead {
				continue
			}
			st := l.m.unlock(l.id, flags(), fmt.Sprint(r.IntN(100)))
			tell("unlock %x: status %d", l.id, st)
			if st == dlm.Success && r.IntN(4) > 0 { // else it is used once more, in vain
				locks = append(locks[:at], locks[at+1:]...)
			}
		case k == 16:
			l := locks[at]
			info, st := l.m.p.LockInfo(l.id)
			tell("info %x: %+v, status %d", l.id, info, st)
			stamp, st := l.m.p.Token(l.id)
			tell("token %x: %v, status %d", l.id, stamp, st)
		case k == 17:
			var res process.Result
			x.p.ResourceInfo(proto.Namespace{}, proto.MakeName([]byte(name)), 0, 1, &res)
			n := len(x.done)
			c.settle()
			if res.Status == dlm.Pending && len(x.done) > n {
				res.Status, res.Info = x.done[n].Status, x.done[n].Info
			}
			tell("resource %s: %+v, status %d", name, res.Info, res.Status)
		case k == 18:
			tell("locks: %x", x.p.Locks(nil, 0, nil))
		case r.IntN(10) == 0 && !m[2].dead:
			c.kill(m[2])
			tell("death")
		}
		for _, x := range m {
			for _, n := range x.notices {
				tell("notice %+v", n)
				x.p.Delivered(n.Lock)
			}
			x.notices = nil
		}
	}
	for _, x := range m {
		if x.dead {
			continue
		}
		tell("completions %+v", x.done)
		look := x.p.Look(&proto.Inquiry{What: proto.SeeTrees | proto.SeeLocks | proto.SeeCounts, Limit: 10000})
		var seen []string
		for more := true; more; {
			var s proto.Sight
			more = look.Next(&s)
			for _, tr := range s.Trees {
				for _, x := range tr.Resources {
					seen = append(seen, fmt.Sprintf("%s: %x %d %d %v, at depth %d: %+v %v %x %d %d, %+v",
						tr.Root.Name.Bytes(), tr.Assign, tr.Since, tr.Locks, tr.Why, len(x.Path), x.Block.Stamp, x.Block.Valid,
						x.Block.Value[:2], x.Locks, x.Writer, x.Seen))
				}
			}
			if len(s.Counts) > 0 {
				tell("%d trees, %d locks", s.Counts[0].Trees, s.Counts[0].Locks)
			}
		}
		slices.Sort(seen)
		for i, line := range seen {
			tell("%s", line)
			if i > 0 && seen[i-1] == line {
				t.Errorf("seen twice: %s", line)
			}
		}
	}
	return told
}

// Who sleeps answers like who is awake.
func TestSleepersAnswerAlike(t *testing.T) {
	for seed := range uint64(150) {
		want := story(t, seed, -1)
		for awake := range 2 {
			got := story(t, seed, awake)
			for i := range min(len(want), len(got)) {
				if got[i] != want[i] {
					t.Fatalf("seed %d: %s\ninstead of %s", seed, got[i], want[i])
				}
			}
			if len(got) != len(want) {
				t.Fatalf("seed %d: %d answers instead of %d", seed, len(got), len(want))
			}
		}
	}
}

// Sleepers are found by the directory that knows nothing, and by a look that goes on
// while they fall asleep and wake up.
func TestSleepersAreTold(t *testing.T) {
	_, m := newCluster(t, 1)
	m[0].p.KeepAwake(0)
	var ids []proto.LockID
	for i := range 500 {
		id, st, _ := m[0].lock(fmt.Sprint("r", i), mode.PW, 0)
		want(t, "lock", st, dlm.Success)
		ids = append(ids, id)
	}
	r := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		look := m[0].p.Look(&proto.Inquiry{What: proto.SeeTrees | proto.SeeLocks, Limit: 100000})
		seen := map[proto.LockID]int{}
		for more := true; more; {
			var s proto.Sight
			more = look.Next(&s)
			for _, tr := range s.Trees {
				for _, x := range tr.Resources {
					for _, l := range x.Seen {
						seen[l.Lock]++
					}
				}
			}
			for range 5 {
				st, _ := m[0].convert(ids[r.IntN(len(ids))], mode.EX, 0, "")
				want(t, "convert", st, dlm.Success)
			}
		}
		for _, id := range ids {
			want(t, fmt.Sprintf("how often %x is seen", id), seen[id], 1)
		}
	}
	told := 0
	m[0].p.FromAgent(&proto.Msg{Kind: proto.KView, View: 1 << 33, Procs: []proto.ProcID{m[0].id}, Number: 77})
	for _, msg := range m[0].told {
		if msg.Kind == proto.KMastered {
			told++
		}
	}
	want(t, "trees that a new directory hears of", told, len(ids))
}

// Roots that nobody uses any more are forgotten, the oldest first, also when they have
// slept.
func TestIdleRootsAreBounded(t *testing.T) {
	_, m := newCluster(t, 1)
	m[0].p.KeepAwake(0)
	const n = 200000
	ids := make([]proto.LockID, n)
	for i := range ids {
		var st dlm.Status
		ids[i], st, _ = m[0].lock(fmt.Sprint("r", i), mode.PR, 0)
		want(t, "lock", st, dlm.Success)
	}
	m[0].told = nil
	for _, id := range ids {
		want(t, "unlock", m[0].unlock(id, 0, ""), dlm.Success)
	}
	var given []string
	for _, msg := range m[0].told {
		if msg.Kind == proto.KDrop {
			given = append(given, string(msg.Root.Name.Bytes()))
		}
	}
	if left := n - len(given); left > 70000 {
		t.Errorf("%d trees that nobody uses are kept", left)
	}
	if len(given) == 0 || given[0] == fmt.Sprint("r", n-1) || !slices.Contains(given, "r0") {
		t.Errorf("%d trees were given up, but not the oldest first", len(given))
	}
}
