package journal

import (
	"math/rand"
	"sync"
	"testing"

	"github.com/godlm/godlm/core/proto"
)

func record(n byte) proto.Record {
	r := proto.Record{Writer: proto.ProcID(n), Lock: proto.LockID(n) << 32}
	for i := range r.Block.Value {
		r.Block.Value[i] = n
	}
	r.Tree[0], r.Resource[15] = 't', n
	r.Block.Stamp = proto.Stamp{Assign: uint64(n) << 40, Seq: uint64(n)}
	r.Block.Valid = n%2 == 1
	return r
}

func create(t testing.TB, mem Memory) *File {
	t.Helper()
	f, err := Create(mem, 42)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Every mixture of the bytes before and after a write must read as one of the
// two records.
func TestTornWriteLeavesThePreviousRecord(t *testing.T) {
	mem := NewMemory()
	f := create(t, mem)
	slot, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewSource(1))
	for n := byte(1); n < 9; n++ {
		before := append([]byte(nil), mem.Chunk(0)...)
		had := Records(mem)
		r := record(n)
		f.Write(slot, &r)
		after := mem.Chunk(0)
		_, from := records.place(int(slot))
		to := from + records.cell()
		check := func(what string, k int, mix func(i int) bool) {
			torn := NewMemory()
			if err := torn.Grow(); err != nil {
				t.Fatal(err)
			}
			b := torn.Chunk(0)
			copy(b, before)
			whole := true
			for i := from; i < to; i++ {
				if mix(i - from) {
					b[i] = after[i]
				} else if before[i] != after[i] {
					whole = false
				}
			}
			got := Records(torn)
			switch {
			case whole && len(got) == 1 && got[0] == r:
			case !whole && len(got) == 0 && len(had) == 0:
			case !whole && len(got) == 1 && len(had) == 1 && got[0] == had[0]:
			default:
				t.Fatalf("write %d torn at %s %d: %v", n, what, k, got)
			}
		}
		for k := 0; k <= to-from; k++ {
			check("front", k, func(i int) bool { return i < k })
			check("back", k, func(i int) bool { return i >= k })
			check("byte", k, func(i int) bool { return i != k })
		}
		for k := 0; k < 200; k++ {
			check("random", k, func(int) bool { return rnd.Intn(2) == 0 })
		}
	}
}

func TestFreedCellIsGoneAndUsedAgain(t *testing.T) {
	mem := NewMemory()
	f := create(t, mem)
	var slots []uint32
	for n := byte(1); n <= 3; n++ {
		s, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		r := record(n)
		f.Write(s, &r)
		f.Write(s, &r)
		slots = append(slots, s)
	}
	f.Close(slots[1])
	if got := Records(mem); len(got) != 2 || got[0] != record(1) || got[1] != record(3) {
		t.Fatalf("after Close: %v", got)
	}
	if s, err := f.Open(); err != nil || s != slots[1] {
		t.Fatalf("Open = %d, %v; want %d", s, err, slots[1])
	}
	if got := Records(mem); len(got) != 2 {
		t.Fatalf("an open cell without a record reads as %v", got)
	}
}

func TestHalfAWipeShowsTheNewestRecord(t *testing.T) {
	for writes := byte(1); writes < 5; writes++ {
		f := create(t, NewMemory())
		s, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		for n := byte(1); n <= writes; n++ {
			r := record(n)
			f.Write(s, &r)
		}
		c := f.cell(s)
		older, _ := c.byAge()
		commit(older).Store(0)
		if got := decode(c.read()); got != record(writes) {
			t.Fatalf("%d writes: half a wipe shows %v", writes, got)
		}
	}
}

func TestRetireIsForOneTree(t *testing.T) {
	mem := NewMemory()
	f := create(t, mem)
	for n := byte(0); n < 200; n++ {
		s, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		r := record(n)
		r.Tree[1] = n % 2
		f.Write(s, &r)
	}
	var d proto.Digest
	d[0], d[1] = 't', 1
	Retire(mem, d)
	got := Records(mem)
	if len(got) != 100 {
		t.Fatalf("%d records left, want 100", len(got))
	}
	for _, r := range got {
		if r.Tree == d {
			t.Fatal("a record of the retired tree is left")
		}
	}
}

func TestGrowsOverChunksAndReportsWhenFull(t *testing.T) {
	mem := NewBoundedMemory(3)
	f := create(t, mem)
	want := records.count(3)
	for i := 0; i < want; i++ {
		s, err := f.Open()
		if err != nil {
			t.Fatalf("cell %d of %d: %v", i, want, err)
		}
		r := record(byte(i))
		r.Block.Stamp.Seq = uint64(i)
		f.Write(s, &r)
	}
	if _, err := f.Open(); err == nil {
		t.Fatal("Open beyond the limit succeeds")
	}
	for i, r := range Records(mem) {
		if r.Block.Stamp.Seq != uint64(i) {
			t.Fatalf("record %d is number %d", i, r.Block.Stamp.Seq)
		}
	}
}

