package cli

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godlm/godlm/tests/lab"
)

// players is built once: the C library, and the program that does as it is told.
var players = sync.OnceValues(func() (string, error) {
	root, err := lab.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "build/lab/player"), lab.Build()
})

// player is a C program with locks (tests/lab/player/player.c).
type player struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

// player starts one, which joins.
func (p *place) player() *player {
	p.t.Helper()
	path, err := players()
	if err != nil {
		p.t.Fatal(err)
	}
	x := &player{t: p.t, cmd: exec.Command(path)}
	x.cmd.Env = p.env
	in, err := x.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	x.in, x.out = in, bufio.NewScanner(out)
	if err := x.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { x.kill() })
	x.want(0, "join")
	return x
}

func (x *player) kill() {
	_ = x.cmd.Process.Kill()
	_ = x.cmd.Wait()
}

// begin says what to do and does not wait for the answer.
func (x *player) begin(format string, args ...any) {
	x.t.Helper()
	if _, err := fmt.Fprintf(x.in, format+"\n", args...); err != nil {
		x.t.Fatal(err)
	}
}

// end is the status of what was begun.
func (x *player) end() (status int) {
	x.t.Helper()
	watch := time.AfterFunc(30*time.Second, func() { _ = x.cmd.Process.Kill() })
	defer watch.Stop()
	if !x.out.Scan() {
		x.t.Fatal("the program has ended, or did not answer within 30 s")
	}
	if _, err := fmt.Sscanf(x.out.Text(), "= %d", &status); err != nil {
		x.t.Fatalf("%q: %v", x.out.Text(), err)
	}
	return status
}

func (x *player) want(status int, format string, args ...any) {
	x.t.Helper()
	x.begin(format, args...)
	if got := x.end(); got != status {
		x.t.Fatalf("%s: status %d, want %d", strings.TrimSpace(fmt.Sprintf(format, args...)), got, status)
	}
}

func (x *player) pid() int { return x.cmd.Process.Pid }
