package netns

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/godlm/godlm/tests/lab"
)

// history is what all programs of a game were told, for each resource.
type history struct {
	sync.Mutex
	holds map[int][]*held
	// kept are the times in which programs had locks on all resources.
	kept []span
	// late is by how much a program may be told late that it has lost its locks, if it was
	// running in that time: nobody promises it a processor.
	late func(from, to int64) time.Duration
}

// span is a time.
type span struct{ from, to int64 }

// held is a time in which a program had a resource in EX, as far as it was told. Times
// are of the one clock.
type held struct {
	by    string
	grant lab.Answer // with what the value block was
	uses  []lab.Answer
	// wrote is what the conversion down was to write, at a time; ack is when that was
	// answered. Without ack nobody knows whether it was done.
	wrote   uint64
	writing int64
	ack     int64
	// rewrites are what it has written before that, and gone on. unread: it has not asked
	// what the block was.
	rewrites []rewrite
	unread   bool
	// released is when it was giving the resource back without writing; 0: it was not.
	released int64
	// unsure: it may have been given back without writing.
	unsure bool
	// fresh: nobody has kept the resource for a time, and this is the first to have it
	// after that: it is a new one.
	fresh *span
	// lost is when the program was told that all is lost, while it was running. 0: it
	// was not told, or had been stopped.
	lost int64
}

// rewrite is a write of a holder that goes on. Without ack nobody knows.
type rewrite struct {
	data    uint64
	at, ack int64
}

// left is what the block must be after a holder that has given it back without a write of
// its own then; false: that cannot be told by itself.
func (x *held) left() (uint64, bool) {
	if n := len(x.rewrites); n > 0 {
		return x.rewrites[n-1].data, x.rewrites[n-1].ack != 0
	}
	return x.grant.Data, !x.unread && x.grant.Valid()
}

func newHistory() *history {
	return &history{holds: map[int][]*held{}, late: func(int64, int64) time.Duration { return 0 }}
}

func (h *history) add(resource int, x *held) {
	h.Lock()
	defer h.Unlock()
	h.holds[resource] = append(h.holds[resource], x)
}

// keep notes that a program had locks on all resources.
func (h *history) keep(from, to int64) {
	h.Lock()
	defer h.Unlock()
	h.kept = append(h.kept, span{from, to})
}

// gaps are the times in which nobody kept the resources.
func (h *history) gaps() (out []span) {
	slices.SortFunc(h.kept, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	until := int64(math.MaxInt64)
	for _, k := range h.kept {
		if k.from > until {
			out = append(out, span{until, k.from})
		}
		if until == math.MaxInt64 || k.to > until {
			until = k.to
		}
	}
	return out
}

// check judges it.
func (h *history) check() (faults []string) {
	h.Lock()
	defer h.Unlock()
	for r, holds := range h.holds {
		say := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("resource %d: ", r)+fmt.Sprintf(format, args...))
		}
		slices.SortFunc(holds, func(a, b *held) int {
			switch {
			case a.grant.Token.Less(b.grant.Token):
				return -1
			case b.grant.Token.Less(a.grant.Token):
				return 1
			}
			return 0
		})
		for _, g := range h.gaps() {
			if i := slices.IndexFunc(holds, func(x *held) bool { return x.grant.Begin > g.from }); i >= 0 {
				holds[i].fresh = &g
			}
		}
		exclusive(holds, h.late, say)
		blocks(holds, say)
		switch linearizable(holds) {
		case porcupine.Illegal:
			say("not linearizable: a block was called valid that was not the last written")
		case porcupine.Unknown:
			say("whether %d holds are linearizable could not be found out in time", len(holds))
		}
	}
	return faults
}

