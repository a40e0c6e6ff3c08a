package views

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	pb "google.golang.org/protobuf/proto"

	"github.com/godlm/godlm/net/store"
)

// A voter among peers that have the key and say anything. What it keeps is bounded, in
// memory and in its file, whatever they say and how often.

const (
	// mostHeap is what a voter may keep: undecided entries (2*maxUndecided of about 200
	// bytes, and 2*maxPending+maxMessage bytes of data), entries applied since the last
	// snapshot and as much before (2*maxKept), and a snapshot (2*maxMessage).
	mostHeap = 96 << 20
	// mostFile is twice that of what counts in the file, and what the store allows.
	mostFile = 2*mostHeap + 16<<20
	// manyMessages is how many are played, if not said otherwise.
	manyMessages = 100_000
)

// prey is voter 1; 2 and 3 are the others.
type prey struct {
	t     testing.TB
	place string
	st    *store.Store
	g     *Group
	sent  []*raftpb.Message // since the last answer
	slow  bool              // its disk takes its time: jobs wait for it
	jobs  []job
	stops map[string]int // why it has stopped, and how often
}

// Send implements Host.
func (p *prey) Send(_ uint64, b []byte) {
	m := &raftpb.Message{}
	if err := pb.Unmarshal(b, m); err != nil {
		p.t.Fatal(err)
	}
	if len(p.sent) < 4*maxMembers {
		p.sent = append(p.sent, m)
	}
}

// Apply, Restore, Snapshot and Confirmed implement Host: it is the group's memory that
// counts here.
func (p *prey) Apply(uint64, []byte)   {}
func (p *prey) Restore(uint64, []byte) {}
func (p *prey) Snapshot() []byte       { return []byte("state") }
func (p *prey) Confirmed(uint64)       {}

func newPrey(t testing.TB) *prey {
	p := &prey{t: t, place: t.TempDir(), stops: map[string]int{}}
	p.up()
	t.Cleanup(func() { _ = p.st.Close() })
	return p
}

func (p *prey) up() {
	var err error
	if p.st, err = store.Open(p.place, store.Options{Cluster: "prey"}); err != nil {
		p.t.Fatal(err)
	}
	if p.g, err = New(p, p.st, 1, []uint64{1, 2, 3}); err != nil {
		p.t.Fatal(err)
	}
	p.jobs = nil
	if p.slow {
		p.slowDisk()
	}
}

func (p *prey) slowDisk() {
	p.slow = true
	p.g.KeepBy(func(do func() error, done func(error)) { p.jobs = append(p.jobs, job{do, done}) })
}

// disk has all jobs done but some at the end.
func (p *prey) disk(but int) {
	for len(p.jobs) > but {
		j := p.jobs[0]
		p.jobs = p.jobs[1:]
		j.done(j.do())
		p.again()
	}
}

// hear has it take a message, and starts it anew if that is its end.
func (p *prey) hear(from uint64, m *raftpb.Message) error {
	b, err := pb.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.hearBytes(from, b)
}

func (p *prey) hearBytes(from uint64, b []byte) error {
	err := p.g.Receive(from, b)
	p.again()
	return err
}

func (p *prey) again() {
	if err := p.g.Err(); err != nil {
		p.stops[err.Error()]++
		if err := p.st.Close(); err != nil {
			p.t.Fatal(err)
		}
		p.up()
	}
}

// lead makes it the leader: the others answer as voters do.
func (p *prey) lead() {
	if !p.leads() {
		p.t.Fatal("it does not come to lead")
	}
}

func (p *prey) leads() bool {
	for range 10 {
		p.sent = nil
		p.g.Campaign()
		p.again()
		for range 20 {
			p.obey()
			p.disk(0)
		}
		if p.g.Leader() == 1 {
			return true
		}
	}
	return false
}

// obey has the others answer what they were sent.
func (p *prey) obey() {
	list := p.sent
	p.sent = nil
	for _, m := range list {
		a := &raftpb.Message{To: pb.Uint64(1), From: m.To, Term: m.Term}
		switch m.GetType() {
		case raftpb.MsgPreVote:
			a.Type = raftpb.MsgPreVoteResp.Enum()
		case raftpb.MsgVote:
			a.Type = raftpb.MsgVoteResp.Enum()
		case raftpb.MsgApp:
			a.Type, a.Index = raftpb.MsgAppResp.Enum(), pb.Uint64(m.GetIndex()+uint64(len(m.GetEntries())))
		case raftpb.MsgSnap:
			a.Type, a.Index = raftpb.MsgAppResp.Enum(), pb.Uint64(m.GetSnapshot().GetMetadata().GetIndex())
		case raftpb.MsgHeartbeat:
			a.Type, a.Context = raftpb.MsgHeartbeatResp.Enum(), m.Context
		default:
			continue
		}
		_ = p.hear(m.GetTo(), a) // it may be late
	}
}

