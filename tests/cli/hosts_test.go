package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// newHosts are places that are hosts of one cluster, on the loopback network.
func newHosts(t *testing.T, lease, suspect int, names ...string) (hosts []*place) {
	t.Helper()
	var voters []string
	for i, name := range names {
		// The port of gossip is the next one, which is most likely free too.
		l, err := net.Listen("tcp", fmt.Sprintf("127.1.%d.%d:0", os.Getpid()%250, i+1))
		if err != nil {
			t.Fatal(err)
		}
		voters = append(voters, name+"="+l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	key := ""
	for i, name := range names {
		p := newPlace(t)
		if key == "" {
			key = filepath.Join(p.dir, "key")
			if err := os.WriteFile(key, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p.env = append(p.env, "GODLM_HOST="+name, "GODLM_VOTERS="+strings.Join(voters, ","), "GODLM_KEY_FILE="+key,
			"GODLM_BIND="+strings.SplitN(voters[i], "=", 2)[1], "GODLM_STATE_DIR="+filepath.Join(p.dir, "state"),
			fmt.Sprintf("GODLM_LEASE_MS=%d", lease), fmt.Sprintf("GODLM_SUSPECT_MS=%d", suspect))
		hosts = append(hosts, p)
	}
	return hosts
}

// begin starts an agent that may have to wait for others.
func (p *place) begin() *exec.Cmd {
	p.t.Helper()
	c := exec.Command(godlm, "agent")
	c.Env = p.env
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if p.t.Failed() {
			p.t.Logf("agent in %s:\n%s", p.dir, log.String())
		}
	})
	return c
}

// says waits until a command says something.
func (p *place) says(code int, pattern string, args ...string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	last := ""
	p.until(strings.Join(args, " ")+" says "+pattern, func() bool {
		out, errs, got := p.run(args...)
		if out != last {
			last = out
			p.t.Logf("godlm %s: %d\n%s%s", strings.Join(args, " "), got, out, errs)
		}
		return got == code && re.MatchString(out+errs)
	})
}

// What an operator sees of hosts, from the first agent to the removal of a lost host.
func TestHosts(t *testing.T) {
	// A lease that is longer than the test waits: only evict frees what a lost host had.
	hosts := newHosts(t, 60_000, 2000, "a", "b", "c")
	a, b, c := hosts[0], hosts[1], hosts[2]
	a.want(4, "no program uses", "status")
	a.want(4, "no agent to ask", "members", "--hosts")
	a.want(1, "does not answer", "evict", "b")
	agents := []*exec.Cmd{a.begin()}
	a.says(3, `no cluster yet: 1 of 3 voters; waiting for host b since [0-9.]+ s, host c since [0-9.]+ s`, "status")
	agents = append(agents, b.begin(), c.begin())
	for _, p := range hosts {
		p.says(0, `all is well: 1 programs .*\nhost . is one of 3; host . leads, host . coordinates; the lease goes on for 5`, "status")
	}
	a.want(0, "coordinator", "members", "--hosts")
	a.want(1, "no host d in the cluster; there are", "evict", "d")
	a.want(1, "it has not ended", "evict", "b")
	a.want(2, "", "evict")

	// The host of c is lost. The others tell, and wait.
	_ = agents[2].Process.Kill()
	_ = agents[2].Wait()
	for _, p := range []*place{a, b} {
		p.says(3, `host c was removed [0-9.]+ s ago \(silent for [0-9.]+ s\); who waits .* in [0-9]+ s \(godlm evict c`, "status")
		p.want(0, "removed since", "members", "--hosts")
	}
	b.want(0, "host c is removed", "evict", "c")
	a.says(0, `is one of 3; host [ab] leads`, "status")
	a.want(0, "missing since", "members", "--hosts")

	// It comes back, and the command line can remove one that lives.
	c.begin()
	c.says(0, `all is well`, "status")
	a.want(0, "host c is removed", "evict", "--wait", "c")
	a.says(3, `host c was removed [0-9.]+ s ago \(removed by godlm evict\)`, "status")
	c.says(0, `all is well`, "status") // its agent has no programs, so it is a new member at once

	// A majority is missing.
	c.want(0, `"leader": "`, "members", "--hosts", "--json")
	for _, x := range agents[:2] {
		_ = x.Process.Signal(syscall.SIGKILL)
		_ = x.Wait()
	}
	c.says(3, `no quorum: 1 of 3 voters; waiting for host a since [0-9.]+ s, host b since [0-9.]+ s`, "status")
	c.want(1, "no quorum", "evict", "a")
	var s struct {
		Hosts struct {
			Host, Leader string
			Stalls       []string
			Hosts        []struct{ Name, State, Vote string }
		}
	}
	out, _, code := c.run("status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 3 || s.Hosts.Host != "c" || s.Hosts.Leader != "" || len(s.Hosts.Stalls) != 1 || len(s.Hosts.Hosts) != 3 {
		t.Fatalf("status %d: %v\n%s", code, err, out)
	}
}

// An agent that ends leaves the cluster, and the others need not wait for it.
func TestAgentLeaves(t *testing.T) {
	hosts := newHosts(t, 60_000, 40_000, "a", "b", "c")
	var agents []*exec.Cmd
	for _, p := range hosts {
		agents = append(agents, p.begin())
	}
	for _, p := range hosts {
		p.says(0, "all is well", "status")
	}
	hosts[0].signal(agents[0], syscall.SIGTERM)
	if err := agents[0].Wait(); err != nil {
		t.Fatal(err)
	}
	hosts[1].says(0, `a .* missing since`, "members", "--hosts")
	hosts[1].want(0, "all is well", "status")
}
