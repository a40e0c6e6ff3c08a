package node

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
)

const (
	nl = int(mode.NL)
	pr = int(mode.PR)
	ex = int(mode.EX)
)

func TestTwoProcesses(t *testing.T) {
	dir := freshDir(t)
	a, b := startChild(t, dir), startChild(t, dir)
	if a.do("agent") != "true" || b.do("agent") != "false" {
		t.Fatal("the first process is the agent")
	}
	x := a.want(dlm.Success, "", "lock R %d", ex)
	b.want(dlm.Success, "", "lock R %d", nl) // keeps the value
	b.want(dlm.Pending, "", "ask R %d", ex)
	a.want(dlm.Success, "", "unlock %d one", x)
	y := b.want(dlm.Success, "one", "done")
	b.want(dlm.Success, "", "unlock %d two", y)
	if s := b.do("spin R 1000"); s != "1000" {
		t.Fatal(s)
	}
	if s := a.do("spin R 1000"); s != "1000" {
		t.Fatal(s)
	}
}

func TestHoldersDeath(t *testing.T) {
	dir := freshDir(t)
	agent, holder, waiter := startChild(t, dir), startChild(t, dir), startChild(t, dir)
	agent.want(dlm.Success, "", "lock R %d", nl) // masters R
	holder.want(dlm.Success, "", "lock R %d", ex)
	waiter.want(dlm.Pending, "", "ask R %d", ex)
	holder.kill()
	waiter.want(dlm.SuccValNotValid, "", "done")
}

// The master dies, alone or with the writer or with the agent; the value comes
// from its journal.
func TestMastersDeath(t *testing.T) {
	for _, alsoAgent := range []bool{false, true} {
		for _, alsoWriter := range []bool{false, true} {
			dir := freshDir(t)
			agent, master, writer, reader := startChild(t, dir), startChild(t, dir), startChild(t, dir), startChild(t, dir)
			master.want(dlm.Success, "", "lock R %d", nl)
			w := writer.want(dlm.Success, "", "lock R %d", ex)
			writer.want(dlm.Success, "", "convert %d %d one", w, nl)
			w = reader.want(dlm.Success, "one", "lock R %d", nl)
			e := writer.want(dlm.Success, "one", "lock R %d", ex)
			writer.want(dlm.Success, "", "convert %d %d two", e, ex)
			master.kill()
			if alsoAgent {
				agent.kill()
			}
			st := dlm.Success
			if alsoWriter {
				writer.kill()
				st = dlm.SuccValNotValid
			} else {
				writer.want(dlm.Success, "", "unlock %d two", e)
			}
			reader.want(st, "two", "convert %d %d x", w, pr)
		}
	}
}

func TestAgentsDeath(t *testing.T) {
	dir := freshDir(t)
	var c []*child
	for i := 0; i < 5; i++ {
		c = append(c, startChild(t, dir))
	}
	for len(c) > 1 {
		at := -1
		until(t, "an agent", func() bool {
			for i, x := range c {
				if x.do("agent") == "true" {
					at = i
				}
			}
			return at >= 0
		})
		c[at].want(dlm.Success, "", "lock held-by-the-dead-%d %d", len(c), ex)
		c[at].kill()
		c = append(c[:at], c[at+1:]...)
		for _, x := range c {
			if s := x.do("spin R 20"); s != "20" {
				t.Fatal(s)
			}
		}
	}
	if s := c[0].do("spin S 100"); s != "100" {
		t.Fatal(s)
	}
	// Whoever is dead leaves no file.
	for _, sub := range []string{"proc", "sock"} {
		until(t, sub+" of the dead removed", func() bool {
			f, err := os.ReadDir(filepath.Join(dir, sub))
			if err != nil {
				t.Fatal(err)
			}
			return len(f) == 1
		})
	}
}

func TestStoppedProcessDoesNotGetTheRole(t *testing.T) {
	dir := freshDir(t)
	agent, stopped, other := startChild(t, dir), startChild(t, dir), startChild(t, dir)
	s := stopped.want(dlm.Success, "", "lock S %d", ex)
	other.want(dlm.Success, "", "lock S %d", nl) // keeps the value
	stopped.stop()
	agent.kill()
	other.want(dlm.Success, "", "lock R %d", ex) // needs an agent
	if other.do("agent") != "true" {
		t.Fatal("who runs is not the agent")
	}
	other.want(dlm.Pending, "", "ask S %d", ex) // the stopped one is alive
	late := startChild(t, dir)
	late.want(dlm.Pending, "", "ask R %d", ex)
	stopped.signal(unix.SIGCONT)
	stopped.want(dlm.Success, "", "unlock %d kept", s)
	other.want(dlm.Success, "kept", "done")
}

