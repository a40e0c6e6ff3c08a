package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/node"
)

// lockLine is a lock or request in `godlm locks`, and in its JSON.
type lockLine struct {
	Resource  string   `json:"resource"`
	Path      []string `json:"path"`
	Namespace string   `json:"namespace"`
	Master    *who     `json:"master"`
	Owner     *who     `json:"owner"`
	Lock      string   `json:"lock"`
	Party     string   `json:"party,omitempty"`
	Granted   string   `json:"granted,omitempty"`   // mode
	Requested string   `json:"requested,omitempty"` // mode that it waits for
	Queue     string   `json:"queue"`               // "granted", "converting", "waiting"
	Place     uint32   `json:"place"`               // in the queue, from 1
	Serving   bool     `json:"serving"`             // false: its resource is rebuilt
}

// partial is in the JSON of every command that asks others.
type partial struct {
	Silent   []silent `json:"silent"`   // who has not answered
	Complete bool     `json:"complete"` // everybody has, and nothing was left out
}

func (p *picture) partial() partial {
	list := p.Silent
	if list == nil {
		list = []silent{}
	}
	return partial{list, len(list) == 0 && !p.Cut}
}

func newLocks(o *options) *cobra.Command {
	var f inquiryFlags
	waiting := false
	c := o.jsonFlag(&cobra.Command{
		Use:   "locks",
		Short: "List locks and who has them",
		Long: "List locks, and requests that wait, on all hosts: resource, owner, granted and requested mode, place in the\n" +
			"queue. Names are shown with the escapes of Go. Who does not answer is named on standard error, and the exit\n" +
			"status is 5 then.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := o.source()
			if err != nil {
				return err
			}
			q, err := f.inquiry(from, proto.SeeLocks)
			if err != nil {
				return asked(err)
			}
			q.Waiting = waiting
			p, err := from.look(q)
			if err != nil {
				return &exit{exitError, err}
			}
			list := p.locks(waiting)
			if o.json {
				err = printJSON(c.OutOrStdout(), struct {
					Locks []lockLine `json:"locks"`
					partial
				}{list, p.partial()})
			} else {
				err = printLocks(c.OutOrStdout(), list)
			}
			return p.verdict(c.ErrOrStderr(), err, o.json)
		},
	})
	f.add(c)
	c.Flags().StringSliceVar(&f.modes, "mode", nil, "only locks that have or want one of these modes (NL,CR,CW,PR,PW,EX)")
	c.Flags().BoolVar(&waiting, "waiting", false, "only requests that wait")
	return c
}

// add adds the flags that choose.
func (f *inquiryFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.tree, "tree", "", "only the root resource of that name, and all below it")
	c.Flags().BoolVar(&f.prefix, "prefix", false, "--tree is the beginning of names")
	c.Flags().StringVar(&f.owner, "owner", "", "only what belongs to a process: PID, PROGRAM, HOST, HOST:PID or 0xNUMBER")
	f.addLimits(c)
}

func (f *inquiryFlags) addLimits(c *cobra.Command) {
	c.Flags().BoolVarP(&f.escapes, "escapes", "e", false, "names are given with escapes, as they are shown")
	c.Flags().BoolVar(&f.here, "here", false, "ask this host only")
	c.Flags().Uint32Var(&f.limit, "limit", 10000, "how much to show at most")
	c.Flags().DurationVar(&f.wait, "wait", 2*time.Second, "how long to wait for who does not answer")
}

// source is the runtime directory that is meant. Without a program in it there is nothing
// to see.
func (o *options) source() (source, error) {
	list, path, err := o.members()
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.State != node.Ended {
			return lookAt(path), nil
		}
	}
	return nil, &exit{exitNobody, fmt.Errorf("no program uses %s", path)}
}

// asked is an error about what was asked for.
func asked(err error) error {
	switch {
	case errors.Is(err, errNoOwner):
		return &exit{exitAbsent, err}
	case errors.Is(err, node.ErrMute):
		return &exit{exitError, err}
	}
	return err // the command line is wrong
}

// verdict names who has not answered, and says so in the exit status.
func (p *picture) verdict(w io.Writer, err error, quiet bool) error {
	if err != nil {
		return err
	}
	if !quiet {
		if err := p.printSilent(w); err != nil {
			return err
		}
	}
	if len(p.Silent) > 0 || p.Cut {
		return &exit{status: exitPartial}
	}
	return nil
}

func (p *picture) printSilent(w io.Writer) error {
	for i := range p.Silent {
		if err := printf(w, "no answer of %s\n", &p.Silent[i]); err != nil {
			return err
		}
	}
	if p.Cut {
		return printf(w, "there is more than was asked for (--limit)\n")
	}
	return nil
}

// locks lists the locks in the picture.
func (p *picture) locks(waiting bool) []lockLine {
	list := []lockLine{}
	for i := range p.Trees {
		t := &p.Trees[i]
		for j := range t.Resources {
			r := &t.Resources[j]
			for k := range r.Seen {
				if l := &r.Seen[k]; !waiting || l.Requested != mode.None {
					list = append(list, p.lockLine(t, r, l))
				}
			}
		}
	}
	return list
}

func (p *picture) lockLine(t *tree, r *proto.SeenResource, l *proto.SeenLock) lockLine {
	n := lockLine{
		Resource: resourceName(&t.Root, r.Path), Path: pathOf(&t.Root, r.Path), Namespace: spaceName(t.Root.Space),
		Master: t.Master, Owner: p.who(l.Owner), Lock: lockName(l.Lock), Party: partyName(l.Party, l.Owner),
		Queue: "granted", Place: l.At, Serving: t.Serving,
	}
	if l.Granted != mode.None {
		n.Granted = l.Granted.String()
	}
	if l.Requested != mode.None {
		n.Requested, n.Queue = l.Requested.String(), "waiting"
		if l.Granted != mode.None {
			n.Queue = "converting"
		}
	}
	return n
}

func printLocks(w io.Writer, list []lockLine) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if err := printf(t, "RESOURCE\tNAMESPACE\tMODE\tWANTS\tQUEUE\tOWNER\n"); err != nil {
		return err
	}
	for i := range list {
		l := &list[i]
		queue := l.Queue
		if l.Requested != "" {
			queue = fmt.Sprintf("%s %d", l.Queue, l.Place)
		}
		if !l.Serving {
			queue += ", is rebuilt"
		}
		owner := l.Owner.String()
		if l.Party != "" {
			owner += ", " + l.Party
		}
		if err := printf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Resource, l.Namespace, dash(l.Granted), dash(l.Requested), queue, owner); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return &exit{exitError, err}
	}
	return nil
}
