package godlm_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/godlm/godlm"
)

// TestMain gives all tests and examples a runtime directory of their own. The same program,
// started with GODLM_TEST_PUPPET or GODLM_TEST_WRITER, is a second one for them to share locks with.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("GODLM_TEST_PUPPET") != "":
		obey(os.Stdin, os.Stdout)
		return
	case os.Getenv("GODLM_TEST_WRITER") != "":
		dyingWriter()
	}
	dir, err := os.MkdirTemp("", "g") // short: sockets live there
	if err != nil {
		panic(err)
	}
	for name, v := range map[string]string{"GODLM_DIR": dir, "GODLM_DEADLOCK_WAIT_MS": "50"} {
		if err := os.Setenv(name, v); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println(err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// obey makes the calls that it is told to, a line each, and answers each with a line.
//
//	lock NAME MODE         ok VALUE true|false
//	convert NAME MODE      the same
//	write NAME MODE TEXT   conversion that writes
//	unlock NAME            ok
//	again                  closes, and joins anew
//	break                  ends connections that are not its own, and tells what that costs it
func obey(in io.Reader, out io.Writer) {
	ctx := context.Background()
	say := func(format string, args ...any) {
		if _, err := fmt.Fprintf(out, format+"\n", args...); err != nil {
			os.Exit(1)
		}
	}
	ns, err := godlm.Join(ctx)
	if err != nil {
		say("%v", err)
		return
	}
	locks := map[string]*godlm.Lock{}
	say("joined")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		f := append(strings.Fields(lines.Text()), "", "", "")
		l := locks[f[1]]
		m, _ := godlm.ParseMode(f[2]) // no mode is an error of the call
		switch f[0] {
		case "lock":
			l, err = ns.Lock(ctx, f[1], m)
			locks[f[1]] = l
		case "convert":
			err = l.Convert(ctx, m)
		case "write":
			v, _ := godlm.TextValue(f[3]) // they are short
			err = l.Convert(ctx, m, godlm.Write(v))
		case "unlock":
			err = l.Unlock(ctx)
		case "again":
			if err = ns.Close(); err == nil {
				ns, err = godlm.Join(ctx)
			}
		case "break":
			if breakConnections() > 0 {
				<-ns.Done()
			}
			err = ns.Err()
		}
		switch {
		case err != nil:
			say("%s: %v", godlm.StatusOf(err).Name(), err)
		case l != nil:
			say("ok %q %v", l.Block().Value.Text(), l.Block().Valid)
		default:
			say("ok")
		}
	}
}

// puppet is a second program.
type puppet struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func newPuppet(t *testing.T) *puppet {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "GODLM_TEST_PUPPET=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p := &puppet{t, c, in, bufio.NewScanner(out)}
	t.Cleanup(p.kill)
	if s := p.read(); s != "joined" {
		t.Fatalf("the second program: %s", s)
	}
	return p
}

func (p *puppet) read() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatal("the second program has ended")
	}
	return p.out.Text()
}

func (p *puppet) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

// do has one call made and its answer begin with want.
func (p *puppet) do(want, format string, args ...any) string {
	p.t.Helper()
	p.say(format, args...)
	s := p.read()
	if !strings.HasPrefix(s, want) {
		p.t.Fatalf("%s: %s, not %s", fmt.Sprintf(format, args...), s, want)
	}
	return s
}

// kill is kill -9.
func (p *puppet) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}
