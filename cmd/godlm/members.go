package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/net/node"
)

// member is a line of `godlm members`, and of its JSON.
type member struct {
	Process string `json:"process"` // its name in logs
	Pid     int    `json:"pid"`     // 0: not visible here
	Program string `json:"program"`
	State   string `json:"state"`
	Agent   bool   `json:"agent"`

	since time.Duration // for how long it is stopped
	bound host.Bound
}

func newMembers(o *options) *cobra.Command {
	hosts := false
	c := o.jsonFlag(&cobra.Command{
		Use:   "members",
		Short: "List the programs that use the lock manager here, and the hosts of the cluster",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, path, err := o.members()
			if err != nil {
				return err
			}
			if hosts {
				return o.listHosts(c.OutOrStdout(), path, len(list) > 0)
			}
			if o.json {
				err = printJSON(c.OutOrStdout(), list)
			} else {
				err = printMembers(c.OutOrStdout(), list)
			}
			if err == nil && len(list) == 0 {
				return &exit{status: exitNobody}
			}
			return err
		},
	})
	c.Flags().BoolVar(&hosts, "hosts", false, "list the hosts of the cluster instead, as this host's agent knows them")
	return c
}

// listHosts prints the hosts of the cluster.
func (o *options) listHosts(w io.Writer, path string, any bool) error {
	if !any {
		return &exit{exitNobody, fmt.Errorf("no program uses %s, so there is no agent to ask", path)}
	}
	r, err := o.hosts(path)
	switch {
	case err != nil:
		return &exit{exitError, err}
	case r == nil:
		return &exit{exitError, errors.New("this host is configured to be alone: no voters are set")}
	case o.json:
		return printJSON(w, r)
	}
	return printHosts(w, r)
}

// members looks at the runtime directory.
func (o *options) members() (list []member, path string, err error) {
	if path, err = o.directory(); err != nil {
		return nil, "", err
	}
	if list, err = o.listMembers(path); err != nil {
		return nil, "", &exit{exitError, err}
	}
	return list, path, nil
}

// listMembers looks at that one.
func (o *options) listMembers(path string) (list []member, err error) {
	seen, err := node.Inspect(path)
	if err != nil {
		return nil, err
	}
	list = []member{}
	for _, s := range seen {
		list = append(list, member{fmt.Sprintf("%#x", uint64(s.Proc)), s.Pid, s.Program, s.State, s.Agent, s.Since, s.Bound})
	}
	return list, nil
}

func printMembers(w io.Writer, list []member) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if err := printf(t, "PROCESS\tPID\tSTATE\tROLE\tPROGRAM\n"); err != nil {
		return err
	}
	for _, m := range list {
		role, pid := "-", fmt.Sprint(m.Pid)
		if m.Agent {
			role = "agent"
		}
		if m.Pid == 0 {
			pid = "-"
		}
		if err := printf(t, "%s\t%s\t%s\t%s\t%s\n", m.Process, pid, m.State, role, m.Program); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return &exit{exitError, err}
	}
	return nil
}
