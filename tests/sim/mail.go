package sim

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// mail is a stream that an agent has opened to another host. It begins with who it is,
// belongs to two incarnations, and outlives every socket: what cannot pass waits.
type mail struct {
	from, to *machine
	src, dst *role // dst: nil until it has introduced itself
	peer     *role // whose introduction the opener had when it sent something
	msgs     []*proto.Msg
	whole    int // messages that were there before the sender's latest step
}

// streamTo finds or opens the stream to a host.
func (r *role) streamTo(m *machine) *mail {
	if q := r.out[m]; q != nil {
		return q
	}
	q := &mail{from: r.m, to: m, src: r}
	intro := &proto.Msg{Kind: proto.KIntro, Host: r.h.ID(), Text: r.m.name, Number: r.h.Nonce(), Data: []byte(r.m.name)}
	if r.h.Fresh() {
		intro.Flags |= proto.IntroFresh
	}
	q.msgs = append(q.msgs, intro)
	r.out[m] = q
	r.s.mails = append(r.s.mails, q)
	return q
}

// readyMail are the streams of which something can arrive.
func (s *sim) readyMail() (out []*mail) {
	for _, q := range s.mails {
		to := q.to.role
		if to == nil || to.h == nil || !to.running() || s.cut[way{q.from, q.to}] {
			continue
		}
		if len(q.msgs) > 0 || q.src != q.from.role {
			out = append(out, q)
		}
	}
	return out
}

// deliverMail hands over one message or more, or the news that the stream has ended.
func (s *sim) deliverMail(q *mail) {
	dst := q.to.role
	if q.src != q.from.role && (len(q.msgs) == 0 || s.one(3)) {
		s.forgetMail(q)
		if q.dst == dst && dst.in[q.src.id] == q {
			delete(dst.in, q.src.id)
			s.note("%s: the agent of %s has ended", q.to, q.from)
			s.agentStep(dst, func() { dst.h.Ended(q.src.id) })
		}
		return
	}
	for n := 1 + s.rng.IntN(4); n > 0 && len(q.msgs) > 0 && q.to.role == dst && dst.running(); n-- {
		m := q.msgs[0]
		if q.dst == nil {
			q.msgs = q.msgs[1:]
			q.whole = max(0, q.whole-1)
			s.introduced(q, m)
			continue
		}
		if q.dst != dst || dst.in[q.src.id] != q {
			s.streamEnded(q)
			return
		}
		q.msgs = q.msgs[1:]
		q.whole = max(0, q.whole-1)
		if s.tracing && m.Kind != proto.KRaft {
			s.note("agent of %s <- agent of %s %s", q.to, q.from, describe(m))
		}
		var err error
		s.agentStep(dst, func() { err = dst.h.Receive(q.src.id, m) })
		if err != nil {
			s.note("%s ends the stream of %s: %v", q.to, q.from, err)
			s.streamEnded(q)
			return
		}
	}
}

func (s *sim) introduced(q *mail, m *proto.Msg) {
	dst := q.to.role
	q.dst = dst
	if old := dst.in[q.src.id]; old != nil && old != q {
		s.streamEnded(old)
	}
	dst.in[q.src.id] = q
	dst.addr[q.src.id] = q.from
	again := dst.met[q.src]
	dst.met[q.src] = true
	s.note("agent of %s meets the agent of %s", q.to, q.from)
	s.agentStep(dst, func() {
		if back := dst.streamTo(q.from); back.peer != q.src {
			// What a predecessor was sent is lost.
			s.forgetMail(back)
			delete(dst.out, q.from)
			dst.streamTo(q.from).peer = q.src
			dst.h.Broken(q.src.id)
		}
		dst.h.Introduced(m.Host, m.Text, m.Flags&proto.IntroFresh != 0)
		if again {
			dst.h.Broken(m.Host) // what it has said on the stream before is lost
		}
	})
}

// streamEnded tells the opener, who opens another one. What was under way is lost.
func (s *sim) streamEnded(q *mail) {
	s.forgetMail(q)
	r := q.src
	if r.m.role != r || r.out[q.to] != q {
		return
	}
	delete(r.out, q.to)
	s.counts[streamsEnded]++
	if !r.running() {
		s.note("%s will see that its stream to %s has ended", q.from, q.to)
		r.ended = append(r.ended, q.to)
		return
	}
	s.agentStep(r, func() { r.reopen(q.to) })
}

// reopen begins anew with another agent of that host.
func (r *role) reopen(m *machine) {
	r.streamTo(m)
	for _, id := range r.hostsAt(m) {
		r.h.Broken(id)
	}
}

func (s *sim) forgetMail(q *mail) {
	s.mails = slices.DeleteFunc(s.mails, func(x *mail) bool { return x == q })
}
