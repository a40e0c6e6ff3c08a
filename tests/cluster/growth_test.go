package cluster

import (
	"fmt"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// grow is a cluster of that many processes; all know all views.
func grow(n int) (c *Cluster, m []*Member) {
	c = New()
	for i := range n {
		m = append(m, c.Join(fmt.Sprint("P", i)))
	}
	c.Kill(c.Join("late")) // everybody has heard of a death now
	c.Traffic()
	return c, m
}

// lock gets a lock and lets everything settle.
func lock(t *testing.T, m *Member, name string, md mode.Mode) proto.LockID {
	t.Helper()
	var r process.Result
	q := process.LockRequest{Name: proto.MakeName([]byte(name)), Mode: md, Token: m.c.Token()}
	m.Lock(&q, &r)
	m.c.Settle()
	if st := r.Status; st != dlm.Success && (st != dlm.Pending || m.Answered(q.Token) == nil) {
		t.Fatalf("lock of %s: status %d", name, st)
	}
	return r.Lock
}

func unlock(t *testing.T, m *Member, id proto.LockID) {
	t.Helper()
	var r process.Result
	q := process.UnlockRequest{Lock: id, Token: m.c.Token()}
	m.Unlock(&q, &r)
	m.c.Settle()
	if st := r.Status; st != dlm.Success && (st != dlm.Pending || m.Answered(q.Token) == nil) {
		t.Fatalf("unlock: status %d", st)
	}
}

// TestGrowth holds what godlm-scaling(7) says: what each thing costs, whatever the number
// of processes.
func TestGrowth(t *testing.T) {
	type costs struct{ first, own, other, pair, join, death, perLock Traffic }
	measure := func(n int) (k costs) {
		c, m := grow(n)
		lock(t, m[1], "r", mode.NL)
		k.first = c.Traffic()
		id := lock(t, m[1], "r", mode.CR)
		unlock(t, m[1], id)
		k.own = c.Traffic()
		lock(t, m[2], "r", mode.NL)
		k.other = c.Traffic()
		id = lock(t, m[2], "r", mode.CR)
		unlock(t, m[2], id)
		k.pair = c.Traffic()
		c.Join("late too")
		k.join = c.Traffic()
		// A death of which everybody hears, and one in whose trees others have locks.
		c.Kill(m[n-1])
		k.death = c.Traffic()
		const locks = 100
		for i := range locks {
			name := fmt.Sprint("tree", i)
			lock(t, m[3], name, mode.NL)
			lock(t, m[4+i%4], name, mode.NL)
		}
		c.Traffic()
		c.Kill(m[3])
		all := c.Traffic()
		k.perLock = Traffic{(all.Messages - k.death.Messages) / locks, (all.Bytes - k.death.Bytes) / locks}
		return k
	}
	small, large := measure(20), measure(1000)
	t.Logf("%+v\n%+v", small, large)
	// The same for any number of processes.
	for _, x := range []struct {
		what string
		s, l Traffic
	}{
		{"first use of a name", small.first, large.first},
		{"own pair", small.own, large.own},
		{"first use of another's", small.other, large.other},
		{"pair at another", small.pair, large.pair},
		{"rebuild, for each lock", small.perLock, large.perLock},
	} {
		if x.s.Messages != x.l.Messages || x.l.Bytes > x.s.Bytes+x.s.Bytes/5 {
			t.Errorf("%s: %+v among 20 processes, %+v among 1000", x.what, x.s, x.l)
		}
	}
	if small.own.Messages != 0 || small.pair.Messages != 4 || small.first.Messages != 2 {
		t.Errorf("messages of an own pair %d, of one at another %d, of the first use of a name %d",
			small.own.Messages, small.pair.Messages, small.first.Messages)
	}
	// Who joins is told who lives, two bytes for each; nobody else hears of it.
	if large.join.Messages > small.join.Messages || large.join.Bytes > small.join.Bytes+3*1000 {
		t.Errorf("join: %+v among 20 processes, %+v among 1000", small.join, large.join)
	}
	// A death is a message to everybody, and an answer, of the same size.
	each := func(x Traffic, n int) float64 { return float64(x.Bytes) / float64(n) }
	if large.death.Messages > 2*1000+4 || each(large.death, 1000) > 1.2*each(small.death, 20) {
		t.Errorf("death: %+v among 20 processes, %+v among 1000", small.death, large.death)
	}
}
