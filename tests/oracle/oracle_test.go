package oracle

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var show = flag.Bool("show", false, "print all differences in the form of deviations.txt, without reasons")

// deviations.txt: every difference from the recordings, with its reason.
type deviations struct {
	reasons    map[string]string   // by short name
	used       map[string]bool     // reasons
	skipped    map[string]string   // scenario to reason's name
	accepted   map[string][]string // scenario to differences
	unreplayed map[string]bool
}

func readDeviations(t *testing.T) *deviations {
	t.Helper()
	b, err := os.ReadFile("deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	d := &deviations{map[string]string{}, map[string]bool{}, map[string]string{}, map[string][]string{}, map[string]bool{}}
	key := ""
	for i, line := range strings.Split(string(b), "\n") {
		where := fmt.Sprintf("deviations.txt:%d", i+1)
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "" || strings.HasPrefix(line, "#"):
		case word == "reason":
			name, why, _ := strings.Cut(rest, ": ")
			if why == "" {
				t.Fatalf("%s: no reason", where)
			}
			d.reasons[name] = why
		case word == "skip":
			name, scenario, _ := strings.Cut(rest, " ")
			d.reason(t, where, name)
			d.skipped[scenario] = name
			d.unreplayed[scenario] = true
		case strings.HasPrefix(line, " "):
			d.reason(t, where, word)
			d.accepted[key] = append(d.accepted[key], rest)
		default:
			key = strings.TrimSpace(line)
			if d.unreplayed[key] {
				t.Fatalf("%s: %s is listed twice", where, key)
			}
			d.unreplayed[key] = true
		}
	}
	return d
}

func (d *deviations) reason(t *testing.T, where, name string) {
	t.Helper()
	if d.reasons[name] == "" {
		t.Fatalf("%s: no reason is called %q", where, name)
	}
	d.used[name] = true
}

// TestReplay carries every recorded scenario out in three layouts. What differs
// from the recording must be listed, and what is listed must differ.
func TestReplay(t *testing.T) {
	d := readDeviations(t)
	replayed, deviating := 0, 0
	for _, s := range load(t) {
		delete(d.unreplayed, s.key())
		if d.skipped[s.key()] != "" {
			continue
		}
		replayed++
		want := d.accepted[s.key()]
		if len(want) > 0 {
			deviating++
		}
		var shown []string
		for _, where := range []layout{together, apart, below} {
			got := newReplay(t, where).run(s)
			if *show {
				if where != together && !slices.Equal(got, shown) {
					fmt.Printf("# %s differs\n", where)
				}
				if len(got) > 0 && !slices.Equal(got, shown) {
					fmt.Printf("%s\n  ? %s\n", s.key(), strings.Join(got, "\n  ? "))
				}
				shown = got
				continue
			}
			for _, line := range got {
				if !slices.Contains(want, line) {
					t.Errorf("%s, %s: not in deviations.txt: %s", s.key(), where, line)
				}
			}
			for _, line := range want {
				if !slices.Contains(got, line) {
					t.Errorf("%s, %s: in deviations.txt, but not so: %s", s.key(), where, line)
				}
			}
		}
	}
	for key := range d.unreplayed {
		t.Errorf("deviations.txt: there is no scenario %s", key)
	}
	for name := range d.reasons {
		if !d.used[name] {
			t.Errorf("deviations.txt: reason %s is not used", name)
		}
	}
	t.Logf("%d scenarios replayed in 3 layouts, %d of them deviate; %d skipped", replayed, deviating, len(d.skipped))
}
