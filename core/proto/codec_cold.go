package proto

import "slices"

// Messages that travel once per root, process or death.

// maxText bounds the text of a message.
const maxText = 255

func appendCold(b []byte, m *Msg) []byte {
	switch m.Kind {
	case KNotMaster:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Flags))
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, m.Number)
	case KDrop, KInstalled, KActivate, KDiscard, KStay:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		if m.Kind == KInstalled {
			b = appendUint(b, uint64(m.Flags))
		}
	case KHeir, KHeirKnown, KMoved:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Proc))
		if m.Kind != KHeir {
			b = appendUint(b, m.Number)
		}
	case KKeep, KUnkeep, KKept:
		b = appendRoot(b, &m.Root)
		b = appendArray(b, len(m.Path))
		for i := range m.Path {
			b = appendBin(b, m.Path[i].Bytes())
		}
		if m.Kind != KUnkeep {
			b = appendDomain(b, m.Domain)
			b = appendUint(b, m.Number)
		}
		if m.Kind == KKept {
			b = appendUint(b, uint64(uint32(m.Status)))
			b = appendUint(b, uint64(m.Flags))
		}
	case KDomain:
		b = appendUint(b, m.Hint)
		b = appendUint(b, uint64(m.Flags))
		b = appendText(b, m.Text)
		b = appendUint(b, m.Number)
	case KDomainDone:
		b = appendUint(b, m.Hint)
		b = appendUint(b, uint64(uint32(m.Status)))
		b = appendUint(b, m.Number)
	case KRound:
		b = appendDomain(b, m.Domain)
		b = appendUint(b, m.Number)
		b = appendUint(b, uint64(m.Flags))
	case KRoundDone:
		b = appendDomain(b, m.Domain)
		b = appendUint(b, m.Number)
		b = appendUint(b, uint64(m.Op))
	case KBlame, KVictim:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		if m.Kind == KBlame {
			b = appendUint(b, uint64(m.Search))
		}
	case KWaits:
		b = appendParty(b, m.Party)
		b = appendUint(b, uint64(m.Search))
	case KBlamed:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, uint64(m.Lock))
		b = appendUint(b, uint64(m.Op))
		b = appendUint(b, uint64(m.Search))
		b = appendArray(b, len(m.Obstacles))
		for i := range m.Obstacles {
			b = appendObstacle(b, &m.Obstacles[i])
		}
	case KWaiting:
		b = appendParty(b, m.Party)
		b = appendUint(b, uint64(m.Search))
		b = appendArray(b, len(m.Waits))
		for i := range m.Waits {
			b = appendWait(b, &m.Waits[i])
		}
	case KInfo:
		b = appendUint(b, uint64(m.Op))
		b = appendInfo(b, &m.Info)
	case KHello:
		b = appendText(b, m.Text)
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, uint64(m.Flags))
	case KLookup:
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Flags))
		b = appendUint(b, m.Assign)
		b = appendUint(b, m.Number)
	case KReport:
		b = appendUint(b, m.View)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, m.Number)
		b = AppendReports(b, m.Locks)
	case KReportEnd:
		b = appendUint(b, m.View)
		b = appendUint(b, m.Number)
	case KMastered:
		b = appendUint(b, m.View)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, m.Assign)
	case KWelcome:
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, m.View)
		b = appendUint(b, m.Number)
	case KView:
		b = appendUint(b, m.View)
		for _, list := range [...][]ProcID{m.Procs, m.Groups, m.Dead} {
			b = appendProcs(b, list)
		}
		b = appendUint(b, m.Number)
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Flags))
		b = appendFields(b, m.obits)
	case KMaster:
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, m.Assign)
		b = appendUint(b, m.Number)
	case KInstall:
		b = appendImage(b, m.Image)
	case KMove:
		b = appendUint(b, m.Assign)
		b = appendUint(b, uint64(m.Proc))
		b = appendImage(b, m.Image)
	case KReject:
		b = appendText(b, m.Text)
	case KConnect:
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, uint64(m.Flags))
		b = appendUint(b, m.View)
	case KGroup:
		b = appendFields(b, m.Call.code)
	case KGroupReply:
		b = appendFields(b, m.Reply.code)
	case KGroupBlocking:
		b = appendUint(b, uint64(m.Lock))
		b = append(b, byte(m.Mode))
		b = appendUint(b, m.Hint)
		b = appendFields(b, func(f *fields) { f.user(&m.User) })
	case KGroupDiscard:
		b = appendUint(b, uint64(m.Lock))
	case KNoteGroup:
		b = appendFields(b, m.NotedGroup.code)
	case KNoteLock:
		b = appendFields(b, m.NotedLock.code)
	case KNoteCall:
		b = appendFields(b, m.NotedCall.code)
	case KDropGroup:
		b = appendUint(b, uint64(m.Proc))
	case KDropLock:
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, uint64(m.Lock))
	case KDropCall:
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, m.Number)
	case KNoteCount:
		b = appendUint(b, m.Number)
		b = appendText(b, m.Text)
	default:
		b = appendFields(b, m.betweenHosts)
	}
	return b
}

