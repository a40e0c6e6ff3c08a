package node

import (
	"fmt"
	"os"
	"strings"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// What core knows by numbers, in words.

// Deadlock implements process.World.
func (w *world) Deadlock(c []process.Link) {
	w.clock.after(0, func() { (*Node)(w).logDeadlock(c) }) // not beyond Close
}

// logDeadlock tells of a cycle with the names of programs.
func (n *Node) logDeadlock(c []process.Link) {
	pids := n.pids()
	var steps []string
	for i := range c {
		steps = append(steps, n.describeLink(&c[i], pids))
	}
	n.log.Info("deadlock", "cycle", strings.Join(steps, "; "))
}

func (n *Node) describeLink(l *process.Link, pids map[proto.ProcID]int) string {
	name := fmt.Sprintf("%q", l.Root.Name.Bytes())
	if l.Name.Len > 0 {
		name += fmt.Sprintf(".../%q", l.Name.Bytes())
	}
	has := "has"
	if l.Queued {
		has = "waits earlier for"
	}
	s := fmt.Sprintf("%s waits for %s on %s, on which %s %s %s",
		n.who(l.Waiter, pids), l.Wanted, name, n.who(l.Holder, pids), has, l.Holds)
	if l.Victim {
		s += " (refused)"
	}
	return s
}

// who names an owner of locks for a person.
func (n *Node) who(p proto.ProcID, pids map[proto.ProcID]int) string {
	if n.peers.isGroup(p) {
		return "a group lock container"
	}
	return describe(pids[p])
}

// pids tells which program each process is, as far as the runtime directory shows.
func (n *Node) pids() map[proto.ProcID]int {
	pids := map[proto.ProcID]int{proto.ProcID(n.me.Load()): os.Getpid()}
	defer n.holdForks()()
	states, err := n.dir.Scan(n.file.Name)
	if err != nil {
		n.log.Debug("look who is there", "error", err)
	}
	for _, s := range states {
		pids[s.Proc] = s.Pid
	}
	return pids
}

// Describe tells what a request waits for, one line for each lock.
func (n *Node) Describe(list []proto.Obstacle) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	pids := n.pids()
	for i := range list {
		o := &list[i]
		what := "holds"
		if o.Queued {
			what = "is ahead in the queue for"
		}
		fmt.Fprintf(&b, "%s %s %s", n.who(o.Proc, pids), what, o.Mode)
		switch o.Party.Kind {
		case proto.PartyProcess:
			if p := proto.ProcID(o.Party.ID); p != o.Proc && pids[p] != 0 {
				fmt.Fprintf(&b, ", manipulated last by %s", describe(pids[p]))
			}
		case proto.PartyLocalTx:
			fmt.Fprintf(&b, " for transaction %d", o.Party.ID)
		case proto.PartyGlobalTx:
			fmt.Fprintf(&b, " for global transaction %d", o.Party.ID)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
