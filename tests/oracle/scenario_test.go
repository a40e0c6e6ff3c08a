package oracle

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scenario is one line of a recording.
type scenario struct {
	File       string `json:"-"`
	Name       string `json:"scenario"`
	OneProcess bool   `json:"one_process"`
	Steps      []step
}

// key names a scenario in deviations.txt.
func (s *scenario) key() string { return s.File + " " + s.Name }

type step struct {
	Do     do
	RV     string
	Events []event
	State  *state
}

// do is a call.
type do struct {
	P, Op, H, Mode string
	Flags          []string
	LVB            *string
}

func (d *do) has(flag string) bool {
	for _, f := range d.Flags {
		if f == flag {
			return true
		}
	}
	return false
}

// event is a completion ("ast") or a blocking notice ("bast").
type event struct {
	P, Ev, H, Status, Mode string
	SBFlags                []string
	LVB                    string
}

// state is the kernel's queues after a step: [lock, granted mode, wanted mode].
type state struct {
	Granted, Convert, Wait [][3]*string
	LVB                    string
}

// load reads all recordings.
func load(t *testing.T) (out []*scenario) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s := &scenario{File: strings.TrimSuffix(filepath.Base(file), ".jsonl")}
			if err := json.Unmarshal(lines.Bytes(), s); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			out = append(out, s)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
