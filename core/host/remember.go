package host

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// memory is what this host, as coordinator, is having the log remember: persistent resources
// and doubted domains, which must outlive it. One entry is under way at a time, so that they
// come in order.
type memory struct {
	pending []*proto.HostEntry
	asked   int64 // when the first of them was asked for last; 0: never
	since   int64 // when it was asked for first
	noted   int   // how many are in the log
	agreed  []agreed
}

// agreed waits until so many are.
type agreed struct {
	noted int
	done  func()
}

func (h *Host) remember(verb proto.HostVerb, k *proto.Kept) {
	e := &proto.HostEntry{Verb: verb, Epoch: h.epoch, Kept: proto.Kept{Root: k.Root, Path: slices.Clone(k.Path), Domain: k.Domain}}
	if len(h.pending) == 0 && view.Noted(h.state, e) {
		return
	}
	h.pending = append(h.pending, e)
	h.goOnRemembering()
}

// goOnRemembering asks for the next entry when one is in the log. It can be called in the
// middle of itself.
func (h *Host) goOnRemembering() {
	for len(h.pending) > 0 && view.Noted(h.state, h.pending[0]) {
		h.pending = h.pending[1:]
		h.memory.asked = 0
		h.noted++
	}
	for len(h.agreed) > 0 && h.agreed[0].noted <= h.noted {
		done := h.agreed[0].done
		h.agreed = h.agreed[1:]
		done()
	}
	now := h.world.Now()
	if len(h.pending) == 0 || h.memory.asked != 0 && now-h.memory.asked < askAgain {
		return
	}
	if h.memory.asked == 0 {
		h.memory.since = now
	}
	h.memory.asked = now
	h.propose(h.pending[0])
}
