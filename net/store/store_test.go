package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

var options = Options{Cluster: "default", Sync: true}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Index: proto.Uint64(index), Term: proto.Uint64(term), Data: []byte(data)}
}

func state(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: proto.Uint64(term), Vote: proto.Uint64(vote), Commit: proto.Uint64(commit)}
}

// says is all that a store knows, for comparison.
func says(t *testing.T, s *Store) string {
	t.Helper()
	st, conf, err := s.InitialState()
	must(t, err)
	first, err := s.FirstIndex()
	must(t, err)
	last, err := s.LastIndex()
	must(t, err)
	text := fmt.Sprintf("term %d vote %d commit %d voters %v from %d:", st.GetTerm(), st.GetVote(), st.GetCommit(), conf.GetVoters(), first)
	if last >= first {
		list, err := s.Entries(first, last+1, 1<<62)
		must(t, err)
		for _, e := range list {
			text += fmt.Sprintf(" %d/%d=%s", e.GetIndex(), e.GetTerm(), e.GetData())
		}
	}
	return text
}

// history is a few writes and what the store says after each.
func history(t *testing.T, dir string) (words []string, sizes []int64) {
	t.Helper()
	s := open(t, dir)
	note := func() {
		words = append(words, says(t, s))
		sizes = append(sizes, s.size)
	}
	note()
	must(t, s.Save(state(1, 7, 0), nil, nil))
	note()
	must(t, s.Save(nil, []*raftpb.Entry{entry(1, 1, "a")}, nil))
	note()
	must(t, s.Save(state(2, 7, 1), nil, nil))
	note()
	must(t, s.Save(nil, []*raftpb.Entry{entry(2, 2, "b")}, nil))
	note()
	must(t, s.Save(nil, []*raftpb.Entry{entry(2, 3, "B")}, nil)) // another leader's
	note()
	must(t, s.Close())
	return words, sizes
}

func TestCutAnywhere(t *testing.T) {
	dir := t.TempDir()
	words, sizes := history(t, dir)
	path := filepath.Join(dir, fileName)
	whole, err := os.ReadFile(path)
	must(t, err)
	for n := len(whole); n >= int(sizes[0]); n-- {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		s := open(t, dir)
		want := 0
		for sizes[min(want+1, len(sizes)-1)] <= int64(n) && want+1 < len(sizes) {
			want++
		}
		if got := says(t, s); got != words[want] || s.Fresh() != (want == 0) {
			t.Fatalf("cut at %d: %s, want %s", n, got, words[want])
		}
		// It goes on from there.
		must(t, s.Save(state(9, 9, 0), nil, nil))
		must(t, s.Close())
		s = open(t, dir)
		if st, _, _ := s.InitialState(); st.GetTerm() != 9 {
			t.Fatalf("cut at %d, and then a write: %s", n, says(t, s))
		}
		must(t, s.Close())
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	words, sizes := history(t, dir)
	path := filepath.Join(dir, fileName)
	whole, err := os.ReadFile(path)
	must(t, err)
	lastRecord := int(sizes[len(sizes)-2])
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x15
		must(t, os.WriteFile(path, bad, 0o600))
		s, err := Open(dir, options)
		switch {
		case i < int(sizes[0]): // the head
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d of the head: %v", i, err)
			}
		case i < lastRecord:
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d, in the middle: %v", i, err)
			}
		default: // as if the last write had been cut off
			must(t, err)
			if got := says(t, s); got != words[len(words)-2] {
				t.Fatalf("byte %d, in the last record: %s", i, got)
			}
		}
		if err == nil {
			must(t, s.Close())
		}
	}
}

func TestWhoseStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if !s.Fresh() || s.Identity() == (Identity{}) {
		t.Fatal("a new store has no new identity")
	}
	if _, err := Open(dir, options); !errors.Is(err, ErrInUse) {
		t.Fatalf("opened twice: %v", err)
	}
	first := s.Identity()
	must(t, s.Close())
	s = open(t, dir)
	if !s.Fresh() || s.Identity() != first {
		t.Fatal("a store in which nothing was promised is not as new, or has another identity")
	}
	must(t, s.Close())
	if _, err := Open(dir, Options{Cluster: "other"}); !errors.Is(err, ErrForeign) {
		t.Fatalf("of another cluster: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, fileName)))
	if s = open(t, dir); !s.Fresh() || s.Identity() == first {
		t.Fatal("who has lost the store speaks for the one before")
	}
	must(t, s.Close())
	for _, text := range []string{"", "something else entirely, and long enough for a head of ours"} {
		must(t, os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600))
		if _, err := Open(dir, options); !errors.Is(err, ErrForeign) {
			t.Fatalf("%q: %v", text, err)
		}
	}
	must(t, os.Remove(filepath.Join(dir, fileName)))
	must(t, os.Symlink("/dev/null", filepath.Join(dir, fileName)))
	if _, err := Open(dir, options); err == nil {
		t.Fatal("a link is followed")
	}
}

