package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/node"
)

// The smallest screen that shows everything.
const (
	topWidth  = 80
	topHeight = 24
)

// glance is what `godlm top` shows at a time, and its JSON.
type glance struct {
	At        string    `json:"at"`
	Programs  int       `json:"programs"`
	Hosts     int       `json:"hosts"`
	Local     float64   `json:"local_per_second"`
	Out       float64   `json:"out_per_second"`
	In        float64   `json:"in_per_second"`
	Waits     float64   `json:"waits_per_second"`
	MeanWait  float64   `json:"mean_wait_seconds"`
	Locks     uint64    `json:"locks"`
	Trees     uint64    `json:"trees"`
	Deadlocks uint64    `json:"deadlocks"`
	Invalid   uint64    `json:"invalidated"`
	Rebuilds  uint64    `json:"rebuilds"`
	Recovery  []string  `json:"recovery"` // what is going on; empty: nothing
	Lease     float64   `json:"lease_seconds"`
	Hottest   []hotTree `json:"hottest"`
	Waiters   []waiter  `json:"waiters"`
	Silent    []silent  `json:"silent"`
	events    []eventLine
	at        time.Time
}

type hotTree struct {
	Resource string  `json:"resource"`
	Rate     float64 `json:"requests_per_second"`
	Locks    uint32  `json:"locks"`
	Queued   uint32  `json:"queued"`
	Master   *who    `json:"master"`
}

// totals are sums of counters, from which rates follow.
type totals struct {
	at            time.Time
	ways          [proto.Ways]uint64
	waits, waited uint64
}

func newTop(o *options) *cobra.Command {
	var once bool
	var every time.Duration
	c := o.jsonFlag(&cobra.Command{
		Use:   "top",
		Short: "Show what goes on, live",
		Long: "Show rates of requests, the resources that are used most, who waits, and how recovery goes on, in a terminal\n" +
			"of at least 80 columns and 24 lines, until 'q' is pressed. With --once or --json one picture is printed, after\n" +
			"a second in which rates are measured.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := o.source()
			if err != nil {
				return err
			}
			t := &topView{o: o, from: from}
			if every < 100*time.Millisecond {
				return fmt.Errorf("--every %v: at least 100ms", every)
			}
			if once || o.json {
				return t.once(c.OutOrStdout(), every)
			}
			return t.live(c.OutOrStdout(), every)
		},
	})
	c.Flags().BoolVar(&once, "once", false, "print one picture and end")
	c.Flags().DurationVar(&every, "every", time.Second, "the time between two pictures")
	return c
}

type topView struct {
	o    *options
	from source
	last totals
}

// glance takes a picture.
func (t *topView) glance() (*glance, error) {
	p, err := t.from.look(proto.Inquiry{What: proto.SeeTrees | proto.SeeCounts | proto.SeeEvents, Hot: 20, Patience: int64(time.Second)})
	if err != nil {
		return nil, err
	}
	w, err := t.from.look(proto.Inquiry{What: proto.SeeLocks | proto.SeeWaits, Waiting: true, Limit: 1000, Patience: int64(time.Second)})
	if err != nil {
		return nil, err
	}
	g := &glance{
		At: p.At.Format(time.RFC3339Nano), at: p.At, Recovery: []string{}, Hottest: []hotTree{}, Waiters: w.waiters(),
		Silent: p.partial().Silent,
	}
	hosts := map[string]bool{}
	for _, m := range p.Members {
		hosts[m.Host] = true
		if !m.Group && m.State != node.Ended {
			g.Programs++
		}
	}
	g.Hosts = len(hosts)
	t.rates(g, p)
	slices.SortStableFunc(p.Trees, func(x, y tree) int { return int(y.Rate) - int(x.Rate) })
	for i := range p.Trees {
		x := &p.Trees[i]
		if x.Rate > 0 {
			g.Hottest = append(g.Hottest, hotTree{resourceName(&x.Root, nil), float64(x.Rate) / 1000, x.Locks, x.Queued, x.Master})
		}
	}
	slices.SortStableFunc(g.Waiters, func(x, y waiter) int { return int(y.age - x.age) })
	t.recovery(g, p)
	for i := range p.Events {
		g.events = append(g.events, p.eventLine(&p.Events[i]))
	}
	return g, nil
}

