package proto

import (
	"errors"
	"testing"

	"github.com/godlm/godlm/core/mode"
)

// hostile frames claim a list or byte string that is far longer than they are.
// A decoder that believes them allocates gigabytes, or recurses without end.
var hostile = []string{
	"\xc6\xff\xff\xff\xff", // bin 32
	"\xc9\xff\xff\xff\xff", // ext 32
	"\xdb\xff\xff\xff\xff", // str 32
	"\xdd\xff\xff\xff\xff", // array 32
	"\xdf\xff\xff\xff\xff", // map 32
	"\xdc\xff\xff",         // array 16
	"\xc5\xff\xff",         // bin 16
	"\xc0",                 // nil
	"\xc1",                 // never used
	"\x80",                 // empty map
	"\xff",                 // negative number
	"",
}

// before are the beginnings of messages at every place where a list, a byte
// string or a root is read next.
func before() map[string][]byte {
	root := []byte{0x93, 0, 0, 0xc4, 1, 'r'}
	head := func(k Kind, rest ...byte) []byte { return append([]byte{0x90 | arity[k], byte(k)}, rest...) }
	return map[string][]byte{
		"message":        nil,
		"root":           head(KUnlock, 1),
		"root name":      head(KUnlock, 1, 0x93, 0, 0),
		"text":           head(KReject),
		"report":         append(head(KReport, append([]byte{1}, root...)...), 1),
		"report element": append(head(KReport, append([]byte{1}, root...)...), 1, 0x91),
		"report value":   append(head(KReport, append([]byte{1}, root...)...), 1, 0x91, 0xdc, 0, 18, 1, 0, 0xc4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"view":           head(KView, 1),
		"image":          head(KInstall),
		"resources":      append(head(KInstall, root...), 1, 1, 0xc2),
		"locks":          append(head(KInstall, root...), 1, 1, 0xc2, 0x90),
		"moving image":   head(KMove, 1, 1),
		"block":          head(KGranted, 1, 1, 1, 1, 1, 1),
	}
}

func TestHostileFramesAreRefusedCheaply(t *testing.T) {
	for where, b := range before() {
		for _, h := range hostile {
			for _, more := range []int{0, 100} {
				frame := append(append([]byte(nil), b...), h...)
				frame = append(frame, make([]byte, more)...)
				err := Parse(frame, &Msg{})
				if err == nil {
					t.Errorf("%s: %x is accepted", where, frame)
				}
			}
		}
	}
	// No list grows beyond what the bytes at hand can hold.
	big := append(before()["report"], 0xdd, 0x7f, 0xff, 0xff, 0xff)
	if n := testing.AllocsPerRun(10, func() {
		var m Msg
		if Parse(big, &m) == nil || cap(m.Locks) != 0 {
			t.Fatal("a list of 2^31 reports is accepted or allocated")
		}
	}); n > 2 {
		t.Errorf("%v allocations to refuse a frame", n)
	}
}

// TestFieldsOutOfRange changes one field of a good message.
func TestFieldsOutOfRange(t *testing.T) {
	root := []byte{0x93, 0, 0, 0xc4, 1, 'r'}
	cat := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	bin := func(n int) []byte { return appendBin(nil, make([]byte, n)) }
	blocking := func(md ...byte) []byte { return cat([]byte{0x95, byte(KBlocking), 1, 1}, md, []byte{0}) }
	unlock := func(root, value []byte) []byte {
		return cat([]byte{0x97, byte(KUnlock), 1}, root, []byte{1, 1, 0}, value)
	}
	granted := func(valid byte) []byte {
		return cat([]byte{0x90 | arity[KGranted], byte(KGranted), 1, 1, 1, byte(mode.PR), 1, 1}, bin(32), []byte{0x93, 1, 1, valid})
	}
	request := func(parent byte, name []byte) []byte {
		return cat([]byte{0x90 | arity[KRequest], byte(KRequest), 1}, root, []byte{1, 1, parent}, name, []byte{1, 0, 0, 0, 0, 0}, bin(0))
	}
	for _, c := range []struct {
		what string
		b    []byte
		err  error
	}{
		{"good blocking", blocking(6), nil},
		{"mode above EX", blocking(7), errRange},
		{"mode in a wide number", blocking(0xcd, 1, 6), errRange},
		{"mode as a byte string", blocking(0xc4, 0), errType},
		{"good unlock", unlock(root, bin(32)), nil},
		{"value too short", unlock(root, bin(31)), errLength},
		{"value too long", unlock(root, bin(33)), errLength},
		{"namespace of no kind", unlock([]byte{0x93, 3, 0, 0xc4, 1, 'r'}, bin(32)), errRange},
		{"namespace id beyond 32 bits", unlock([]byte{0x93, 1, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0xc4, 1, 'r'}, bin(32)), errRange},
		{"root without a name", unlock([]byte{0x93, 0, 0, 0xc4, 0}, bin(32)), errLength},
		{"root with a name of 64", unlock(cat([]byte{0x93, 0, 0}, bin(64)), bin(32)), nil},
		{"root with a name of 65", unlock(cat([]byte{0x93, 0, 0}, bin(65)), bin(32)), errLength},
		{"root of two elements", unlock([]byte{0x92, 0, 0}, bin(32)), errLength},
		{"good grant", granted(0xc3), nil},
		{"validity as a number", granted(1), errType},
		{"sub-resource", request(1, bin(1)), nil},
		{"sub-resource without a name", request(1, bin(0)), errLength},
		{"root lock", request(0, bin(0)), nil},
	} {
		if err := Parse(c.b, &Msg{}); !errors.Is(err, c.err) || (c.err == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
	}
}

func TestArityIsExact(t *testing.T) {
	r := seeded()
	for _, k := range kinds() {
		good := Append(nil, random(r, k))
		for n := byte(0); n < 16; n++ {
			if n == arity[k] {
				continue
			}
			b := append([]byte(nil), good...)
			b[0] = 0x90 | n
			if Parse(b, &Msg{}) == nil {
				t.Errorf("kind %d with %d elements is accepted", k, n)
			}
		}
	}
	for k := 0; k < 128; k++ {
		if arity[k] == 0 && Parse([]byte{0x91, byte(k)}, &Msg{}) == nil {
			t.Errorf("kind %d, which is none, is accepted", k)
		}
	}
}

// TestListsKeepTheirSpace: a message parsed into again uses the slices it has.
func TestListsKeepTheirSpace(t *testing.T) {
	m := &Msg{Kind: KView, View: 9, Procs: []ProcID{1, 2, 3}}
	b := Append(nil, m)
	got := Msg{Procs: make([]ProcID, 1, 8)}
	space := &got.Procs[0]
	if err := Parse(b, &got); err != nil || len(got.Procs) != 3 || &got.Procs[0] != space {
		t.Fatalf("%v, %v", got.Procs, err)
	}
}

func TestDigests(t *testing.T) {
	a, b := MakeName([]byte("a")), MakeName([]byte("b"))
	seen := map[Digest]string{}
	for what, d := range map[string]Digest{
		"root a":          (&Root{Name: a}).Digest(),
		"root b":          (&Root{Name: b}).Digest(),
		"a of user 0":     (&Root{Space: Namespace{Kind: PerUser}, Name: a}).Digest(),
		"a of group 0":    (&Root{Space: Namespace{Kind: PerGroup}, Name: a}).Digest(),
		"a of user 1":     (&Root{Space: Namespace{Kind: PerUser, ID: 1}, Name: a}).Digest(),
		"a below a":       (&Root{Name: a}).Digest().Child(&a),
		"b below a":       (&Root{Name: a}).Digest().Child(&b),
		"b below a,below": (&Root{Name: a}).Digest().Child(&a).Child(&b),
	} {
		if old := seen[d]; old != "" {
			t.Errorf("%s and %s have one digest", what, old)
		}
		seen[d] = what
	}
}

func BenchmarkHot(b *testing.B) {
	r := seeded()
	for _, c := range []struct {
		name string
		k    Kind
	}{{"request", KRequest}, {"granted", KGranted}, {"unlock", KUnlock}, {"unlocked", KUnlocked}} {
		m := random(r, c.k)
		buf := make([]byte, 0, 512)
		b.Run("append/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], m)
			}
		})
		b.Run("parse/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Parse(buf, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
