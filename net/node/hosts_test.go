package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
)

// clusterOf reads what a test gives its children: a Cluster in JSON.
func clusterOf(s string) *Cluster {
	if s == "" {
		return nil
	}
	c := &Cluster{}
	if err := json.Unmarshal([]byte(s), c); err != nil {
		panic(err)
	}
	return c
}

// testHost is a host of a test: a runtime directory and an address of its own.
type testHost struct {
	t    *testing.T
	dir  string
	conf Cluster
}

// newHosts makes hosts on addresses of the loopback network.
func newHosts(t *testing.T, n int) (out []*testHost) {
	base := t.TempDir()
	var voters []Voter
	for i := range n {
		voters = append(voters, Voter{Name: fmt.Sprint("host", i), Addr: freeAddr(t, i)})
	}
	for i := range n {
		h := &testHost{t: t, dir: filepath.Join(base, fmt.Sprint("run", i), "cluster")}
		h.conf = Cluster{Name: "test", Host: voters[i].Name, Bind: voters[i].Addr, Voters: voters, StateDir: filepath.Join(base, fmt.Sprint("state", i))}
		h.conf.Key[3] = 7
		if err := os.Mkdir(h.conf.StateDir, 0o700); err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

// freeAddr is an address that nobody uses now.
func freeAddr(t *testing.T, i int) netip.AddrPort {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ip := [4]byte{127, 0, byte(os.Getpid()%200 + 20), byte(i + 1)}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: ip}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(sa.(*unix.SockaddrInet4).Port))
}

// begin starts a process that joins, without waiting for that.
func (h *testHost) begin() *child {
	b, err := json.Marshal(h.conf)
	if err != nil {
		h.t.Fatal(err)
	}
	return beginChild(h.t, h.dir, string(b))
}

func (h *testHost) start() *child {
	c := h.begin()
	c.joined()
	return c
}

// startAll starts the first process of each host; a majority is needed for any to join.
func startAll(hosts []*testHost) (out []*child) {
	for _, h := range hosts {
		out = append(out, h.begin())
	}
	for _, c := range out {
		c.joined()
	}
	return out
}

func TestThreeHosts(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	for _, x := range c {
		if x.do("agent") != "true" {
			t.Fatal("the first process of each host is its agent")
		}
	}
	c = append(c, hosts[1].start(), hosts[2].start())
	c[0].want(dlm.Success, "", "lock R %d", nl) // keeps the value
	for round := range 3 {
		for i, x := range c {
			id := x.want(dlm.Success, value(round, i), "lock R %d", ex)
			x.want(dlm.Success, "", "unlock %d %s", id, value(round, i+1))
		}
	}
	a := c[0].want(dlm.Success, "written-2-5", "lock R %d", ex)
	c[4].want(dlm.Pending, "", "ask R %d", ex)
	c[0].want(dlm.Success, "", "unlock %d two", a)
	c[4].want(dlm.Success, "two", "done")
}

func value(round, i int) string {
	switch {
	case i > 0:
		return fmt.Sprintf("written-%d-%d", round, i)
	case round > 0:
		return value(round-1, 5)
	}
	return ""
}