func TestPeers(t *testing.T) {
	mem := NewMemory()
	f := create(t, mem)
	for i := 1; i <= maxPeers; i++ {
		if err := f.Peer(proto.ProcID(i)); err != nil {
			t.Fatal(err)
		}
	}
	p, all := Peers(mem)
	if len(p) != maxPeers || all || p[9] != 10 {
		t.Fatalf("%d peers, all %v", len(p), all)
	}
	if err := f.Peer(5000); err != nil {
		t.Fatal(err)
	}
	if _, all = Peers(mem); !all {
		t.Fatal("an overflow of the peers is not noted")
	}
}

func TestHead(t *testing.T) {
	mem := NewMemory()
	f := create(t, mem)
	h, err := ParseHead(mem.Chunk(0))
	if err != nil || h != (Head{Pid: 42}) {
		t.Fatalf("%+v, %v", h, err)
	}
	f.SetProc(77, 1<<31+5)
	if h, _ = ParseHead(mem.Chunk(0)); h.Proc != 77 || h.Birth != 1<<31+5 || h.Pid != 42 {
		t.Fatalf("%+v", h)
	}
	copy(mem.Chunk(0)[ProcOffset:], AppendProc(nil, 78))
	copy(mem.Chunk(0)[BirthOffset:], AppendBirth(nil, 6))
	if h, _ = ParseHead(mem.Chunk(0)); h.Proc != 78 || h.Birth != 6 {
		t.Fatalf("%+v", h)
	}
	f.SetProgram("counter")
	if h, _ = ParseHead(mem.Chunk(0)); h.Program != "counter" || h.Pid != 42 {
		t.Fatalf("%+v", h)
	}
	f.SetProgram("a name that is longer than the head has room for")
	if h, _ = ParseHead(mem.Chunk(0)); h.Program != "a name that is longer than the " {
		t.Fatalf("%+v", h)
	}
	if _, err := ParseHead(make([]byte, HeadSize)); err == nil {
		t.Fatal("zeros are taken for a head")
	}
}

func TestDirectory(t *testing.T) {
	mem := NewMemory()
	d, err := Load(mem)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewSource(2))
	want := map[proto.Digest]Entry{}
	for i := 0; i < 20000; i++ {
		e := Entry{Master: proto.ProcID(rnd.Uint64()), Assign: uint64(i)}
		e.Tree[0], e.Tree[1] = byte(rnd.Intn(256)), byte(rnd.Intn(8))
		if rnd.Intn(3) == 0 {
			d.Delete(e.Tree)
			delete(want, e.Tree)
		} else if err := d.Put(e); err != nil {
			t.Fatal(err)
		} else {
			want[e.Tree] = e
		}
	}
	for pass := 0; pass < 2; pass++ {
		got := d.Entries()
		if len(got) != len(want) {
			t.Fatalf("pass %d: %d entries, want %d", pass, len(got), len(want))
		}
		for _, e := range got {
			if want[e.Tree] != e {
				t.Fatalf("pass %d: %v, want %v", pass, e, want[e.Tree])
			}
		}
		if d, err = Load(mem.Clone()); err != nil {
			t.Fatal(err)
		}
	}
	mem.Chunk(0)[0] ^= 1
	if _, err := Load(mem); err == nil {
		t.Fatal("a file of another kind is loaded")
	}
}

func TestDirectoryFull(t *testing.T) {
	d, err := Load(NewBoundedMemory(1))
	if err != nil {
		t.Fatal(err)
	}
	var e Entry
	for i := 0; i < entries.count(1); i++ {
		e.Tree[0], e.Tree[1] = byte(i), byte(i>>8)
		if err := d.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	e.Tree[2] = 1
	if d.Put(e) == nil {
		t.Fatal("Put into a full directory succeeds")
	}
	e.Tree[2], e.Assign = 0, 9
	if err := d.Put(e); err != nil {
		t.Fatalf("replacing needs no room: %v", err)
	}
	d.Delete(e.Tree)
	e.Tree[2] = 1
	if err := d.Put(e); err != nil {
		t.Fatalf("after Delete: %v", err)
	}
}

func TestWriteDoesNotAllocate(t *testing.T) {
	f := create(t, NewMemory())
	s, _ := f.Open()
	r := record(3)
	if n := testing.AllocsPerRun(100, func() { f.Write(s, &r) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestManyWriters(t *testing.T) {
	mem := NewMemory()
	f := create(t, mem)
	var wg sync.WaitGroup
	for g := byte(0); g < 4; g++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < 500; i++ {
				s, err := f.Open()
				if err != nil {
					t.Error(err)
					return
				}
				r := record(g)
				f.Write(s, &r)
				if i%2 == 0 {
					f.Close(s)
				}
			}
		}()
	}
	wg.Wait()
	if n := len(Records(mem)); n != 1000 {
		t.Fatalf("%d records, want 1000", n)
	}
}

// FuzzRead: no contents of a file make a reader fail.
func FuzzRead(f *testing.F) {
	f.Add([]byte("gdlproc"), 0)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		mem := NewMemory()
		create(t, mem)
		copy(mem.Chunk(0)[uint(at)%ChunkSize:], data)
		Records(mem)
		Peers(mem)
		Retire(mem, proto.Digest{})
		if d, err := Load(mem); err == nil {
			d.Entries()
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	f := create(b, NewMemory())
	s, _ := f.Open()
	r := record(3)
	for b.Loop() {
		f.Write(s, &r)
	}
}
