package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// waiter is a request that waits, in `godlm waiters` and its JSON.
type waiter struct {
	Owner     *who      `json:"owner"`
	Party     string    `json:"party,omitempty"`
	Lock      string    `json:"lock"`
	Resource  string    `json:"resource"`
	Path      []string  `json:"path"`
	Namespace string    `json:"namespace"`
	Granted   string    `json:"granted,omitempty"` // mode
	Wanted    string    `json:"wanted"`            // mode; "unlock"
	Since     string    `json:"since,omitempty"`   // RFC 3339
	Age       float64   `json:"age_seconds"`       // -1: not known
	State     string    `json:"state"`             // see waitStates
	Master    *who      `json:"master,omitempty"`
	For       []blocker `json:"waits_for"`
	age       time.Duration
	key       waitKey
}

// blocker is what a request waits for.
type blocker struct {
	Owner  *who   `json:"owner"`
	Party  string `json:"party,omitempty"`
	Lock   string `json:"lock"`
	Mode   string `json:"mode"`   // that it holds, or wants
	Queued bool   `json:"queued"` // it waits, too, and is ahead in the queue
}

type waitKey struct {
	owner proto.ProcID
	lock  proto.LockID
}

// waitStates are why a request waits, by proto.WaitState.
var waitStates = map[proto.WaitState]string{
	proto.WaitQueued: "queued", proto.WaitSent: "unanswered", proto.WaitLookup: "looked up", proto.WaitRebuild: "rebuilt",
}

// waiters finds out who waits for whom: their masters know for whom, they themselves since
// when.
func (p *picture) waiters() []waiter {
	list := []waiter{}
	at := map[waitKey]int{}
	for i := range p.Trees {
		t := &p.Trees[i]
		for j := range t.Resources {
			r := &t.Resources[j]
			for k := range r.Seen {
				l := &r.Seen[k]
				if l.Requested == mode.None {
					continue
				}
				w := waiter{
					Owner: p.who(l.Owner), Party: partyName(l.Party, l.Owner), Lock: lockName(l.Lock),
					Resource: resourceName(&t.Root, r.Path), Path: pathOf(&t.Root, r.Path), Namespace: spaceName(t.Root.Space),
					Wanted: l.Requested.String(), Age: -1, State: waitStates[proto.WaitQueued], Master: t.Master,
					For: p.blockers(r, k), key: waitKey{l.Owner, l.Lock}, age: -1,
				}
				if l.Granted != mode.None {
					w.Granted = l.Granted.String()
				}
				at[w.key] = len(list)
				list = append(list, w)
			}
		}
	}
	for i := range p.Waits {
		a := &p.Waits[i]
		key := waitKey{a.Owner.id, a.Lock}
		n, known := at[key]
		if !known && p.underWay(a) {
			continue
		}
		if !known {
			n = len(list)
			list = append(list, p.lone(a))
		}
		w := &list[n]
		if a.Age >= 0 {
			w.age = time.Duration(a.Age)
			w.Age, w.Since = w.age.Seconds(), p.At.Add(-w.age).Format(time.RFC3339Nano)
		}
	}
	return list
}

// atOnce is how long an answer may take that nobody would call waiting for.
const atOnce = 100 * time.Millisecond

// underWay reports whether a request without an answer is no more than that.
func (p *picture) underWay(a *ask) bool {
	if a.State != proto.WaitSent && a.State != proto.WaitLookup {
		return false
	}
	if a.Age >= 0 {
		return time.Duration(a.Age) < atOnce
	}
	for i := range p.Silent { // nobody knows since when; its master may not answer at all
		if a.Master != 0 && p.Silent[i].Process == p.who(a.Master).Process {
			return false
		}
	}
	return true
}

// lone is a request of which no master has told.
func (p *picture) lone(a *ask) waiter {
	w := waiter{
		Owner: a.Owner, Party: partyName(a.Party, a.Owner.id), Lock: lockName(a.Lock),
		Resource: resourceName(&a.Root, a.Path), Path: pathOf(&a.Root, a.Path), Namespace: spaceName(a.Root.Space),
		Wanted: a.Wanted.String(), Age: -1, State: waitStates[a.State], For: []blocker{}, key: waitKey{a.Owner.id, a.Lock}, age: -1,
	}
	if a.Granted != mode.None {
		w.Granted = a.Granted.String()
	}
	if a.Kind == proto.PendingUnlock {
		w.Wanted = "unlock"
	}
	if a.Master != 0 {
		w.Master = p.who(a.Master)
	}
	return w
}

