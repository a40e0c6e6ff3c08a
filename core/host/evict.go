package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/view"
)

// Removal of a host by somebody who knows more than the hosts do.

// eviction is one that has been asked of this host, which leads.
type eviction struct {
	id    proto.HostID
	birth uint32
	over  bool           // its programs have ended: nobody waits for its lease
	step  proto.HostVerb // that was asked for last
	asked int64          // when
	done  func(error)
}

// evictions are those under way: here, and those that the leader has been asked for.
type evictions struct {
	here  []*eviction
	last  uint64 // number of the latest question
	there map[uint64]func(error)
}

// errMoved: whoever led cannot tell any more.
var errMoved = errors.New("another host leads now; try again")

// Evict removes a host, by name or by its number. ended says that all its programs have
// ended for sure: then its locks are free at once, otherwise when its lease must be over.
// That is not believed of a host which can be heard. done is called once.
func (h *Host) Evict(name string, ended bool, done func(error)) {
	if h.cfg.Alone {
		done(errors.New("this host is alone: there is no other host to remove"))
		return
	}
	var leader proto.HostID
	if h.log != nil {
		leader = proto.HostID(h.log.Leader())
	}
	switch leader {
	case 0:
		done(errors.New("no quorum: a majority of the voters is needed to remove a host"))
		return
	case h.me:
		h.evict(name, ended, done)
		return
	}
	h.evictions.last++
	h.there[h.evictions.last] = done
	m := &proto.Msg{Kind: proto.KEvict, Number: h.evictions.last, Text: name}
	if ended {
		m.Flags = proto.EvictEnded
	}
	h.world.Tell(leader, m)
}

func (h *Host) evict(name string, ended bool, done func(error)) {
	at := slices.IndexFunc(h.state.Hosts, func(x proto.Host) bool { return x.Name == name || hex(x.ID) == name })
	if at < 0 {
		done(fmt.Errorf("no host %s in the cluster; there are %s", name, h.names()))
		return
	}
	x := h.state.Hosts[at]
	now := h.world.Now()
	if silent := h.silence(x.ID, now); ended && silent < max(second, h.cfg.Suspect/2) {
		done(h.notEnded(&x, silent))
		return
	}
	h.here = append(h.here, &eviction{id: x.ID, birth: x.Birth, over: ended, done: done})
	h.goOnEvicting(now)
}

// notEnded says why a host is not believed to have ended.
func (h *Host) notEnded(x *proto.Host, silent int64) error {
	if silent == 0 || h.heard[x.ID] < h.listens {
		return fmt.Errorf("host %s cannot be told from one that lives: this one, which leads, has listened for %s only; try again, or remove it with --wait", x.Name, ago(silent))
	}
	return fmt.Errorf("host %s was heard %s ago: it has not ended; end its programs first, or remove it with --wait", x.Name, ago(silent))
}

func (h *Host) names() (s string) {
	for i, x := range h.state.Hosts {
		if i > 0 {
			s += ", "
		}
		s += x.Name
	}
	return s
}

// goOnEvicting asks for the next step of each. It can be called in the middle of itself.
func (h *Host) goOnEvicting(now int64) {
	h.here = slices.DeleteFunc(h.here, func(e *eviction) bool {
		x := view.Find(h.state, e.id)
		if x == nil || x.Birth != e.birth || x.Out && !e.over {
			e.done(nil)
			return true
		}
		return false
	})
	for _, e := range slices.Clone(h.here) {
		x := view.Find(h.state, e.id)
		if x == nil || x.Birth != e.birth {
			continue
		}
		verb := proto.HostOut
		if x.Out {
			verb = proto.HostOver
		}
		if e.step == verb && now-e.asked < askAgain {
			continue
		}
		e.step, e.asked = verb, now
		gone := *x
		if verb == proto.HostOut {
			gone.Why = "removed by godlm evict"
		}
		h.propose(&proto.HostEntry{Verb: verb, Host: gone})
	}
}

// evictFor removes a host for another one, which does not lead.
func (h *Host) evictFor(from proto.HostID, m *proto.Msg) {
	answer := &proto.Msg{Kind: proto.KEvicted, Number: m.Number}
	done := func(err error) {
		if err != nil {
			answer.Text = err.Error()
		}
		h.world.Tell(from, answer)
	}
	if h.log == nil || h.log.Leader() != uint64(h.me) {
		done(errMoved)
		return
	}
	h.evict(m.Text, m.Flags&proto.EvictEnded != 0, done)
}

// evicted is the leader's answer.
func (h *Host) evicted(m *proto.Msg) {
	done := h.there[m.Number]
	if done == nil {
		return
	}
	delete(h.there, m.Number)
	if m.Text != "" {
		done(errors.New(m.Text))
	} else {
		done(nil)
	}
}

// failEvictions: somebody else leads, or nobody.
func (h *Host) failEvictions() {
	here, there := h.here, h.there
	h.here, h.there = nil, map[uint64]func(error){}
	for _, e := range here {
		e.done(errMoved)
	}
	for _, n := range slices.Sorted(maps.Keys(there)) {
		there[n](errMoved)
	}
}
