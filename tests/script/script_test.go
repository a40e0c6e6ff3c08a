package script

import (
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// layout says where a script's processes run.
type layout string

const (
	together layout = "together" // all in one process
	apart    layout = "apart"    // each in its own; the first locker is master
	remote   layout = "remote"   // each in its own; the master is yet another
)

// layouts reads the "# layouts:" line of a script.
func layouts(t *testing.T, path string) (out []layout) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if list, ok := strings.CutPrefix(line, "# layouts:"); ok {
			for _, name := range strings.Fields(list) {
				out = append(out, layout(name))
			}
			return out
		}
	}
	return []layout{together, apart, remote}
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		for _, where := range layouts(t, path) {
			t.Run(string(where), func(t *testing.T) {
				s := newScript(where)
				datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
					if d.Cmd == "fresh" { // a script may hold several stories
						s = newScript(where)
						return ""
					}
					s.t = t
					return s.run(d)
				})
			})
		}
	})
}
