package secure

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func config() Config { return Config{Key: Key{1, 2, 3}, Cluster: "default", Version: 1} }

// feed gives b to s in pieces and collects what comes of it.
func feed(t *testing.T, s *Session, b []byte, piece int) (plain, out []byte) {
	t.Helper()
	for len(b) > 0 {
		n := min(piece, len(b))
		p, o, err := s.Feed(nil, b[:n])
		if err != nil {
			t.Fatal(err)
		}
		plain, out, b = append(plain, p...), append(out, o...), b[n:]
	}
	return plain, out
}

// wired is a session after the handshake, with all that was on the wire.
type wired struct {
	open, accept           *Session
	first, answer, confirm []byte
}

func connect(t *testing.T, piece int) wired {
	t.Helper()
	var w wired
	var err error
	if w.open, w.first, err = Open(config()); err != nil {
		t.Fatal(err)
	}
	if w.accept, err = Accept(config()); err != nil {
		t.Fatal(err)
	}
	if _, w.answer = feed(t, w.accept, w.first, piece); w.accept.Ready() {
		t.Fatal("the accepter is ready before the confirmation")
	}
	if _, err := w.accept.Seal(nil, []byte("early")); err == nil {
		t.Fatal("the accepter says something before the confirmation")
	}
	if _, w.confirm = feed(t, w.open, w.answer, piece); !w.open.Ready() {
		t.Fatal("the opener is not ready")
	}
	if p, o := feed(t, w.accept, w.confirm, piece); len(p)+len(o) != 0 || !w.accept.Ready() {
		t.Fatalf("after the confirmation: %q, %q", p, o)
	}
	return w
}