func (d *decoder) cold(m *Msg) {
	switch m.Kind {
	case KNotMaster:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Flags = d.u32()
		m.Proc = ProcID(d.u64())
		m.Number = d.u64()
	case KDrop, KInstalled, KActivate, KDiscard, KStay:
		m.Assign = d.u64()
		d.root(&m.Root)
		if m.Kind == KInstalled {
			m.Flags = d.u32()
		}
	case KHeir, KHeirKnown, KMoved:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Proc = ProcID(d.u64())
		if m.Kind != KHeir {
			m.Number = d.u64()
		}
	case KKeep, KUnkeep, KKept:
		d.root(&m.Root)
		m.Path = m.Path[:0]
		for n := d.list(2); n > 0 && d.err == nil; n-- {
			m.Path = append(m.Path, Name{})
			d.name(&m.Path[len(m.Path)-1], false)
		}
		if m.Kind != KUnkeep {
			m.Domain = d.domain()
			m.Number = d.u64()
		}
		if m.Kind == KKept {
			m.Status = int32(d.u32())
			m.Flags = d.u32()
		}
	case KDomain:
		m.Hint = d.u64()
		m.Flags = d.u32()
		m.Text = d.text()
		m.Number = d.u64()
	case KDomainDone:
		m.Hint = d.u64()
		m.Status = int32(d.u32())
		m.Number = d.u64()
	case KRound:
		m.Domain = d.domain()
		m.Number = d.u64()
		m.Flags = d.u32()
	case KRoundDone:
		m.Domain = d.domain()
		m.Number = d.u64()
		m.Op = d.u32()
	case KBlame, KVictim:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Proc = ProcID(d.u64())
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		if m.Kind == KBlame {
			m.Search = d.u32()
		}
	case KWaits:
		m.Party = d.party()
		m.Search = d.u32()
	case KBlamed:
		m.Assign = d.u64()
		m.Proc = ProcID(d.u64())
		m.Lock = LockID(d.u64())
		m.Op = d.u32()
		m.Search = d.u32()
		m.Obstacles = m.Obstacles[:0]
		for n := d.list(obstacleLeast); n > 0 && d.err == nil; n-- {
			m.Obstacles = append(m.Obstacles, d.obstacle())
		}
	case KWaiting:
		m.Party = d.party()
		m.Search = d.u32()
		m.Waits = m.Waits[:0]
		for n := d.list(waitLeast); n > 0 && d.err == nil; n-- {
			m.Waits = append(m.Waits, d.wait())
		}
	case KInfo:
		m.Op = d.u32()
		d.info(&m.Info)
	case KHello:
		m.Text = d.text()
		m.Proc = ProcID(d.u64())
		m.Flags = d.u32()
	case KLookup:
		d.root(&m.Root)
		m.Flags = d.u32()
		m.Assign = d.u64()
		m.Number = d.u64()
	case KReport:
		m.View = d.u64()
		d.root(&m.Root)
		m.Number = d.u64()
		m.Locks = d.reports(m.Locks[:0])
	case KReportEnd:
		m.View = d.u64()
		m.Number = d.u64()
	case KMastered:
		m.View = d.u64()
		d.root(&m.Root)
		m.Assign = d.u64()
	case KWelcome:
		m.Proc = ProcID(d.u64())
		m.View = d.u64()
		m.Number = d.u64()
	case KView:
		m.View = d.u64()
		for _, list := range [...]*[]ProcID{&m.Procs, &m.Groups, &m.Dead} {
			*list = d.procs((*list)[:0])
		}
		m.Number = d.u64()
		m.Assign = d.u64()
		m.Flags = d.u32()
		d.fields(m.obits)
	case KMaster:
		d.root(&m.Root)
		m.Proc = ProcID(d.u64())
		m.Assign = d.u64()
		m.Number = d.u64()
	case KInstall:
		m.Image = d.image(m.Image)
	case KMove:
		m.Assign = d.u64()
		m.Proc = ProcID(d.u64())
		m.Image = d.image(m.Image)
	case KReject:
		m.Text = d.text()
	case KConnect:
		m.Proc = ProcID(d.u64())
		m.Flags = d.u32()
		m.View = d.u64()
	case KGroup:
		m.Call = &Call{}
		d.fields(m.Call.code)
	case KGroupReply:
		m.Reply = &Reply{}
		d.fields(m.Reply.code)
	case KGroupBlocking:
		m.Lock = LockID(d.u64())
		m.Mode = d.mode()
		m.Hint = d.u64()
		d.fields(func(f *fields) { f.user(&m.User) })
	case KGroupDiscard:
		m.Lock = LockID(d.u64())
	case KNoteGroup:
		m.NotedGroup = &NotedGroup{}
		d.fields(m.NotedGroup.code)
	case KNoteLock:
		m.NotedLock = &NotedLock{}
		d.fields(m.NotedLock.code)
	case KNoteCall:
		m.NotedCall = &NotedCall{}
		d.fields(m.NotedCall.code)
	case KDropGroup:
		m.Proc = ProcID(d.u64())
	case KDropLock:
		m.Proc = ProcID(d.u64())
		m.Lock = LockID(d.u64())
	case KDropCall:
		m.Proc = ProcID(d.u64())
		m.Number = d.u64()
	case KNoteCount:
		m.Number = d.u64()
		m.Text = d.text()
	default:
		m.prepare()
		d.fields(m.betweenHosts)
	}
}

