package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// What measures is a program beside the command, which says figures; here it is a script.
func TestBench(t *testing.T) {
	p := newPlace(t)
	p.want(1, "not installed", "bench")
	probe := filepath.Join(filepath.Dir(godlm), "bench", "probe")
	say := func(text string) string {
		t.Helper()
		path := filepath.Join(p.dir, "says")
		for _, x := range []string{probe, path} {
			if err := os.MkdirAll(filepath.Dir(x), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(x, []byte("#!/bin/sh\nprintf '%s' '"+text+"'\n"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(probe)) })
	other := say(`{"name":"a","what":"x","placement":"p","unit":"us","value":1,"min":1,"median":1,"max":3,"runs":5,"baseline":4,"ratio":0.25,"goal":0.5}` + "\n" +
		`{"name":"b","what":"y","unit":"MB","value":20,"goal":15}` + "\n" +
		`{"name":"c","what":"z","unit":"1/s","value":20,"goal":15,"at_least":true}` + "\n")
	p.want(2, "1 to 101", "bench", "--runs", "0")
	p.want(0, "<= 0.5 x: reached", "bench")
	p.want(0, "<= 15: NOT reached", "bench")
	out, _, code := p.run("bench", "--json", "--program", other)
	p.conforms("bench", out)
	var list []struct {
		Name    string
		Reached bool
		Runs    int
		Median  float64
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 6 {
		t.Fatalf("status %d, %v\n%s", code, err, out)
	}
	for i, want := range []bool{true, false, true} {
		if x := list[i+3]; x.Reached != want || x.Runs == 0 || x.Median == 0 {
			t.Errorf("%+v, reached is to be %v", x, want)
		}
	}
	say("no figure\n")
	p.want(1, "makes no sense", "bench")
	say(`{"name":"a"`)
	p.want(1, "within a line", "bench")
}
