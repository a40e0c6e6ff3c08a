package cli

import (
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

type shown struct {
	Valid bool
	Text  *string
	Hex   string
}

// strict reads what a command has printed, which its schema describes.
func (p *place) strict(schema, text string, v any) {
	p.t.Helper()
	p.conforms(schema, text)
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		p.t.Fatalf("%v\n%s", err, text)
	}
}

func TestGetSet(t *testing.T) {
	p := newPlace(t)
	p.want(6, "", "get", "v")
	p.want(6, "nobody else has a lock on \"v\": the value is forgotten already", "set", "v", "gone")
	p.want(6, "", "get", "v")
	p.keep("v")
	p.want(0, "\n", "get", "v")

	zeros := func(n int) string { return strings.Repeat("0", n) }
	for _, c := range []struct {
		code      int
		says      string
		set       []string
		get, want string
	}{
		{0, "", []string{"hello"}, "text", "hello\n"},
		{0, "", []string{"--", "-1"}, "text", "-1\n"},
		{0, "", []string{"--as", "hex", "00ff"}, "hex", "00ff" + zeros(60) + "\n"},
		{0, "", []string{"--as", "u32", "7"}, "u32", "7\n"},
		{0, "", []string{"--as", "u64", "18446744073709551615"}, "u64", "18446744073709551615\n"},
		{0, "0\n", []string{"--as", "u64", "--increment=-18446744073709551615"}, "u64", "0\n"},
		{1, "is no number of 64 bits", []string{"--as", "u64", "--increment=-1"}, "u64", "0\n"},
		{0, "1\n", []string{"--increment"}, "text", "1\n"},
		{0, "43\n", []string{"--increment=42"}, "text", "43\n"},
		{11, "another one", []string{"--if-equals", "42", "44"}, "text", "43\n"},
		{0, "", []string{"--if-equals", "43", "--if-valid", "44"}, "text", "44\n"},
		{1, "not both numbers", []string{"--increment=x"}, "text", "44\n"},
		{1, "do not fit", []string{strings.Repeat("x", 33)}, "text", "44\n"},
		{1, "is no number", []string{"--as", "u32", "x"}, "text", "44\n"},
		{1, "no such file", []string{"--file", p.file("none")}, "text", "44\n"},
		{2, "wants one of", []string{}, "text", "44\n"},
		{2, "wants one of", []string{"--increment", "--file", "-"}, "text", "44\n"},
		{2, "is none of text, hex", []string{"--as", "oct", "1"}, "text", "44\n"},
		{0, "", []string{strings.Repeat("x", 32)}, "raw", strings.Repeat("x", 32)},
	} {
		p.want(c.code, c.says, append([]string{"set"}, append(c.set[:max(0, len(c.set)-1):max(0, len(c.set)-1)], name(c.set)...)...)...)
		if out := p.want(0, "", "get", "--as", c.get, "v"); out != c.want {
			t.Errorf("set %q: get %q, want %q", c.set, out, c.want)
		}
	}

	in := exec.Command(godlm, "set", "--file", "-", "v")
	in.Env, in.Stdin = p.env, strings.NewReader("from\x00a pipe")
	if out, err := in.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var g struct {
		Name   string
		Exists bool
		Locks  int
		shown
	}
	p.strict("get", p.want(0, "", "get", "--json", "v"), &g)
	if g.Name != "v" || !g.Exists || g.Locks != 1 || !g.Valid || g.Text != nil || !strings.HasPrefix(g.Hex, "66726f6d0061207069706500") {
		t.Errorf("%+v", g)
	}
	var s struct {
		Name       string
		Value, Was shown
		Kept       bool
	}
	p.strict("set", p.want(0, "", "set", "--json", "v", "j"), &s)
	if s.Name != "v" || *s.Value.Text != "j" || s.Was.Hex != g.Hex || !s.Kept || !s.Was.Valid {
		t.Errorf("%+v", s)
	}

	// A writer dies: everybody is told until somebody writes.
	w := p.start("lock", "v", "sh", "-c", "echo > "+p.file("writing")+"; exec sleep 1000")
	p.appears("writing")
	p.want(0, "j\n", "get", "v") // it has not written yet
	p.want(10, "not granted in time", "get", "--mode", "PR", "--timeout", "10ms", "v")
	p.want(10, "would have to wait", "set", "--nonblock", "v", "no")
	p.signal(w.Cmd, syscall.SIGKILL)
	p.want(9, "j\n", "get", "--mode", "PR", "v")
	p.strict("get", p.want(9, "", "get", "--json", "v"), &g)
	if g.Valid {
		t.Errorf("%+v", g)
	}
	p.want(9, "is not valid", "set", "--if-valid", "v", "no")
	p.want(0, "", "set", "v", "mended")
	p.want(0, "mended\n", "get", "v")
}

// name puts the resource's name before the last argument if that is a value.
func name(args []string) []string {
	if len(args) == 0 {
		return []string{"v"}
	}
	last := args[len(args)-1]
	if strings.HasPrefix(last, "--increment") || len(args) > 1 && args[len(args)-2] == "--file" {
		return []string{last, "v"}
	}
	return []string{"v", last}
}

// A value that nobody else keeps is kept by --hold.
func TestHold(t *testing.T) {
	p := newPlace(t)
	h := p.start("set", "--hold", "h", "kept")
	p.until("it is set", func() bool { out, _, code := p.run("get", "h"); return code == 0 && out == "kept\n" })
	p.want(0, "", "set", "h", "changed")
	p.signal(h.Cmd, syscall.SIGTERM)
	p.end(h, 0)
	p.want(6, "", "get", "h")
	h = p.start("set", "--hold=10ms", "h", "kept")
	p.end(h, 0)
	p.want(6, "", "get", "h")
}

// Counts of programs at the same time are not lost.
func TestIncrementTogether(t *testing.T) {
	p := newPlace(t)
	p.keep("n")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				c := exec.Command(godlm, "set", "--increment", "n")
				c.Env = p.env
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
		})
	}
	all.Wait()
	p.want(0, "40\n", "get", "n")
}

func TestDomainOption(t *testing.T) {
	p := newPlace(t)
	p.agent()
	p.want(3, "", "lock", "--domain", "books", "--invalidate-on-failure", "ledger", "sh", "-c", "exit 3")
	p.want(9, "", "get", "ledger") // nobody has a lock, and it is not forgotten
	p.want(1, "the resource is persistent", "set", "ledger", "x")
	p.want(9, "is not valid", "set", "--domain", "books", "--if-valid", "ledger", "x")
}
