package rundir

import "testing"

// Files of before the machine was started are recognised, once.
func TestSince(t *testing.T) {
	d := open(t, fresh(t))
	f, err := d.OpenHost(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	one, two := [16]byte{1}, [16]byte{2}
	if f.Since(one) {
		t.Error("a new file was used before")
	}
	f.SetBirth(7)
	for _, c := range []struct {
		boot [16]byte
		want bool
	}{{one, false}, {two, true}, {two, false}} {
		if got := f.Since(c.boot); got != c.want {
			t.Errorf("boot %d: before that: %v", c.boot[0], got)
		}
	}
}

// A lease that was ended does not come back, and it is known until when it was proven.
func TestEndedLease(t *testing.T) {
	d := open(t, fresh(t))
	f, err := d.OpenHost(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	f.SetBirth(7)
	f.Extend(1000)
	if f.Lease(7) != 1000 || f.Ended() {
		t.Fatal(f.Lease(7), f.Ended())
	}
	f.End()
	f.Extend(2000)
	if f.Lease(7) > 0 || !f.Ended() || f.Until() != 2000 {
		t.Fatal(f.Lease(7), f.Ended(), f.Until())
	}
	f.SetBirth(8)
	if f.Extend(3000); f.Lease(8) != 3000 || f.Lease(7) != 0 || f.Ended() {
		t.Fatal(f.Lease(8), f.Lease(7), f.Ended())
	}
}
