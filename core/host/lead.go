package host

import (
	"fmt"
	"slices"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// lead is what only the leader of the log does: it removes silent hosts, waits for their
// leases, and sees to it that the configured voters are those that vote.
func (h *Host) lead(now int64) {
	for i := range h.state.Hosts {
		x := h.state.Hosts[i]
		if x.ID == h.me {
			continue
		}
		silent := h.silence(x.ID, now)
		patience := h.cfg.Suspect
		if h.hinted[x.ID] {
			patience /= 2
		}
		switch {
		case x.Out:
			if now-h.outSince(&x, now) >= h.cfg.Over {
				h.propose(&proto.HostEntry{Verb: proto.HostOver, Host: x})
				return
			}
		case silent > patience:
			x.Why = fmt.Sprintf("silent for %.1f s", float64(silent)/float64(second))
			h.propose(&proto.HostEntry{Verb: proto.HostOut, Host: x})
			return
		}
	}
	h.vote(now)
}

// silence is how long the leader knows that a host has said nothing. Whom it has not heard
// before may have talked to another leader.
func (h *Host) silence(id proto.HostID, now int64) int64 {
	if id == h.me || !h.leads || now-h.ticked > 3*h.cfg.Tick {
		return 0
	}
	return now - max(h.heard[id], h.listens)
}

// vote brings who votes in line with who is to.
func (h *Host) vote(now int64) {
	if now-h.changing < 3*h.cfg.Tick {
		return
	}
	voters, learners := h.log.Voters(), h.log.Learners()
	var add, promote, remove []uint64
	for id, k := range h.known {
		x := uint64(id)
		switch {
		case slices.Contains(h.state.Replaced, id):
		case !slices.Contains(voters, x) && !slices.Contains(learners, x):
			add = append(add, x)
		case slices.Contains(voters, x) && !h.configured(k.name) && h.isUp(id):
			add = append(add, x) // it votes no more
		case slices.Contains(learners, x) && h.configured(k.name) && h.isUp(id) && h.log.CaughtUp(x):
			promote = append(promote, x)
		}
	}
	for _, id := range h.state.Replaced {
		x := uint64(id)
		if slices.Contains(voters, x) || slices.Contains(learners, x) {
			remove = append(remove, x)
		}
	}
	// A new host first learns; then it takes the place of the one it replaces.
	if len(add) > 0 {
		promote, remove = nil, nil
	}
	if len(remove) > 0 && len(promote) == 0 && len(voters)-len(remove) < 1 {
		return
	}
	if len(add)+len(promote)+len(remove) == 0 {
		return
	}
	slices.Sort(add)
	slices.Sort(promote)
	h.changing = now
	if err := h.log.Change(add, promote, remove); err != nil {
		h.note(Debug, "change who votes: %v", err)
	}
	h.settle()
}

func (h *Host) configured(name string) bool { return slices.Contains(h.cfg.Voters, name) }

func (h *Host) isUp(id proto.HostID) bool {
	x := view.Find(h.state, id)
	return x != nil && !x.Out
}
