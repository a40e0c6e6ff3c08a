package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// locker is a connection to a lock server. It has one lock at a time.
type locker interface {
	// Lock returns when the lock is held. In the end it is: who is asked to stop lets go.
	Lock(name string) error
	Unlock() error
}

// lockers are the kinds of clients: how each connects to its servers. A server that has
// just been started may refuse at first; connecting goes on for connectBound.
var lockers = map[string]func(addrs []string) (locker, error){
	"etcd":       dialEtcd,
	"zookeeper":  dialZooKeeper,
	"redsync":    dialRedsync,
	"redsync1ms": dialRedsyncFast,
	"postgresql": dialPostgres,
}

// connectBound is how long connecting may take; a quorum has to be found first.
const connectBound = 60 * time.Second

// beClient is a client's process. The commands and answers are those of client/client.c.
func beClient(args []string) error {
	if len(args) < 2 || lockers[args[0]] == nil {
		return fmt.Errorf("not a kind of client with its servers: %q", args)
	}
	l, err := lockers[args[0]](args[1:])
	if err != nil {
		return fmt.Errorf("connect to %v: %w", args[1:], err)
	}
	fmt.Println("= 0")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer, err := obey(l, in.Text())
		if err != nil {
			return fmt.Errorf("%s: %w", in.Text(), err)
		}
		fmt.Println("=", answer)
	}
	return in.Err()
}

// obey carries out one command.
func obey(l locker, line string) (string, error) {
	var (
		name, file         string
		n                  int
		start, from, until int64
	)
	command, rest, _ := strings.Cut(line, " ")
	switch command {
	case "pairs":
		if _, err := fmt.Sscan(rest, &name, &n); err != nil {
			return "", err
		}
		took, err := pairs(l, name, n)
		return fmt.Sprint(took), err
	case "hot":
		if _, err := fmt.Sscan(rest, &name, &start, &from, &until, &file); err != nil {
			return "", err
		}
		return hot(l, name, start, from, until, file)
	case "lock":
		err := l.Lock(rest)
		return fmt.Sprint(now()), err
	case "unlock":
		err := l.Unlock()
		return fmt.Sprint(now()), err
	}
	return "", errors.New("not understood")
}

func pairs(l locker, name string, n int) (took int64, err error) {
	begin := now()
	for range n {
		if err := lockUnlock(l, name); err != nil {
			return 0, err
		}
	}
	return now() - begin, nil
}

func lockUnlock(l locker, name string) error {
	if err := l.Lock(name); err != nil {
		return err
	}
	return l.Unlock()
}

// hot is client/client.c's: it counts pairs, the longest wait, and holders at the same time.
func hot(l locker, name string, start, from, until int64, file string) (string, error) {
	holder, err := mapWord(file)
	if err != nil {
		return "", err
	}
	time.Sleep(time.Duration(start - now()))
	var count, longest, broken int64
	self := int64(os.Getpid())
	for asked := now(); asked < until; asked = now() {
		if err := l.Lock(name); err != nil {
			return "", err
		}
		// What counts of a wait is the part within the time that counts.
		longest = max(longest, min(now(), until)-max(asked, from))
		if !atomic.CompareAndSwapInt64(holder, 0, self) {
			broken++
		}
		if !atomic.CompareAndSwapInt64(holder, self, 0) {
			broken++
		}
		if err := l.Unlock(); err != nil {
			return "", err
		}
		if done := now(); done >= from && done < until {
			count++
		}
	}
	return fmt.Sprint(count, longest, broken), nil
}

// mapWord maps the word that has who holds the lock, and that all clients share.
func mapWord(file string) (*int64, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the mapping stays
	page, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", file, err)
	}
	return (*int64)(unsafe.Pointer(&page[0])), nil
}

var (
	clockBase = time.Now()
	clockZero = func() int64 {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
			panic(err) // there is no such kernel
		}
		return t.Nano()
	}()
)

// now is CLOCK_MONOTONIC in nanoseconds, which all processes share. Go's own clock is
// the same one, and reads it without a system call.
func now() int64 { return clockZero + int64(time.Since(clockBase)) }

// again repeats what fails while a server is starting, for so long at most.
func again(bound time.Duration, try func() error) error {
	for end := time.Now().Add(bound); ; time.Sleep(50 * time.Millisecond) {
		if err := try(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