func TestStoppedProcessDies(t *testing.T) {
	dir := freshDir(t)
	agent, stopped, other := startChild(t, dir), startChild(t, dir), startChild(t, dir)
	stopped.want(dlm.Success, "", "lock S %d", ex)
	stopped.stop()
	agent.kill()
	other.want(dlm.Success, "", "lock R %d", ex)
	other.want(dlm.Pending, "", "ask S %d", ex)
	stopped.kill()
	other.want(dlm.Success, "", "done") // nobody shared S, so that it starts anew
}

func TestCleanLeave(t *testing.T) {
	dir := freshDir(t)
	a, b := startChild(t, dir), startChild(t, dir)
	x := a.want(dlm.Success, "", "lock R %d", ex)
	b.want(dlm.Success, "", "lock R %d", nl)
	a.want(dlm.Success, "", "convert %d %d bye", x, nl)
	a.send("close")
	if err := a.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	b.want(dlm.Success, "bye", "lock R %d", ex)
}

func TestEverybodyDiesAndSomebodyComes(t *testing.T) {
	dir := freshDir(t)
	for i := 0; i < 3; i++ {
		a, b := startChild(t, dir), startChild(t, dir)
		x := a.want(dlm.Success, "", "lock R %d", ex)
		b.want(dlm.Pending, "", "ask R %d", ex)
		a.want(dlm.Success, "", "convert %d %d v", x, ex)
		a.kill()
		b.kill()
	}
}

func TestStoppedAgentIsNamed(t *testing.T) {
	dir := freshDir(t)
	a := startChild(t, dir)
	a.stop()
	_, err := newProgram(dir, 50*time.Millisecond)
	if !errors.Is(err, ErrNoAgent) || !strings.Contains(err.Error(), "stopped") {
		t.Fatal(err)
	}
	t.Log(err)
	a.signal(unix.SIGCONT)
	p, err := newProgram(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.n.Close()
	a.want(dlm.Success, "", "lock R %d", ex)
}

func TestOneNodeInADirectory(t *testing.T) {
	dir := freshDir(t)
	p, err := newProgram(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newProgram(dir, 0); !errors.Is(err, ErrOpen) {
		t.Fatal(err)
	}
	c := startChild(t, dir)
	if c.do("agent") != "false" {
		t.Fatal("the second attempt cost the role")
	}
	p.n.Close()
	p.n.Close()
	if p, err = newProgram(dir, 0); err != nil {
		t.Fatal(err)
	}
	p.n.Close()
}

func TestUnsafeDirectory(t *testing.T) {
	dir := freshDir(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := newProgram(dir, 0); !errors.Is(err, ErrUnsafeDir) {
		t.Fatal(err)
	}
}

// Processes, among them masters and agents, are killed while all of them work;
// whoever is left finishes.
func TestChurn(t *testing.T) {
	dir := freshDir(t)
	rnd := rand.New(rand.NewSource(1))
	var c []*child
	start := func() {
		x := startChild(t, dir)
		if rnd.Intn(2) == 0 { // keeps a tree from moving to who asks next
			if s := x.do("lock R%d %d", rnd.Intn(3), nl); !strings.Contains(s, " 0 ") && !strings.Contains(s, " 2 ") {
				t.Fatal(s)
			}
		}
		x.send("spin R%d 300", rnd.Intn(3))
		c = append(c, x)
	}
	for i := 0; i < 5; i++ {
		start()
	}
	for i := 0; i < 25; i++ {
		if rnd.Intn(2) == 0 {
			k := rnd.Intn(len(c))
			c[k].kill()
			c = append(c[:k], c[k+1:]...)
			start()
			continue
		}
		k := rnd.Intn(len(c))
		if s := c[k].read(); s != "300" {
			t.Fatal(s)
		}
		c[k].send("spin R%d 300", rnd.Intn(3))
	}
	for _, x := range c {
		if s := x.read(); s != "300" {
			t.Fatal(s)
		}
	}
}