// blockers are the locks in whose way a request is; if there are none, the one ahead of it.
func (p *picture) blockers(r *proto.SeenResource, at int) []blocker {
	l := &r.Seen[at]
	out := []blocker{}
	add := func(x *proto.SeenLock, m mode.Mode, queued bool) {
		out = append(out, blocker{p.who(x.Owner), partyName(x.Party, x.Owner), lockName(x.Lock), m.String(), queued})
	}
	for i := range r.Seen {
		if x := &r.Seen[i]; i != at && x.Granted != mode.None && !mode.Compatible(x.Granted, l.Requested) {
			add(x, x.Granted, false)
		}
	}
	if len(out) == 0 && at > 0 && r.Seen[at-1].Requested != mode.None {
		x := &r.Seen[at-1]
		add(x, x.Requested, true)
	}
	return out
}

// deadlocks are the lines about those found lately.
func (p *picture) deadlocks() []eventLine {
	out := []eventLine{}
	for i := range p.Events {
		if e := &p.Events[i]; strings.HasPrefix(e.Text, "deadlock ") {
			out = append(out, p.eventLine(e))
		}
	}
	return out
}

// eventLine is something that was worth a line in a log.
type eventLine struct {
	At    string `json:"at"` // RFC 3339
	Who   *who   `json:"told_by"`
	Level string `json:"level"`
	Text  string `json:"text"`
	at    time.Time
}

func (p *picture) eventLine(e *event) eventLine {
	at := time.Unix(0, e.At)
	level := "info"
	switch {
	case e.Level >= 8:
		level = "error"
	case e.Level >= 4:
		level = "warn"
	}
	return eventLine{at.Format(time.RFC3339Nano), e.Who, level, e.Text, at}
}

func newWaiters(o *options) *cobra.Command {
	var f inquiryFlags
	var dot, watch bool
	var every time.Duration
	c := o.jsonFlag(&cobra.Command{
		Use:   "waiters",
		Short: "Tell who waits for whom, and since when",
		Long: "Tell which requests wait, since when, for whom, on which program and host, and which deadlocks were found\n" +
			"lately. The exit status is 3 if somebody waits, 5 if nobody was seen to wait and not everybody has answered.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dot && (o.json || watch) {
				return fmt.Errorf("--dot goes with neither --json nor --watch")
			}
			from, err := o.source()
			if err != nil {
				return err
			}
			q, err := f.inquiry(from, proto.SeeLocks|proto.SeeWaits|proto.SeeEvents)
			if err != nil {
				return asked(err)
			}
			q.Waiting = true
			owners := q.Owners
			q.Owners = nil // who they wait for is to be seen, too
			show := func() (err error) {
				p, err := from.look(q)
				if err != nil {
					return &exit{exitError, err}
				}
				list := p.waiters()
				if len(owners) > 0 {
					list = ofOwners(list, owners)
				}
				switch out := c.OutOrStdout(); {
				case dot:
					err = printDot(out, list)
				case o.json:
					err = printJSON(out, struct {
						Waiters   []waiter    `json:"waiters"`
						Deadlocks []eventLine `json:"deadlocks"`
						partial
					}{list, p.deadlocks(), p.partial()})
				default:
					err = p.printWaiters(out, list)
				}
				if err == nil && len(list) > 0 {
					_ = p.verdict(c.ErrOrStderr(), nil, o.json || dot) // that somebody waits says more
					return &exit{status: exitStall}
				}
				return p.verdict(c.ErrOrStderr(), err, o.json || dot)
			}
			if watch {
				return repeat(c, every, !o.json, show)
			}
			return show()
		},
	})
	f.add(c)
	c.Flags().BoolVar(&dot, "dot", false, "print a graph for dot(1)")
	c.Flags().BoolVar(&watch, "watch", false, "show it again and again, until SIGINT")
	c.Flags().DurationVar(&every, "every", time.Second, "with --watch: the time between")
	return c
}

