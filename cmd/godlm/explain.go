package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/core/proto"
)

// explained is a resource in `godlm explain`, and its JSON.
type explained struct {
	Resource  string     `json:"resource"`
	Path      []string   `json:"path"`
	Namespace string     `json:"namespace"`
	Master    *who       `json:"master"`
	Since     string     `json:"master_since"` // RFC 3339
	Why       string     `json:"master_why"`   // "first", "rebuilt", "moved", "agent"
	From      *who       `json:"master_before,omitempty"`
	Serving   bool       `json:"serving"`
	Valid     bool       `json:"valid"`
	Value     string     `json:"value"` // hexadecimal
	Stamp     string     `json:"stamp"`
	Cause     *cause     `json:"cause,omitempty"`
	Writer    *who       `json:"writer,omitempty"` // who holds it in PW or EX
	Domain    string     `json:"recovery_domain,omitempty"`
	Doubted   bool       `json:"recovery_domain_invalid,omitempty"`
	Locks     []lockLine `json:"locks"`
	Waiters   []waiter   `json:"waiters"`
	tree      *tree
	res       *proto.SeenResource
}

// cause is why a value block is not valid.
type cause struct {
	Kind string `json:"kind"`
	Who  *who   `json:"who,omitempty"`
	At   string `json:"at,omitempty"` // RFC 3339
	Text string `json:"text"`
}

// causeKinds are the names of causes, also as labels of metrics.
var causeKinds = [proto.Causes]string{
	proto.CauseNone: "none", proto.CauseEarlier: "earlier", proto.CauseHolderDied: "holder_died", proto.CauseHostLost: "host_lost",
	proto.CauseInvValBlk: "invalidated", proto.CauseDomain: "recovery_domain", proto.CauseNoCopy: "no_copy",
}

var originNames = [proto.Origins]string{
	proto.OriginFirst: "first", proto.OriginRebuilt: "rebuilt", proto.OriginMoved: "moved", proto.OriginAgent: "agent",
}

// causeOf puts a cause into words. The dead are not among the members any more: what is
// known of them came with the cause.
func (p *picture) causeOf(c *proto.Cause) *cause {
	if c.Kind == proto.CauseNone {
		return nil
	}
	n := &cause{Kind: causeKinds[c.Kind]}
	name := "whoever"
	if c.Who != 0 {
		w := *p.who(c.Who)
		if c.Pid != 0 {
			w.Pid, w.Program = c.Pid, c.Program
		}
		if c.Host != "" {
			w.Host = c.Host
		}
		n.Who, name = &w, w.String()
	}
	switch c.Kind {
	case proto.CauseHolderDied:
		n.Text = name + " died holding it in PW or EX"
		if c.Lost {
			n.Text = name + " held it in PW or EX and was lost with its host"
		}
	case proto.CauseHostLost:
		n.Text = name + " decided about it and was lost with its host, and no lock that is left shows that nobody has written since"
	case proto.CauseNoCopy:
		n.Text = name + " decided about it and was lost with its host, and nobody who is left had a copy"
	case proto.CauseInvValBlk:
		n.Text = name + " said so (DLM_INVVALBLK)"
	case proto.CauseDomain:
		n.Text = "its recovery domain is invalid"
	default:
		n.Text = "it was not valid before it was rebuilt, and who knew why has ended"
	}
	if c.At != 0 {
		n.At = time.Unix(int64(c.At), 0).Format(time.RFC3339)
	}
	return n
}

func newExplain(o *options) *cobra.Command {
	var f inquiryFlags
	c := o.jsonFlag(&cobra.Command{
		Use:   "explain NAME [SUB...]",
		Short: "Tell all about a resource: who decides and why, why its value is not valid, who waits",
		Long: "Tell all about a root resource and what is below it, or about the sub-resource SUB below it: who decides\n" +
			"(its master), since when and why; whether its value block is valid, and if not, who has died or said so and\n" +
			"when; who holds it, and who waits for whom. The exit status is 6 if no program uses the resource.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.tree = args[0]
			var subs []proto.Name
			for _, s := range args[1:] {
				n, err := readName(s, f.escapes)
				if err != nil {
					return err
				}
				subs = append(subs, n)
			}
			from, err := o.source()
			if err != nil {
				return err
			}
			q, err := f.inquiry(from, proto.SeeLocks|proto.SeeWaits)
			if err != nil {
				return asked(err)
			}
			p, err := from.look(q)
			if err != nil {
				return &exit{exitError, err}
			}
			list := p.explain(subs)
			if o.json {
				err = printJSON(c.OutOrStdout(), struct {
					Resources []explained `json:"resources"`
					partial
				}{list, p.partial()})
			} else {
				err = p.printExplained(c.OutOrStdout(), list)
			}
			if err = p.verdict(c.ErrOrStderr(), err, o.json); err == nil && len(list) == 0 {
				err = &exit{exitAbsent, fmt.Errorf("no program uses %q", args[0])}
				if o.json {
					err = &exit{status: exitAbsent}
				}
			}
			return err
		},
	})
	f.addLimits(c)
	return c
}

