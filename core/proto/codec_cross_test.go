package proto

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// The tests here hold the hand-written code against a msgpack library: what we
// write is msgpack to it, and what it writes of the same elements is a message
// to us.

// seeded gives the random messages of these tests.
func seeded() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }

func TestLibraryReadsWhatWeWrite(t *testing.T) {
	r := seeded()
	for range 50 {
		for _, k := range kinds() {
			m := random(r, k)
			b := Append(nil, m)
			rest := bytes.NewReader(b)
			v, err := msgpack.NewDecoder(rest).DecodeInterface()
			if err != nil {
				t.Fatalf("kind %d: %v", k, err)
			}
			if rest.Len() != 0 {
				t.Fatalf("kind %d: the library leaves %d bytes", k, rest.Len())
			}
			elements, ok := v.([]any)
			if !ok || len(elements) != int(arity[k]) {
				t.Fatalf("kind %d: the library reads %T of %d elements, want %d", k, v, len(elements), arity[k])
			}
			if got := number(t, elements[0]); got != uint64(k) {
				t.Fatalf("kind %d: the library reads kind %d", k, got)
			}
			compareFields(t, m, elements)
		}
	}
}

// compareFields checks that the elements, in the order of msg.go, are m's.
func compareFields(t *testing.T, m *Msg, e []any) {
	t.Helper()
	want, ok := fieldsOf(m)
	if !ok {
		return
	}
	for i, w := range want {
		if !same(t, e[i+1], w) {
			t.Fatalf("kind %d: element %d is %v, want %v", m.Kind, i+1, e[i+1], w)
		}
	}
}

// fieldsOf lists the elements behind the kind, for the kinds that travel for
// every lock: the wire format written down a second time.
func fieldsOf(m *Msg) ([]any, bool) {
	root := []any{uint64(m.Root.Space.Kind), uint64(m.Root.Space.ID), m.Root.Name.Bytes()}
	status := uint64(uint32(m.Status))
	domain := m.Domain[:]
	if m.Domain == (Digest{}) {
		domain = []byte{}
	}
	switch m.Kind {
	case KRequest:
		return []any{m.Assign, root, uint64(m.Lock), uint64(m.Op), uint64(m.Parent), m.Name.Bytes(), uint64(m.Mode), uint64(m.Flags), m.Hint,
			uint64(m.Party.Kind), m.Party.ID, uint64(m.Made), domain}, true
	case KConvert:
		return []any{m.Assign, root, uint64(m.Lock), uint64(m.Op), uint64(m.Mode), uint64(m.Flags), m.Hint, uint64(m.Party.Kind), m.Party.ID, uint64(m.Made), m.Value[:]}, true
	case KUnlock:
		return []any{m.Assign, root, uint64(m.Lock), uint64(m.Op), uint64(m.Flags), m.Value[:]}, true
	case KCancel:
		return []any{m.Assign, root, uint64(m.Lock), uint64(m.Op), uint64(m.Flags)}, true
	case KGranted:
		return []any{m.Assign, uint64(m.Lock), uint64(m.Op), uint64(m.Mode), m.Arrival, m.Token, m.Block.Value[:],
			[]any{m.Block.Stamp.Assign, m.Block.Stamp.Seq, m.Block.Valid}}, true
	case KQueued:
		return []any{m.Assign, uint64(m.Lock), uint64(m.Op), m.Arrival}, true
	case KRefused, KCancelled:
		return []any{m.Assign, uint64(m.Lock), uint64(m.Op), status}, true
	case KUnlocked:
		return []any{m.Assign, uint64(m.Lock), uint64(m.Op)}, true
	case KBlocking:
		return []any{m.Assign, uint64(m.Lock), uint64(m.Mode), m.Hint}, true
	case KNotMaster:
		return []any{m.Assign, root, uint64(m.Flags), uint64(m.Proc), m.Number}, true
	case KInstalled:
		return []any{m.Assign, root, uint64(m.Flags)}, true
	case KHeir:
		return []any{m.Assign, root, uint64(m.Proc)}, true
	case KHeirKnown, KMoved:
		return []any{m.Assign, root, uint64(m.Proc), m.Number}, true
	case KDrop, KActivate, KDiscard, KStay:
		return []any{m.Assign, root}, true
	case KLookup:
		return []any{root, uint64(m.Flags), m.Assign, m.Number}, true
	case KMaster:
		return []any{root, uint64(m.Proc), m.Assign, m.Number}, true
	case KWelcome:
		return []any{uint64(m.Proc), m.View, m.Number}, true
	case KConnect:
		return []any{uint64(m.Proc), uint64(m.Flags), m.View}, true
	}
	return nil, false
}

// number widens whatever integer type the library chose.
func number(t *testing.T, v any) uint64 {
	t.Helper()
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return uint64(r.Int())
	case r.CanUint():
		return r.Uint()
	}
	t.Fatalf("%T is no number", v)
	return 0
}

func same(t *testing.T, got, want any) bool {
	t.Helper()
	switch w := want.(type) {
	case uint64:
		return number(t, got) == w
	case []byte:
		g, ok := got.([]byte)
		return ok && bytes.Equal(g, w)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(t, g[i], w[i]) {
				return false
			}
		}
		return true
	}
	return got == want
}

// TestWeReadWhatTheLibraryWrites encodes the same elements with the library,
// which may choose longer forms of numbers than we do.
func TestWeReadWhatTheLibraryWrites(t *testing.T) {
	r := seeded()
	for range 50 {
		for _, k := range kinds() {
			m := random(r, k)
			fields, ok := fieldsOf(m)
			if !ok {
				continue
			}
			var buf bytes.Buffer
			for _, compact := range []bool{true, false} {
				buf.Reset()
				e := msgpack.NewEncoder(&buf)
				e.UseCompactInts(compact)
				if err := e.Encode(append([]any{uint64(k)}, fields...)); err != nil {
					t.Fatal(err)
				}
				var got Msg
				if err := Parse(buf.Bytes(), &got); err != nil {
					t.Fatalf("kind %d, compact %v: %v", k, compact, err)
				}
				if again, want := Append(nil, &got), Append(nil, m); !bytes.Equal(again, want) {
					t.Fatalf("kind %d, compact %v: differs", k, compact)
				}
			}
		}
	}
}