// follow makes it follow 2.
func (p *prey) follow() (term uint64) {
	term = p.term() + 1
	if err := p.hear(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(term)}); err != nil || p.g.Leader() != 2 {
		p.t.Fatalf("it does not follow: %v", err)
	}
	return term
}

func (p *prey) term() uint64 { return p.g.node.BasicStatus().HardState.GetTerm() }

func (p *prey) last() (index, term uint64) {
	index, err := p.st.LastIndex()
	if err == nil {
		term, err = p.st.Term(index)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return index, term
}

// file is how long its file is.
func (p *prey) file() int64 {
	st, err := os.Stat(filepath.Join(p.place, "views"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return st.Size()
}

// heap is what is kept in memory now.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocated is how many bytes were allocated ever, without stopping the program for it: a
// few that are allocated now may be missing.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// counts checks what heap cannot show of small things.
func (p *prey) counts() {
	p.t.Helper()
	last, _ := p.last()
	undecided := int(last) - int(p.g.committed())
	if p.g.unsaved > maxUnsaved+4*maxMessage || len(p.g.waiting) > maxReads || p.g.reads > maxReads || membersOf(p.g.conf) > maxMembers || undecided > 2*maxUndecided+maxEntries {
		p.t.Fatalf("%d confirmations wait, %d are under way, %d members, %d undecided entries", len(p.g.waiting), p.g.reads, membersOf(p.g.conf), undecided)
	}
}

// entries are some to be appended by 2 behind what there is.
func (p *prey) entries(term uint64, number, size int, commit bool) *raftpb.Message {
	at, of := p.last()
	m := &raftpb.Message{Type: raftpb.MsgApp.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(term), Index: pb.Uint64(at), LogTerm: pb.Uint64(of), Commit: pb.Uint64(p.g.committed())}
	for i := range number {
		m.Entries = append(m.Entries, &raftpb.Entry{Term: pb.Uint64(term), Index: pb.Uint64(at + 1 + uint64(i)), Data: make([]byte, size)})
	}
	if commit {
		m.Commit = pb.Uint64(at + uint64(number))
	}
	return m
}

func (p *prey) proposal(e ...*raftpb.Entry) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgProp.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Entries: e}
}

func change(t testing.TB, list ...*raftpb.ConfChangeSingle) *raftpb.Entry {
	b, err := pb.Marshal(&raftpb.ConfChangeV2{Changes: list})
	if err != nil {
		t.Fatal(err)
	}
	return &raftpb.Entry{Type: raftpb.EntryConfChangeV2.Enum(), Data: b}
}

func single(kind raftpb.ConfChangeType, id uint64) *raftpb.ConfChangeSingle {
	return &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: pb.Uint64(id)}
}