// exclusive: tokens grow as time does, and nobody goes on with what another was granted.
// The holds are in the order of their tokens.
func exclusive(holds []*held, late func(from, to int64) time.Duration, say func(string, ...any)) {
	for i := 1; i < len(holds); i++ {
		a, b := holds[i-1], holds[i]
		if a.grant.Token == b.grant.Token {
			say("%s and %s have the same token: %v and %v", a.by, b.by, a.grant, b.grant)
		}
		if a.grant.Begin > b.grant.End {
			say("%s was granted %v before %s asked and got a smaller token: %v", b.by, b.grant, a.by, a.grant)
		}
		for _, u := range a.uses {
			if u.Begin > b.grant.End {
				say("%s is told that it has the lock, %v after %s was granted it", a.by, time.Duration(u.Begin-b.grant.End), b.by)
			}
		}
		at := func(done bool, at int64, what string) {
			if done && at > b.grant.End {
				say("%s %s %v after %s was granted the lock", a.by, what, time.Duration(at-b.grant.End), b.by)
			}
		}
		at(a.ack != 0, a.writing, "writes the block")
		at(true, a.released, "gives the lock back")
		for _, w := range a.rewrites {
			at(w.ack != 0, w.at, "writes the block")
		}
		if over := time.Duration(a.lost - b.grant.End); over > 0 && over > late(a.lost-int64(lease), a.lost) {
			say("%s is told that it has lost the lock %v after %s was granted it", a.by, over, b.by)
		}
	}
}

// blocks: who is told that the block is valid sees what the holder before has written,
// and that one has come to write. What is called not valid was written once.
func blocks(holds []*held, say func(string, ...any)) {
	written := map[uint64]bool{0: true}
	for i, x := range holds {
		got := x.grant.Data
		if !written[got] && !x.unread {
			say("%s reads %#x, which nobody before has written", x.by, got)
		}
		if x.writing != 0 {
			written[x.wrote] = true
		}
		for _, w := range x.rewrites {
			written[w.data] = true
		}
		if !x.grant.Valid() || x.unread || i == 0 {
			continue
		}
		if x.fresh != nil && got == 0 {
			continue
		}
		switch last := holds[i-1]; {
		case last.ack != 0 && got != last.wrote:
			say("%s reads %#x as valid, and %s has written %#x", x.by, got, last.by, last.wrote)
		case last.released != 0:
			if was, known := last.left(); known && got != was {
				say("%s reads %#x as valid, and %s has left %#x", x.by, got, last.by, was)
			}
		case last.unsure:
		case last.writing == 0:
			say("%s reads %#x as valid, and %s had the lock before and never wrote", x.by, got, last.by)
		case last.ack == 0 && got != last.wrote:
			say("%s reads %#x as valid, and %s, which is gone, was writing %#x", x.by, got, last.by, last.wrote)
		}
	}
}

// step is an operation on a value block.
type step struct {
	write bool
	valid bool
	data  uint64
}

// block is a value block as its readers can know it.
type block struct {
	data  uint64
	doubt bool
}

// register is the model: a read that is called valid gives what was written last, and
// none comes between one that is called not valid and the next write.
var register = porcupine.Model{
	Init: func() any { return block{} },
	Step: func(state, input, _ any) (bool, any) {
		b, s := state.(block), input.(step)
		switch {
		case s.write:
			return true, block{data: s.data}
		case s.valid:
			return !b.doubt && b.data == s.data, b
		default:
			return true, block{doubt: true}
		}
	},
	Equal: func(a, b any) bool { return a == b },
}

func linearizable(holds []*held) porcupine.CheckResult {
	var ops []porcupine.Operation
	for i, x := range holds {
		if x.fresh != nil && x.grant.Valid() && x.grant.Data == 0 {
			ops = append(ops, porcupine.Operation{ClientId: i, Input: step{write: true}, Call: x.fresh.from, Return: x.grant.End})
		}
		if !x.unread {
			ops = append(ops, porcupine.Operation{
				ClientId: i, Input: step{valid: x.grant.Valid(), data: x.grant.Data}, Call: x.grant.Begin, Return: x.grant.End,
			})
		}
		for _, w := range x.rewrites {
			ops = append(ops, porcupine.Operation{
				ClientId: i, Input: step{write: true, data: w.data}, Call: w.at, Return: cmp.Or(w.ack, math.MaxInt64),
			})
		}
		if x.writing != 0 {
			end := cmp.Or(x.ack, math.MaxInt64)
			ops = append(ops, porcupine.Operation{ClientId: i, Input: step{write: true, data: x.wrote}, Call: x.writing, Return: end})
		}
	}
	return porcupine.CheckOperationsTimeout(register, ops, time.Minute)
}
