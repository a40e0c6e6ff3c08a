package cli

import (
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// notified takes what an agent tells the service manager until it matches.
func notified(t *testing.T, l *net.UnixConn, pattern string) {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	re, last := regexp.MustCompile(pattern), ""
	for !re.MatchString(last) {
		var b [2000]byte
		n, err := l.Read(b[:])
		if err != nil {
			t.Fatalf("%v; nothing like %s after %q", err, pattern, last)
		}
		last = string(b[:n])
	}
}

// The first host of three that is started is ready before there is a majority: otherwise
// its service manager would wait for hosts that are started when it does not wait any
// more. It says what is missing, and when it is not.
func TestReadyBeforeMajority(t *testing.T) {
	hosts := newHosts(t, 2000, 1200, "a", "b", "c")
	path := filepath.Join(hosts[0].dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := exec.Command(godlm, "agent")
	c.Env = append(hosts[0].env, "NOTIFY_SOCKET="+path)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	notified(t, l, "^READY=1\nSTATUS=no cluster yet: 1 of 3 voters; waiting for host b since .* s, host c since .* s$")
	hosts[1].begin()
	hosts[2].begin()
	notified(t, l, "^STATUS=this host is a member$")
}
