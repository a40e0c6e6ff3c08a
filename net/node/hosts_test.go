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

// A host is silent: its locks stand until its lease must be over; what it may have
// been writing is not valid then, the rest is.
func TestHostLoss(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	p := hosts[1].start()                       // not the agent
	c[2].want(dlm.Success, "", "lock W %d", ex) // masters W and writes
	c[2].want(dlm.Success, "", "lock V %d", nl) // masters V
	id := c[2].want(dlm.Success, "", "lock V %d", ex)
	c[2].want(dlm.Success, "", "unlock %d kept", id)
	p.want(dlm.Success, "kept", "lock V %d", pr)
	p.want(dlm.Success, "", "lock W %d", nl)
	c[0].want(dlm.Pending, "", "ask W %d", pr)
	c[0].want(dlm.Success, "kept", "lock V %d", nl) // the answer comes behind the one that W has to wait
	c[2].kill()
	c[0].want(dlm.SuccValNotValid, "", "done")
	c[1].want(dlm.Success, "kept", "lock V %d", pr)
}

// The coordinator's host is lost: another takes the directory over from what all say.
func TestCoordinatorLoss(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	first := coordinator(t, c)
	var others []*child
	for i, x := range c {
		if i != first {
			others = append(others, x)
		}
	}
	a, b := others[0], others[1]
	lost := c[first]
	held := a.want(dlm.Success, "", "lock A %d", ex)
	a.want(dlm.Success, "", "convert %d %d old", held, pr)
	b.want(dlm.Success, "old", "lock A %d", pr)
	lost.want(dlm.Success, "", "lock L %d", nl)
	w := b.want(dlm.Success, "", "lock L %d", ex)
	b.want(dlm.Success, "", "convert %d %d mine", w, ex)
	lost.want(dlm.Success, "", "lock X %d", ex)
	lost.want(dlm.Success, "", "lock Y %d", nl)
	a.want(dlm.Pending, "", "ask X %d", ex)
	a.want(dlm.Success, "", "lock Y %d", nl) // the answer comes behind the one that X has to wait
	lost.kill()
	a.want(dlm.SuccValNotValid, "", "done")      // it may have been writing
	b.want(dlm.Success, "mine", "lock L %d", nl) // keeps the value
	a.want(dlm.Pending, "", "ask L %d", pr)
	b.want(dlm.Success, "", "unlock %d yours", w)
	a.want(dlm.Success, "yours", "done")
	a.want(dlm.Success, "old", "convert %d %d x", held, pr)
	if s := a.do("spin S 20"); s != "20" {
		t.Fatal(s)
	}
	again := hosts[first].start()
	again.want(dlm.Success, "old", "lock A %d", pr)
	if s := again.do("spin S 20"); s != "20" {
		t.Fatal(s)
	}
}

func coordinator(t *testing.T, c []*child) int {
	for i, x := range c {
		if x.do("coordinator") == "true" {
			return i
		}
	}
	t.Fatal("nobody coordinates")
	return -1
}

// Processes die on their hosts: the value journal tells, wherever the coordinator is.
func TestDeathOnAnotherHost(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	for i := range hosts {
		master, reader := hosts[i].start(), hosts[(i+1)%3].start()
		name := fmt.Sprint("J", i)
		master.want(dlm.Success, "", "lock %s %d", name, nl)
		w := c[(i+2)%3].want(dlm.Success, "", "lock %s %d", name, ex)
		c[(i+2)%3].want(dlm.Success, "", "convert %d %d one", w, nl)
		r := reader.want(dlm.Success, "one", "lock %s %d", name, nl)
		master.kill()
		// Only NL locks survive, but the journal vouches.
		reader.want(dlm.Success, "one", "convert %d %d x", r, pr)
		name = fmt.Sprint("K", i)
		writer := hosts[i].start()
		r = reader.want(dlm.Success, "", "lock %s %d", name, nl)
		writer.want(dlm.Success, "", "lock %s %d", name, ex)
		writer.kill()
		reader.want(dlm.SuccValNotValid, "", "convert %d %d x", r, pr)
	}
}

// Agents die, one after the other, while others use locks.
func TestAgentsDeathOnHosts(t *testing.T) {
	hosts := newHosts(t, 3)
	agents := startAll(hosts)
	var users []*child
	for _, h := range hosts {
		users = append(users, h.start())
	}
	users[0].want(dlm.Success, "", "lock S %d", nl)
	for i := range agents {
		for _, u := range users {
			u.send("spin S 300")
		}
		agents[i].kill()
		for _, u := range users {
			if s := u.read(); s != "300" {
				t.Fatal(s)
			}
		}
	}
}

// A stopped agent cannot renew the lease: its host is removed, and its processes know
// that their locks are lost before anybody else gets them.
func TestStoppedAgent(t *testing.T) {
	hosts := newHosts(t, 3)
	c := startAll(hosts)
	at := (coordinator(t, c) + 1) % 3
	p := hosts[at].start()
	p.want(dlm.Success, "", "lock M %d", ex)
	other := c[(at+1)%3]
	p.want(dlm.Success, "", "lock Y %d", nl)
	other.want(dlm.Pending, "", "ask M %d", ex)
	other.want(dlm.Success, "", "lock Y %d", nl) // the answer comes behind the one that M has to wait
	c[at].stop()
	other.want(dlm.SuccValNotValid, "", "done")
	if p.do("lost") != "true" {
		t.Fatal("a process goes on with locks that another host has given away")
	}
	c[at].signal(unix.SIGCONT)
	until(t, "the agent knows", func() bool { return c[at].do("lost") == "true" })
}