// appendProcs writes each process as what it is more than the one before: a view can name
// a hundred thousand, in order.
func appendProcs(b []byte, list []ProcID) []byte {
	b = appendArray(b, len(list))
	last := ProcID(0)
	for _, p := range list {
		b = appendUint(b, uint64(p-last))
		last = p
	}
	return b
}

func (d *decoder) procs(list []ProcID) []ProcID {
	last := ProcID(0)
	for n := d.list(1); n > 0 && d.err == nil; n-- {
		last += ProcID(d.u64())
		list = append(list, last)
	}
	return list
}

func appendText(b []byte, s string) []byte {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return appendBin(b, []byte(s))
}

func (d *decoder) text() string {
	b := d.bin()
	if len(b) > maxText {
		d.fail(errLength)
		return ""
	}
	return string(b)
}

func appendInfo(b []byte, n *Info) []byte {
	b = appendBool(b, n.Exists)
	b = appendBlock(b, &n.Block)
	for _, v := range [...]uint32{n.SubResources, n.Locks, n.Blocking, n.AtGroupMode} {
		b = appendUint(b, uint64(v))
	}
	b = append(b, byte(n.GroupMode), byte(n.ConvertMode), byte(n.WaitMode))
	return appendUint(b, uint64(n.Writes))
}

func (d *decoder) info(n *Info) {
	n.Exists = d.bool()
	d.block(&n.Block)
	n.SubResources = d.u32()
	n.Locks = d.u32()
	n.Blocking = d.u32()
	n.AtGroupMode = d.u32()
	n.GroupMode = d.mode()
	n.ConvertMode = d.mode()
	n.WaitMode = d.mode()
	n.Writes = d.u32()
}