// attacks are what one would do who knows what raft keeps.
var attacks = []struct {
	what string
	play func(p *prey)
	ends bool // it may say that the voter has lost entries, which stops it
}{
	{"confirmations that no quorum answers", func(p *prey) {
		p.lead()
		for i := range 3 * manyMessages {
			_ = p.hear(2, &raftpb.Message{Type: raftpb.MsgReadIndex.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Entries: []*raftpb.Entry{{Data: binary.BigEndian.AppendUint64(nil, uint64(i))}}})
		}
	}, false},
	{"large confirmations", func(p *prey) {
		p.lead()
		for range 1000 {
			_ = p.hear(2, &raftpb.Message{Type: raftpb.MsgReadIndex.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Entries: []*raftpb.Entry{{Data: make([]byte, 200<<10)}}})
		}
	}, false},
	{"answers that nobody asked for, of entries that do not come", func(p *prey) {
		term := p.follow()
		for i := range manyMessages {
			_ = p.hear(2, &raftpb.Message{Type: raftpb.MsgReadIndexResp.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(term), Index: pb.Uint64(1 << 60), Entries: []*raftpb.Entry{{Data: binary.BigEndian.AppendUint64(nil, uint64(i))}}})
		}
	}, false},
	{"proposals of nothing", func(p *prey) {
		p.lead()
		m := p.proposal()
		for range 10_000 {
			m.Entries = append(m.Entries, &raftpb.Entry{})
		}
		for range 100 {
			_ = p.hear(2, m)
		}
	}, false},
	{"changes of members that cannot be now", func(p *prey) { // raft makes entries of nothing of them
		p.lead()
		m := p.proposal()
		for range 10_000 {
			m.Entries = append(m.Entries, change(p.t, single(raftpb.ConfChangeAddLearnerNode, 9)))
		}
		for range 100 {
			_ = p.hear(2, m)
		}
	}, false},
	{"proposals that are no changes", func(p *prey) {
		p.lead()
		for range 100 {
			_ = p.hear(2, p.proposal(&raftpb.Entry{Type: raftpb.EntryConfChange.Enum(), Data: []byte{0xff}}))
			_ = p.hear(2, p.proposal())
		}
		for _, cc := range []*raftpb.ConfChangeV2{
			{Transition: raftpb.ConfChangeTransition(77).Enum(), Changes: []*raftpb.ConfChangeSingle{single(raftpb.ConfChangeAddNode, 9)}},
			{Changes: []*raftpb.ConfChangeSingle{single(77, 9)}},
			{Changes: []*raftpb.ConfChangeSingle{single(raftpb.ConfChangeAddNode, 0)}},
		} {
			b, err := pb.Marshal(cc)
			if err != nil {
				p.t.Fatal(err)
			}
			_ = p.hear(2, p.proposal(&raftpb.Entry{Type: raftpb.EntryConfChangeV2.Enum(), Data: b}))
			p.obey()
		}
		if p.g.Leader() != 1 || len(p.g.Voters()) != 3 {
			p.t.Errorf("leader %x, voters %x", p.g.Leader(), p.g.Voters())
		}
	}, false},
	{"messages and entries of no type", func(p *prey) {
		for _, kind := range []int32{-1, -1 << 31, 99, 1 << 30} {
			for _, term := range []uint64{0, p.follow()} {
				m := &raftpb.Message{Type: raftpb.MessageType(kind).Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(term)}
				if p.hear(2, m) == nil {
					p.t.Errorf("type %d is taken", kind)
				}
			}
			m := p.entries(p.term(), 1, 8, true)
			m.Entries[0].Type = raftpb.EntryType(kind).Enum()
			_ = p.hear(2, m)
		}
	}, false},
	{"many entries that are not decided", func(p *prey) {
		term := p.follow()
		for range 2000 {
			_ = p.hear(2, p.entries(term, 500, 1, false))
		}
	}, false},
	{"large entries that are not decided", func(p *prey) {
		term := p.follow()
		for range 150 {
			_ = p.hear(2, p.entries(term, 1, 900<<10, false))
		}
	}, false},
	{"large entries that are decided", func(p *prey) {
		term := p.follow()
		for range 150 {
			_ = p.hear(2, p.entries(term, 1, 900<<10, true))
		}
	}, false},
	{"entries in the place of others", func(p *prey) {
		for range 300 {
			term := p.follow()
			m := p.entries(term, 1, 900<<10, false)
			m.Index, m.LogTerm, m.Entries[0].Index = pb.Uint64(3), pb.Uint64(1), pb.Uint64(4)
			_ = p.hear(2, m)
		}
	}, false},
	{"a message of small parts", func(p *prey) {
		for _, field := range []byte{fieldEntries, fieldResponses} {
			b := make([]byte, 0, 2*maxMessage)
			for len(b) < 2*maxMessage {
				b = append(b, field<<3|2, 0)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if p.hearBytes(2, b) == nil {
				p.t.Error("it is taken")
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				p.t.Errorf("%d bytes are allocated to refuse field %d", n, field)
			}
		}
	}, false},
	{"a snapshot of many members", func(p *prey) {
		term := p.follow()
		conf := &raftpb.ConfState{Voters: []uint64{1, 2, 3}}
		for i := range uint64(300_000) {
			conf.Learners = append(conf.Learners, 10+i)
		}
		for range 10 {
			if p.hear(2, &raftpb.Message{Type: raftpb.MsgSnap.Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(term), Snapshot: &raftpb.Snapshot{
				Data: []byte("state"), Metadata: &raftpb.SnapshotMetadata{ConfState: conf, Index: pb.Uint64(50), Term: pb.Uint64(term)}}}) == nil {
				p.t.Error("it is taken")
			}
		}
	}, false},
	{"members without end", func(p *prey) {
		p.lead()
		for i := range uint64(maxMembers + 100) {
			_ = p.hear(2, p.proposal(change(p.t, single(raftpb.ConfChangeAddLearnerNode, 10+i))))
			p.obey()
		}
		if n := membersOf(p.g.conf); n != maxMembers {
			p.t.Errorf("%d members", n)
		}
	}, false},
	{"the end of all voters", func(p *prey) {
		p.lead()
		for range 3 {
			_ = p.hear(2, p.proposal(change(p.t, single(raftpb.ConfChangeRemoveNode, 1), single(raftpb.ConfChangeRemoveNode, 2), single(raftpb.ConfChangeRemoveNode, 3))))
			p.obey()
		}
		if len(p.g.Voters()) != 3 || p.g.Leader() != 1 {
			p.t.Errorf("voters %x, leader %x", p.g.Voters(), p.g.Leader())
		}
	}, false},
	{"answers of a peer that counts wrong", func(p *prey) {
		p.lead()
		for i := range manyMessages {
			m := &raftpb.Message{To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(p.term()), Index: pb.Uint64(uint64(i)), Reject: pb.Bool(i%3 == 0), RejectHint: pb.Uint64(uint64(i % 7)), LogTerm: pb.Uint64(uint64(i % 5))}
			m.Type = []*raftpb.MessageType{raftpb.MsgAppResp.Enum(), raftpb.MsgHeartbeatResp.Enum()}[i%2]
			m.Context = make([]byte, i%10)
			_ = p.hear(2, m)
		}
	}, false},
	{"anything", anything, true},
	{"anything, with a slow disk", func(p *prey) { p.slowDisk(); anything(p) }, true},
}

// anything plays messages that nearly fit, and some that do not. They follow from a seed,
// but for what raft draws itself.
func anything(p *prey) {
	r := rand.New(rand.NewPCG(7, 4))
	led := 0
	for i := range manyMessages {
		switch {
		case i%5000 == 0:
			if p.leads() {
				led++
			}
		case i%5000 == 2500:
			p.follow()
		case r.IntN(100) == 0:
			p.g.Tick()
			p.again()
		}
		from := 2 + r.Uint64N(2)
		b, err := pb.Marshal(p.some(r, from))
		if err != nil {
			p.t.Fatal(err)
		}
		if r.IntN(10) == 0 {
			b = spoil(r, b)
		}
		_ = p.hearBytes(from, b)
		p.sent = p.sent[:0]
		if r.IntN(50) == 0 {
			p.disk(r.IntN(10))
		}
	}
	p.disk(0)
	index, _ := p.last()
	p.t.Logf("it has led %d times, and has %d entries, %d of them decided, and %d members", led, index, p.g.committed(), membersOf(p.g.conf))
	if led < 5 || p.g.committed() < 300 {
		p.t.Error("too little happens")
	}
}

// some is a message of from that has to do with what there is.
func (p *prey) some(r *rand.Rand, from uint64) *raftpb.Message {
	last, of := p.last()
	near := func(n uint64) *uint64 {
		switch r.IntN(1000) {
		case 0:
			return pb.Uint64(r.Uint64())
		case 1:
			return pb.Uint64(0)
		}
		return pb.Uint64(n + r.Uint64N(4) - min(n, r.Uint64N(3)))
	}
	m := &raftpb.Message{
		Type: raftpb.MessageType(r.IntN(len(raftpb.MessageType_name))).Enum(), To: pb.Uint64(1), From: pb.Uint64(from),
		Term: pb.Uint64(p.term()), LogTerm: pb.Uint64(of), Index: near(last), Commit: near(p.g.committed()),
		RejectHint: near(last), Context: make([]byte, []int{0, 0, 8, 8, 3, 100}[r.IntN(6)]),
	}
	m.Reject = pb.Bool(r.IntN(3) == 0)
	if r.IntN(50) == 0 {
		m.Term = pb.Uint64(p.term() + r.Uint64N(2))
	}
	for i := range r.IntN(5) {
		e := &raftpb.Entry{Term: m.Term, Index: pb.Uint64(m.GetIndex() + 1 + uint64(i)), Data: make([]byte, []int{0, 8, 8, 100, 5000}[r.IntN(5)])}
		if r.IntN(10) == 0 {
			c := change(p.t, single(raftpb.ConfChangeType(r.IntN(4)), 4+r.Uint64N(40)))
			e.Type, e.Data = c.Type, c.Data
		}
		m.Entries = append(m.Entries, e)
	}
	if r.IntN(20) == 0 {
		m.Snapshot = &raftpb.Snapshot{Data: make([]byte, r.IntN(1000)), Metadata: &raftpb.SnapshotMetadata{
			Index: pb.Uint64(last + r.Uint64N(3)), Term: pb.Uint64(p.term()), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4 + r.Uint64N(5)}}}}
	}
	return m
}

