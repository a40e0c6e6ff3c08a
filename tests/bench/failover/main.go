// Command failover measures how long a request on one host waits when something on
// another host is lost that holds the lock: a program, its agent, or the whole host.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/net/node"
	"github.com/godlm/godlm/tests/lab"
)

var (
	runs     = flag.Int("runs", 20, "of each kind")
	lease    = flag.Duration("lease", 5*time.Second, "configured lease")
	suspect  = flag.Duration("suspect", 3*time.Second, "configured suspicion")
	only     = flag.String("only", "", "measure only losses with this in their names")
	hosts    = flag.Int("hosts", 3, "how many")
	loopback = flag.Bool("loopback", false, "hosts on loopback addresses, without network namespaces: a host that is cut off is one whose processes are stopped")
)

func main() {
	flag.Parse()
	lab.Main(func(missing error) int {
		r := &reporter{}
		defer r.end()
		if missing != nil {
			r.Logf("hosts on loopback addresses, since there are no network namespaces: %v", missing)
			*loopback = true
		}
		measure(r)
		return 0
	})
}

// loss is something that is lost.
type loss struct {
	name string
	// leased: the others have to wait until the lost host's lease must be over.
	leased bool
	// where is the host on which it is lost.
	where func(l *lab.Lab) *lab.Host
	// local: who waits is on the same host.
	local bool
	// last: the program is the only one of its host beside the agent.
	last bool
	lose func(l *lab.Lab, h *lab.Host, holder *lab.Player)
}

var losses = []loss{
	{name: "a program; who waits is on its host", where: plain, local: true, lose: killProgram},
	{name: "a program", where: plain, lose: killProgram},
	{name: "a program and its host's agent", where: plain, lose: func(_ *lab.Lab, h *lab.Host, p *lab.Player) { h.KillAgent(); p.Kill() }},
	{name: "a program, and its host's agent leaves", where: plain, lose: func(_ *lab.Lab, h *lab.Host, p *lab.Player) { p.Kill(); h.EndAgent() }},
	{name: "the last program of a host, which leaves", where: plain, last: true, lose: func(_ *lab.Lab, h *lab.Host, p *lab.Player) { p.Kill(); h.EndAgent() }},
	{name: "a host, cut off", leased: true, where: plain, lose: cut},
	{name: "the coordinator's host, cut off", leased: true, where: (*lab.Lab).Coordinator, lose: cut},
	{name: "the leader's host, cut off", leased: true, where: (*lab.Lab).Leader, lose: cut},
}

// plain is a host that neither leads nor coordinates.
func plain(l *lab.Lab) *lab.Host {
	leader, coordinator := l.Leader(), l.Coordinator()
	for _, h := range l.Hosts {
		if h != leader && h != coordinator {
			return h
		}
	}
	l.Fatalf("every host leads or coordinates")
	return nil
}

func killProgram(_ *lab.Lab, _ *lab.Host, p *lab.Player) { p.Kill() }

func cut(l *lab.Lab, h *lab.Host, _ *lab.Player) {
	if l.Wire == nil {
		h.Freeze()
	} else {
		h.Cut()
	}
}

// mend ends the loss.
func mend(l *lab.Lab, h *lab.Host) {
	if l.Wire == nil {
		h.Thaw()
	} else {
		l.Wire.Heal()
	}
	if h.AgentEnded() {
		h.StartAgent()
	}
	l.AwaitMembers(l.Hosts...)
}

func measure(r *reporter) {
	l := lab.New(r, lab.Options{Hosts: *hosts, Lease: *lease, Suspect: *suspect, Loopback: *loopback})
	l.Start()
	how := "network namespaces"
	if *loopback {
		how = "loopback addresses"
	}
	fmt.Printf("From a loss until a waiting EX request is granted: %d hosts in %s, lease %v, suspect %v, gossip probes every %v with a suspicion multiplier of %d, %d runs of each\n",
		*hosts, how, *lease, *suspect, node.DefaultProbe, memberlist.DefaultLANConfig().SuspicionMult, *runs)
	fmt.Printf("  %-40s %9s %9s %9s %9s   %s\n", "what is lost (with the lock)", "min", "median", "p90", "max", "of it lease")
	for i, x := range losses {
		if !strings.Contains(x.name, *only) {
			continue
		}
		var took []time.Duration
		for run := range *runs {
			took = append(took, once(l, &x, fmt.Sprintf("R%d.%d", i, run)))
		}
		slices.Sort(took)
		part := time.Duration(0)
		if x.leased {
			part = *lease + *lease/100 // and what one clock may be faster than another
		}
		fmt.Printf("  %-40s %9s %9s %9s %9s   %9s\n", x.name, ms(took[0]), ms(rank(took, 50)), ms(rank(took, 90)), ms(took[len(took)-1]), ms(part))
	}
}

// rank is the value below which so many per cent are.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)*percent+99)/100-1]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// settle is how long a request is given to get into the queue.
const settle = 100 * time.Millisecond

// once measures one loss.
func once(l *lab.Lab, x *loss, resource string) time.Duration {
	at := x.where(l)
	other := l.Hosts[(at.Index+1)%len(l.Hosts)]
	from := other
	if x.local {
		from = at
	}
	holder, waiter := player(l, at), player(l, from)
	defer waiter.Kill()
	if !x.last {
		bystander := player(l, at)
		defer bystander.Kill() // takes the agent's role if that is lost
	}
	must(l, dlm.Success)(waiter.Lock(0, mode.NL, 0, resource))
	must(l, dlm.Success)(holder.Lock(0, mode.EX, 0, resource))
	if err := waiter.Send("cvt 0 6 4096 0 0"); err != nil {
		l.Fatalf("%v", err)
	}
	time.Sleep(settle)
	if waiter.Answered() {
		l.Fatalf("two hold the lock")
	}
	begin := lab.Now()
	x.lose(l, at, holder)
	a := must(l, dlm.SuccValNotValid)(waiter.Receive())
	mend(l, at)
	holder.Kill()
	return time.Duration(a.End - begin)
}

func player(l *lab.Lab, h *lab.Host) *lab.Player {
	p, err := h.NewPlayer()
	if err != nil {
		l.Fatalf("%v", err)
	}
	must(l, dlm.Success)(p.Join())
	return p
}

func must(l *lab.Lab, want dlm.Status) func(lab.Answer, error) lab.Answer {
	return func(a lab.Answer, err error) lab.Answer {
		if err != nil || a.Status != want {
			l.Fatalf("%v, %v; want status %d", a, err, want)
		}
		return a
	}
}

// reporter is the lab's T of a program that is no test.
type reporter struct {
	cleanups []func()
	failed   bool
}

var _ lab.T = (*reporter)(nil)

func (r *reporter) Helper()                         {}
func (r *reporter) Failed() bool                    { return r.failed }
func (r *reporter) Cleanup(f func())                { r.cleanups = append(r.cleanups, f) }
func (r *reporter) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf ends the program.
func (r *reporter) Fatalf(format string, args ...any) {
	r.failed = true
	r.Logf("failover: "+format, args...)
	r.end()
	os.Exit(1)
}

func (r *reporter) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}
