package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm"
)

func newGet(o *options) *cobra.Command {
	x := &target{o: o}
	as := asText
	var mode modeFlag
	c := &cobra.Command{
		Use:   "get [options] NAME",
		Short: "Print a value block",
		Long: "Prints the value block of NAME. The exit status tells whether it is valid (0) or not (9), or that nobody has a\n" +
			"lock on NAME (6): then there is no value. No lock is taken, unless --mode asks for one.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := x.exclusive(); err != nil {
				return err
			}
			return x.get(c.OutOrStdout(), args[0], as, mode.Mode)
		},
	}
	x.flags(c)
	c.Flags().Var(&as, "as", "print as text, hex, u32, u64 (its first word as a number) or raw")
	c.Flags().Var(&mode, "mode", "read under a lock in this mode; PR waits for who writes")
	_ = c.RegisterFlagCompletionFunc("as", completeFormats) // it has that flag
	_ = c.RegisterFlagCompletionFunc("mode", completeModes)
	return o.jsonFlag(c)
}

func (x *target) get(out io.Writer, name string, as format, m godlm.Mode) (err error) {
	ctx, cancel := untilSignal()
	defer cancel()
	ns, err := x.join(ctx)
	if err != nil {
		return refused(err)
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	info, err := ns.Info(ctx, name)
	exists := err == nil
	if err != nil && !errors.Is(err, godlm.ErrNoResource) {
		return refused(err)
	}
	err = nil
	b := info.Block
	if exists && m != 0 {
		l, err := x.lockIn(ctx, ns, name, m)
		if err != nil {
			return refused(err)
		}
		b = l.Block()
		if err := l.Unlock(ctx); err != nil {
			return refused(err)
		}
	}
	if x.o.json {
		err = printJSON(out, struct {
			Name   string `json:"name"`
			Exists bool   `json:"exists"`
			Locks  int    `json:"locks"`
			shown
		}{name, exists, info.Locks, show(b)})
	} else if exists {
		err = printf(out, "%s", as.print(b.Value))
	}
	switch {
	case err != nil:
		return err
	case !exists:
		return &exit{status: exitAbsent}
	case !b.Valid:
		return &exit{status: exitNotValid}
	}
	return nil
}
