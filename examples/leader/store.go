package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/godlm/godlm"
)

// store is what the leaders write to: a file with a line for each order, "token order". It
// stands for a database or a service, which has a lock of its own for the moment of a
// write, and does what makes fencing work: it compares tokens, and refuses the smaller.
type store struct{ path string }

func (s store) write(term godlm.Token, order string) error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the write was synced
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	all, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	whole := all[:bytes.LastIndexByte(all, '\n')+1] // what follows is of a writer that died
	if seen := lastToken(whole); term.Compare(seen) < 0 {
		return fmt.Errorf("refused: term %s is over, %s has begun", term, seen)
	}
	if err := f.Truncate(int64(len(whole))); err != nil {
		return err
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%s %s\n", term, order), int64(len(whole))); err != nil {
		return err
	}
	return f.Sync()
}

// lastToken is the token of the last line. Nothing smaller was written after a larger one.
func lastToken(lines []byte) (t godlm.Token) {
	lines = bytes.TrimSuffix(lines, []byte("\n"))
	word, _, _ := bytes.Cut(lines[bytes.LastIndexByte(lines, '\n')+1:], []byte(" "))
	t, _ = godlm.ParseToken(string(word)) // of an empty store: zero, smaller than all
	return t
}