func appendObstacle(b []byte, o *Obstacle) []byte {
	b = append(b, 0x97)
	b = appendUint(b, uint64(o.Proc))
	b = appendUint(b, uint64(o.Lock))
	b = appendUint(b, uint64(o.Op))
	b = appendParty(b, o.Party)
	return appendBool(append(b, byte(o.Mode)), o.Queued)
}

func (d *decoder) obstacle() (o Obstacle) {
	d.tuple(7)
	o.Proc = ProcID(d.u64())
	o.Lock = LockID(d.u64())
	o.Op = d.u32()
	o.Party = d.party()
	o.Mode = d.mode()
	o.Queued = d.bool()
	return o
}

func appendWait(b []byte, w *Wait) []byte {
	b = append(b, 0x99)
	b = appendUint(b, uint64(w.Lock))
	b = appendUint(b, uint64(w.Op))
	b = appendRoot(b, &w.Root)
	b = appendBin(b, w.Name.Bytes())
	b = append(b, byte(w.Granted), byte(w.Wanted))
	b = appendUint(b, uint64(w.Master))
	b = appendUint(b, w.Assign)
	return appendUint(b, uint64(w.Since))
}

func (d *decoder) wait() (w Wait) {
	d.tuple(9)
	w.Lock = LockID(d.u64())
	w.Op = d.u32()
	d.root(&w.Root)
	d.name(&w.Name, true)
	w.Granted = d.mode()
	w.Wanted = d.mode()
	w.Master = ProcID(d.u64())
	w.Assign = d.u64()
	w.Since = int64(d.u64())
	return w
}

// The fewest bytes that one element of a list takes.
const (
	reportLeast   = 28
	resourceLeast = 34
	lockLeast     = 13
	obstacleLeast = 8
	waitLeast     = 15
)

// The bytes that one element of a long list takes when nothing about it is special: room is
// made for so many before it is written.
const (
	reportUsual   = 64
	resourceUsual = 64
	lockUsual     = 32
)

// room makes room for the next of n elements of a list that is being read: for a few times as
// many as were there to be read, so that a length that is not true costs little.
func room[T any](list []T, n int) []T {
	if len(list) < cap(list) {
		return list
	}
	return slices.Grow(list, min(n, max(3*len(list), 1024)))
}

// ReportMost is how many bytes AppendReports writes for a lock at most, and for the list.
const ReportMost = 5 + 3 + 8*9 + 2 + MaxName + 2 + 1 + 4*5 + 2*34 + 1 + 2*9 + 1 + 1 + 9 + 18

// AppendReports writes a process's locks of a tree, as a KReport has them.
func AppendReports(b []byte, locks []LockReport) []byte {
	b = appendArray(slices.Grow(b, len(locks)*reportUsual), len(locks))
	for i := range locks {
		b = appendReport(b, &locks[i])
	}
	return b
}

// ParseReports appends to locks what AppendReports has written at the beginning of b.
func ParseReports(b []byte, locks []LockReport) ([]LockReport, error) {
	d := decoder{b: b}
	locks = d.reports(locks)
	return locks, d.err
}

func (d *decoder) reports(locks []LockReport) []LockReport {
	for n := d.list(reportLeast); n > 0 && d.err == nil; n-- {
		locks = append(room(locks, n), LockReport{})
		d.report(&locks[len(locks)-1])
	}
	return locks
}

func appendReport(b []byte, l *LockReport) []byte {
	b = append(b, 0xdc, 0, 18)
	b = appendUint(b, uint64(l.Lock))
	b = appendUint(b, uint64(l.Parent))
	b = appendBin(b, l.Name.Bytes())
	b = append(b, byte(l.Granted), byte(l.Requested))
	b = appendUint(b, uint64(l.Flags))
	b = appendUint(b, uint64(l.Held))
	b = appendUint(b, l.Hint)
	b = appendUint(b, l.Arrival)
	b = appendUint(b, uint64(l.Made))
	b = appendUint(b, uint64(l.Op))
	b = append(b, byte(l.Pending))
	b = appendValue(b, &l.Write)
	b = appendLean(b, &l.Block)
	b = appendParty(b, l.Party)
	return appendDomain(b, l.Domain)
}

