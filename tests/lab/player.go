package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
)

// Player is a C program that makes the calls it is told to (player/player.c). One
// goroutine uses it.
type Player struct {
	Host *Host
	// Lost is when its handler was told that all locks are lost, by Now; 0: it was not.
	Lost atomic.Int64

	proc    *process
	in      io.Writer
	answers chan Answer

	mu    sync.Mutex
	calls []Call
	heard int // how many of them are answered
}

// Call is what a player was told to do. Sent is by Now. Without an answer the program, or
// its host, has ended before it.
type Call struct {
	Line     string
	Sent     int64
	Answered bool
	Answer   Answer
}

// Calls are all that were made, and the time of the program's end; 0: it has not ended.
func (p *Player) Calls() (calls []Call, ended int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls), p.proc.at.Load()
}

// Answer is what a call gave. Begin and End are by Now.
type Answer struct {
	Status        dlm.Status
	Begin, End    int64
	Version, Data uint64 // of the value block
	Token         Token
}

// Token is a fencing token.
type Token struct{ Epoch, Number uint64 }

// Less reports whether t was given out before u.
func (t Token) Less(u Token) bool {
	return t.Epoch < u.Epoch || t.Epoch == u.Epoch && t.Number < u.Number
}

// Granted reports whether the lock is held now.
func (a Answer) Granted() bool { return a.Status <= dlm.SyncValNotValid }

// Valid reports whether the value block is.
func (a Answer) Valid() bool { return a.Status == dlm.Success || a.Status == dlm.Synch }

func (a Answer) String() string {
	return fmt.Sprintf("status %d, value %d/%d, token %d/%d", a.Status, a.Version, a.Data, a.Token.Epoch, a.Token.Number)
}

// Why there is no answer.
var (
	ErrEnded  = errors.New("the program has ended")
	ErrSilent = errors.New("the program does not answer")
)

// NewPlayer starts a program on the host. It has not joined yet.
func (h *Host) NewPlayer() (*Player, error) {
	c := exec.Command(filepath.Join(h.lab.root, "build/lab/player"))
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &Player{Host: h, in: in, answers: make(chan Answer, 16)}
	if p.proc, err = h.start(c); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.players = append(h.players, p)
	h.mu.Unlock()
	go p.listen(out)
	return p, nil
}

// listen reads what the program says, until it ends.
func (p *Player) listen(out io.Reader) {
	defer close(p.answers)
	for s := bufio.NewScanner(out); s.Scan(); {
		var a Answer
		var t int64
		if n, _ := fmt.Sscanf(s.Text(), "lost %d", &t); n == 1 {
			p.Lost.Store(t)
			continue
		}
		n, _ := fmt.Sscanf(s.Text(), "= %d %d %d %d %d %d %d", &a.Status, &a.Begin, &a.End, &a.Version, &a.Data,
			&a.Token.Epoch, &a.Token.Number)
		if n != 7 {
			panic(fmt.Sprintf("a player says %q", s.Text()))
		}
		p.mu.Lock()
		p.calls[p.heard].Answered, p.calls[p.heard].Answer = true, a
		p.heard++
		p.mu.Unlock()
		p.answers <- a
	}
}

// Send begins a call, Receive waits for its end.
func (p *Player) Send(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	p.mu.Lock()
	p.calls = append(p.calls, Call{Line: line, Sent: Now()})
	p.mu.Unlock()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return ErrEnded
	}
	return nil
}

// Receive waits for the answer to Send.
func (p *Player) Receive() (Answer, error) {
	select {
	case a, ok := <-p.answers:
		if !ok {
			return a, ErrEnded
		}
		return a, nil
	case <-time.After(2 * Deadline):
		return Answer{}, ErrSilent
	}
}

// Answered reports whether an answer is there already.
func (p *Player) Answered() bool { return len(p.answers) > 0 }

// Call makes a call.
func (p *Player) Call(format string, args ...any) (Answer, error) {
	if err := p.Send(format, args...); err != nil {
		return Answer{}, err
	}
	return p.Receive()
}

// Value is what a value block holds.
type Value struct{ Version, Data uint64 }

// Join joins the namespace of the user.
func (p *Player) Join() (Answer, error) { return p.Call("join") }

// Lock takes a new lock.
func (p *Player) Lock(slot int, m mode.Mode, f dlm.Flags, name string) (Answer, error) {
	return p.Call("lock %d %d %d 0 0 %s", slot, m, f, name)
}

// Convert changes a lock's mode; with dlm.ValB it may write v.
func (p *Player) Convert(slot int, m mode.Mode, f dlm.Flags, v Value) (Answer, error) {
	return p.Call("cvt %d %d %d %d %d", slot, m, f, v.Version, v.Data)
}

// Unlock gives a lock up.
func (p *Player) Unlock(slot int, f dlm.Flags, v Value) (Answer, error) {
	return p.Call("unlock %d %d %d %d", slot, f, v.Version, v.Data)
}

// Use asks whether a lock in PW or EX is still the program's.
func (p *Player) Use(slot int) (Answer, error) { return p.Call("use %d", slot) }

// Kill ends the program.
func (p *Player) Kill() {
	p.Host.signal(unix.SIGKILL, p.proc)
	<-p.proc.ended
}

// Ended reports how the program has ended: its wait status as words; "" if it has not.
func (p *Player) Ended() string {
	select {
	case <-p.proc.ended:
		return strings.TrimSpace(p.proc.cmd.ProcessState.String())
	default:
		return ""
	}
}
