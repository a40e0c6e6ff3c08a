package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// driven is a client, a process that does what it is told.
type driven struct {
	*process
	in  io.WriteCloser
	out *os.File
	buf *bufio.Reader
	at  *site
}

// answerBound is how long a client may take for a command beyond what is expected. A
// lease has to end in some.
const answerBound = 2 * time.Minute

// errSilent is that a client has not answered, so far.
var errSilent = errors.New("no answer")

// startClient starts a client and returns when it is connected, with what it says then.
func (s *site) startClient(name string, c *command, cpus *unix.CPUSet) (*driven, int64, error) {
	d, err := s.launchClient(name, c, cpus)
	if err != nil {
		return nil, 0, err
	}
	a, err := d.receive(answerBound)
	if err != nil {
		return nil, 0, err
	}
	return d, a[0], nil
}

// launchClient starts a client, which will answer when it is connected.
func (s *site) launchClient(name string, c *command, cpus *unix.CPUSet) (d *driven, err error) {
	d = &driven{at: s}
	var theirs *os.File
	if d.out, theirs, err = os.Pipe(); err != nil {
		return nil, err
	}
	c.Stdout = theirs
	if d.in, err = c.StdinPipe(); err != nil {
		return nil, err
	}
	d.process, err = s.start(name, c, cpus)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, err
	}
	d.buf = bufio.NewReader(d.out)
	return d, nil
}

func (d *driven) send(format string, args ...any) error {
	_, err := fmt.Fprintf(d.in, format+"\n", args...)
	return err
}

// receive waits for an answer.
func (d *driven) receive(bound time.Duration) ([]int64, error) {
	if err := d.out.SetReadDeadline(time.Now().Add(bound)); err != nil {
		return nil, err
	}
	line, err := d.buf.ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) && line == "" {
		return nil, errors.Join(d.failure(errSilent.Error()), errSilent, d.at.died())
	}
	if err != nil {
		<-d.ended // it has closed its output
		return nil, errors.Join(d.failure(d.ProcessState.String()), d.at.died())
	}
	var all []int64
	for _, word := range strings.Fields(strings.TrimPrefix(line, "=")) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, d.failure(fmt.Sprintf("answers %q", line))
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil, d.failure(fmt.Sprintf("answers %q", line))
	}
	return all, nil
}

// ask sends a command and waits for the answer.
func (d *driven) ask(format string, args ...any) ([]int64, error) {
	if err := d.send(format, args...); err != nil {
		return nil, err
	}
	return d.receive(answerBound)
}

// kill ends the client at once and returns when that began.
func (d *driven) kill() (at int64, err error) {
	at = now()
	err = d.Process.Signal(syscall.SIGKILL)
	return at, err
}

// quit ends a client that is not needed any more.
func (d *driven) quit() {
	_ = d.in.Close()
	_, _ = d.kill() // it may have ended
	<-d.ended
	_ = d.out.Close()
}
