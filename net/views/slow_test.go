package views

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	pb "google.golang.org/protobuf/proto"
)

// slowDisk has what a host is to keep wait, until the test has it done.
func (h *host) slowDisk() {
	h.g.KeepBy(func(do func() error, done func(error)) { h.jobs = append(h.jobs, job{do, done}) })
}

// Whatever others say, no more than so much waits for the disk; afterwards this voter is
// as before.
func TestSlowDiskFlood(t *testing.T) {
	s, leader := trio(t)
	var slow *host
	for _, h := range s.hosts {
		if h != leader {
			slow = h
		}
	}
	slow.slowDisk()
	for term := slow.term(); len(slow.jobs) <= maxUnsaved/jobBytes; {
		was := len(slow.jobs)
		term++
		b, err := pb.Marshal(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: &leader.id, To: &slow.id, Term: &term})
		if err != nil {
			t.Fatal(err)
		}
		if err := slow.g.Receive(leader.id, b); err != nil {
			t.Fatal(err)
		}
		if len(slow.jobs) == was {
			break // it does not listen any more
		}
	}
	if n := len(slow.jobs); n < 1000 || n > maxUnsaved/jobBytes+1 {
		t.Errorf("%d jobs wait for the disk", n)
	}
	for len(slow.jobs) > 0 {
		s.disk(slow)
	}
	slow.g.KeepBy(atOnce)
	if slow.g.unsaved != 0 {
		t.Errorf("%d bytes wait for the disk, which has all", slow.g.unsaved)
	}
	s.pass(20*electionTicks, func(uint64, uint64) bool { return true })
	for _, h := range s.hosts {
		if l := h.g.Leader(); l == 0 || l != slow.g.Leader() {
			t.Errorf("%x follows %x, %x follows %x", h.id, l, slow.id, slow.g.Leader())
		}
	}
}

// A disk that takes its time keeps back what needs it, and no more: nobody loses the
// leader, others decide and are confirmed, and so is who waits for its disk but for what
// was decided meanwhile.
func TestSlowDisk(t *testing.T) {
	for _, who := range []string{"the leader", "another", "all"} {
		t.Run(who, func(t *testing.T) {
			s, leader := trio(t)
			all := func(uint64, uint64) bool { return true }
			term := leader.term()
			var slow []*host
			for _, h := range s.hosts {
				if who == "all" || (h == leader) == (who == "the leader") && len(slow) == 0 {
					slow = append(slow, h)
					h.slowDisk()
				}
			}
			ask := func() {
				for _, h := range s.hosts {
					s.tokens++
					h.asked[s.tokens] = s.last
					if err := h.g.Confirm(s.tokens); err != nil {
						t.Fatal(err)
					}
				}
				s.pass(1, all)
			}
			was := s.decided
			if err := leader.g.Propose([]byte("x")); err != nil {
				t.Fatal(err)
			}
			s.pass(20*electionTicks, all)
			if len(slow[0].jobs) == 0 || (s.decided > was) != (who != "all") {
				t.Fatalf("%d jobs wait for the disk, %d entries are decided", len(slow[0].jobs), s.decided-was)
			}
			ask()
			for _, h := range s.hosts {
				if waits := who != "all" && h == slow[0]; (h.answers == 0) != waits {
					t.Errorf("%x, leader %x, slow %x: %d confirmations", h.id, leader.id, slow[0].id, h.answers)
				}
			}
			for range 10 {
				for _, h := range slow {
					for len(h.jobs) > 0 {
						s.disk(h)
					}
				}
				s.pass(2, all)
			}
			for _, h := range s.hosts {
				if len(h.asked) > 0 || h.applied[s.last] != "x" || h.term() != term || h.g.Leader() != leader.id {
					t.Errorf("%x: %d questions without an answer, applied %v; %x leads in term %d, and %x in %d before",
						h.id, len(h.asked), h.applied, h.g.Leader(), h.term(), leader.id, term)
				}
			}
		})
	}
}
