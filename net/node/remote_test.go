package node

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
)

// raw is a connection of somebody who does not play by the rules.
func raw(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) }) // some tests have closed it
	tv := unix.Timeval{Sec: int64(patience / time.Second)}
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.Connect(fd, &unix.SockaddrUnix{Name: path})); err != nil {
		t.Fatal(err)
	}
	return fd
}

// writeFD and readFD go on after a signal: with a time limit on the socket the kernel
// does not.
func writeFD(fd int, b []byte) (n int, err error) {
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = unix.Write(fd, b)
	}
	return n, err
}

func readFD(fd int, b []byte) (n int, err error) {
	for err = unix.EINTR; err == unix.EINTR; {
		n, err = unix.Read(fd, b)
	}
	return n, err
}

func say(t *testing.T, fd int, msgs ...*proto.Msg) {
	t.Helper()
	for _, m := range msgs {
		b, err := link.AppendFrame(nil, m)
		if err == nil {
			_, err = writeFD(fd, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// hear reads one message; nil at the end of the connection.
func hear(t *testing.T, fd int) *proto.Msg {
	t.Helper()
	b := make([]byte, 4096)
	n, err := readFD(fd, b)
	if err == unix.ECONNRESET || err == nil && n == 0 {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var m proto.Msg
	if err := proto.Parse(b[4:n], &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestStrangers(t *testing.T) {
	dir := freshDir(t)
	a, b := startChild(t, dir), startChild(t, dir)
	sock := filepath.Join(dir, "sock")
	names, err := os.ReadDir(sock)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	proc, err := os.ReadDir(filepath.Join(dir, "proc"))
	if err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(dir, "agent.sock")
	hello := func(text string, p proto.ProcID, version uint32) *proto.Msg {
		return &proto.Msg{Kind: proto.KHello, Text: text, Proc: p, Flags: version}
	}
	for what, m := range map[string]*proto.Msg{
		"no such file":       hello("0123456789abcdef", 0, proto.Version),
		"no file name":       hello("../agent.lock", 0, proto.Version),
		"somebody's file":    hello(proc[0].Name(), 0, proto.Version),
		"somebody's file 2":  hello(proc[1].Name(), b.id, proto.Version),
		"another version":    hello(proc[0].Name(), 0, proto.Version+1),
		"unknown name, dead": hello("0123456789abcdef", 1, proto.Version),
	} {
		fd := raw(t, agent)
		say(t, fd, m)
		if r := hear(t, fd); r == nil || r.Kind != proto.KReject || r.Text == "" {
			t.Errorf("%s: %+v", what, r)
		} else {
			t.Logf("%s: %s", what, r.Text)
		}
	}
	for _, path := range []string{agent, filepath.Join(sock, names[0].Name()), filepath.Join(sock, names[1].Name())} {
		for what, b := range map[string][]byte{
			"garbage": []byte("GET / HTTP/1.0\r\n\r\n"),
			"bomb":    {0, 0, 0, 5, 0xdd, 0xff, 0xff, 0xff, 0xff},
			"long":    {0xff, 0xff, 0xff, 0xff},
		} {
			fd := raw(t, path)
			if _, err := writeFD(fd, b); err != nil {
				t.Fatal(err)
			}
			if r := hear(t, fd); r != nil {
				t.Errorf("%s: %+v", what, r)
			}
		}
		for what, m := range map[string]*proto.Msg{
			"request first":        {Kind: proto.KUnlock, Root: proto.Root{Name: proto.MakeName([]byte("R"))}},
			"other version":        {Kind: proto.KConnect, Proc: 1 << 63, Flags: proto.Version + 1},
			"dead":                 {Kind: proto.KConnect, Proc: 1, Flags: proto.Version},
			"nobody":               {Kind: proto.KConnect, Flags: proto.Version},
			"a view from a client": {Kind: proto.KView, View: 1 << 63},
		} {
			fd := raw(t, path)
			say(t, fd, m)
			if r := hear(t, fd); r != nil {
				t.Errorf("%s: %+v", what, r)
			}
		}
	}
	x := a.want(dlm.Success, "", "lock R %d", ex)
	a.want(dlm.Success, "", "unlock %d x", x)
	b.want(dlm.Success, "", "lock R %d", ex)
}

// A peer that connects, asks a great deal and reads nothing stops nobody.
func TestPeerThatNeverReads(t *testing.T) {
	dir := freshDir(t)
	a, b := startChild(t, dir), startChild(t, dir)
	a.want(dlm.Success, "", "lock R %d", nl)
	names, err := os.ReadDir(filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	fd := raw(t, filepath.Join(dir, "sock", names[0].Name()))
	say(t, fd, &proto.Msg{Kind: proto.KConnect, Proc: 1 << 63, Flags: proto.Version})
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	f, err := link.AppendFrame(nil, &proto.Msg{Kind: proto.KUnlock, Root: proto.Root{Name: proto.MakeName([]byte("R"))}})
	if err != nil {
		t.Fatal(err)
	}
	full := 0 // looks in a row at which the socket was full
	until(t, "the master does not read on", func() bool {
		for i := 0; i < 1000; i++ {
			n, err := writeFD(fd, f)
			if err == unix.EAGAIN {
				full++
				return full > 200
			}
			if err != nil || n < len(f) {
				t.Fatal(n, err)
			}
			full = 0
		}
		return false
	})
	if s := b.do("spin R 100"); s != "100" {
		t.Fatal(s)
	}
}

// caller waits for its own answers as the C boundary does: on the node's epoll
// set, with an event descriptor in it for answers that another thread has read.
type caller struct {
	b       *testing.B
	n       *Node
	kick    int
	mu      sync.Mutex
	waiting bool
	done    bool
	last    process.Completion
}

func (c *caller) Complete(p *process.Completion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.done = *p, true
	if c.waiting {
		if _, err := unix.Write(c.kick, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			c.b.Error(err)
		}
	}
}
func (c *caller) Blocking(*process.Notice)  {}
func (c *caller) Discard(proto.LockID) bool { return true }
func (c *caller) Lost()                     {}

func (c *caller) wait(events []unix.EpollEvent) {
	for {
		c.mu.Lock()
		done := c.done
		c.done, c.waiting = false, !done
		c.mu.Unlock()
		if done {
			break
		}
		n, err := unix.EpollWait(c.n.EpollFD(), events, -1)
		if err != nil && err != unix.EINTR {
			c.b.Fatal(err)
		}
		c.mu.Lock()
		c.waiting = false
		c.mu.Unlock()
		var b [8]byte
		_, _ = unix.Read(c.kick, b[:]) // mostly empty
		c.n.Handle(events[:max(n, 0)])
	}
	if c.last.Status != dlm.Success {
		c.b.Fatal(c.last.Status)
	}
}

// BenchmarkRemotePair is lock and unlock on a resource of another process.
func BenchmarkRemotePair(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "base", "cluster")
	master := startChild(b, dir)
	master.want(dlm.Success, "", "lock R %d", nl)
	c := &caller{b: b}
	var err error
	if c.n, err = Open(Config{Dir: dir, Sink: c}); err != nil {
		b.Fatal(err)
	}
	defer c.n.Close()
	if c.kick, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -2}
	if err := unix.EpollCtl(c.n.EpollFD(), unix.EPOLL_CTL_ADD, c.kick, &ev); err != nil {
		b.Fatal(err)
	}
	root := proto.MakeName([]byte("R"))
	events := make([]unix.EpollEvent, 16)
	var res process.Result
	lock := &process.LockRequest{Name: root, Mode: mode.EX, Token: 1}
	unlock := &process.UnlockRequest{Token: 2}
	b.ReportAllocs()
	for b.Loop() {
		c.n.Process().Lock(lock, &res)
		c.n.Flush()
		if res.Status == dlm.Pending {
			c.wait(events)
		}
		unlock.Lock = res.Lock
		c.n.Process().Unlock(unlock, &res)
		c.n.Flush()
		if res.Status == dlm.Pending {
			c.wait(events)
		}
	}
}
