package main

import (
	"github.com/spf13/cobra"

	"github.com/godlm/godlm/net/node"
)

func newEvict(o *options) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "evict HOST",
		Short: "Remove a host whose programs have ended from the cluster",
		Long: "Remove a host from the cluster, by its name or its number (see 'godlm members').\n\n" +
			"You vouch that all its programs have ended: their locks are free at once, and nobody waits for the\n" +
			"host's lease. A host that can still be heard is not removed. With --wait you vouch for nothing: the\n" +
			"host is removed even if it can be heard, and its locks are free when its lease must be over.\n\n" +
			"A majority of the voters is needed. The host comes back as a new member when its agent runs again.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := o.directory()
			if err != nil {
				return err
			}
			if err := node.Evict(path, args[0], !wait); err != nil {
				return &exit{exitError, err}
			}
			return printf(c.OutOrStdout(), "host %s is removed\n", args[0])
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "leave its locks until its lease must be over")
	return c
}
