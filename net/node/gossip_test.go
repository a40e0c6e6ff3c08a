package node

import (
	"testing"
	"time"
)

// Gossip finds that a host is silent, and that its next agent is not.
func TestGossipSuspects(t *testing.T) {
	hosts := newHosts(t, 3)
	for _, h := range hosts {
		h.conf.Probe = 50 * time.Millisecond
		h.conf.Suspect = 3 * patience // only the hint is looked at
	}
	c := startAll(hosts)
	for _, x := range c {
		until(t, "gossip", func() bool { return x.do("suspected") == "true 0" })
	}
	c[2].kill()
	for _, x := range c[:2] {
		until(t, "suspicion", func() bool { return x.do("suspected") == "true 1" })
	}
	hosts[2].start()
	for _, x := range c[:2] {
		until(t, "no more suspicion", func() bool { return x.do("suspected") == "true 0" })
	}
}
