package tree

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Waiting reports whether l stands in a queue.
func (l *Lock) Waiting() bool { return l.place == InConverting || l.place == InWaiting }

// Obstacles is what l, queued, waits for: locks whose granted mode is in its way,
// and requests ahead of it, since queues are strict (spec §10). In the search for
// deadlocks one for each party is enough, DLM_NODLCKBLK counts, and a party does
// not wait for its own requests in a queue: it is their holders that it waits for.
// With all there is no exception.
func (l *Lock) Obstacles(all bool) (out []proto.Obstacle) {
	if !l.Waiting() {
		return nil
	}
	r := l.Res
	seen := map[proto.Party]bool{}
	add := func(o *Lock, m mode.Mode, queued bool) {
		if seen[o.Party] && !all {
			return
		}
		seen[o.Party] = true
		out = append(out, proto.Obstacle{Proc: o.Owner, Lock: o.ID, Op: o.Op, Party: o.Party, Mode: m, Queued: queued})
	}
	for _, q := range [...]*Lock{r.granted.head, r.converting.head} {
		for o := q; o != nil; o = o.next {
			if o != l && (all || o.Held&dlm.NoDlckBlk == 0) && o.blocks(l.Requested) {
				add(o, o.Granted, false)
			}
		}
	}
	for _, q := range [...]*Lock{r.converting.head, r.waiting.head} {
		for o := q; o != nil; o = o.next {
			if o == l {
				return out
			}
			if all || o.Party != l.Party {
				add(o, o.Requested, true)
			}
		}
	}
	return out
}
