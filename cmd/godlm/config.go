package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/net/config"
	"github.com/godlm/godlm/net/node"
)

func newConfig(o *options) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Look at the configuration", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether a configuration file is right, and if not, what is wrong where",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, must, err := config.Path(o.getenv)
			if len(args) == 1 {
				path, must, err = args[0], true, nil
			}
			if err != nil {
				return &exit{exitError, err}
			}
			values, err := config.Read(path)
			switch {
			case errors.Is(err, fs.ErrNotExist) && !must:
				return printf(c.OutOrStdout(), "%s is not there: the defaults count\n", path)
			case err != nil:
				return &exit{exitError, err}
			}
			with := func(name string) string {
				if v := values[name]; v != "" {
					return v
				}
				return o.getenv(name)
			}
			if _, err := node.ClusterFrom(with); err != nil {
				return &exit{exitError, config.BlameFile(path, err)}
			}
			return printf(c.OutOrStdout(), "%s is right and sets %d values\n", path, len(values))
		},
	})
	return c
}
