package process

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// What becomes of each field when a root sleeps. A new field must be told here, and then
// packed, or be as good when it is zero, or keep its root awake while it is not.
const (
	same   = iota // is the same afterwards: packed, or the same for all sleepers
	around        // points to what is around it, or says where it stands
	lost          // of no use after a sleep
)

var sleeping = map[string]map[string]int{
	"lock": {
		"Lock": same, "pending": around, "position": around, "root": around, "next": around, "prev": around,
		"block": same, "token": same, "user": same, "held": same, "children": same, "depth": same, "granted": same,
		"noticed": same, "plain": same,
	},
	"Lock": {
		"Owner": same, "ID": same, "Party": same, "Res": around, "next": around, "prev": around, "place": same,
		"fresh": same, "Heard": same, "Granted": same, "Requested": same, "Held": same, "Flags": same, "Hint": same,
		"Op": same, "Arrival": same, "Token": same,
	},
	"root": {
		"shard": around, "key": same, "where": same, "asked": same, "master": same, "assign": same, "tree": same,
		"foreign": same, "own": around, "ownCount": same, "ops": same, "queries": same, "held": same, "keep": same,
		"next": around, "prev": around,
		"lookup":  lost, // no question is under way; the next one has a new number
		"givenUp": lost, // older than the assignment
		"keepOp":  lost, // no question is under way
		"noKeep":  lost, // while a tree resumes
		"used":    lost,
		"hurried": lost, // of an orphan
		"wanted":  lost, "answered": lost,
		"lent": same, "solo": lost,
		"sighted": lost,

		"heir":     same,
		"doubted":  same,
		"use":      lost, // nobody else does any more
		"sure":     lost, // of another master
		"arriving": lost, // while it is installed
		"deadline": lost, // while it moves
	},
	"Tree": {
		"key": around, "Self": same, "Assign": same, "Since": same, "Why": same, "From": same, "Queued": same,
		"root": same, "below": same, "arrival": same, "seq": same, "locks": same, "sink": around, "journal": around,
		"Used": lost, "Looked": lost, // may begin again at 0
		"line": lost, // scratch
		"kept": same,
	},
	"Resource": {
		"tree": around, "Parent": same, "name": same, "depth": same, "Block": same, "doubt": same, "writes": same,
		"granted": around, "converting": same, "waiting": same, "held": same, "writer": around, "locks": same,
		"children": same, "foreign": same, "persist": same, "journaled": same,
		"digest": lost, // made when somebody asks
		"slot":   lost, // of a resource in the journal
	},
}

// differ tells where two sleepers-to-be differ.
func differ(path string, x, y reflect.Value, report func(string)) {
	switch x.Kind() {
	case reflect.Struct:
		fields, listed := sleeping[x.Type().Name()]
		for i := range x.NumField() {
			f := x.Type().Field(i)
			what, known := fields[f.Name]
			if listed && !known {
				report(fmt.Sprintf("nobody says what becomes of %s.%s when it sleeps", x.Type(), f.Name))
				continue
			}
			if what == same {
				differ(path+"."+f.Name, x.Field(i), y.Field(i), report)
			}
		}
	case reflect.Array:
		for i := range x.Len() {
			differ(fmt.Sprintf("%s[%d]", path, i), x.Index(i), y.Index(i), report)
		}
	case reflect.Pointer:
		switch {
		case x.IsNil() != y.IsNil():
			report(path + ": one is nil")
		case !x.IsNil():
			differ(path, x.Elem(), y.Elem(), report)
		}
	case reflect.Slice, reflect.Map:
		if x.Len() != 0 || y.Len() != 0 {
			report(path + " is not empty")
		}
	default:
		if !x.Equal(y) {
			report(fmt.Sprintf("%s: %v became %v", path, x, y))
		}
	}
}

type quietWorld struct{ World }

func (quietWorld) Date() uint32 { return 7 }

