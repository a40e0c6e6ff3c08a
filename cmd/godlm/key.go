package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/net/secure"
)

func newKey() *cobra.Command {
	return &cobra.Command{
		Use:   "key [FILE]",
		Short: "Make a key for the hosts of a cluster",
		Long: "Make a key that the hosts of a cluster share, in a new file that only its owner can read, or on the\n" +
			"standard output. Copy it to every host by a way that nobody else can listen to.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var k secure.Key
			if _, err := rand.Read(k[:]); err != nil {
				return &exit{exitError, err}
			}
			text := hex.EncodeToString(k[:]) + "\n"
			if len(args) == 0 {
				return printf(c.OutOrStdout(), "%s", text)
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return &exit{exitError, errors.New(args[0] + " is there already; a key is never overwritten")}
			}
			if err != nil {
				return &exit{exitError, err}
			}
			_, err = f.WriteString(text)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return &exit{exitError, errors.Join(err, os.Remove(args[0]))}
			}
			return nil
		},
	}
}
