package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// row is one figure.
type row struct {
	Name      string   `json:"name"`      // of the system, and of who masters the resource
	What      string   `json:"what"`      // is measured
	Placement string   `json:"placement"` // of the processes on CPUs
	Value     *float64 `json:"value"`     // null: the system is left out
	Unit      string   `json:"unit"`
	Baseline  *float64 `json:"baseline"` // the plain connection's figure; null: there is none
	Ratio     *float64 `json:"ratio"`    // median of value / baseline; null: there is none
	Runs      int      `json:"runs"`
	LeftOut   string   `json:"left_out,omitempty"` // why, and what to do about it

	x *system
}

func num(v float64) *float64 { return &v }

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// median is the middle one, or between the two in the middle.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// jain is Jain's index of fairness: 1 if all have the same, 1/n if one has all.
func jain(v []float64) float64 {
	squares := 0.0
	for _, x := range v {
		squares += x * x
	}
	if squares == 0 {
		return 0 // nobody had anything: that is not fair
	}
	s := sum(v)
	return s * s / (float64(len(v)) * squares)
}

func printJSON(w io.Writer, rows []row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

// table is one of the report's.
type table struct {
	title string
	what  []string // is measured: a column each, or two if it has a ratio
	heads []string // of the columns
}

var tables = []table{
	{"Lock and unlock, one client, nobody else; in microseconds, and in TCP round trips placed alike",
		[]string{whatPairs}, []string{"us", "x trip"}},
	{"Hot lock: pairs per second, in TCP round trips per second on one CPU, and how fairly they are shared",
		[]string{whatHot, whatJain, whatMinMax, whatLongest}, []string{"pairs/s", "x trips", "Jain", "min/max", "longest ms"}},
	{"Holder killed: milliseconds until the next has the lock, and in times until an end of file is seen",
		[]string{whatKill, whatWorst}, []string{"median", "x eof", "worst", "x eof"}},
}

// printText prints what people read.
func printText(w io.Writer, rows []row) error {
	var b strings.Builder
	for _, t := range tables {
		for _, place := range placesOf(rows, t.what[0]) {
			fmt.Fprintf(&b, "\n%s (%s)\n", t.title, place)
			printLine(&b, "", t.heads)
			for _, r := range rows {
				if r.What == t.what[0] && r.Placement == place && r.Value != nil {
					printLine(&b, r.Name, t.cells(rows, r))
				}
			}
		}
	}
	for _, r := range rows {
		if r.What == whatBroken && *r.Value > 0 {
			fmt.Fprintf(&b, "\n%s: two clients had the lock at once, %.0f times\n", r.Name, *r.Value)
		}
		if r.LeftOut != "" {
			fmt.Fprintf(&b, "\nleft out: %s, %s: %s\n", r.Name, r.What, r.LeftOut)
		}
	}
	for _, line := range behind(rows) {
		fmt.Fprintf(&b, "\nnot ahead: %s\n", line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printSettings says with what settings the systems were measured.
func printSettings(w io.Writer, rows []row) error {
	var b strings.Builder
	b.WriteString("Settings\n")
	seen := map[*system]bool{nil: true}
	for _, r := range rows {
		if !seen[r.x] {
			fmt.Fprintf(&b, "  %-20s %s\n", r.x, r.x.settings)
			seen[r.x] = true
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printLine(b *strings.Builder, name string, cells []string) {
	fmt.Fprintf(b, "  %-44s", name)
	for _, c := range cells {
		fmt.Fprintf(b, " %10s", c)
	}
	b.WriteByte('\n')
}

// placesOf are the placements with which something was measured.
func placesOf(rows []row, what string) (all []string) {
	for _, r := range rows {
		if r.What == what && !slices.Contains(all, r.Placement) && r.Value != nil {
			all = append(all, r.Placement)
		}
	}
	return all
}

// cells are what a table says of the system that a row is of.
func (t *table) cells(rows []row, of row) (cells []string) {
	for _, what := range t.what {
		i := slices.IndexFunc(rows, func(r row) bool {
			return r.Name == of.Name && r.Placement == of.Placement && r.What == what
		})
		cells = append(cells, digits(*rows[i].Value))
		if rows[i].Ratio != nil {
			cells = append(cells, digits(*rows[i].Ratio))
		}
	}
	return cells
}

// digits has three that count.
func digits(v float64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%.*f", max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))), v)
}

// fairEnough is the goal for Jain's index.
const fairEnough = 0.9

// behind says where godlm is not ahead of each of the others, or not fair.
func behind(rows []row) (lines []string) {
	for _, g := range rows {
		if g.x == nil || g.x.name != "godlm" || g.Value == nil {
			continue
		}
		if g.What == whatJain && *g.Value < fairEnough {
			lines = append(lines, fmt.Sprintf("%s: %s is %.2f, less than %.1f", g.Name, g.What, *g.Value, fairEnough))
		}
		for _, r := range rows {
			if r.What == g.What && r.Placement == g.Placement && r.Value != nil && isRival(g.x, r.x) && !ahead(g, r) {
				lines = append(lines, fmt.Sprintf("%s: %s, %s: %s; %s has %s", g.Name, g.What, g.Placement, digits(compared(g)), r.Name, digits(compared(r))))
			}
		}
	}
	return lines
}

// isRival: one server is compared with one host, several with several.
func isRival(g, r *system) bool { return r.name != "godlm" && (g.nodes > 1) == (r.nodes > 1) }

// compared is what is compared of a figure: what is a ratio to what was taken at the
// same time is less disturbed by what else the machine does.
func compared(r row) float64 {
	if r.What == whatPairs || r.What == whatHot {
		return *r.Ratio
	}
	return *r.Value
}

func ahead(g, r row) bool {
	switch g.What {
	case whatPairs, whatKill:
		return compared(g) < compared(r)
	case whatHot:
		return compared(g) > compared(r)
	}
	return true // fairness has a goal of its own; the worst of some is luck
}
