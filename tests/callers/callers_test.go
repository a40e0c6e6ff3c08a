package callers_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/tests/callers"
	"github.com/godlm/godlm/tests/cluster"
)

func TestBothSidesShareTheLayout(t *testing.T) {
	if c, g := callers.Layout(), lent.Layout(); !slices.Equal(c, g) {
		t.Errorf("in C %v, in Go %v", c, g)
	}
}

func TestBothSidesMakeTheSameHash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 10 * proto.MaxName {
		name := make([]byte, 1+n%proto.MaxName)
		for i := range name {
			name[i] = byte(rng.Uint32())
		}
		r := proto.Root{Space: proto.Namespace{Kind: proto.NamespaceKind(rng.Uint32()), ID: rng.Uint32()}, Name: proto.MakeName(name)}
		if c, g := callers.Hash(&r), lent.Hash(&r); c != g {
			t.Fatalf("%x: in C %x, in Go %x", name, c, g)
		}
	}
}

func TestConversionsAreThoseOfTheTables(t *testing.T) {
	for from := mode.NL; from < mode.Count; from++ {
		for to := mode.NL; to < mode.Count; to++ {
			if m := callers.Move(uint32(from), uint32(to)); m != int(mode.OnConvert(from, to)) {
				t.Errorf("%v to %v: %d", from, to, m)
			}
			if q := callers.Queueable(uint32(from), uint32(to)); q != mode.QueueableConversion(from, to) {
				t.Errorf("%v to %v with DLM_QUECVT: %v", from, to, q)
			}
		}
	}
}

// twin is a process whose trees are lent, or never are.
type twin struct {
	c      *cluster.Cluster
	m, x   *cluster.Member // x is another process
	table  *lent.Table
	direct int // requests that the callers' side has decided
	locks  []proto.LockID
	others []proto.LockID // of x
}

func newTwin(lends bool) *twin {
	w := &twin{c: cluster.New()}
	if lends {
		w.table = &lent.Table{}
		w.c.Prepare = func(p *process.Process) {
			if w.m == nil {
				p.Lend(w.table, 1, func() { panic("a caller is at the cell") })
			}
		}
	}
	w.m = w.c.Join("m")
	w.c.Prepare = nil
	w.x = w.c.Join("x")
	return w
}

// do makes the call, on the callers' side if it is one for that.
func (w *twin) do(direct func() bool, core func(), m *cluster.Member, token uint64, res *process.Result) process.Result {
	if m == w.m && direct() {
		w.direct++
	} else {
		core()
		w.c.Settle()
	}
	if res.Status == dlm.Pending {
		if c := m.Answered(token); c != nil {
			res.Status, res.Read, res.Value = c.Status, c.Read, c.Value
		}
	}
	return *res
}

func (w *twin) lock(m *cluster.Member, q process.LockRequest) process.Result {
	var res process.Result
	q.Token = w.c.Token()
	return w.do(func() bool { return callers.Lock(w.table, &q, &res) }, func() { m.Lock(&q, &res) }, m, q.Token, &res)
}

func (w *twin) convert(m *cluster.Member, q process.ConvertRequest) process.Result {
	var res process.Result
	q.Token = w.c.Token()
	return w.do(func() bool { return callers.Convert(w.table, &q, &res) }, func() { m.Convert(&q, &res) }, m, q.Token, &res)
}

func (w *twin) unlock(m *cluster.Member, q process.UnlockRequest) process.Result {
	var res process.Result
	q.Token = w.c.Token()
	return w.do(func() bool { return callers.Unlock(w.table, &q, &res) }, func() { m.Unlock(&q, &res) }, m, q.Token, &res)
}

// TestLentOrNotIsTheSame has two processes do the same, by chance, of which one lends its trees:
// every answer and all that can be asked of locks and resources is the same. Now and then
// another process locks on the same trees, or all locks are listed.
func TestLentOrNotIsTheSame(t *testing.T) {
	direct := 0
	for seed := range uint64(200) {
		direct += compare(t, seed)
	}
	if direct < 25000 {
		t.Errorf("only %d requests were decided on the callers' side", direct)
	}
}

