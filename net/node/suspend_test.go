package node

import (
	"sync/atomic"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
)

// A machine was suspended for longer than the lease: its clock has gone on, and the first
// thing that a program does afterwards finds that its locks are lost.
func TestSuspendedMachine(t *testing.T) {
	h := newHosts(t, 1)[0]
	var slept atomic.Int64
	conf := h.conf
	conf.Boottime = func() int64 { return boottime() + slept.Load() }
	p := &program{done: make(chan process.Completion, 10), notices: make(chan process.Notice, 10)}
	n, err := Open(Config{Dir: h.dir, Sink: p, Cluster: &conf})
	if err != nil {
		t.Fatal(err)
	}
	p.n = n
	defer n.Close()
	if _, st := p.lock("R", mode.EX); st != dlm.Success {
		t.Fatal(st)
	}
	if n.Expired() {
		t.Fatal("the lease has ended without a reason")
	}
	r := n.role.Load()
	r.mu.Lock() // as after a suspension: nobody has had time to ask the majority
	slept.Store(int64(2 * conf.lease()))
	expired := n.Expired()
	r.mu.Unlock()
	if !expired {
		t.Fatal("the program goes on with locks that others may have been given")
	}
	if _, st := p.lock("R", mode.NL); st != dlm.Lost {
		t.Fatal(st)
	}
}
