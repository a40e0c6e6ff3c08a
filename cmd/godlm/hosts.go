package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/net/config"
	"github.com/godlm/godlm/net/node"
)

// What the agent knows of other hosts.

// hosts asks the agent; nil if this host is configured to be alone.
func (o *options) hosts(path string) (*node.Report, error) {
	env, err := o.environment()
	if err != nil {
		return nil, err
	}
	cluster, err := node.ClusterFrom(env)
	if err != nil {
		return nil, &exit{exitError, config.Blame(o.getenv, err)}
	}
	if cluster == nil {
		return nil, nil
	}
	return node.AskStatus(path)
}

func printHosts(w io.Writer, r *node.Report) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if err := printf(t, "HOST\tADDRESS\tSTATE\tVOTE\tROLE\tID\n"); err != nil {
		return err
	}
	for _, x := range r.Hosts {
		if err := printf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Name, dash(x.Addr), state(&x), dash(x.Vote), role(r, &x), dash(x.ID)); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return &exit{exitError, err}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func state(x *host.Line) string {
	if x.State == host.IsMember {
		return x.State
	}
	return fmt.Sprintf("%s since %v", x.State, time.Duration(x.Since).Round(100*time.Millisecond))
}

// role is what a host does for all.
func role(r *node.Report, x *host.Line) string {
	switch {
	case x.State != host.IsMember:
	case x.Name == r.Coordinator && x.Name == r.Leader:
		return "coordinator, leader"
	case x.Name == r.Coordinator:
		return "coordinator"
	case x.Name == r.Leader:
		return "leader"
	}
	return "-"
}