func compare(t *testing.T, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 3))
	both := [2]*twin{newTwin(true), newTwin(false)}
	roots := make([]proto.Name, 1+rng.IntN(6))
	for i := range roots {
		roots[i] = proto.MakeName(fmt.Appendf(nil, "%.*d", 1+rng.IntN(20), i))
	}
	flags := func(of ...dlm.Flags) (f dlm.Flags) {
		for _, x := range of {
			if rng.IntN(3) == 0 {
				f |= x
			}
		}
		return f
	}
	value := func() (v proto.Value) {
		for i := range v {
			v[i] = byte(rng.Uint32())
		}
		return v
	}
	user := func() process.User {
		u := process.User{NotPrm: rng.Uint64(), Hint: rng.Uint64N(3), ValB: rng.Uint64N(2), Timeout: rng.Uint32N(2)}
		if rng.IntN(3) == 0 {
			u.BlkRtn = 7
		}
		return u
	}
	same := func(what string, of func(w *twin) any) {
		if a, b := fmt.Sprintf("%+v", of(both[0])), fmt.Sprintf("%+v", of(both[1])); a != b {
			t.Fatalf("seed %d: %s:\nlent: %s\nnot:  %s", seed, what, a, b)
		}
	}
	for range 1500 {
		pick := rng.Uint32()
		root := roots[rng.IntN(len(roots))]
		switch n := rng.IntN(100); {
		case n < 30 && len(both[0].locks) < len(roots)+1:
			q := process.LockRequest{Name: root, Mode: mode.NL + mode.Mode(rng.IntN(6)), Plain: rng.IntN(9) == 0, User: user(),
				Flags: flags(dlm.SyncSts, dlm.NoDlckWt, dlm.NoDlckBlk, dlm.ValB) | dlm.NoQueue, Async: rng.IntN(20) == 0}
			if rng.IntN(30) == 0 {
				q.Flags |= dlm.TxidLocal
				q.Tx = 5
			}
			same("lock", func(w *twin) any {
				res := w.lock(w.m, q)
				if res.Status <= dlm.SyncValNotValid {
					w.locks = append(w.locks, res.Lock)
				}
				return []any{res.Status, res.Read, res.Value, len(w.m.Take())}
			})
		case n < 32: // another process
			if len(both[0].others) > 0 {
				q := process.UnlockRequest{Flags: flags(dlm.ValB, dlm.InvValBlk), Value: value()}
				same("unlock of the other", func(w *twin) any {
					q.Lock = w.others[0]
					w.others = w.others[1:]
					return []any{w.unlock(w.x, q).Status, len(w.m.Take()), len(w.x.Take())}
				})
				continue
			}
			q := process.LockRequest{Name: root, Mode: mode.NL + mode.Mode(rng.IntN(6)), Flags: flags(dlm.ValB) | dlm.NoQueue}
			same("lock of the other", func(w *twin) any {
				res := w.lock(w.x, q)
				if res.Status <= dlm.SyncValNotValid {
					w.others = append(w.others, res.Lock)
				}
				return []any{res.Status, res.Read, res.Value, len(w.m.Take()), len(w.x.Take())}
			})
		case n < 34:
			same("list", func(w *twin) any { return len(w.m.Locks(nil, 0, nil)) })
		case len(both[0].locks) == 0:
		case n < 60:
			q := process.ConvertRequest{Mode: mode.NL + mode.Mode(rng.IntN(6)), User: user(), Value: value(), Async: rng.IntN(20) == 0,
				Flags: flags(dlm.SyncSts, dlm.NoDlckWt, dlm.NoDlckBlk, dlm.ValB) | dlm.NoQueue}
			if rng.IntN(20) == 0 {
				q.Flags |= dlm.InvValBlk
			}
			if rng.IntN(5) == 0 {
				q.Flags |= dlm.QueCvt
			}
			same("convert", func(w *twin) any {
				q.Lock = w.locks[int(pick)%len(w.locks)]
				res := w.convert(w.m, q)
				return []any{res.Status, res.Read, res.Value, len(w.m.Take()), len(w.x.Take())}
			})
		case n < 85:
			q := process.UnlockRequest{Flags: flags(dlm.ValB), Value: value()}
			if rng.IntN(20) == 0 {
				q.Flags = dlm.InvValBlk
			}
			same("unlock", func(w *twin) any {
				i := int(pick) % len(w.locks)
				q.Lock = w.locks[i]
				w.locks = slices.Delete(w.locks, i, i+1)
				st := w.unlock(w.m, q).Status
				again := w.unlock(w.m, q).Status
				return []any{st, again, len(w.x.Take())}
			})
		case n < 90:
			same("lock info", func(w *twin) any {
				info, st := w.m.LockInfo(w.locks[int(pick)%len(w.locks)])
				return []any{info, st}
			})
		case n < 94:
			same("token", func(w *twin) any {
				_, st := w.m.Token(w.locks[int(pick)%len(w.locks)])
				return st
			})
		default:
			same("resource", func(w *twin) any {
				var res process.Result
				token := w.c.Token()
				w.m.ResourceInfo(proto.Namespace{}, root, 0, token, &res)
				w.c.Settle()
				if res.Status == dlm.Pending {
					if c := w.m.Answered(token); c != nil {
						res.Info, res.Status = c.Info, c.Status
					}
				}
				res.Info.Block.Stamp = proto.Stamp{}
				return res
			})
		}
	}
	same("counts", func(w *twin) any {
		look := w.m.Look(&proto.Inquiry{What: proto.SeeCounts})
		var s proto.Sight
		for look.Next(&s) {
		}
		n := s.Counts[0]
		n.Views = 0
		return n
	})
	return both[0].direct
}
