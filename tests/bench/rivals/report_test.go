package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestJain(t *testing.T) {
	for _, c := range []struct {
		counts []float64
		want   float64
	}{
		{[]float64{5, 5, 5, 5}, 1},
		{[]float64{8, 0, 0, 0}, 0.25},
		{[]float64{1, 3}, 0.8},
		{[]float64{0, 0}, 0},
	} {
		if got := jain(c.counts); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("jain(%v) = %v; want %v", c.counts, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 9}, 3},
	} {
		if got := median(c.of); got != c.want {
			t.Errorf("median(%v) = %v; want %v", c.of, got, c.want)
		}
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 1: "1.00", 12.34: "12.3", 123.4: "123", 8123.4: "8123"} {
		if got := digits(v); got != want {
			t.Errorf("digits(%v) = %s; want %s", v, got, want)
		}
	}
}

// figures are rows of godlm and of one rival, on so many nodes each.
func figures(godlmNodes, rivalNodes int, what string, godlm, rival float64) []row {
	g, r := &system{name: "godlm", nodes: godlmNodes}, &system{name: "rival", nodes: rivalNodes}
	figure := func(x *system, v float64) row {
		return row{Name: x.String(), What: what, Placement: "here", Value: num(v), Ratio: num(v), Runs: 1, x: x}
	}
	return []row{figure(g, godlm), figure(r, rival)}
}

func TestBehind(t *testing.T) {
	for _, c := range []struct {
		name         string
		nodes        [2]int
		what         string
		godlm, rival float64
		behind       bool
	}{
		{"less time for a pair", [2]int{1, 1}, whatPairs, 1, 2, false},
		{"more time for a pair", [2]int{1, 1}, whatPairs, 2, 1, true},
		{"the same time", [2]int{1, 1}, whatPairs, 1, 1, true},
		{"fewer pairs", [2]int{3, 5}, whatHot, 1, 2, true},
		{"more pairs", [2]int{3, 5}, whatHot, 2, 1, false},
		{"one host, three servers", [2]int{1, 3}, whatHot, 1, 2, false},
		{"slower to be free", [2]int{1, 1}, whatKill, 3, 2, true},
		{"not fair", [2]int{1, 1}, whatJain, 0.8, 0.5, true},
		{"fair", [2]int{1, 1}, whatJain, 0.95, 1, false},
	} {
		lines := behind(figures(c.nodes[0], c.nodes[1], c.what, c.godlm, c.rival))
		if len(lines) > 0 != c.behind {
			t.Errorf("%s: %q", c.name, lines)
		}
	}
}

// What is left out is said, in text and in JSON, and has no figure.
func TestLeftOut(t *testing.T) {
	rows := append(figures(1, 1, whatPairs, 1, 2), row{Name: "other", What: whatPairs, Placement: "here", LeftOut: "apt-get install it"})
	var text, js bytes.Buffer
	if err := printText(&text, rows); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "left out: other, "+whatPairs+": apt-get install it") {
		t.Errorf("not said that it is left out:\n%s", text.String())
	}
	if err := printJSON(&js, rows); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(js.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2]["value"] != nil || got[2]["left_out"] != "apt-get install it" || got[0]["value"] != 1.0 {
		t.Errorf("JSON: %s", js.String())
	}
	for _, key := range []string{"name", "what", "placement", "value", "unit", "baseline", "ratio", "runs"} {
		if _, ok := got[0][key]; !ok {
			t.Errorf("JSON has no %s: %s", key, js.String())
		}
	}
}