func seal(t *testing.T, s *Session, plain []byte) []byte {
	t.Helper()
	b, err := s.Seal(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBothWays(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, piece := range []int{1, 7, 1 << 20} {
		w := connect(t, piece)
		for _, size := range []int{1, 100, maxPlain, maxPlain + 1, 300000} {
			if piece == 1 && size > maxPlain {
				continue
			}
			plain := make([]byte, size)
			for i := range plain {
				plain[i] = byte(r.Uint32())
			}
			for _, pair := range [][2]*Session{{w.open, w.accept}, {w.accept, w.open}} {
				wire := seal(t, pair[0], plain)
				if size >= 100 && bytes.Contains(wire, plain[:32]) {
					t.Fatal("plain text on the wire")
				}
				if got, out := feed(t, pair[1], wire, piece); !bytes.Equal(got, plain) || len(out) != 0 {
					t.Fatalf("%d bytes in pieces of %d arrive as %d", size, piece, len(got))
				}
			}
		}
	}
}

// Each side learns what is different.
func TestStrangers(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   error
	}{
		{func(c *Config) { c.Key[31]++ }, ErrKey},
		{func(c *Config) { c.Cluster = "other" }, ErrCluster},
		{func(c *Config) { c.Version++ }, ErrVersion},
	} {
		other := config()
		c.change(&other)
		o, first, err := Open(other)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Accept(config())
		if err != nil {
			t.Fatal(err)
		}
		plain, answer, err := a.Feed(nil, first)
		if !errors.Is(err, c.want) || len(plain) != 0 || a.Ready() {
			t.Errorf("the accepter says %v, want %v", err, c.want)
		}
		if _, _, err := o.Feed(nil, answer); !errors.Is(err, c.want) || o.Ready() {
			t.Errorf("the opener says %v, want %v", err, c.want)
		}
		if _, _, again := a.Feed(nil, []byte("more")); !errors.Is(again, c.want) {
			t.Errorf("the session goes on: %v", again)
		}
	}
	a, err := Accept(config())
	if err != nil {
		t.Fatal(err)
	}
	if _, out, err := a.Feed(nil, []byte("GET / HTTP/1.1\r\n")); !errors.Is(err, ErrProtocol) || len(out) != 0 {
		t.Errorf("something else: %v, %q", err, out)
	}
}

// What was recorded is worth nothing to who plays it again, to either side.
func TestReplay(t *testing.T) {
	w := connect(t, 1<<20)
	data := seal(t, w.open, []byte("grant me everything"))
	a, err := Accept(config())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Feed(nil, w.first); err != nil {
		t.Fatal(err)
	}
	plain, _, err := a.Feed(nil, append(w.confirm, data...))
	if !errors.Is(err, ErrKey) || len(plain) != 0 || a.Ready() {
		t.Fatalf("the accepter takes a recorded session: %q, %v", plain, err)
	}
	o, _, err := Open(config())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Feed(nil, w.answer); !errors.Is(err, ErrKey) || o.Ready() {
		t.Fatalf("the opener takes a recorded answer: %v", err)
	}
	// Within a session: twice, and in another order.
	if got, _ := feed(t, w.accept, data, 1<<20); string(got) != "grant me everything" {
		t.Fatalf("%q", got)
	}
	if _, _, err := w.accept.Feed(nil, data); !errors.Is(err, ErrKey) {
		t.Fatalf("a record counts twice: %v", err)
	}
	w = connect(t, 1<<20)
	one, two := seal(t, w.open, []byte("one")), seal(t, w.open, []byte("two"))
	if plain, _, err := w.accept.Feed(nil, append(two, one...)); !errors.Is(err, ErrKey) || len(plain) != 0 {
		t.Fatalf("records in another order: %q, %v", plain, err)
	}
}

// No byte of anything can be changed.
func TestTampering(t *testing.T) {
	w := connect(t, 1<<20)
	for i := range w.first {
		a, err := Accept(config())
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(w.first)
		b[i] ^= 0x10
		if _, _, err := a.Feed(nil, append(b, w.confirm...)); err == nil && a.Ready() {
			t.Fatalf("byte %d of the hello does not matter", i)
		}
	}
	wire := seal(t, w.open, []byte("one lock"))
	for i := range wire {
		w := connect(t, 1<<20)
		b := seal(t, w.open, []byte("one lock"))
		b[i] ^= 0x10
		if plain, _, _ := w.accept.Feed(nil, append(b, bytes.Repeat([]byte{0}, maxRecord)...)); len(plain) != 0 {
			t.Fatalf("byte %d of a record does not matter: %q", i, plain)
		}
	}
}

// What came before a bad record, in the same piece, counts; what comes after does not.
func TestBadBehindGoodRecords(t *testing.T) {
	for _, c := range []struct {
		what string
		bad  func(*Session) []byte
		want error
	}{
		{"changed", func(s *Session) []byte {
			b := seal(t, s, []byte("three"))
			b[2] ^= 1
			return b
		}, ErrKey},
		{"empty", func(s *Session) []byte { // by who has the key: it would keep its reader busy with nothing
			b, err := s.seal(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, ErrProtocol},
	} {
		w := connect(t, 1<<20)
		wire := append(seal(t, w.open, []byte("one")), seal(t, w.open, []byte("two"))...)
		wire = append(wire, c.bad(w.open)...)
		wire = append(wire, seal(t, w.open, []byte("four"))...)
		plain, _, err := w.accept.Feed(nil, wire)
		if string(plain) != "onetwo" || !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v", c.what, plain, err)
		}
	}
}

// Whatever comes, memory is bounded by a record and what was fed at once.
func TestMemory(t *testing.T) {
	w := connect(t, 1<<20)
	b := seal(t, w.open, make([]byte, 10*maxPlain))
	for len(b) > 0 {
		n := min(1000, len(b))
		if _, _, err := w.accept.Feed(nil, b[:n]); err != nil {
			t.Fatal(err)
		}
		if b = b[n:]; cap(w.accept.kept) > 3*maxRecord {
			t.Fatalf("%d bytes are kept", cap(w.accept.kept))
		}
	}
}

func FuzzFeed(f *testing.F) {
	o, first, err := Open(config())
	if err != nil {
		f.Fatal(err)
	}
	_ = o
	f.Add(first, false)
	f.Add([]byte{1, 3}, true)
	f.Add([]byte{0, 0, 48}, true)
	f.Fuzz(func(t *testing.T, b []byte, opener bool) {
		s, err := Accept(config())
		if opener {
			s, _, err = Open(config())
		}
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			n := min(5, len(b))
			plain, _, err := s.Feed(nil, b[:n])
			if len(plain) != 0 || s.Ready() {
				t.Fatalf("%d bytes of a stranger are taken", len(plain))
			}
			if cap(s.in) > 3*maxRecord {
				t.Fatalf("%d bytes are kept", cap(s.in))
			}
			if err != nil {
				return
			}
			b = b[n:]
		}
	})
}

func TestLoadKey(t *testing.T) {
	dir := t.TempDir()
	good := strings.Repeat("0f", KeySize)
	write := func(text string, mode os.FileMode) string {
		path := filepath.Join(dir, "key")
		_ = os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, text := range []string{good, good + "\n", "  " + good[:62] + "0F"} {
		if k, err := LoadKey(write(strings.TrimLeft(text, " "), 0o600)); err != nil || k[0] != 0x0f || k[31] != 0x0f {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620} {
		if _, err := LoadKey(write(good, mode)); !errors.Is(err, ErrExposed) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, text := range []string{"", "0f", good + "00", good[:63] + "g", strings.Repeat("00", KeySize), strings.Repeat("0f", 1000)} {
		if _, err := LoadKey(write(text, 0o400)); err == nil {
			t.Errorf("%.80q is taken for a key", text)
		}
	}
	if _, err := LoadKey(dir); err == nil {
		t.Error("a directory is taken for a key")
	}
}
