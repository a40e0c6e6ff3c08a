package host

import (
	"fmt"
	"maps"
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

// vote brings who votes in line with who is to: the hosts that this one's configuration
// names. The others learn, as long as they are there.
func (h *Host) vote(now int64) {
	if now-h.changing < 3*h.cfg.Tick {
		return
	}
	learn, promote, demote, remove := h.newVoters(now)
	switch {
	case len(learn) > 0: // a new host first learns; then it takes the place of the one it replaces
		promote, demote, remove = nil, nil, nil
	case len(promote)+len(demote)+len(remove) == 0:
		h.giveWay(now)
		return
	}
	h.changing = now
	if err := h.log.Change(append(learn, demote...), promote, remove); err != nil {
		h.note(Debug, "change who votes: %v", err)
	}
	h.settle()
}

// newVoters are those who are to become learners, voters and learners again, and whose
// part is over.
func (h *Host) newVoters(now int64) (learn, promote, demote, remove []uint64) {
	voters, learners := h.log.Voters(), h.log.Learners()
	for _, id := range slices.Sorted(maps.Keys(h.known)) {
		x, k := uint64(id), h.known[id]
		switch {
		case slices.Contains(h.state.Replaced, id):
		case !slices.Contains(voters, x) && !slices.Contains(learners, x):
			if k.here {
				learn = append(learn, x)
			}
		case slices.Contains(learners, x) && h.configured(k.name) && h.isUp(id) && h.log.CaughtUp(x):
			promote = append(promote, x)
		}
	}
	after := h.majority(voters, promote)
	for _, x := range voters {
		switch id := proto.HostID(x); {
		case id == h.me:
		case slices.Contains(h.state.Replaced, id):
			if after.without(h.log.CaughtUp(x)) {
				remove = append(remove, x)
			}
		case h.unnamed(id):
			// It votes until another one does in its place.
			if after.all > len(h.cfg.Voters) && after.without(h.log.CaughtUp(x)) {
				demote = append(demote, x)
			}
		}
	}
	for _, x := range learners {
		if id := proto.HostID(x); slices.Contains(h.state.Replaced, id) || h.goneForGood(id, now) {
			remove = append(remove, x)
		}
	}
	return learn, promote, demote, remove
}

// votersAfter are those of a change: how many, and how many of them are there.
type votersAfter struct{ all, here int }

func (h *Host) majority(voters, promote []uint64) votersAfter {
	v := votersAfter{len(voters) + len(promote), len(promote)}
	for _, x := range voters {
		if x == uint64(h.me) || h.log.CaughtUp(x) {
			v.here++
		}
	}
	return v
}

// without takes a voter away, if those that are left and there are a majority.
func (v *votersAfter) without(here bool) bool {
	after := votersAfter{v.all - 1, v.here}
	if here {
		after.here--
	}
	if after.here*2 <= after.all {
		return false
	}
	*v = after
	return true
}

// unnamed reports whether a voter is none that the configuration names. One that was never
// a member, and is not there, may have any name that no other voter has.
func (h *Host) unnamed(id proto.HostID) bool {
	if name := h.nameOf(id); name != hex(id) {
		return !h.configured(name) || slices.ContainsFunc(h.state.Names, func(x proto.Host) bool { return x.Name == name && x.ID != id })
	}
	vacant := slices.Clone(h.cfg.Voters)
	for _, x := range h.log.Voters() {
		name := h.nameOf(proto.HostID(x))
		vacant = slices.DeleteFunc(vacant, func(n string) bool { return n == name })
	}
	return len(vacant) == 0
}

// goneForGood reports whether a learner is no member and was not heard for long. Should
// it come back, it learns again.
func (h *Host) goneForGood(id proto.HostID, now int64) bool {
	k := h.known[id]
	return view.Find(h.state, id) == nil && (k == nil || !k.here) && h.silence(id, now) > gone*h.cfg.Lease
}

// gone is how many leases a learner may be away.
const gone = 10

// giveWay has a host lead that the configuration names, if this one is to vote no more:
// that one sees to it.
func (h *Host) giveWay(now int64) {
	if h.Votes() {
		return
	}
	for _, x := range h.log.Voters() {
		if id := proto.HostID(x); id != h.me && h.configured(h.nameOf(id)) && h.isUp(id) && h.log.CaughtUp(x) {
			h.changing = now
			if err := h.log.Transfer(x); err != nil {
				h.note(Debug, "have another host lead: %v", err)
			}
			h.settle()
			return
		}
	}
}

func (h *Host) configured(name string) bool { return slices.Contains(h.cfg.Voters, name) }

func (h *Host) isUp(id proto.HostID) bool {
	x := view.Find(h.state, id)
	return x != nil && !x.Out
}
