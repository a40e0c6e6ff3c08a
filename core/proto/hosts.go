package proto

// What the agents of several hosts say to each other, and what they agree on
// (design §6). Hosts are agreed on by the log of views; which processes a host has, its
// agent tells the coordinator, which numbers them.

// HostID names a host for ever: what keeps its vote has made it. A host that has lost
// that is another host.
type HostID uint64

// Host is a member of the cluster, or one whose membership is ending.
type Host struct {
	ID   HostID
	Name string
	// Addr is where its agent is reached: IP address and port.
	Addr string
	// Birth is the epoch in which the host joined: what its processes belong to. Once
	// a host is out, all that it had is gone, and it joins under another birth.
	Birth uint32
	// Out: it is not a member any more, but what its processes hold may still be in
	// use there until its lease is over.
	Out bool
	// Why it is out, for people.
	Why string
	// Asked is what an agent knows its own HostUp by; each agent has another.
	Asked uint64
	// Voter: its configuration says that it votes.
	Voter bool
	// Former is, in a HostUp without a birth, that of the entry which it may replace: of
	// that membership no process is left.
	Former uint32
}

// HostState is what the log of views leads to.
type HostState struct {
	Cluster string
	// Epoch counts changes. It begins at the wall clock's seconds, so that a cluster
	// that is formed anew goes on above all that its predecessor has given out.
	Epoch uint32
	Hosts []Host // in the order of their births
	// Names are the latest hosts of each name that may vote, Replaced those that had
	// the name before: they must not vote any more.
	Names    []Host
	Replaced []HostID
	// Coordinator keeps the directory and numbers processes; 0: nobody does now.
	Coordinator HostID
	// Since is the epoch in which it became so; what a coordinator before it knew it
	// has to be told anew.
	Since uint32
	// Seat is the epoch in which its present agent took up its work.
	Seat uint32
	// Kept are the persistent resources, Doubted the recovery domains that are invalid:
	// what a coordinator must know even if its predecessor is lost.
	Kept    []Kept
	Doubted []Digest
}

// HostVerb is what an entry of the log does.
type HostVerb uint8

// The verbs.
const (
	HostUp      HostVerb = 1 + iota // an agent has taken up its work: Host, its Birth that of the processes it has (0: none)
	HostOut                         // a silent host is removed: Host.ID, Host.Birth, Host.Why
	HostOver                        // its lease is over
	HostBye                         // it has left, or its own kernel vouches that it is gone
	HostKeep                        // Kept: there is such a resource, says the coordinator of Epoch (its Seat)
	HostUnkeep                      // Kept: not any more
	HostDoubt                       // Kept.Domain is invalid
	HostBelieve                     // and is not any more
	hostVerbs
)

// HostEntry is an entry of the log of views.
type HostEntry struct {
	Verb  HostVerb
	Host  Host
	Epoch uint32 // of HostUp: the wall clock's seconds, for the first entry of all
	Kept  Kept
}

func (h *Host) code(f *fields) {
	num(f, &h.ID)
	f.text(&h.Name)
	f.text(&h.Addr)
	num(f, &h.Birth)
	f.bool(&h.Out)
	f.text(&h.Why)
	num(f, &h.Asked)
	f.bool(&h.Voter)
	num(f, &h.Former)
}

func (s *HostState) code(f *fields) {
	f.text(&s.Cluster)
	num(f, &s.Epoch)
	list(f, &s.Hosts, listLeast, func(f *fields, h *Host) { h.code(f) })
	list(f, &s.Names, listLeast, func(f *fields, h *Host) { h.code(f) })
	list(f, &s.Replaced, listLeast, num[HostID])
	num(f, &s.Coordinator)
	num(f, &s.Since)
	num(f, &s.Seat)
	list(f, &s.Kept, listLeast, func(f *fields, k *Kept) { k.code(f) })
	list(f, &s.Doubted, listLeast, func(f *fields, d *Digest) { f.domain(d) })
}

