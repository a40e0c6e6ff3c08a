package mode

import (
	"os"
	"strings"
	"testing"
)

// cells reads a table of testdata, which is written from the reference and not
// from the code: cells[row][column].
func cells(t *testing.T, file string) map[string]map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	out := map[string]map[string]string{}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || strings.HasPrefix(line, "#"):
		case columns == nil:
			columns = f
		case len(f) != len(columns)+1:
			t.Fatalf("%s: %q has %d cells, want %d", file, line, len(f)-1, len(columns))
		default:
			row := map[string]string{}
			for i, c := range columns {
				row[c] = f[i+1]
			}
			out[f[0]] = row
		}
	}
	return out
}

// byName are the modes by the names used in the tables; None is a new lock.
var byName = map[string]Mode{"new": None, "NL": NL, "CR": CR, "CW": CW, "PR": PR, "PW": PW, "EX": EX}

// golden compares a function with a table cell by cell.
func golden(t *testing.T, file string, rows int, got func(row, column Mode) string) {
	t.Helper()
	table := cells(t, file)
	if len(table) != rows {
		t.Fatalf("%s has %d rows, want %d", file, len(table), rows)
	}
	for row, columns := range table {
		from, ok := byName[row]
		if !ok || len(columns) != 6 {
			t.Fatalf("%s: row %s has %d columns", file, row, len(columns))
		}
		for column, want := range columns {
			to, ok := byName[column]
			if !ok {
				t.Fatalf("%s: no mode is called %s", file, column)
			}
			if g := got(from, to); g != want {
				t.Errorf("%s: %s %s: got %s, want %s", file, row, column, g, want)
			}
		}
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func TestCompatible(t *testing.T) {
	golden(t, "compatible.txt", 6, func(a, b Mode) string {
		if Compatible(a, b) == Incompatible(a).Has(b) || Compatible(a, b) != Compatible(b, a) {
			t.Errorf("%v %v: Compatible and Incompatible disagree", a, b)
		}
		return yes(Compatible(a, b))
	})
	for m := None; m < Count; m++ {
		if !Compatible(None, m) || !Compatible(m, None) {
			t.Errorf("no mode excludes %v", m)
		}
	}
}

func TestNotHigher(t *testing.T) {
	golden(t, "down.txt", 6, func(a, b Mode) string { return yes(NotHigher(a, b)) })
}

func TestQueueableConversion(t *testing.T) {
	golden(t, "quecvt.txt", 6, func(a, b Mode) string { return yes(QueueableConversion(a, b)) })
}

func TestValueMoves(t *testing.T) {
	names := map[ValueMove]string{Leave: "-", Read: "R", Write: "W"}
	golden(t, "value.txt", 7, func(a, b Mode) string { return names[OnConvert(a, b)] })
	for a := NL; a <= EX; a++ {
		for b := NL; b <= EX; b++ {
			if OnConvert(a, b) == Write && (!Writer(a) || !NotHigher(a, b)) {
				t.Errorf("%v to %v writes, but not from PW or EX or not at once", a, b)
			}
		}
	}
}

func TestNumbersAndNames(t *testing.T) {
	for i, name := range []string{"-", "NL", "CR", "CW", "PR", "PW", "EX", "?"} {
		m := Mode(i)
		if m.String() != name {
			t.Errorf("mode %d is called %v, want %s", i, m, name)
		}
		if want := i >= 1 && i <= 6; m.Valid() != want {
			t.Errorf("mode %d valid: %v", i, !want)
		}
	}
}

// TestWritersExcludeEachOther is what value blocks rest on: at most one lock
// may change a block, and whoever protects a block keeps writers away.
func TestWritersExcludeEachOther(t *testing.T) {
	for a := NL; a <= EX; a++ {
		for b := NL; b <= EX; b++ {
			if Writer(a) && Writer(b) && Compatible(a, b) {
				t.Errorf("%v and %v both write, together", a, b)
			}
			if ProtectsValue(a) && Writer(b) && Compatible(a, b) {
				t.Errorf("%v protects the value, yet %v may write beside it", a, b)
			}
		}
	}
}
