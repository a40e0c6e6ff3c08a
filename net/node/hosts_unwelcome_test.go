package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/secure"
)

// line is how one side is told that there is no connection.
func line(peer any, reason string) []string {
	return []string{"level=WARN", `msg="no connection between hosts"`, fmt.Sprintf("peer=%v reason=%s\n", peer, reason)}
}

const (
	sayKey     = `"the other host has another key, or somebody has changed what it said"`
	sayCluster = `"the other host is of another cluster"`
	sayVersion = `"the other host speaks another version"`
)

// Hosts that do not belong together are told so, on both sides and in both directions,
// each line once in a while; and every attempt is counted.
func TestHostsThatDoNotBelongTogether(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*Cluster)
		reason error
		opener string
		at0    string // the accepter's line at the first host, at1 at the second
		at1    string
	}{
		{"key", func(c *Cluster) { c.Key[0]++ }, secure.ErrKey, sayKey, sayKey, sayKey},
		{"cluster", func(c *Cluster) { c.Name = "other" }, secure.ErrCluster, sayCluster,
			`"the other host is of another cluster: \"other\", not \"test\""`,
			`"the other host is of another cluster: \"test\", not \"other\""`},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			hosts := newHosts(t, 2)
			c.change(&hosts[1].conf)
			a, b := hosts[0].inside(), hosts[1].inside()
			addr := [2]string{hosts[0].conf.Bind.String(), hosts[1].conf.Bind.String()}
			from := [2]string{hosts[0].conf.Bind.Addr().String(), hosts[1].conf.Bind.Addr().String()}
			wants := []struct {
				at    *inside
				parts []string
			}{
				{a, line(addr[1], c.opener)},
				{a, line(from[1], c.at0)},
				{b, line(addr[0], c.opener)},
				{b, line(from[0], c.at1)},
			}
			for _, w := range wants {
				until(t, fmt.Sprintf("%s logs %q", w.at.h.conf.Host, w.parts), func() bool { return w.at.log.count(w.parts...) > 0 })
			}
			tried := [2]int{a.refused(c.reason), b.refused(c.reason)}
			until(t, "both have tried more often", func() bool { return a.refused(c.reason) > tried[0]+4 && b.refused(c.reason) > tried[1]+4 })
			for _, w := range wants {
				if n := w.at.log.count(w.parts...); n != 1 {
					t.Errorf("%s has logged %d times %q", w.at.h.conf.Host, n, w.parts)
				}
			}
			if len(a.done)+len(b.done) != 0 {
				t.Error("one has joined, or given up")
			}
		})
	}
}

// Hosts of another version, played by hand.
func TestHostOfAnotherVersion(t *testing.T) {
	hosts := newHosts(t, 2)
	newer := hosts[0].conf.session()
	newer.Version++
	l, err := net.Listen("tcp", hosts[1].conf.Bind.String())
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-over
	})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := acceptByHand(t, c, newer); !errors.Is(err, secure.ErrVersion) {
				t.Errorf("the newer host accepts: %v", err)
			}
			_ = c.Close()
		}
	}()
	a := hosts[0].inside()
	until(t, "it has tried several times", func() bool { return a.refused(secure.ErrVersion) > 4 })
	if n := a.log.count(line(hosts[1].conf.Bind, sayVersion)...); n != 1 {
		t.Errorf("the opener has logged it %d times", n)
	}
	for range 3 {
		if _, err := dialByHand(t, hosts[0].conf.Bind, newer); !errors.Is(err, secure.ErrVersion) {
			t.Errorf("the newer host opens: %v", err)
		}
	}
	if n := a.log.count(line("127.0.0.1", fmt.Sprintf(`"the other host speaks another version: %d, not %d"`, proto.Version+1, proto.Version))...); n != 1 {
		t.Errorf("the accepter has logged it %d times", n)
	}
}

// Whoever comes with something else, or with what he has recorded, is not heard.
func TestStrangersAtThePort(t *testing.T) {
	hosts := newHosts(t, 2)
	a := hosts[0].inside()
	to := hosts[0].conf.Bind
	until(t, "the port is open", func() bool {
		c, err := net.Dial("tcp", to.String())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	knock := func(say []byte) {
		t.Helper()
		c, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(say) // it may be shown out meanwhile
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	knock([]byte("GET / HTTP/1.1\r\n\r\n"))
	until(t, "it is counted", func() bool { return a.refused(link.ErrStranger) == 1 })

	b, err := dialByHand(t, to, hosts[0].conf.session())
	if err != nil {
		t.Fatal(err)
	}
	b.resume(link.StreamID{1})
	b.send(&proto.Msg{Kind: proto.KIntro, Host: 77, Text: hosts[1].conf.Host, Number: 5, Data: []byte(hosts[1].conf.Bind.String()),
		Made: int64(hosts[1].conf.lease()), Flags: proto.IntroFresh})
	if _, control, err := b.hear(); err != nil || len(control) == 0 || control[0] != byHandResume {
		t.Fatalf("the host does not take the stream: %v, %v", control, err)
	}
	if err := b.c.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		knock(b.said)
		until(t, "the replay is counted", func() bool { return a.refused(secure.ErrKey) == i+1 })
	}
	if n := a.log.count(line("127.0.0.1", sayKey)...); n != 1 {
		t.Errorf("the replay is logged %d times", n)
	}
}