func (k *Kept) code(f *fields) {
	f.root(&k.Root)
	list(f, &k.Path, listLeast, (*fields).name)
	f.domain(&k.Domain)
}

func (e *HostEntry) code(f *fields) {
	numUpTo(f, &e.Verb, uint64(hostVerbs)-1)
	e.Host.code(f)
	num(f, &e.Epoch)
	switch e.Verb {
	case HostKeep, HostUnkeep:
		e.Kept.code(f)
	case HostDoubt, HostBelieve:
		f.domain(&e.Kept.Domain)
	}
}

// betweenHosts lists the fields of messages between agents.
func (m *Msg) betweenHosts(f *fields) {
	switch m.Kind {
	case KIntro:
		num(f, &m.Host)
		f.text(&m.Text)
		num(f, &m.Number)
		num(f, &m.Flags)
		f.data(&m.Data)
		num(f, &m.Made)
	case KEvict:
		num(f, &m.Number)
		f.text(&m.Text)
		num(f, &m.Flags)
	case KEvicted:
		num(f, &m.Number)
		f.text(&m.Text)
	case KStatus:
	case KStatusIs:
		f.data(&m.Data)
	case KRaft, KLogEntry:
		f.data(&m.Data)
	case KForward, KDeliver:
		num(f, &m.Proc)
		num(f, &m.Flags)
		f.data(&m.Data)
	case KRoster:
		num(f, &m.Epoch)
		num(f, &m.Birth)
		list(f, &m.Procs, listLeast, num[ProcID])
		list(f, &m.Groups, listLeast, num[ProcID])
		list(f, &m.Dead, listLeast, num[ProcID])
	case KJoin:
		num(f, &m.Epoch)
		num(f, &m.Number)
		num(f, &m.Flags)
	case KJoined:
		num(f, &m.Number)
		num(f, &m.Proc)
		num(f, &m.View)
	case KDied:
		num(f, &m.Proc)
		num(f, &m.Flags)
		num(f, &m.Op)
		f.text(&m.Text)
	case KReached, KForget, KWhere:
		num(f, &m.Proc)
	case KRetire:
		num(f, &m.Proc)
		f.domain(&m.Domain)
	case KHome:
		num(f, &m.Proc)
		num(f, &m.Host)
	case KPlace:
		num(f, &m.Proc)
		f.text(&m.Text)
	case KJournal:
		num(f, &m.Proc)
		num(f, &m.Flags)
		list(f, &m.Procs, listLeast, num[ProcID])
		list(f, &m.Records, listLeast, func(f *fields, r *Record) {
			f.bytes(r.Tree[:])
			f.bytes(r.Resource[:])
			f.block(&r.Block)
			num(f, &r.Writer)
			num(f, &r.Lock)
		})
	case KInspect:
		num(f, &m.Number)
		m.Inquiry.code(f)
	case KSeen:
		num(f, &m.Number)
		m.Sight.code(f)
	case KHostState:
		m.HostState.code(f)
	case KHostEntry:
		m.HostEntry.code(f)
	}
}

// prepare makes what decoding fills.
func (m *Msg) prepare() {
	switch m.Kind {
	case KHostState:
		m.HostState = &HostState{}
	case KHostEntry:
		m.HostEntry = &HostEntry{}
	case KInspect:
		m.Inquiry = &Inquiry{}
	case KSeen:
		m.Sight = &Sight{}
	}
}

func (f *fields) text(p *string) {
	f.n++
	if f.writing {
		f.b = appendText(f.b, *p)
	} else {
		*p = f.d.text()
	}
}

// data is a byte string of any length. What is read is a copy.
func (f *fields) data(p *[]byte) {
	f.n++
	if f.writing {
		f.b = appendBin32(f.b, *p)
	} else {
		*p = append((*p)[:0], f.d.bin32()...)
	}
}
