package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm"
)

// setting is one write of a value block.
type setting struct {
	target
	as        format
	file      string
	ifValid   bool
	ifEquals  string
	compares  bool // ifEquals was given
	increment string
	hold      time.Duration
	holds     bool
}

func newSet(o *options) *cobra.Command {
	s := &setting{target: target{o: o}, as: asText}
	c := &cobra.Command{
		Use:   "set [options] NAME [VALUE]",
		Short: "Write a value block",
		Long: "Writes the value block of NAME under an exclusive lock: VALUE, the contents of a file (--file, '-' is standard\n" +
			"input), or the present number plus one (--increment). A value lives as long as somebody has a lock on NAME: if nobody\n" +
			"else has, the exit status is 6, unless --hold keeps it.",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := s.exclusive(); err != nil {
				return err
			}
			f := c.Flags()
			s.compares, s.holds = f.Changed("if-equals"), f.Changed("hold")
			sources := len(args) - 1
			for _, name := range [...]string{"file", "increment"} {
				if f.Changed(name) {
					sources++
				}
			}
			if sources != 1 {
				return errors.New("set wants one of VALUE, --file and --increment")
			}
			value := ""
			if len(args) == 2 {
				value = args[1]
			}
			return s.run(c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr(), args[0], value)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.Var(&s.as, "as", "VALUE and OLD are text, hex, u32 or u64 (the block's first word, the rest stays)")
	f.StringVar(&s.file, "file", "", "write what is in this file, 32 bytes at most; '-' is standard input")
	f.BoolVar(&s.ifValid, "if-valid", false, "only if the block is valid (else status 9)")
	f.StringVar(&s.ifEquals, "if-equals", "", "only if the value is this one (else status 11)")
	f.StringVar(&s.increment, "increment", "", "add this number to the value, and print the sum")
	f.Lookup("increment").NoOptDefVal = "1"
	f.DurationVar(&s.hold, "hold", 0, "keep the value for so long, or with 0 until a signal comes, by an NL lock")
	f.Lookup("hold").NoOptDefVal = "0s"
	_ = c.RegisterFlagCompletionFunc("as", completeFormats) // it has that flag
	return o.jsonFlag(c)
}

func (s *setting) run(stdin io.Reader, out, errs io.Writer, name, value string) (err error) {
	if s.file != "" {
		if value, err = readValue(stdin, s.file); err != nil {
			return &exit{exitError, err}
		}
	}
	// What is wrong is told before anybody has to wait.
	if s.increment == "" && s.file == "" {
		if _, err := s.as.parse(value, godlm.Value{}); err != nil {
			return &exit{exitError, err}
		}
	}
	ctx, cancel := untilSignal()
	defer cancel()
	ns, l, err := s.lock(ctx, name, godlm.EX)
	if err != nil {
		return refused(err)
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	before := l.Block()
	v, err := s.next(before, value)
	if err != nil {
		// Nothing was changed, which Close would not believe.
		return errors.Join(err, l.Unlock(ctx))
	}
	if err := l.Convert(ctx, godlm.NL, godlm.Write(v)); err != nil {
		return refused(err)
	}
	info, err := ns.Info(ctx, name)
	if err != nil {
		return refused(err)
	}
	kept := info.Locks > 1
	if err := s.tell(out, name, before, v, kept); err != nil {
		return err
	}
	if s.holds {
		return s.wait(ctx, ns)
	}
	if err := l.Unlock(ctx); err != nil {
		return refused(err)
	}
	if !kept {
		_, _ = fmt.Fprintf(errs, "godlm: nobody else has a lock on %q: the value is forgotten already (--hold keeps it)\n", name) // nobody is left to tell
		return &exit{status: exitAbsent}
	}
	return nil
}

// readValue reads a value from a file.
func readValue(stdin io.Reader, path string) (string, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, int64(godlm.ValueSize)+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if len(b) > godlm.ValueSize {
		return "", fmt.Errorf("%s: more than the %d bytes of a value block", path, godlm.ValueSize)
	}
	return string(b), nil
}

// next is the value to write, or why none is written.
func (s *setting) next(b godlm.Block, value string) (v godlm.Value, err error) {
	if s.ifValid && !b.Valid {
		return v, &exit{exitNotValid, errors.New("the value block is not valid")}
	}
	if s.compares {
		old, err := s.as.parse(s.ifEquals, b.Value)
		if err != nil {
			return v, &exit{exitError, err}
		}
		if !s.as.equal(old, b.Value) {
			return v, &exit{exitUnequal, errors.New("the value is another one")}
		}
	}
	switch {
	case s.increment != "":
		by, ok := new(big.Int).SetString(s.increment, 0)
		now := s.as.number(b.Value)
		if !ok || now == nil {
			return v, &exit{exitError, fmt.Errorf("%q and %q are not both numbers", b.Value.Text(), s.increment)}
		}
		v, err = s.as.withNumber(now.Add(now, by), b.Value)
	case s.file != "":
		v, err = godlm.TextValue(value)
	default:
		v, err = s.as.parse(value, b.Value)
	}
	if err != nil {
		return v, &exit{exitError, err}
	}
	return v, nil
}

// tell prints what was written, if somebody has asked.
func (s *setting) tell(out io.Writer, name string, before godlm.Block, v godlm.Value, kept bool) error {
	switch {
	case s.o.json:
		return printJSON(out, struct {
			Name  string `json:"name"`
			Value shown  `json:"value"`
			Was   shown  `json:"was"`
			Kept  bool   `json:"kept"` // somebody else has a lock on it
		}{name, show(godlm.Block{Value: v, Valid: true}), show(before), kept})
	case s.increment != "":
		return printf(out, "%s", s.as.print(v))
	}
	return nil
}

// wait keeps the value.
func (s *setting) wait(ctx context.Context, ns *godlm.Namespace) error {
	var over <-chan time.Time
	if s.hold > 0 {
		over = time.After(s.hold)
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-ns.Done():
		return &exit{exitError, ns.Err()}
	}
	return nil
}