// drowsy makes a root that may sleep, with anything in all its fields.
func drowsy(r *rand.Rand, s *shard) *root {
	some := func() uint64 {
		if r.IntN(3) == 0 {
			return 0
		}
		return r.Uint64() >> r.IntN(64)
	}
	stamp := func(assign uint64) proto.Stamp {
		if r.IntN(3) == 0 {
			assign = some()
		}
		return proto.Stamp{Assign: assign, Seq: some()}
	}
	name := make([]byte, 1+r.IntN(proto.MaxName))
	for i := range name {
		name[i] = byte(r.Uint32())
	}
	key := proto.Root{Space: proto.Namespace{Kind: proto.NamespaceKind(r.IntN(3)), ID: uint32(some())}, Name: proto.MakeName(name)}
	x := s.root(&key)
	x.where, x.master, x.assign, x.ops = local, s.p.me, some(), some()
	x.lookup, x.givenUp = some(), some()
	l := s.newLock(x)
	for n := r.IntN(5); n > 0; n-- { // other locks have had the number
		s.freeLock(l)
		l = s.newLock(x)
	}
	rest := tree.Rest{
		Assign: x.assign, Arrival: some(), Seq: some(), Writes: uint32(some()),
		Since: uint32(some()), Why: proto.Origin(r.IntN(3)), From: proto.ProcID(some()),
		Block: proto.Block{Stamp: stamp(x.assign), Valid: r.IntN(2) == 0},
	}
	if r.IntN(2) == 0 {
		rest.Block.Value[r.IntN(32)] = byte(r.Uint32())
	}
	if l.block = rest.Block; r.IntN(3) == 0 {
		l.block.Valid, l.block.Stamp = r.IntN(2) == 0, stamp(x.assign)
		l.block.Value[r.IntN(32)] ^= 1
	}
	l.granted = mode.NL + mode.Mode(r.IntN(6))
	l.Granted, l.Requested = l.granted, l.granted
	l.held = uint32(some())
	l.Held = dlm.Flags(l.held)
	if l.Flags = l.Held; r.IntN(2) == 0 {
		l.Flags = dlm.Flags(some())
	}
	l.Hint, l.Op, l.Arrival, l.Token = some(), uint32(some()), some(), some()
	if l.token = (proto.Stamp{Assign: x.assign, Seq: l.Token}); r.IntN(3) == 0 {
		l.token = stamp(x.assign)
	}
	l.plain = r.IntN(2) == 0
	l.user = proto.User{NotPrm: some(), Hint: some(), BlkRtn: some(), CplRtn: some(), ValB: some(), Timeout: uint32(some())}
	if r.IntN(2) == 0 {
		l.Party = proto.Party{Kind: proto.PartyKind(r.IntN(3)), ID: some()}
	}
	x.tree = &tree.Tree{}
	x.tree.Wake(&x.key, &rest, s.p.me, x, s.p.journal, &l.Lock)
	return x
}

// A sleeper wakes up as it was.
func TestSleepChangesNothing(t *testing.T) {
	p := New(quietWorld{}, nil)
	p.Joined(1<<40|5, 1<<40|5)
	s := &p.shards[3]
	r := rand.New(rand.NewPCG(1, 3))
	report := func(what string) { t.Error(what) }
	type sleeper struct {
		before root
		lock   lock
		tree   tree.Tree
		id     proto.LockID
	}
	var all []sleeper
	for i := 0; i < 3000 && !t.Failed(); i++ {
		if len(all) > 0 && r.IntN(3) == 0 {
			k := r.IntN(len(all))
			x := all[k]
			all = append(all[:k], all[k+1:]...)
			var now *root
			if r.IntN(2) == 0 {
				now = s.find(&x.before.key)
			} else if l := s.lookup(x.id); l != nil {
				now = l.root
			}
			if now == nil {
				t.Fatal("a sleeper is not to be found")
			}
			l := now.own.head
			differ("root", reflect.ValueOf(&x.before).Elem(), reflect.ValueOf(now).Elem(), report)
			differ("lock", reflect.ValueOf(&x.lock).Elem(), reflect.ValueOf(l).Elem(), report)
			if l.root != now || l.pending != &idle || l.position != &top || l.Res != now.tree.RootResource() || now.own.tail != l ||
				s.peek(x.id) != l || s.roots[now.key] != now {
				t.Fatal("a sleeper woke up in another place")
			}
			if rest, only := now.tree.Rest(); only != &l.Lock || rest.Assign != now.assign {
				t.Fatal("the tree is another one")
			}
			now.tree.Unlock(&l.Lock, 0, &proto.Value{})
			s.freeLock(l)
			s.drop(now)
			continue
		}
		x := drowsy(r, s)
		if s.asleep.index.Len() > 0 && s.asleep.index.Len() != len(all) {
			t.Fatal("not all are asleep that should be")
		}
		before := sleeper{before: *x, lock: *x.own.head, tree: *x.tree, id: x.own.head.ID}
		before.before.tree = &before.tree
		if !s.sleep(x) {
			t.Fatal("it does not sleep")
		}
		if s.peek(before.id) != nil || s.roots[x.key] != nil {
			t.Fatal("a sleeper is awake")
		}
		all = append(all, before)
	}
	if n := s.asleep.records.used; n != len(all) || s.asleep.index.Len() != n || s.locks.len() != n {
		t.Fatalf("%d records, %d names, %d locks of %d sleepers", n, s.asleep.index.Len(), s.locks.len(), len(all))
	}
}

// Freed records are used again.
func TestSlab(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var s slab
	have := map[uint32][]byte{}
	for range 100000 {
		if len(have) > 500 || len(have) > 0 && r.IntN(3) == 0 {
			for ref, b := range have {
				if got := s.at(ref)[1:len(b)]; string(got) != string(b[1:]) {
					t.Fatalf("record %d: %x instead of %x", ref, got, b[1:])
				}
				s.drop(ref)
				delete(have, ref)
				break
			}
			continue
		}
		b := make([]byte, 9+r.IntN(200))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		ref := s.put(b)
		if ref == 0 || have[ref] != nil {
			t.Fatalf("record %d is there twice", ref)
		}
		have[ref] = b
	}
	if s.used != len(have) || len(s.pages) > 20 {
		t.Fatalf("%d records for %d, in %d pages", s.used, len(have), len(s.pages))
	}
}
