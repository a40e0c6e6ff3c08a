package rundir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

func openRecovery(t *testing.T, d *Dir) *RecoveryFile {
	t.Helper()
	f, err := d.OpenRecovery(func(int) {}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func kept(name string, path ...string) *proto.Kept {
	k := &proto.Kept{Root: proto.Root{Name: proto.MakeName([]byte(name))}, Domain: proto.DomainDigest("d")}
	for _, p := range path {
		k.Path = append(k.Path, proto.MakeName([]byte(p)))
	}
	return k
}

func names(f *RecoveryFile) (out []string) {
	var l agent.Lasting
	f.Fill(&l)
	for _, k := range l.Kept {
		s := string(k.Root.Name.Bytes())
		for i := range k.Path {
			s += "/" + string(k.Path[i].Bytes())
		}
		out = append(out, s)
	}
	for range l.Doubted {
		out = append(out, "doubted")
	}
	slices.Sort(out)
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecoveryFile(t *testing.T) {
	d := open(t, fresh(t))
	path := filepath.Join(d.path, "recovery")
	f := openRecovery(t, d)
	must(t, f.Keep(kept("a")))
	must(t, f.Keep(kept("b", "c", "d")))
	must(t, f.Keep(kept("e")))
	must(t, f.Unkeep(kept("e")))
	must(t, f.Doubt(proto.DomainDigest("x"), true))
	must(t, f.Doubt(proto.DomainDigest("y"), true))
	must(t, f.Doubt(proto.DomainDigest("y"), false))
	must(t, f.Close())
	want := []string{"a", "b/c/d", "doubted"}

	// Cut short at any byte, it says what it said before the record that is torn.
	whole, err := os.ReadFile(path)
	must(t, err)
	last := 0
	for n := len(whole); n >= 0; n-- {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		f = openRecovery(t, d)
		got := names(f)
		if n == len(whole) && !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if n == 0 && len(got) != 0 {
			t.Fatalf("an empty file says %v", got)
		}
		last = len(got)
		must(t, f.Keep(kept("z")))
		must(t, f.Close())
		f = openRecovery(t, d)
		if got := names(f); len(got) != last+1 || !slices.Contains(got, "z") {
			t.Fatalf("cut at %d: %v after a record", n, got)
		}
		must(t, f.Close())
	}

	// A byte that is not what was written ends it there.
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x41
		must(t, os.WriteFile(path, bad, 0o600))
		f = openRecovery(t, d)
		if got := names(f); slices.Equal(got, want) && i < len(whole)-70 {
			t.Fatalf("byte %d does not matter", i)
		}
		must(t, f.Close())
	}
}

func TestRecoveryFileStaysSmall(t *testing.T) {
	d := open(t, fresh(t))
	f := openRecovery(t, d)
	must(t, f.Keep(kept("stays")))
	for i := 0; i < 20000; i++ {
		must(t, f.Keep(kept("goes")))
		must(t, f.Unkeep(kept("goes")))
	}
	if f.log.size > 2*slack {
		t.Fatalf("%d bytes for one resource", f.log.size)
	}
	must(t, f.Close())
	f = openRecovery(t, d)
	if got := names(f); !slices.Equal(got, []string{"stays"}) {
		t.Fatal(got)
	}
	must(t, f.Close())
}