// explain describes the resources in the picture: all, or those below which subs lead to.
func (p *picture) explain(subs []proto.Name) []explained {
	list := []explained{}
	waiters := p.waiters()
	for i := range p.Trees {
		t := &p.Trees[i]
		for j := range t.Resources {
			r := &t.Resources[j]
			if len(r.Path) < len(subs) || !slices.Equal(r.Path[:len(subs)], subs) {
				continue
			}
			n := explained{
				Resource: resourceName(&t.Root, r.Path), Path: pathOf(&t.Root, r.Path), Namespace: spaceName(t.Root.Space),
				Master: t.Master, Since: time.Unix(int64(t.Since), 0).Format(time.RFC3339), Why: originNames[t.Why], Serving: t.Serving,
				Valid: r.Block.Valid, Value: hex.EncodeToString(r.Block.Value[:]), Stamp: fmt.Sprintf("%#x.%d", r.Block.Stamp.Assign, r.Block.Stamp.Seq),
				Cause: p.causeOf(&r.Cause), Doubted: r.Doubted, Locks: []lockLine{}, Waiters: []waiter{}, tree: t, res: r,
			}
			if t.From != 0 {
				n.From = p.dead(t.From, &t.Before)
			}
			if r.Writer != 0 {
				n.Writer = p.who(r.Writer)
			}
			if r.Persistent {
				n.Domain = hex.EncodeToString(r.Domain[:])
			}
			for k := range r.Seen {
				n.Locks = append(n.Locks, p.lockLine(t, r, &r.Seen[k]))
			}
			for _, w := range waiters {
				if w.Resource == n.Resource && w.Namespace == n.Namespace {
					n.Waiters = append(n.Waiters, w)
				}
			}
			list = append(list, n)
		}
	}
	slices.SortStableFunc(list, func(x, y explained) int {
		return strings.Compare(x.Namespace+"\x00"+x.Resource, y.Namespace+"\x00"+y.Resource)
	})
	return list
}

// dead is a process, of which there may be nothing left but an obituary.
func (p *picture) dead(id proto.ProcID, o *proto.Obituary) *who {
	w := *p.who(id)
	if w.Pid == 0 && o.Pid != 0 {
		w.Pid, w.Program = o.Pid, o.Program
	}
	if w.Host == "" {
		w.Host = o.Host
	}
	return &w
}

// origin is how the master came to be that, in words.
func (n *explained) origin() string {
	switch n.tree.Why {
	case proto.OriginRebuilt:
		if n.From == nil {
			return "it was rebuilt after the death of who decided before"
		}
		return fmt.Sprintf("it was rebuilt after the death of %s", n.From)
	case proto.OriginMoved:
		return fmt.Sprintf("it was given by %s, since it was used here most", n.From)
	case proto.OriginAgent:
		return "the agent takes it for others"
	}
	return "it was the first to ask"
}

func (p *picture) printExplained(w io.Writer, list []explained) error {
	lone := p.loneWaiters(list)
	for i := range list {
		if err := p.printOne(w, &list[i]); err != nil {
			return err
		}
	}
	for i := range lone {
		if err := printf(w, "%s\n", lone[i].sentence()); err != nil {
			return err
		}
	}
	return nil
}

// loneWaiters are requests of which no master has told.
func (p *picture) loneWaiters(list []explained) (out []waiter) {
	told := map[waitKey]bool{}
	for i := range list {
		for _, w := range list[i].Waiters {
			told[w.key] = true
		}
	}
	for _, w := range p.waiters() {
		if !told[w.key] {
			out = append(out, w)
		}
	}
	return out
}

func (p *picture) printOne(w io.Writer, n *explained) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (namespace: %s)\n", n.Resource, n.Namespace)
	since := time.Unix(int64(n.tree.Since), 0)
	fmt.Fprintf(&b, "  decided by %s since %s: %s\n", n.Master, since.Format(time.DateTime), n.origin())
	if !n.Serving {
		b.WriteString("  it is being put together again; who asks waits\n")
	}
	if n.Valid {
		b.WriteString("  its value is valid\n")
	} else {
		b.WriteString("  its value is NOT VALID")
		if at := n.res.Cause.At; at != 0 {
			fmt.Fprintf(&b, " since %s", time.Unix(int64(at), 0).Format(time.DateTime))
		}
		fmt.Fprintf(&b, ": %s\n  it is valid again when somebody who holds PW or EX writes it (DLM_VALB)\n", n.Cause.Text)
	}
	fmt.Fprintf(&b, "  contents %s\n", n.Value)
	if n.Domain != "" {
		fmt.Fprintf(&b, "  it is persistent, in recovery domain %s\n", n.Domain)
	}
	for i := range n.Locks {
		if l := &n.Locks[i]; l.Granted != "" {
			fmt.Fprintf(&b, "  %s has %s\n", l.Owner, l.Granted)
		}
	}
	for i := range n.Waiters {
		fmt.Fprintf(&b, "  %s\n", n.Waiters[i].sentence())
	}
	return printf(w, "%s", b.String())
}
