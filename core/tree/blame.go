package tree

import (
	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Waiting reports whether l stands in a queue.
func (l *Lock) Waiting() bool { return l.place == InConverting || l.place == InWaiting }

// Obstacles appends what l, queued, waits for: locks whose granted mode is in its
// way, and requests ahead of it, since queues are strict (spec §10). One for each
// party is enough, and a party does not wait for its own requests in a queue: it
// is their holders that it waits for.
func (l *Lock) Obstacles(out []proto.Obstacle) []proto.Obstacle {
	if !l.Waiting() {
		return out
	}
	r := l.Res
	seen := map[proto.Party]bool{}
	add := func(o *Lock, m mode.Mode, queued bool) {
		if seen[o.Party] {
			return
		}
		seen[o.Party] = true
		out = append(out, proto.Obstacle{Proc: o.Owner, Lock: o.ID, Op: o.Op, Party: o.Party, Mode: m, Queued: queued})
	}
	for _, q := range [...]*Lock{r.granted.head, r.converting.head} {
		for o := q; o != nil; o = o.next {
			if o != l && o.Held&dlm.NoDlckBlk == 0 && o.blocks(l.Requested) {
				add(o, o.Granted, false)
			}
		}
	}
	for _, q := range [...]*Lock{r.converting.head, r.waiting.head} {
		for o := q; o != nil; o = o.next {
			if o == l {
				return out
			}
			if o.Party != l.Party {
				add(o, o.Requested, true)
			}
		}
	}
	return out
}
