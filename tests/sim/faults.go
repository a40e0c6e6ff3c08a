package sim

// fault lets something go wrong, sometimes. It reports whether it did.
func (s *sim) fault() bool {
	p := &s.plan
	if len(s.hosts) > 1 && s.hostFault() {
		return true
	}
	x := s.rng.IntN(10000)
	switch {
	case x < p.kill:
		return s.killSome()
	case x < p.kill+p.join:
		live := 0
		for _, n := range s.nodes {
			if !n.dead {
				live++
			}
		}
		if live < p.most && len(s.nodes) < 24 {
			s.addNode()
			return true
		}
	case x < p.kill+p.join+p.stop:
		if n := s.anyLive(); n != nil && n.running() {
			s.note("%s is stopped", n)
			s.counts[stops]++
			n.stopped = true
			return true
		}
	case x < p.kill+p.join+3*p.stop:
		if n := s.anyLive(); n != nil && n.stopped {
			s.resumeNode(n)
			return true
		}
	}
	return false
}

func (s *sim) anyLive() *node {
	var live []*node
	for _, n := range s.nodes {
		if !n.dead {
			live = append(live, n)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[s.rng.IntN(len(live))]
}

func (s *sim) resumeNode(n *node) {
	if n.stopped && !n.dead {
		s.note("%s goes on", n)
		n.stopped = false
	}
}

// killSome ends one process or several: at once, or in the middle of the next
// step that it takes.
func (s *sim) killSome() bool {
	n := s.anyLive()
	switch {
	case n != nil && n.home.role != nil && !n.home.role.host.dead && s.percent(s.plan.role):
		n = n.home.role.host
	case s.percent(s.plan.master):
		if m := s.serving[s.rng.IntN(len(s.roots))].n; m != nil && !m.dead {
			n = m
		}
	}
	if n == nil {
		return false
	}
	switch {
	case s.one(6): // several at once
		s.kill(n)
		for s.one(2) {
			if m := s.anyLive(); m != nil {
				s.kill(m)
			}
		}
	case n.running() && s.percent(s.plan.cut):
		n.doomed = true
	default:
		s.kill(n)
	}
	live := 0
	for _, n := range s.nodes {
		if !n.dead {
			live++
		}
	}
	for ; live < 2; live++ {
		s.addNode()
	}
	return true
}

// kill ends n between two steps. What it had not been able to send, because a
// receiver was slow, is lost.
func (s *sim) kill(n *node) {
	if n.dead {
		return
	}
	s.note("%s is killed", n)
	for _, q := range s.queues {
		if q.sentBy(n) && len(q.msgs) > 0 && s.one(5) {
			q.msgs = q.msgs[:s.rng.IntN(len(q.msgs)+1)]
		}
	}
	for _, q := range s.mails {
		if q.src.host == n && len(q.msgs) > 0 && s.one(3) {
			q.msgs = q.msgs[:s.rng.IntN(len(q.msgs)+1)]
		}
	}
	s.bury(n)
}

// cutStep ends n in the middle of the step just made: of its writes to shared
// memory only the first happened, of its messages only the first ones left, and
// none did if writes are missing.
func (s *sim) cutStep(n *node, undo []func()) {
	done := len(undo)
	if s.one(2) {
		done = s.rng.IntN(len(undo) + 1)
	}
	for i := len(undo) - 1; i >= done; i-- {
		undo[i]()
	}
	for _, q := range s.queues {
		if !q.sentBy(n) || len(q.msgs) <= q.whole {
			continue
		}
		keep := q.whole
		if done == len(undo) {
			keep += s.rng.IntN(len(q.msgs) - q.whole + 1)
		}
		q.msgs = q.msgs[:keep]
	}
	for _, q := range s.mails {
		if q.src.host == n && len(q.msgs) > q.whole {
			keep := q.whole
			if done == len(undo) {
				keep += s.rng.IntN(len(q.msgs) - q.whole + 1)
			}
			q.msgs = q.msgs[:keep]
		}
	}
	s.note("%s is killed in this step, after %d of %d writes", n, done, len(undo))
	s.counts[cuts]++
	for _, r := range s.regs {
		r.sure = r.sure[:0] // nobody has seen what it did last
	}
	s.bury(n)
}

// bury is what a death means to everybody else.
func (s *sim) bury(n *node) {
	n.dead, n.doomed = true, false
	s.counts[kills]++
	if r := n.home.role; r != nil && r.host == n && !r.leaving {
		s.counts[agentKills]++
		s.note("   the agent is dead")
		r.end()
		n.home.role = nil
	}
	for i := range s.serving {
		if s.serving[i].n == n {
			s.counts[masterKills]++
			s.serving[i].n = nil
		}
	}
	for _, q := range s.queues {
		if q.to == n {
			q.shut = true
		}
		if q.lane == fromAgent && q.link.n == n || q.lane == toAgent && q.to == n {
			q.shut = true
		}
	}
	s.mourn(n)
	if s.all != nil {
		s.mournProgram(n)
	}
	s.sweep()
}
