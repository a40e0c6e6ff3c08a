package process_test

import (
	"fmt"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// look sees all that an inquiry asks of a process.
func (m *member) look(q proto.Inquiry) (all proto.Sight, steps int) {
	if q.Limit == 0 {
		q.Limit = proto.SeeMost
	}
	k := m.p.Look(&q)
	for more := true; more; steps++ {
		var s proto.Sight
		more = k.Next(&s)
		all.Trees = append(all.Trees, s.Trees...)
		all.Waits = append(all.Waits, s.Waits...)
		all.Counts = append(all.Counts, s.Counts...)
		all.Cut = all.Cut || s.Cut
	}
	return all, steps
}

// resource is the only one that m masters.
func (m *member) resource(t *testing.T) (proto.SeenTree, proto.SeenResource) {
	t.Helper()
	s, _ := m.look(proto.Inquiry{What: proto.SeeLocks})
	if len(s.Trees) != 1 || len(s.Trees[0].Resources) != 1 {
		t.Fatalf("process %#x masters %+v", m.id, s.Trees)
	}
	return s.Trees[0], s.Trees[0].Resources[0]
}

// Why a block is not valid is known as long as it is not, whoever masters it.
func TestCauses(t *testing.T) {
	c, m := newCluster(t, 4)
	m[0].lock("R", mode.NL, 0) // masters
	w, _, _ := m[1].lock("R", mode.EX, 0)
	h, _, _ := m[2].lock("R", mode.NL, 0)
	x, r := m[0].resource(t)
	want(t, "valid", r.Cause, proto.Cause{})
	want(t, "origin", x.Why, proto.OriginFirst)
	want(t, "since", x.Since, uint32(date))
	want(t, "unlock", m[1].unlock(w, dlm.InvValBlk, ""), dlm.Success)
	_, r = m[0].resource(t)
	want(t, "said so", r.Cause, proto.Cause{Kind: proto.CauseInvValBlk, Who: m[1].id, At: date})

	c.kill(m[0])
	x, r = m[2].resource(t)
	want(t, "rebuilt", x.Why, proto.OriginRebuilt)
	want(t, "after", x.From, m[0].id)
	want(t, "the journal knows", r.Cause, proto.Cause{Kind: proto.CauseInvValBlk, Who: m[1].id, At: date})

	w, _, _ = m[1].lock("R", mode.EX, 0)
	st, _ := m[1].convert(w, mode.EX, dlm.ValB, "v")
	want(t, "write", st, dlm.Success)
	_, r = m[2].resource(t)
	want(t, "valid again", r.Cause, proto.Cause{})
	died := proto.Cause{Kind: proto.CauseHolderDied, Who: m[1].id, Pid: 100 + uint32(m[1].id), Program: "prog", At: date}
	m[3].lock("R", mode.NL, 0)
	c.kill(m[1])
	_, r = m[2].resource(t)
	want(t, "died", r.Cause, died)
	want(t, "contents", text(r.Block.Value), "v")
	want(t, "h", m[2].unlock(h, 0, ""), dlm.Success)
	c.kill(m[2])
	_, r = m[3].resource(t)
	want(t, "still known", r.Cause, died)
}

// The holder and the master die together: the journal tells who held.
func TestCauseOfTwoDeaths(t *testing.T) {
	c, m := newCluster(t, 3)
	m[0].lock("R", mode.NL, 0)
	m[1].lock("R", mode.PW, 0)
	m[2].lock("R", mode.NL, 0)
	m[1].dead = true
	c.kill(m[0])
	c.kill(m[1])
	x, r := m[2].resource(t)
	want(t, "from", x.From, m[0].id)
	want(t, "cause", r.Cause, proto.Cause{Kind: proto.CauseHolderDied, Who: m[1].id, Pid: 100 + uint32(m[1].id), Program: "prog", At: date})
	lines := 0
	for range m[2].records {
		lines++
	}
	want(t, "lines of nobody's locks", lines, 0)
}

func TestCauseLines(t *testing.T) {
	in := proto.Cause{Kind: proto.CauseHolderDied, Who: 77, Pid: 1 << 21, At: 1 << 31, Lost: true, Program: "prog", Host: "alpha"}
	d := proto.Digest{1, 2}
	line := in.Record(proto.Digest{9}, d, proto.Stamp{Assign: 1, Seq: 2})
	want(t, "round trip", proto.CauseOf(&line), in)
	want(t, "place", line.Resource, d.CauseLine())
	in.Program, in.Host = "fifteen letters", "a-host-name"
	line = in.Record(proto.Digest{9}, d, proto.Stamp{})
	want(t, "cut", proto.CauseOf(&line).Host, "a-ho")
}

func TestLook(t *testing.T) {
	c, m := newCluster(t, 3)
	for i := range 3000 {
		m[0].lock(fmt.Sprintf("r%d", i), mode.PR, 0)
	}
	a, _, _ := m[0].lock("waited", mode.EX, 0)
	c.now = 5e9
	m[1].lock("waited", mode.EX, 0)
	m[2].lock("waited", mode.PR, 0)
	c.now = 7e9

	s, steps := m[0].look(proto.Inquiry{What: proto.SeeLocks | proto.SeeCounts})
	want(t, "trees", len(s.Trees), 3001)
	want(t, "mastered", s.Counts[0].Trees, 3001)
	want(t, "locks", s.Counts[0].Locks, 3001)
	want(t, "queued", s.Counts[0].Queued, 2)
	want(t, "new locks here", s.Counts[0].Requests[0][0]+s.Counts[0].Requests[1][0], 3001)
	want(t, "from others", s.Counts[0].Requests[2][0], 2)
	want(t, "blocking", s.Counts[0].Blocking, 1)
	if steps < 64 {
		t.Fatalf("all of it was seen in %d steps", steps)
	}

	s, _ = m[0].look(proto.Inquiry{What: proto.SeeLocks, Waiting: true})
	want(t, "waited for", len(s.Trees), 1)
	list := s.Trees[0].Resources[0].Seen
	want(t, "locks there", len(list), 3)
	want(t, "holder", list[0].Owner, m[0].id)
	want(t, "first in the queue", list[1], proto.SeenLock{
		Owner: m[1].id, Lock: list[1].Lock, Op: list[1].Op, Party: proto.Party{ID: uint64(m[1].id)}, Requested: mode.EX, At: 1, Flags: list[1].Flags,
	})

	s, _ = m[0].look(proto.Inquiry{What: proto.SeeLocks, Name: proto.MakeName([]byte("r12")), Prefix: true})
	want(t, "r12, r120 to r129, r1200 to r1299", len(s.Trees), 111)
	s, _ = m[0].look(proto.Inquiry{What: proto.SeeLocks, Name: proto.MakeName([]byte("r12"))})
	want(t, "r12", len(s.Trees), 1)
	s, _ = m[0].look(proto.Inquiry{What: proto.SeeLocks, Limit: 100})
	want(t, "limit", len(s.Trees), 100)
	want(t, "cut", s.Cut, true)
	s, _ = m[0].look(proto.Inquiry{What: proto.SeeLocks, Owners: []proto.ProcID{m[2].id}})
	want(t, "of one owner", len(s.Trees), 1)
	want(t, "its lock", len(s.Trees[0].Resources[0].Seen), 1)
	s, _ = m[0].look(proto.Inquiry{What: proto.SeeLocks, Modes: mode.Bit(mode.EX)})
	want(t, "in EX", len(s.Trees), 1)

	s, _ = m[1].look(proto.Inquiry{What: proto.SeeWaits | proto.SeeTrees})
	want(t, "nothing mastered", len(s.Trees), 0)
	want(t, "one request", len(s.Waits), 1)
	want(t, "age", s.Waits[0].Age, int64(2e9))
	want(t, "state", s.Waits[0].State, proto.WaitQueued)
	want(t, "master", s.Waits[0].Master, m[0].id)

	want(t, "unlock", m[0].unlock(a, 0, ""), dlm.Success)
	s, _ = m[1].look(proto.Inquiry{What: proto.SeeWaits | proto.SeeCounts})
	want(t, "no request", len(s.Waits), 0)
	want(t, "it waited", s.Counts[0].WaitNanos, uint64(2e9))
	want(t, "in its class", s.Counts[0].Waits[10], 1)
}

// The hottest trees are those used most since somebody looked last.
func TestHottest(t *testing.T) {
	c, m := newCluster(t, 1)
	ids := map[int]proto.LockID{}
	for i := range 50 {
		ids[i], _, _ = m[0].lock(fmt.Sprintf("r%d", i), mode.NL, 0)
	}
	c.now = 1e9
	s, _ := m[0].look(proto.Inquiry{What: proto.SeeTrees, Hot: 5})
	want(t, "at first", len(s.Trees), 5)
	for i := range 50 {
		for range 10 * i {
			m[0].convert(ids[i], mode.EX, 0, "")
			m[0].convert(ids[i], mode.NL, 0, "")
		}
	}
	c.now = 3e9
	s, _ = m[0].look(proto.Inquiry{What: proto.SeeTrees, Hot: 3})
	want(t, "three", len(s.Trees), 3)
	for i, x := range s.Trees {
		want(t, "name", string(x.Root.Name.Bytes()), fmt.Sprintf("r%d", 49-i))
		want(t, "in 1000 s", x.Rate, uint64(20*(49-i)*1000/2))
	}
}

// Trees that go while they are looked at take nothing else with them.
func TestLookWhileTreesGo(t *testing.T) {
	_, m := newCluster(t, 2)
	var ids []proto.LockID
	const n = 70000
	for i := range n {
		id, _, _ := m[0].lock(fmt.Sprintf("r%d", i), mode.NL, 0)
		ids = append(ids, id)
	}
	k := m[0].p.Look(&proto.Inquiry{What: proto.SeeLocks, Limit: proto.SeeMost})
	seen := map[string]bool{}
	for i, more := 0, true; more; i++ {
		var s proto.Sight
		more = k.Next(&s)
		for _, x := range s.Trees {
			seen[string(x.Root.Name.Bytes())] = true
		}
		if i < len(ids) {
			var r process.Result
			m[0].p.Unlock(&process.UnlockRequest{Lock: ids[i]}, &r)
			ids[i] = 0
			m[1].lock(fmt.Sprintf("r%d", i), mode.NL, 0) // the idle tree goes there
		}
	}
	for i, id := range ids {
		if id != 0 && !seen[fmt.Sprintf("r%d", i)] {
			t.Fatalf("r%d was there all the time and was not seen", i)
		}
	}
}
