package proto

// Messages that travel once per root, process or death.

// maxText bounds the text of a message.
const maxText = 255

func appendCold(b []byte, m *Msg) []byte {
	switch m.Kind {
	case KNotMaster:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Flags))
	case KDrop, KInstalled, KActivate:
		b = appendUint(b, m.Assign)
		b = appendRoot(b, &m.Root)
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
	case KReport:
		b = appendUint(b, m.View)
		b = appendRoot(b, &m.Root)
		b = appendArray(b, len(m.Locks))
		for i := range m.Locks {
			b = appendReport(b, &m.Locks[i])
		}
	case KReportEnd:
		b = appendUint(b, m.View)
	case KWelcome:
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, m.View)
	case KView:
		b = appendUint(b, m.View)
		b = appendArray(b, len(m.Procs))
		for _, p := range m.Procs {
			b = appendUint(b, uint64(p))
		}
	case KMaster:
		b = appendRoot(b, &m.Root)
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, m.Assign)
	case KInstall:
		b = appendImage(b, m.Image)
	case KReject:
		b = appendText(b, m.Text)
	case KConnect:
		b = appendUint(b, uint64(m.Proc))
		b = appendUint(b, uint64(m.Flags))
	}
	return b
}

func (d *decoder) cold(m *Msg) {
	switch m.Kind {
	case KNotMaster:
		m.Assign = d.u64()
		d.root(&m.Root)
		m.Flags = d.u32()
	case KDrop, KInstalled, KActivate:
		m.Assign = d.u64()
		d.root(&m.Root)
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
	case KReport:
		m.View = d.u64()
		d.root(&m.Root)
		m.Locks = m.Locks[:0]
		for n := d.list(reportLeast); n > 0 && d.err == nil; n-- {
			m.Locks = append(m.Locks, LockReport{})
			d.report(&m.Locks[len(m.Locks)-1])
		}
	case KReportEnd:
		m.View = d.u64()
	case KWelcome:
		m.Proc = ProcID(d.u64())
		m.View = d.u64()
	case KView:
		m.View = d.u64()
		m.Procs = m.Procs[:0]
		for n := d.list(1); n > 0 && d.err == nil; n-- {
			m.Procs = append(m.Procs, ProcID(d.u64()))
		}
	case KMaster:
		d.root(&m.Root)
		m.Proc = ProcID(d.u64())
		m.Assign = d.u64()
	case KInstall:
		m.Image = d.image()
	case KReject:
		m.Text = d.text()
	case KConnect:
		m.Proc = ProcID(d.u64())
		m.Flags = d.u32()
	}
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

// reportLeast, resourceLeast and lockLeast are the fewest bytes that one element
// of a list takes.
const (
	reportLeast   = 80
	resourceLeast = 50
	lockLeast     = 11
)

func appendReport(b []byte, l *LockReport) []byte {
	b = append(b, 0x9e)
	b = appendUint(b, uint64(l.Lock))
	b = appendUint(b, uint64(l.Parent))
	b = appendBin(b, l.Name.Bytes())
	b = append(b, byte(l.Granted), byte(l.Requested))
	b = appendUint(b, uint64(l.Flags))
	b = appendUint(b, uint64(l.Held))
	b = appendUint(b, l.Hint)
	b = appendUint(b, l.Arrival)
	b = appendUint(b, uint64(l.Op))
	b = append(b, byte(l.Pending))
	b = appendBin(b, l.Write[:])
	return appendBlock(b, &l.Block)
}

func (d *decoder) report(l *LockReport) {
	d.tuple(14)
	l.Lock = LockID(d.u64())
	l.Parent = LockID(d.u64())
	d.name(&l.Name, l.Parent == 0)
	l.Granted = d.mode()
	l.Requested = d.mode()
	l.Flags = d.u32()
	l.Held = d.u32()
	l.Hint = d.u64()
	l.Arrival = d.u64()
	l.Op = d.u32()
	l.Pending = PendingKind(d.uint(uint64(PendingUnlock)))
	d.fixed(l.Write[:])
	d.block(&l.Block)
}

func appendImage(b []byte, im *Image) []byte {
	b = appendRoot(b, &im.Root)
	b = appendUint(b, im.Assign)
	b = appendUint(b, im.Arrival)
	b = appendArray(b, len(im.Resources))
	for i := range im.Resources {
		r := &im.Resources[i]
		b = append(b, 0x95)
		b = appendUint(b, uint64(r.Parent+1))
		b = appendBin(b, r.Name.Bytes())
		b = appendBin(b, r.Digest[:])
		b = appendBlock(b, &r.Block)
	}
	b = appendArray(b, len(im.Locks))
	for i := range im.Locks {
		l := &im.Locks[i]
		b = append(b, 0x9a)
		b = appendUint(b, uint64(l.Resource))
		b = appendUint(b, uint64(l.Owner))
		b = appendUint(b, uint64(l.Lock))
		b = append(b, byte(l.Granted), byte(l.Requested))
		b = appendUint(b, uint64(l.Flags))
		b = appendUint(b, uint64(l.Held))
		b = appendUint(b, l.Hint)
		b = appendUint(b, l.Arrival)
		b = appendUint(b, uint64(l.Op))
	}
	return b
}

func (d *decoder) image() *Image {
	im := &Image{}
	d.root(&im.Root)
	im.Assign = d.u64()
	im.Arrival = d.u64()
	for n := d.list(resourceLeast); n > 0 && d.err == nil; n-- {
		var r ImageResource
		d.tuple(5)
		r.Parent = int32(d.uint(1<<30)) - 1
		d.name(&r.Name, true)
		d.fixed(r.Digest[:])
		d.block(&r.Block)
		im.Resources = append(im.Resources, r)
	}
	for n := d.list(lockLeast); n > 0 && d.err == nil; n-- {
		var l ImageLock
		d.tuple(10)
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
		im.Locks = append(im.Locks, l)
	}
	return im
}
