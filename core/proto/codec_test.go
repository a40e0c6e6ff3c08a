package proto

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/godlm/godlm/core/mode"
)

func kinds() (out []Kind) {
	for k, n := range arity {
		if n != 0 {
			out = append(out, Kind(k))
		}
	}
	return out
}

// random fills the fields of a kind's message by writing every field and keeping
// what a round trip keeps.
func random(r *rand.Rand, k Kind) *Msg {
	num := func() uint64 { return r.Uint64() >> r.IntN(64) }
	name := func() Name {
		b := make([]byte, 1+r.IntN(MaxName))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return MakeName(b)
	}
	value := func() (v Value) {
		for i := range v {
			v[i] = byte(r.Uint32())
		}
		return v
	}
	md := func() mode.Mode { return mode.Mode(r.IntN(7)) }
	party := func() Party { return Party{PartyKind(r.IntN(3)), num()} }
	domain := func() (g Digest) {
		if r.IntN(2) == 0 {
			g[3] = byte(num()) | 1
		}
		return g
	}
	block := func() Block { return Block{value(), Stamp{num(), num()}, r.IntN(2) == 0} }
	cause := func() (c Cause) {
		if c.Kind = CauseKind(r.IntN(int(Causes))); c.Kind != CauseNone {
			c = Cause{c.Kind, ProcID(num()), uint32(num()), uint32(num()), r.IntN(2) == 0, "a program", "a host"}
		}
		return c
	}
	root := Root{Namespace{NamespaceKind(r.IntN(3)), uint32(num())}, name()}
	m := &Msg{
		Kind: k, Mode: md(), Flags: uint32(num()), Op: uint32(num()), Status: int32(num()), Assign: num(), View: num(),
		Hint: num(), Arrival: num(), Token: num(), Proc: ProcID(num()), Lock: LockID(num()), Parent: LockID(num() | 1), Party: party(), Search: uint32(num()), Made: int64(num()), Number: num(), Domain: domain(),
		Root: root, Name: name(), Value: value(), Block: block(), Text: "some text",
		Info: Info{r.IntN(2) == 0, block(), uint32(num()), uint32(num()), uint32(num()), uint32(num()), md(), md(), md(), uint32(num())},
	}
	im := &Image{Root: root, Assign: num(), Arrival: num(), Why: Origin(r.IntN(int(Origins))), From: ProcID(num())}
	for i := r.IntN(20); i > 0; i-- {
		m.Procs = append(m.Procs, ProcID(num()))
		m.Locks = append(m.Locks, LockReport{LockID(num()), LockID(num() | 1), name(), md(), md(), uint32(num()), uint32(num()),
			num(), num(), int64(num()), uint32(num()), PendingKind(r.IntN(4)), value(), block(), party(), domain()})
		im.Resources = append(im.Resources, ImageResource{int32(r.IntN(100)) - 1, name(), block(), Digest{1, byte(num())}, domain(), r.IntN(2) == 0, cause(), uint32(num())})
		m.Path = append(m.Path, name())
		im.Locks = append(im.Locks, ImageLock{int32(r.IntN(100)), ProcID(num()), LockID(num()), md(), md(), uint32(num()), uint32(num()), num(), num(), uint32(num()), party()})
		m.Obstacles = append(m.Obstacles, Obstacle{ProcID(num()), LockID(num()), uint32(num()), party(), md(), r.IntN(2) == 0})
		m.Waits = append(m.Waits, Wait{LockID(num()), uint32(num()), root, name(), md(), md(), ProcID(num()), num(), int64(num())})
	}
	m.Image = im
	m.Groups = m.Procs
	m.Call, m.Reply, m.NotedGroup, m.NotedLock, m.NotedCall = &Call{}, &Reply{}, &NotedGroup{}, &NotedLock{}, &NotedCall{}
	m.Text, m.Epoch, m.Birth, m.Host = "some text", r.Uint32(), r.Uint32(), HostID(num())
	m.HostState, m.HostEntry = &HostState{}, &HostEntry{}
	m.Inquiry, m.Sight = &Inquiry{}, &Sight{}
	for _, p := range []any{&m.Data, &m.Dead, &m.Obits, &m.Records, m.HostState, m.HostEntry, m.Inquiry, m.Sight, &m.User, m.Call, m.Reply, m.NotedGroup, m.NotedLock, m.NotedCall} {
		fill(r, reflect.ValueOf(p).Elem())
	}
	return m
}

