package node

import (
	"strings"
	"testing"
	"time"
)

// Who joins without a majority is told what is missing; an agent that is started again
// before there is a cluster is as new.
func TestJoinWithoutMajority(t *testing.T) {
	hosts := newHosts(t, 3)
	for range 2 {
		conf := hosts[0].conf
		_, err := Open(Config{Dir: hosts[0].dir, Sink: &program{}, Cluster: &conf, joinTimeout: 300 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "no cluster yet: 1 of 3 voters; waiting for host host1 since ") {
			t.Fatal(err)
		}
	}
	c := startAll(hosts)
	c[0].want(0, "", "lock R %d", nl)
}
