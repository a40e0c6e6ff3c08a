// Command godlm shows and serves the lock manager's processes on this machine. Each
// subcommand is in a file of its own; what they know of a runtime directory is package
// net/node's business.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm/net/config"
	"github.com/godlm/godlm/net/rundir"
)

// Exit statuses, documented in godlm(1).
const (
	exitOK     = 0
	exitError  = 1 // it could not be done
	exitUsage  = 2 // the command line is wrong
	exitStall  = 3 // status, waiters: somebody waits
	exitNobody = 4 // no program uses the lock manager
	// The commands that ask others.
	exitPartial = 5 // not everybody has answered, or there is more than was asked for
	exitAbsent  = 6 // there is no such resource or owner
	exitWarning = 7 // doctor: something could be better
	exitWrong   = 8 // doctor: something is wrong
)

// version is set by the linker.
var version = "dev"

// exit ends the program with a status, without a message if err is nil.
type exit struct {
	status int
	err    error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var e *exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		if e.err != nil {
			_, _ = fmt.Fprintln(stderr, "godlm:", strings.TrimPrefix(e.err.Error(), "godlm: ")) // nobody is left to tell
		}
		return e.status
	default: // cobra's own are about the command line
		_, _ = fmt.Fprintf(stderr, "godlm: %v\nTry 'godlm --help'.\n", err)
		return exitUsage
	}
}

// options are those of all commands.
type options struct {
	cluster string
	json    bool
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "godlm",
		Short:         "See and serve the programs that share locks through libgodlm",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&o.cluster, "cluster", "", "name of the cluster (default $GODLM_CLUSTER, else \"default\")")
	root.AddCommand(newAgent(o), newMembers(o), newStatus(o), newEvict(o), newConfig(o), newKey(), newLock(o), newGet(o), newSet(o),
		newLocks(o), newWaiters(o), newExplain(o), newMetrics(o), newDoctor(o), newTop(o), newWeb(o), newBench(o))
	return root
}

// getenv is the environment with the cluster of the command line.
func (o *options) getenv(name string) string {
	if name == "GODLM_CLUSTER" && o.cluster != "" {
		return o.cluster
	}
	return os.Getenv(name)
}

// environment adds the configuration file.
func (o *options) environment() (func(string) string, error) {
	env, err := config.Environment(o.getenv)
	if err != nil {
		return nil, &exit{exitError, err}
	}
	return env, nil
}

// directory is the runtime directory that is meant.
func (o *options) directory() (string, error) {
	env, err := o.environment()
	if err != nil {
		return "", err
	}
	path, err := rundir.Path(env)
	if err != nil {
		return "", &exit{exitError, err}
	}
	return path, nil
}

func (o *options) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return &exit{exitError, err}
	}
	return nil
}

// printf writes to the command's output; an error there is the command's.
func printf(w io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		return &exit{exitError, err}
	}
	return nil
}