// spoil changes some bytes.
func spoil(r *rand.Rand, b []byte) []byte {
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			break
		}
		at := r.IntN(len(b))
		switch r.IntN(3) {
		case 0:
			b[at] = byte(r.Uint32())
		case 1:
			b = slices.Delete(b, at, at+1)
		case 2:
			b = slices.Insert(b, at, byte(r.Uint32()))
		}
	}
	return b
}

// Nothing that peers say has a voter keep more than its bounds, and little stops it.
func TestHostilePeers(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.what, func(t *testing.T) {
			before := heap()
			p := newPrey(t)
			a.play(p)
			p.counts()
			kept, file := heap()-before, p.file()
			t.Logf("%.1f MB are kept in memory, %.1f MB in the file; %d stops", float64(kept)/(1<<20), float64(file)/(1<<20), len(p.stops))
			if kept > mostHeap || file > mostFile {
				t.Errorf("%d bytes are kept in memory, %d in the file", kept, file)
			}
			for why, n := range p.stops {
				if !a.ends || !strings.Contains(why, "Was the raft log corrupted, truncated, or lost?") {
					t.Errorf("it stopped %d times: %s", n, why)
				}
			}
		})
	}
}

// Whatever a peer says, in one message or in several, to who leads, who follows and who does
// neither: it is taken or refused, with no more memory than the messages call for.
func FuzzReceive(f *testing.F) {
	const (
		// least is what is allocated for any message, at most: what raft has of its own
		// by a change of its state, and what is written. perByte is that for each byte: an
		// entry of two bytes takes about 150, and is kept, copied and sent twice.
		least, perByte = 1 << 20, 1000
	)
	place := f.TempDir()
	letter := func(m *raftpb.Message) []byte {
		b, err := pb.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	f.Add(byte(0), []byte{8, 1})
	f.Add(byte(1), letter(&raftpb.Message{Type: raftpb.MessageType(-1).Enum(), To: pb.Uint64(1), From: pb.Uint64(2)}))
	for stage := range byte(6) {
		var all []byte
		for kind := range raftpb.MessageType_name {
			m := &raftpb.Message{Type: raftpb.MessageType(kind).Enum(), To: pb.Uint64(1), From: pb.Uint64(2), Term: pb.Uint64(3), LogTerm: pb.Uint64(1), Index: pb.Uint64(3), Commit: pb.Uint64(3),
				Entries: []*raftpb.Entry{{Term: pb.Uint64(2), Index: pb.Uint64(4), Data: []byte("8 bytes.")}}}
			if asksFor(m.GetType()) {
				m.Term = nil
			}
			f.Add(stage, letter(m))
			all = append(all, letter(m)...)
			m.Context, m.Reject = make([]byte, readBytes), pb.Bool(true)
			m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: pb.Uint64(9), Term: pb.Uint64(2), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}}
			f.Add(stage, append(letter(m), letter(m)...))
		}
		f.Add(stage, all)
	}
	f.Fuzz(func(t *testing.T, stage byte, b []byte) {
		if err := os.Remove(filepath.Join(place, "views")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		p := &prey{t: t, place: place, stops: map[string]int{}}
		p.up()
		defer func() { _ = p.st.Close() }()
		switch stage % 3 {
		case 1:
			p.follow()
		case 2:
			p.lead()
		}
		if stage%6 > 2 {
			p.slowDisk()
		}
		for number := uint64(0); len(b) >= 2; number++ {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			before := allocated()
			_ = p.g.Receive(2+number%2, b[2:2+n]) // refused, or the voter stops: it must not panic
			if took := allocated() - before; took > least+perByte*uint64(n) {
				t.Fatalf("%d bytes are allocated for a message of %d", took, n)
			}
			p.counts()
			b, p.sent = b[2+n:], p.sent[:0]
			if p.g.Err() == nil && number%4 == 3 {
				p.disk(1)
			}
		}
		if p.g.Err() == nil {
			p.disk(0)
			p.counts()
		}
	})
}