// fill sets all fields of v to something that they may be.
func fill(r *rand.Rand, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *Name:
		*p = MakeName([]byte("a name, 24 bytes of it .")[:r.IntN(24)])
		return
	case *HostVerb:
		*p = HostVerb(r.IntN(int(hostVerbs)))
		return
	case *string:
		*p = "a text of which a part is taken"[:r.IntN(30)]
		return
	case *Inquiry:
		*p = Inquiry{
			What: See(r.IntN(int(sees) + 1)), InSpace: r.IntN(2) == 0, Space: Namespace{PerUser, r.Uint32()}, Name: MakeName([]byte("a name")), Prefix: true,
			Owners: []ProcID{1, 1 << 40}, Modes: 0x7f, Waiting: true, Hot: SeeHottest, Limit: SeeMost, Patience: SeePatience,
		}
		return
	case *CauseKind:
		*p = CauseKind(r.IntN(int(Causes)))
		return
	case *Origin:
		*p = Origin(r.IntN(int(Origins)))
		return
	case *WaitState:
		*p = WaitState(r.IntN(int(waitStates)))
		return
	case *GroupVerb:
		*p = GroupVerb(r.IntN(int(groupVerbs)))
		return
	case *PendingKind:
		*p = PendingKind(r.IntN(3))
		return
	case *NamespaceKind:
		*p = NamespaceKind(r.IntN(3))
		return
	case *PartyKind:
		*p = PartyKind(r.IntN(3))
		return
	case *mode.Mode:
		*p = mode.Mode(r.IntN(7))
		return
	case *Root:
		*p = Root{Namespace{NamespaceKind(r.IntN(3)), r.Uint32()}, MakeName([]byte("r"))}
		return
	}
	switch {
	case v.CanUint():
		v.SetUint(r.Uint64() >> r.IntN(64))
	case v.CanInt():
		v.SetInt(r.Int64() >> r.IntN(64))
	case v.Kind() == reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	default:
		panic(v.Type())
	}
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < 40; i++ {
		for _, k := range kinds() {
			in := random(r, k)
			b := Append(nil, in)
			out := *in
			// Fields that travel are overwritten; scramble a few to see it.
			out.Assign, out.Op, out.View, out.Block, out.Image, out.Info, out.Root, out.Party = 1, 2, 3, Block{}, nil, Info{}, Root{}, Party{}
			if err := Parse(b, &out); err != nil {
				t.Fatalf("kind %d: %v", k, err)
			}
			if again := Append(nil, &out); !reflect.DeepEqual(again, b) {
				t.Fatalf("kind %d differs after a round trip", k)
			}
			for _, p := range [...][2]any{{in.Call, out.Call}, {in.Reply, out.Reply}, {in.NotedGroup, out.NotedGroup}, {in.NotedLock, out.NotedLock}, {in.NotedCall, out.NotedCall}} {
				if fmt.Sprint(p[0]) != fmt.Sprint(p[1]) {
					t.Fatalf("kind %d: %+v became %+v", k, p[0], p[1])
				}
			}
			for n := range b {
				if Parse(b[:n], &Msg{}) == nil {
					t.Fatalf("kind %d cut to %d of %d bytes is accepted", k, n, len(b))
				}
			}
			if Parse(append(b, 0), &Msg{}) == nil {
				t.Fatalf("kind %d with a byte too many is accepted", k)
			}
		}
	}
}

func TestHotMessagesDoNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range []Kind{KRequest, KConvert, KUnlock, KCancel, KGranted, KQueued, KRefused, KUnlocked, KCancelled, KBlocking} {
		m := random(r, k)
		b := make([]byte, 0, 512)
		if n := testing.AllocsPerRun(100, func() {
			b = Append(b[:0], m)
			if Parse(b, m) != nil {
				t.Fatal("does not parse")
			}
		}); n != 0 {
			t.Errorf("kind %d: %v allocations", k, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range kinds() {
		f.Add(Append(nil, random(r, k)))
	}
	for _, b := range []string{"\xc6\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff"} {
		f.Add([]byte(b))
		f.Add(append([]byte{0x90 | arity[KReport], byte(KReport), 0, 0x93, 0, 0, 0xc4, 1, 'r', 0}, b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// A lock in an image takes two bytes at least of a frame, and a few hundred of
		// memory; its list is grown by copying.
		const least, perByte = 64 << 10, 1000
		var m, n Msg
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := Parse(b, &m)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > least+perByte*uint64(len(b)) {
			t.Fatalf("%d bytes are allocated for a frame of %d", took, len(b))
		}
		if err != nil {
			return
		}
		c := Append(nil, &m)
		if err := Parse(c, &n); err != nil {
			t.Fatalf("what Parse accepted does not survive Append: %v", err)
		}
	})
}
