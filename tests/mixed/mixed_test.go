// Package mixed has programs in C and in Go share locks: the C ones are those of the lab
// (make lab), the Go ones this test and copies of itself.
package mixed

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/godlm/godlm"
	"github.com/godlm/godlm/core/dlm"
)

const player = "../../build/lab/player"

var bg = context.Background()

func TestMain(m *testing.M) {
	if os.Getenv("GODLM_TEST_WRITER") != "" {
		writer()
	}
	if _, err := os.Stat(player); err != nil {
		fmt.Println("the programs in C are missing:", err, "\nmake lab builds them")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "g") // short: sockets live there
	if err == nil {
		err = os.Setenv("GODLM_DIR", dir)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// writer takes a lock in EX, says so, and waits to be killed.
func writer() {
	ns, err := godlm.Join(bg)
	if err == nil {
		_, err = ns.Lock(bg, os.Getenv("GODLM_TEST_WRITER"), godlm.EX)
	}
	fmt.Println("has it:", err)
	select {}
}

// value is a block as the C program makes it: two numbers and a sum over them.
func value(version uint64) (v godlm.Value) {
	w := [4]uint64{version}
	w[2] = w[0]*0x9e3779b97f4a7c15 + w[1]
	w[3] = (w[1] ^ w[2]) * 0xbf58476d1ce4e5b9
	for i := range w {
		binary.NativeEndian.PutUint64(v[8*i:], w[i])
	}
	return v
}

func version(v godlm.Value) uint64 { return binary.NativeEndian.Uint64(v[:]) }

// program is one in C.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(player)}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.in, p.out = in, bufio.NewScanner(out)
	must(t, p.cmd.Start())
	t.Cleanup(p.kill)
	p.do(dlm.Success, "join")
	return p
}

func (p *program) say(format string, args ...any) {
	p.t.Helper()
	_, err := fmt.Fprintf(p.in, format+"\n", args...)
	must(p.t, err)
}

// hear takes the answer to a call: the version in the value block.
func (p *program) hear(want dlm.Status) (version uint64) {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatal("the program in C has ended")
	}
	var st dlm.Status
	var begin, end int64
	if _, err := fmt.Sscanf(p.out.Text(), "= %d %d %d %d", &st, &begin, &end, &version); err != nil {
		p.t.Fatalf("%q: %v", p.out.Text(), err)
	}
	if st != want {
		p.t.Fatalf("status %d, want %d", st, want)
	}
	return version
}

func (p *program) do(want dlm.Status, format string, args ...any) uint64 {
	p.t.Helper()
	p.say(format, args...)
	return p.hear(want)
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func join(t *testing.T) (*godlm.Namespace, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	t.Cleanup(cancel)
	ns, err := godlm.Join(ctx)
	must(t, err)
	t.Cleanup(func() { must(t, ns.Close()) })
	return ns, ctx
}

func wants(t *testing.T, l *godlm.Lock, v uint64, valid bool) {
	t.Helper()
	if b := l.Block(); version(b.Value) != v || b.Valid != valid {
		t.Fatalf("version %d, valid %v; want %d, %v", version(b.Value), b.Valid, v, valid)
	}
}

// The numbers of <sys/dlm.h>.
const (
	nl, pr, ex = godlm.NL, godlm.PR, godlm.EX
	valb       = dlm.ValB
)

// Whoever comes first is the master of the name.
func TestDeathIsToldInBothLanguages(t *testing.T) {
	for _, first := range []string{"Go", "C"} {
		t.Run(first+" is master", func(t *testing.T) {
			name := "death-" + first
			ns, ctx := join(t)
			p := newProgram(t)
			if first == "C" {
				p.do(dlm.Success, "lock 0 %d %d 0 0 %s", nl, valb, name)
			}
			l, err := ns.Lock(ctx, name, godlm.NL)
			must(t, err)
			if first == "Go" {
				p.do(dlm.Success, "lock 0 %d %d 0 0 %s", nl, valb, name)
			}

			// C writes, Go waits for it and reads.
			p.do(dlm.Success, "cvt 0 %d %d 0 0", ex, valb)
			read := make(chan error)
			go func() { read <- l.Convert(ctx, godlm.PR) }()
			p.do(dlm.Success, "cvt 0 %d %d 7 0", nl, valb)
			must(t, <-read)
			wants(t, l, 7, true)

			// Go writes, C reads.
			must(t, l.Convert(ctx, godlm.EX))
			p.say("cvt 0 %d %d 0 0", pr, valb)
			must(t, l.Convert(ctx, godlm.NL, godlm.Write(value(8))))
			if v := p.hear(dlm.Success); v != 8 {
				t.Fatalf("C reads version %d", v)
			}
			p.do(dlm.Success, "cvt 0 %d 0 0 0", nl)

			// A writer in Go is killed: C is told, until somebody writes.
			w := exec.Command(os.Args[0])
			w.Env = append(os.Environ(), "GODLM_TEST_WRITER="+name)
			out, err := w.StdoutPipe()
			must(t, err)
			must(t, w.Start())
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "has it: <nil>\n" {
				t.Fatalf("%q, %v", line, err)
			}
			must(t, w.Process.Kill())
			_ = w.Wait()
			if v := p.do(dlm.SuccValNotValid, "cvt 0 %d %d 0 0", ex, valb); v != 8 {
				t.Fatalf("C reads version %d", v)
			}
			p.do(dlm.Success, "cvt 0 %d %d 9 0", ex, valb)

			// A writer in C is killed: Go is told, until somebody writes.
			p.kill()
			must(t, l.Convert(ctx, godlm.EX))
			wants(t, l, 9, false)
			must(t, l.Convert(ctx, godlm.PR, godlm.Write(value(10))))
			q := newProgram(t)
			if v := q.do(dlm.Success, "lock 0 %d %d 0 0 %s", pr, valb, name); v != 10 {
				t.Fatalf("C reads version %d", v)
			}
		})
	}
}

// Programs in both languages count together.
func TestCountTogether(t *testing.T) {
	const rounds = 200
	ns, ctx := join(t)
	keep, err := ns.Lock(ctx, "count", godlm.NL)
	must(t, err)
	p := newProgram(t)
	p.do(dlm.Success, "lock 0 %d %d 0 0 count", nl, valb)
	var both sync.WaitGroup
	both.Go(func() {
		for range rounds {
			if err := keep.Convert(ctx, godlm.EX); err != nil {
				t.Error(err)
				return
			}
			if err := keep.Convert(ctx, godlm.NL, godlm.Write(value(version(keep.Block().Value)+1))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range rounds {
		n := p.do(dlm.Success, "cvt 0 %d %d 0 0", ex, valb)
		p.do(dlm.Success, "cvt 0 %d %d %d 0", nl, valb, n+1)
	}
	both.Wait()
	must(t, keep.Convert(ctx, godlm.CR))
	wants(t, keep, 2*rounds, true)
}

// With the library of the C programs in the same process there would be two lock managers.
func TestLibraryInTheSameProcess(t *testing.T) {
	lib, err := filepath.Abs("../../build/libgodlm.so")
	must(t, err)
	c := exec.Command(os.Args[0], "-test.run=^TestCountTogether$")
	c.Env = append(os.Environ(), "GODLM_TEST_WRITER=x", "LD_PRELOAD="+lib)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if want := "has it: godlm: join: cannot join: libgodlm.so is loaded in this process: use it, or this package, but not both\n"; line != want {
		t.Errorf("%q", line)
	}
}
