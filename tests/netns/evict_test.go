package netns

import (
	"testing"
	"time"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/tests/lab"
)

// TestEvictWaits: a host that is frozen with a lock is removed by hand. Nothing says that
// its programs have ended, so the lock is another's when the lease must be over and not
// before: it may have been proven until just before the removal.
func TestEvictWaits(t *testing.T) {
	t.Parallel()
	try(t, func(t *trial) {
		l := newLab(t, 3)
		x := choose(t, l, "neither")
		rest := others(l, x)
		holder, k := hold(t, x, rest...)
		t.strike(x)
		x.Freeze()
		begin := lab.Now()
		l.Until("it is removed", func() bool { return rest[0].Evict(x.Name, false) == nil })
		a := k[0].want(dlm.SuccValNotValid)(k[0].Convert(0, mode.EX, dlm.ValB, lab.Value{}))
		if waited := time.Duration(a.End - begin); waited < t.lease {
			t.Errorf("granted %v after the removal, and the lease is %v", waited, t.lease)
		}
		t.within("the lock is another's", begin, a.End, t.failover())
		x.Thaw()
		l.Until("the holder is told", func() bool { return holder.Lost.Load() != 0 })
		t.back()
		goesOn(t, k[0], 8, l.Hosts...)
	})
}

// TestEvictEnded: a host has ended with a lock, and somebody who knows says so. Its lease,
// which is longer than anybody has patience, is not waited for.
func TestEvictEnded(t *testing.T) {
	t.Parallel()
	try(t, func(t *trial) {
		long := 4 * lab.Deadline
		l := newLab(t, 3, func(o *lab.Options) { o.Lease = long })
		x := choose(t, l, "neither")
		rest := others(l, x)
		_, k := hold(t, x, rest...)
		if err := rest[0].Evict(x.Name, true); err == nil {
			t.Fatal("a host that is heard is believed to have ended")
		}
		x.Kill()
		killed := lab.Now()
		if err := k[0].Send("cvt 0 6 4096 0 0"); err != nil {
			t.Fatal(err)
		}
		l.Until("it is believed", func() bool { return rest[0].Evict(x.Name, true) == nil })
		a := k[0].want(dlm.SuccValNotValid)(k[0].Receive())
		t.within("the lock is another's", killed, a.End, t.suspect+time.Second) // nobody waits for a lease
	})
}