func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var list []*raftpb.Entry
	for i := uint64(1); i <= 100; i++ {
		list = append(list, entry(i, 1, fmt.Sprint(i)))
	}
	must(t, s.Save(state(1, 1, 95), list, nil))
	before := s.size
	must(t, s.Compact(90, &raftpb.ConfState{Voters: []uint64{1, 2, 3}}, []byte("all up to 90"), 10))
	if first, _ := s.FirstIndex(); first != 81 {
		t.Fatalf("the first entry is %d", first)
	}
	if s.size >= before {
		t.Fatalf("%d bytes, %d before", s.size, before)
	}
	must(t, s.Save(nil, []*raftpb.Entry{entry(101, 1, "101")}, nil))
	must(t, s.Close())
	s = open(t, dir)
	snap, err := s.Snapshot()
	must(t, err)
	if string(snap.GetData()) != "all up to 90" || snap.GetMetadata().GetIndex() != 90 || !reflect.DeepEqual(snap.GetMetadata().GetConfState().GetVoters(), []uint64{1, 2, 3}) {
		t.Fatalf("snapshot %v", snap)
	}
	want := "term 1 vote 1 commit 95 voters [1 2 3] from 91: 91/1=91 92/1=92 93/1=93 94/1=94 95/1=95 96/1=96 97/1=97 98/1=98 99/1=99 100/1=100 101/1=101"
	if got := says(t, s); got != want {
		t.Fatal(got)
	}
	// One that another voter has sent goes over all that was before.
	must(t, s.Save(state(4, 0, 500), nil, &raftpb.Snapshot{Data: []byte("sent"), Metadata: &raftpb.SnapshotMetadata{
		Index: proto.Uint64(500), Term: proto.Uint64(4), ConfState: &raftpb.ConfState{Voters: []uint64{2, 3}},
	}}))
	must(t, s.Close())
	s = open(t, dir)
	if got := says(t, s); got != "term 4 vote 0 commit 500 voters [2 3] from 501:" {
		t.Fatal(got)
	}
}

// A voter alone: what it has decided stands after each restart.
func TestQuorumOfOne(t *testing.T) {
	dir := t.TempDir()
	var decided []string
	for restart := range 5 {
		s := open(t, dir)
		cfg := &raft.Config{
			ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: s, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 16,
			PreVote: true, CheckQuorum: true, Logger: &raft.DefaultLogger{Logger: nil},
		}
		cfg.Logger = quiet{}
		n, err := raft.NewRawNode(cfg)
		must(t, err)
		if s.Fresh() {
			must(t, n.Bootstrap([]raft.Peer{{ID: 1}}))
		}
		var applied []string
		run := func() {
			for n.HasReady() {
				rd := n.Ready()
				var snap *raftpb.Snapshot
				if !raft.IsEmptySnap(rd.Snapshot) {
					snap = rd.Snapshot
				}
				var st *raftpb.HardState
				if !raft.IsEmptyHardState(rd.HardState) {
					st = rd.HardState
				}
				must(t, s.Save(st, rd.Entries, snap))
				for _, e := range rd.CommittedEntries {
					if e.GetType() == raftpb.EntryConfChange {
						var cc raftpb.ConfChange
						must(t, proto.Unmarshal(e.GetData(), &cc))
						n.ApplyConfChange(&cc)
					} else if len(e.GetData()) > 0 {
						applied = append(applied, string(e.GetData()))
					}
				}
				n.Advance(rd)
			}
		}
		run()
		must(t, n.Campaign())
		run()
		if !reflect.DeepEqual(applied, decided) {
			t.Fatalf("start %d: %v, want %v", restart, applied, decided)
		}
		word := fmt.Sprint("view ", restart)
		must(t, n.Propose([]byte(word)))
		run()
		decided = append(decided, word)
		if !reflect.DeepEqual(applied, decided) {
			t.Fatalf("after start %d: %v, want %v", restart, applied, decided)
		}
		must(t, s.Close())
	}
}

// quiet is a logger that says nothing unless it is the end.
type quiet struct{}

func (quiet) Debug(...any)              {}
func (quiet) Debugf(string, ...any)     {}
func (quiet) Error(...any)              {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Info(...any)               {}
func (quiet) Infof(string, ...any)      {}
func (quiet) Warning(...any)            {}
func (quiet) Warningf(string, ...any)   {}
func (quiet) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (quiet) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (quiet) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (quiet) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