func (d *decoder) report(l *LockReport) {
	d.tuple(18)
	l.Lock = LockID(d.u64())
	l.Parent = LockID(d.u64())
	d.name(&l.Name, l.Parent == 0)
	l.Granted = d.mode()
	l.Requested = d.mode()
	l.Flags = d.u32()
	l.Held = d.u32()
	l.Hint = d.u64()
	l.Arrival = d.u64()
	l.Made = int64(d.u64())
	l.Op = d.u32()
	l.Pending = PendingKind(d.uint(uint64(PendingUnlock)))
	d.value(&l.Write)
	d.lean(&l.Block)
	l.Party = d.party()
	l.Domain = d.domain()
}

func appendImage(b []byte, im *Image) []byte {
	b = slices.Grow(b, len(im.Resources)*resourceUsual+len(im.Locks)*lockUsual)
	b = appendRoot(b, &im.Root)
	b = appendUint(b, im.Assign)
	b = appendUint(b, im.Arrival)
	b = append(b, byte(im.Why))
	b = appendUint(b, uint64(im.From))
	b = appendArray(b, len(im.Resources))
	for i := range im.Resources {
		r := &im.Resources[i]
		b = append(b, 0x99)
		b = appendUint(b, uint64(r.Parent+1))
		b = appendBin(b, r.Name.Bytes())
		b = appendBin(b, r.Digest[:])
		b = appendLean(b, &r.Block)
		b = appendDomain(b, r.Domain)
		b = appendBool(b, r.Doubted)
		b = appendFields(b, r.Cause.code)
		b = appendUint(b, uint64(r.Writes))
	}
	b = appendArray(b, len(im.Locks))
	for i := range im.Locks {
		l := &im.Locks[i]
		b = append(b, 0x9c)
		b = appendUint(b, uint64(l.Resource))
		b = appendUint(b, uint64(l.Owner))
		b = appendUint(b, uint64(l.Lock))
		b = append(b, byte(l.Granted), byte(l.Requested))
		b = appendUint(b, uint64(l.Flags))
		b = appendUint(b, uint64(l.Held))
		b = appendUint(b, l.Hint)
		b = appendUint(b, l.Arrival)
		b = appendUint(b, uint64(l.Op))
		b = appendParty(b, l.Party)
	}
	return b
}

// keepImage is the most resources or locks of an image whose space is used again.
const keepImage = 256

// image reads an image, into the space of one that is not needed any more, if there is one.
func (d *decoder) image(old *Image) *Image {
	im := &Image{}
	if old != nil && cap(old.Resources) <= keepImage && cap(old.Locks) <= keepImage {
		im = old
		*im = Image{Resources: im.Resources[:0], Locks: im.Locks[:0]}
	}
	d.root(&im.Root)
	im.Assign = d.u64()
	im.Arrival = d.u64()
	im.Why = Origin(d.uint(uint64(Origins) - 1))
	im.From = ProcID(d.u64())
	for n := d.list(resourceLeast); n > 0 && d.err == nil; n-- {
		im.Resources = append(room(im.Resources, n), ImageResource{})
		r := &im.Resources[len(im.Resources)-1]
		d.tuple(9)
		r.Parent = int32(d.uint(1<<30)) - 1
		d.name(&r.Name, true)
		d.fixed(r.Digest[:])
		d.lean(&r.Block)
		r.Domain = d.domain()
		r.Doubted = d.bool()
		d.fields(r.Cause.code)
		r.Writes = d.u32()
	}
	for n := d.list(lockLeast); n > 0 && d.err == nil; n-- {
		im.Locks = append(room(im.Locks, n), ImageLock{})
		l := &im.Locks[len(im.Locks)-1]
		d.tuple(12)
		l.Resource = int32(d.uint(1 << 30))
		l.Owner = ProcID(d.u64())
		l.Lock = LockID(d.u64())
		l.Granted = d.mode()
		l.Requested = d.mode()
		l.Flags = d.u32()
		l.Held = d.u32()
		l.Hint = d.u64()
		l.Arrival = d.u64()
		l.Op = d.u32()
		l.Party = d.party()
	}
	return im
}
