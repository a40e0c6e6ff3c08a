package proto

import (
	"bytes"
	"encoding/binary"
)

// What is told to people who ask why: it decides nothing.

// CauseKind is why a value block is not valid.
type CauseKind uint8

// The causes.
const (
	CauseNone       CauseKind = iota // it is valid
	CauseEarlier                     // it was not valid before its tree was rebuilt; who knew why is gone
	CauseHolderDied                  // Who held PW or EX and died
	CauseHostLost                    // the host of its master, Who, was lost, and nobody left can tell that nothing was written since
	CauseInvValBlk                   // Who said so, with DLM_INVVALBLK
	CauseDomain                      // its recovery domain is invalid
	CauseNoCopy                      // the host of its master, Who, was lost, and with it all copies
	Causes
)

// Cause is why a value block is not valid, of the latest time that it became so.
type Cause struct {
	Kind CauseKind
	Who  ProcID
	Pid  uint32 // of Who, as are Program and Host; 0: not known
	At   uint32 // in seconds of the calendar
	Lost bool   // Who was lost with its host
	// Program is its name, Host that of its host; "" if not known.
	Program string
	Host    string
}

// Obituary is what is known of a process that has died.
type Obituary struct {
	Proc    ProcID
	Pid     uint32
	At      uint32 // when it was found dead, in seconds of the calendar
	Lost    bool   // with its host
	Program string
	Host    string // "" on a host that is alone
}

// Cause is the death as a reason.
func (o *Obituary) Cause(kind CauseKind, at uint32) Cause {
	return Cause{Kind: kind, Who: o.Proc, Pid: o.Pid, At: at, Lost: o.Lost, Program: o.Program, Host: o.Host}
}

// Origin is how a process became the master of a tree.
type Origin uint8

// The origins.
const (
	OriginFirst   Origin = iota // nobody had the tree
	OriginRebuilt               // From, which had it, died
	OriginMoved                 // From gave it away
	OriginAgent                 // the agent's process takes it for others
	Origins
)

// CauseLine is where a value journal keeps the cause of a resource whose block is not
// valid: it is a line of its own, so that those of valid blocks stay as short as they are.
func (d Digest) CauseLine() Digest {
	d[0] ^= 0xff
	return d
}

// Parts of the value of a cause's line.
const (
	causeKind = 0
	causeLost = 1
	causeAt   = 4
	causePid  = 8
	causeText = 12
)

// Record writes a cause as a line of a value journal. Of long names it keeps the
// beginning.
func (c *Cause) Record(tree, resource Digest, stamp Stamp) Record {
	r := Record{Tree: tree, Resource: resource.CauseLine(), Block: Block{Stamp: stamp}, Writer: c.Who}
	v := &r.Block.Value
	v[causeKind] = byte(c.Kind)
	if c.Lost {
		v[causeLost] = 1
	}
	binary.LittleEndian.PutUint32(v[causeAt:], c.At)
	binary.LittleEndian.PutUint32(v[causePid:], c.Pid)
	n := copy(v[causeText:len(v)-1], c.Program)
	copy(v[causeText+n+1:], c.Host)
	return r
}

// CauseOf reads such a line.
func CauseOf(r *Record) Cause {
	v := &r.Block.Value
	program, host, _ := bytes.Cut(v[causeText:], []byte{0})
	return Cause{
		Kind: min(CauseKind(v[causeKind]), Causes-1), Who: r.Writer, Lost: v[causeLost] == 1,
		At: binary.LittleEndian.Uint32(v[causeAt:]), Pid: binary.LittleEndian.Uint32(v[causePid:]),
		Program: string(program), Host: string(bytes.TrimRight(host, "\x00")),
	}
}

func (c *Cause) code(f *fields) {
	numUpTo(f, &c.Kind, uint64(Causes)-1)
	if c.Kind == CauseNone {
		return
	}
	num(f, &c.Who)
	num(f, &c.Pid)
	num(f, &c.At)
	f.bool(&c.Lost)
	f.text(&c.Program)
	f.text(&c.Host)
}

func (o *Obituary) code(f *fields) {
	num(f, &o.Proc)
	num(f, &o.Pid)
	num(f, &o.At)
	f.bool(&o.Lost)
	f.text(&o.Program)
	f.text(&o.Host)
}

func (m *Msg) obits(f *fields) {
	list(f, &m.Obits, listLeast, func(f *fields, o *Obituary) { o.code(f) })
}
