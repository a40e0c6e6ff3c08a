package netns

import (
	"strings"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/tests/lab"
)

// TestJudge: what a history must not be, and how the judge says so. Times are small
// numbers here; "" is a history with which nothing is wrong.
func TestJudge(t *testing.T) {
	// had is a hold that begins at a time, with one use, and that ends with a write.
	had := func(by string, token, at, read, wrote uint64) *held {
		t := int64(at)
		return &held{
			by:    by,
			grant: lab.Answer{Begin: t, End: t + 1, Data: read, Token: lab.Token{Epoch: 1, Number: token}},
			uses:  []lab.Answer{{Begin: t + 2, End: t + 3}},
			wrote: wrote, writing: t + 4, ack: t + 5,
		}
	}
	change := func(x *held, f func(x *held)) *held { f(x); return x }
	unsure := func(x *held) { x.grant.Status = dlm.SuccValNotValid }
	unanswered := func(x *held) { x.ack = 0 }
	silent := func(x *held) { x.writing, x.wrote, x.ack = 0, 0, 0 }
	for _, c := range []struct {
		name, fault string
		holds       []*held
		kept        []span // by whom they are kept; nil: by somebody all the time
	}{
		{"one after the other", "", []*held{had("a", 1, 10, 0, 5), had("b", 2, 20, 5, 6)}, nil},
		{"what nobody has written", "nobody before has written", []*held{had("a", 1, 10, 0, 5), had("b", 2, 20, 9, 6)}, nil},
		{"an old value", "has written 0x5", []*held{had("a", 1, 10, 0, 5), had("b", 2, 20, 0, 6)}, nil},
		{"an old value in doubt", "", []*held{had("a", 1, 10, 0, 5), change(had("b", 2, 20, 0, 6), unsure)}, nil},
		{"a token that goes back", "smaller token", []*held{had("a", 2, 10, 0, 5), had("b", 1, 20, 5, 6)}, nil},
		{"a token given twice", "the same token", []*held{had("a", 1, 10, 0, 5), had("b", 1, 20, 5, 6)}, nil},
		{"use of another's lock", "is told that it has the lock", []*held{
			change(had("a", 1, 10, 0, 5), func(x *held) { x.uses[0].Begin = 30; silent(x) }),
			change(had("b", 2, 20, 0, 6), unsure),
		}, nil},
		{"a write with another's lock", "writes the block", []*held{
			change(had("a", 1, 10, 0, 5), func(x *held) { x.writing, x.ack = 40, 41 }),
			change(had("b", 2, 20, 0, 6), unsure),
		}, nil},
		{"told too late", "has lost the lock", []*held{
			change(had("a", 1, 10, 0, 5), func(x *held) { silent(x); x.lost = 30 }),
			change(had("b", 2, 20, 0, 6), unsure),
		}, nil},
		{"told in time", "", []*held{
			change(had("a", 1, 10, 0, 5), func(x *held) { silent(x); x.lost = 15 }),
			change(had("b", 2, 20, 0, 6), unsure),
		}, nil},
		{"valid after a holder that never wrote", "never wrote", []*held{change(had("a", 1, 10, 0, 5), silent), had("b", 2, 20, 0, 6)}, nil},
		{"a write without answer that was done", "", []*held{change(had("a", 1, 10, 0, 5), unanswered), had("b", 2, 20, 5, 6)}, nil},
		{"valid, and the write without answer was not done", "which is gone, was writing", []*held{change(had("a", 1, 10, 0, 5), unanswered), had("b", 2, 20, 0, 6)}, nil},
		{"in doubt, and then not, without a write", "not linearizable", []*held{
			had("a", 1, 10, 0, 5), change(had("b", 2, 20, 5, 6), func(x *held) { unsure(x); silent(x) }), had("c", 3, 30, 5, 7),
		}, nil},
		{"a new resource, as nobody has kept it", "", []*held{had("a", 1, 10, 0, 5), had("b", 2, 30, 0, 6), had("c", 3, 40, 6, 7)},
			[]span{{5, 20}, {25, 50}}},
		{"an old value, and it was kept", "has written 0x5", []*held{had("a", 1, 10, 0, 5), had("b", 2, 30, 0, 6)}, []span{{5, 22}, {21, 50}}},
		{"a new resource, and a later one keeps nothing", "has written 0x6",
			[]*held{had("a", 1, 10, 0, 5), had("b", 2, 30, 0, 6), had("c", 3, 40, 0, 7)}, []span{{5, 20}, {25, 50}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			for _, x := range c.holds {
				h.add(0, x)
			}
			for _, k := range c.kept {
				h.keep(k.from, k.to)
			}
			faults := strings.Join(h.check(), "\n")
			if c.fault == "" && faults != "" || !strings.Contains(faults, c.fault) {
				t.Errorf("want %q, got:\n%s", c.fault, faults)
			}
		})
	}
}
