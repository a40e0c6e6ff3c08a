package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// figure is a row of the benchmark. Programs that measure print one as a line of JSON;
// what they leave out is filled in here.
type figure struct {
	Name      string `json:"name"`
	What      string `json:"what"`
	Placement string `json:"placement"`
	Unit      string `json:"unit"`

	Value    float64  `json:"value"` // the median
	Baseline *float64 `json:"baseline"`
	Against  string   `json:"baseline_what,omitempty"`
	Ratio    *float64 `json:"ratio"` // the median of the runs' ratios
	RatioMin *float64 `json:"ratio_min,omitempty"`
	RatioMax *float64 `json:"ratio_max,omitempty"`

	// Goal is of the ratio, or of the value if there is no baseline; GoalWorst is of the
	// value in the worst run.
	Goal      *float64 `json:"goal"`
	GoalWorst *float64 `json:"goal_worst,omitempty"`
	AtLeast   bool     `json:"at_least,omitempty"`
	Reached   *bool    `json:"reached"`

	Runs   int      `json:"runs"`
	Min    *float64 `json:"min"`
	Median *float64 `json:"median"`
	Max    *float64 `json:"max"`
}

// complete fills in what follows from the rest.
func (f *figure) complete() {
	if f.Runs == 0 {
		f.Runs = 1
	}
	for _, p := range [...]**float64{&f.Min, &f.Median, &f.Max} {
		if *p == nil {
			*p = &f.Value
		}
	}
	if f.Goal == nil || f.Reached != nil {
		return
	}
	v := f.Value
	if f.Ratio != nil {
		v = *f.Ratio
	}
	ok := v <= *f.Goal
	if f.AtLeast {
		ok = v >= *f.Goal
	}
	f.Reached = &ok
}

// verdict is the goal and whether it is reached, for a person.
func (f *figure) verdict() string {
	if f.Goal == nil {
		return ""
	}
	sign, times, word := "<=", "", "reached"
	if f.AtLeast {
		sign = ">="
	}
	if f.Ratio != nil {
		times = " x"
	}
	if !*f.Reached {
		word = "NOT reached"
	}
	return fmt.Sprintf("%s %g%s: %s", sign, *f.Goal, times, word)
}

func newBench(o *options) *cobra.Command {
	var runs int
	var programs []string
	c := o.jsonFlag(&cobra.Command{
		Use:   "bench [row...]",
		Short: "Measure what locks cost on this machine, beside what it does without them",
		Long: "Measures what locks cost on this machine, each figure beside what the machine does without the library, in\n" +
			"turns within one run. Rows: local, threads, remote, hand-over, join, idle, death; default all.",
		RunE: func(c *cobra.Command, rows []string) error {
			if runs < 1 || runs > 101 {
				return &exit{exitUsage, fmt.Errorf("--runs %d: 1 to 101", runs)}
			}
			return bench(c, o, append([]string{"--runs", strconv.Itoa(runs)}, rows...), programs)
		},
	})
	c.Flags().IntVar(&runs, "runs", 7, "how often each figure is measured")
	c.Flags().StringArrayVar(&programs, "program", nil, "also run this program, with --json, and take its figures")
	return c
}

// probe is the program that measures.
func probe() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("find the program that measures: %w", err)
	}
	dir := filepath.Dir(self)
	tried := []string{filepath.Join(dir, "..", "libexec", "godlm", "probe"), filepath.Join(dir, "bench", "probe")}
	for _, p := range tried {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("the program that measures is not installed: neither %s is there", strings.Join(tried, " nor "))
}

func bench(c *cobra.Command, o *options, args, programs []string) error {
	p, err := probe()
	if err != nil {
		return &exit{exitError, err}
	}
	commands := [][]string{append([]string{p}, args...)}
	for _, p := range programs {
		commands = append(commands, append(strings.Fields(p), "--json"))
	}
	t := &table{w: c.OutOrStdout(), quiet: o.json}
	var failed []error
	for _, words := range commands {
		failed = append(failed, t.take(words, c.ErrOrStderr()))
	}
	if o.json {
		if t.figures == nil {
			t.figures = []*figure{}
		}
		failed = append(failed, printJSON(t.w, t.figures))
	}
	if err := errors.Join(failed...); err != nil {
		return &exit{exitError, err}
	}
	return nil
}

// table takes figures as they come.
type table struct {
	w       io.Writer
	quiet   bool
	figures []*figure
}

// take runs a program and takes its figures.
func (t *table) take(words []string, stderr io.Writer) error {
	cmd := exec.Command(words[0], words[1:]...)
	lines := &lines{each: t.add}
	cmd.Stdout, cmd.Stderr = lines, stderr
	if err := errors.Join(cmd.Run(), lines.end()); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
	}
	return nil
}

func (t *table) add(line []byte) error {
	f := &figure{}
	if err := json.Unmarshal(line, f); err != nil {
		return fmt.Errorf("a figure that makes no sense: %w", err)
	}
	f.complete()
	t.figures = append(t.figures, f)
	if t.quiet {
		return nil
	}
	name := f.Name
	if f.Placement != "" {
		name += ", " + f.Placement
	}
	what := f.What
	if f.Against != "" {
		what += "; against " + f.Against
	}
	if err := printf(t.w, "%s\n    %s\n    %.4g %s (%.4g to %.4g, median of %d)", name, what, f.Value, f.Unit, *f.Min, *f.Max, f.Runs); err != nil {
		return err
	}
	if f.Ratio != nil {
		if err := printf(t.w, ", baseline %.4g: %.2f x", *f.Baseline, *f.Ratio); err != nil {
			return err
		}
	}
	if v := f.verdict(); v != "" {
		return printf(t.w, "   %s\n", v)
	}
	return printf(t.w, "\n")
}

// lines cuts what is written to it into lines.
type lines struct {
	each func(line []byte) error
	rest []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte{'\n'})
		if !found {
			return len(b), nil
		}
		l.rest = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := l.each(line); err != nil {
			return 0, err
		}
	}
}

// end is what is wrong with the last line.
func (l *lines) end() error {
	if len(bytes.TrimSpace(l.rest)) > 0 {
		return errors.New("it ended within a line")
	}
	return nil
}