// rates compares the counters with those of the last picture.
func (t *topView) rates(g *glance, p *picture) {
	now := totals{at: p.At}
	for i := range p.Counts {
		c := &p.Counts[i]
		if c.Lease > 0 && (g.Lease == 0 || time.Duration(c.Lease).Seconds() < g.Lease) {
			g.Lease = time.Duration(c.Lease).Seconds()
		}
		for _, n := range c.Rebuilds {
			g.Rebuilds += n
		}
		for way := range c.Requests {
			for _, n := range c.Requests[way] {
				now.ways[way] += n
			}
		}
		for _, n := range c.Waits {
			now.waits += n
		}
		for _, n := range c.Invalid {
			g.Invalid += n
		}
		now.waited += c.WaitNanos
		g.Locks += c.Locks
		g.Trees += c.Trees
		g.Deadlocks += c.Deadlocks
	}
	if s := now.at.Sub(t.last.at).Seconds(); !t.last.at.IsZero() && s > 0 {
		per := func(x, y uint64) float64 { return float64(x-min(x, y)) / s } // programs may have ended
		g.Local, g.Out, g.In = per(now.ways[0], t.last.ways[0]), per(now.ways[1], t.last.ways[1]), per(now.ways[2], t.last.ways[2])
		g.Waits = per(now.waits, t.last.waits)
		if n := now.waits - min(now.waits, t.last.waits); n > 0 {
			g.MeanWait = float64(now.waited-min(now.waited, t.last.waited)) / float64(n) / 1e9
		}
	}
	t.last = now
}

// recovery is what is being repaired, or hinders.
func (t *topView) recovery(g *glance, p *picture) {
	for i := range p.Counts {
		if c := &p.Counts[i]; c.Rebuilding {
			g.Recovery = append(g.Recovery, "resources without a master are rebuilt")
		}
	}
	if path, err := t.o.directory(); err == nil {
		if r, err := t.o.hosts(path); err == nil && r != nil {
			g.Recovery = append(g.Recovery, r.Stalls...)
		}
	}
	for i := range p.Silent {
		g.Recovery = append(g.Recovery, "no answer of "+p.Silent[i].String())
	}
}

// once prints a picture that has rates.
func (t *topView) once(w io.Writer, every time.Duration) error {
	if _, err := t.glance(); err != nil {
		return &exit{exitError, err}
	}
	time.Sleep(every)
	g, err := t.glance()
	if err != nil {
		return &exit{exitError, err}
	}
	if t.o.json {
		err = printJSON(w, g)
	} else {
		err = printf(w, "%s\n", strings.Join(g.lines(topWidth, topHeight), "\n"))
	}
	if err == nil && len(g.Silent) > 0 {
		return &exit{status: exitPartial}
	}
	return err
}

// Orders to the terminal.
const (
	screenOn  = "\x1b[?1049h\x1b[?25l"
	screenOff = "\x1b[?25h\x1b[?1049l"
	screenTop = "\x1b[H"
	lineEnd   = "\x1b[K"
	screenEnd = "\x1b[J"
)

// live shows pictures until the user has seen enough.
func (t *topView) live(w io.Writer, every time.Duration) error {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if !term.IsTerminal(out) || !term.IsTerminal(in) {
		return errors.New("top needs a terminal; --once prints one picture")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer cancel()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	state, err := term.MakeRaw(in)
	if err != nil {
		return &exit{exitError, err}
	}
	defer func() {
		_ = term.Restore(in, state) // there is no better state
		_ = printf(w, "%s", screenOff)
	}()
	go func() {
		b := make([]byte, 1)
		for {
			if n, err := os.Stdin.Read(b); err != nil || n == 1 && (b[0] == 'q' || b[0] == 3) {
				cancel()
				return
			}
		}
	}()
	if err := printf(w, "%s", screenOn); err != nil {
		return err
	}
	for {
		g, err := t.glance()
		if err != nil {
			g = &glance{Recovery: []string{err.Error()}, at: time.Now()}
		}
		wide, high, err := term.GetSize(out)
		if err != nil {
			wide, high = topWidth, topHeight
		}
		if err := printf(w, "%s%s%s", screenTop, strings.Join(g.lines(wide, high), lineEnd+"\r\n"), lineEnd+screenEnd); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case <-time.After(every):
		}
	}
}