func ofOwners(list []waiter, owners []proto.ProcID) []waiter {
	out := []waiter{}
	for _, w := range list {
		for _, id := range owners {
			if w.key.owner == id {
				out = append(out, w)
			}
		}
	}
	return out
}

// repeat shows something until a signal comes. Each time has a verdict; that is not the end.
func repeat(c *cobra.Command, every time.Duration, clear bool, show func() error) error {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer cancel()
	for {
		if clear {
			if err := printf(c.OutOrStdout(), "\x1b[H\x1b[2J"); err != nil {
				return err
			}
		}
		if err := show(); err != nil && err.Error() != "" {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(every, 100*time.Millisecond)):
		}
	}
}

func (p *picture) printWaiters(w io.Writer, list []waiter) error {
	if len(list) == 0 {
		if err := printf(w, "nobody waits\n"); err != nil {
			return err
		}
	}
	for i := range list {
		if err := printf(w, "%s\n", list[i].sentence()); err != nil {
			return err
		}
	}
	for _, d := range p.deadlocks() {
		if err := printf(w, "%s: %s\n", d.at.Format(time.TimeOnly), printable(d.Text)); err != nil {
			return err
		}
	}
	return nil
}

// sentence tells of a waiter in words.
func (w *waiter) sentence() string {
	var b strings.Builder
	b.WriteString(w.Owner.String())
	if w.Party != "" {
		b.WriteString(", " + w.Party + ",")
	}
	b.WriteString(" waits")
	if w.age >= 0 {
		fmt.Fprintf(&b, " %s", span(w.age))
	}
	fmt.Fprintf(&b, " for %s on %s", w.Wanted, w.Resource)
	if w.Granted != "" {
		fmt.Fprintf(&b, ", on which it has %s", w.Granted)
	}
	switch w.State {
	case "queued":
		for i, x := range w.For {
			sep := ": "
			if i > 0 {
				sep = "; "
			}
			verb := "holds"
			if x.Queued {
				verb = "is ahead and wants"
			}
			fmt.Fprintf(&b, "%s%s %s %s", sep, x.Owner, verb, x.Mode)
		}
	case "unanswered":
		fmt.Fprintf(&b, ": %s decides, and has not answered", w.Master)
	case "looked up":
		b.WriteString(": the directory has yet to say who decides")
	case "rebuilt":
		b.WriteString(": the resource is put together again after the death of who decided")
	}
	return b.String()
}

// span is a duration for people.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// graph is the waits-for graph: who is in it, and who waits for whom.
type graph struct {
	nodes []*who
	edges []edge
}

type edge struct {
	from, to int
	text     string
	queued   bool
}

func graphOf(list []waiter) *graph {
	g := &graph{}
	at := map[*who]int{}
	node := func(w *who) int {
		n, known := at[w]
		if !known {
			n = len(g.nodes)
			at[w] = n
			g.nodes = append(g.nodes, w)
		}
		return n
	}
	for i := range list {
		w := &list[i]
		from := node(w.Owner)
		text := w.Wanted + " " + w.Resource
		if w.age >= 0 {
			text += " " + span(w.age)
		}
		for _, x := range w.For {
			g.edges = append(g.edges, edge{from, node(x.Owner), text, x.Queued})
		}
		if len(w.For) == 0 && w.Master != nil && w.State == "unanswered" {
			g.edges = append(g.edges, edge{from, node(w.Master), text + ", no answer", true})
		}
	}
	return g
}

// printDot draws the graph in the language of dot(1).
func printDot(w io.Writer, list []waiter) error {
	g := graphOf(list)
	if err := printf(w, "digraph waits {\n\tnode [shape=box];\n"); err != nil {
		return err
	}
	for i, x := range g.nodes {
		if err := printf(w, "\tn%d [label=%s];\n", i, dotText(x.String())); err != nil {
			return err
		}
	}
	for _, e := range g.edges {
		style := ""
		if e.queued {
			style = ", style=dashed"
		}
		if err := printf(w, "\tn%d -> n%d [label=%s%s];\n", e.from, e.to, dotText(e.text), style); err != nil {
			return err
		}
	}
	return printf(w, "}\n")
}

// dotText quotes for dot, where a backslash begins an escape.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
