package netns

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

// judge has the checker of histories look at all that the programs of a trial were told,
// for each resource.
func (x *trial) judge() {
	all := recorded(x.lab.Hosts)
	if len(all) == 0 && x.fatal == "" {
		x.Error("nobody has locked anything")
	}
	for name, h := range all {
		for _, f := range h.check() {
			x.Error("resource ", name, ": ", f)
		}
	}
}

// recorded are the histories of the resources that players have used.
func recorded(hosts []*lab.Host) map[string]*history {
	all := map[string]*history{}
	for _, host := range hosts {
		for i, p := range host.Players() {
			calls, ended := p.Calls()
			read(all, fmt.Sprint(host.Name, i), calls, cmp.Or(p.Lost.Load(), ended, lab.Now()))
		}
	}
	return all
}

// read takes all calls of one player, whose locks have ended at a time, whatever it was told.
func read(all map[string]*history, by string, calls []lab.Call, over int64) {
	r := reading{all: all, by: by, slots: map[string]*slot{}}
	for _, c := range calls {
		r.call(c)
	}
	for _, s := range r.slots {
		r.close(s, over)
	}
}

// reading is one player's calls, one after the other.
type reading struct {
	all   map[string]*history
	by    string
	slots map[string]*slot
}

// slot is a lock of the player.
type slot struct {
	name string
	from int64
	has  *held // nil: not in PW or EX
}

// call takes a call: "lock SLOT MODE FLAGS VERSION DATA NAME", "cvt SLOT MODE FLAGS VERSION
// DATA", "unlock SLOT FLAGS VERSION DATA" or "use SLOT".
func (r *reading) call(c lab.Call) {
	w := strings.Fields(c.Line)
	switch granted := c.Answered && c.Answer.Granted(); w[0] {
	case "lock":
		if granted {
			s := &slot{name: w[6], from: c.Answer.End}
			r.slots[w[1]] = s
			r.begin(s, w[2], w[3], c)
		}
	case "cvt":
		s := r.slots[w[1]]
		switch {
		case s == nil:
		case s.has == nil && granted:
			r.begin(s, w[2], w[3], c)
		case s.has != nil && !writes(w[2]):
			r.release(s, w[3:], c)
		case s.has != nil && flags(w[3])&dlm.ValB != 0:
			s.has.rewrites = append(s.has.rewrites, rewrite{data: value(w[4], w[5]), at: c.Answer.Begin, ack: c.Answer.End})
			if y := &s.has.rewrites[len(s.has.rewrites)-1]; !granted {
				y.at, y.ack = c.Sent, 0
			}
		}
	case "unlock":
		if s := r.slots[w[1]]; s != nil {
			if s.has != nil {
				r.release(s, w[2:], c)
			}
			if granted {
				r.close(s, c.Answer.Begin)
				delete(r.slots, w[1])
			}
		}
	case "use":
		if s := r.slots[w[1]]; s != nil && s.has != nil && granted {
			s.has.uses = append(s.has.uses, c.Answer)
		}
	}
}

// begin notes that the lock is granted in PW or EX, if it is.
func (r *reading) begin(s *slot, to, f string, c lab.Call) {
	if !writes(to) {
		return
	}
	s.has = &held{by: r.by, grant: c.Answer, unread: flags(f)&dlm.ValB == 0}
	s.has.grant.Data = c.Answer.Version<<32 | c.Answer.Data
}

// release notes that it is given back, with a write or without one: what is left of the
// call are flags, version and data.
func (r *reading) release(s *slot, w []string, c lab.Call) {
	x := s.has
	done := c.Answered && c.Answer.Granted()
	switch f := flags(w[0]); {
	case f&dlm.ValB != 0 && done:
		x.wrote, x.writing, x.ack = value(w[1], w[2]), c.Answer.Begin, c.Answer.End
	case f&dlm.ValB != 0:
		x.wrote, x.writing = value(w[1], w[2]), c.Sent
	case done:
		x.released = c.Answer.Begin
	default:
		x.unsure = true
	}
	r.end(s)
}

// end ends a time in PW or EX.
func (r *reading) end(s *slot) {
	r.history(s.name).add(0, s.has)
	s.has = nil
}

// close ends a lock.
func (r *reading) close(s *slot, at int64) {
	if s.has != nil {
		r.end(s)
	}
	r.history(s.name).keep(s.from, max(at, s.from))
}

func (r *reading) history(name string) *history {
	if r.all[name] == nil {
		r.all[name] = newHistory()
	}
	return r.all[name]
}

func writes(m string) bool { return mode.Writer(mode.Mode(number(m))) }

func flags(s string) dlm.Flags { return dlm.Flags(number(s)) }

// value is a value block as one number.
func value(version, data string) uint64 { return number(version)<<32 | number(data) }

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err) // the player would not have understood it
	}
	return n
}