// lines are the picture, no more than high of them, none wider than wide.
func (g *glance) lines(wide, high int) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fit(fmt.Sprintf(format, args...), wide)) }
	hosts := "1 host"
	if g.Hosts > 1 {
		hosts = fmt.Sprintf("%d hosts, lease %.1f s", g.Hosts, g.Lease)
	}
	add("godlm top  %s   %d programs, %s", g.at.Format(time.TimeOnly), g.Programs, hosts)
	add("requests/s %9s local %9s out %9s in", short(g.Local), short(g.Out), short(g.In))
	add("waits/s    %9s, %s each; %d wait now", short(g.Waits), seconds(g.MeanWait), len(g.Waiters))
	add("%s locks in %s trees; %d deadlocks, %d values invalidated, %d rebuilds", short(float64(g.Locks)), short(float64(g.Trees)), g.Deadlocks, g.Invalid, g.Rebuilds)
	recovery := g.Recovery
	if len(recovery) == 0 {
		recovery = []string{"nothing hinders"}
	}
	for i, s := range recovery {
		if i == 3 {
			add("! and %d more", len(recovery)-i)
			break
		}
		sign := "!"
		if len(g.Recovery) == 0 {
			sign = " "
		}
		add("%s %s", sign, s)
	}
	left := high - len(out) - 6 // headings, the events and an empty line before each
	half := max(1, (left+1)/2)
	add("")
	name := max(20, wide-52)
	add("%-*s %9s %6s %6s  DECIDED BY", name, "MOST USED", "REQ/S", "LOCKS", "QUEUE")
	shown := min(len(g.Hottest), max(half, left-len(g.Waiters)))
	for _, h := range g.Hottest[:shown] {
		add("%-*s %9s %6s %6d  %s", name, fit(ascii(h.Resource), name), short(h.Rate), short(float64(h.Locks)), h.Queued, h.Master)
	}
	left -= max(shown, 0)
	add("")
	add("%8s  WAITERS", "SINCE")
	for i := range g.Waiters {
		if i >= left {
			break
		}
		w := &g.Waiters[i]
		age := "?"
		if w.age >= 0 {
			age = span(w.age)
		}
		add("%8s  %s", age, w.brief())
	}
	for i := max(0, len(g.events)-2); i < len(g.events) && len(out) < high; i++ {
		e := &g.events[i]
		add("%s  %s", e.at.Format(time.TimeOnly), ascii(e.Text))
	}
	return out[:min(len(out), high)]
}

// brief tells of a waiter in a line.
func (w *waiter) brief() string {
	s := fmt.Sprintf("%s wants %s on %s", w.Owner, w.Wanted, ascii(w.Resource))
	switch {
	case len(w.For) > 0 && w.For[0].Queued:
		s += " behind " + w.For[0].Owner.String()
	case len(w.For) > 0:
		s += fmt.Sprintf(" of %s (%s)", w.For[0].Owner, w.For[0].Mode)
	default:
		s += ", " + w.State
	}
	if len(w.For) > 1 {
		s += fmt.Sprintf(" and %d more", len(w.For)-1)
	}
	return s
}

// ascii is a text each of whose characters is one column wide.
func ascii(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			q := strconv.QuoteToASCII(s)
			return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
		}
	}
	return s
}

// fit cuts a text to n columns.
func fit(s string, n int) string {
	s = ascii(s)
	if len(s) <= n {
		return s
	}
	return s[:max(0, n-2)] + ".."
}

// short is a number in few characters.
func short(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.1fG", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v == float64(int(v)) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// seconds is a short time.
func seconds(s float64) string {
	switch {
	case s < 1e-3:
		return fmt.Sprintf("%.0f us", s*1e6)
	case s < 1:
		return fmt.Sprintf("%.1f ms", s*1e3)
	}
	return fmt.Sprintf("%.1f s", s)
}
