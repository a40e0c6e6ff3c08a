package proto

import (
	"encoding/binary"

	"github.com/godlm/godlm/core/mode"
)

// appendUint writes the shortest msgpack form of v.
func appendUint(b []byte, v uint64) []byte {
	switch {
	case v < 0x80:
		return append(b, byte(v))
	case v <= 0xff:
		return append(b, 0xcc, byte(v))
	case v <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

// appendBin writes up to 255 bytes.
func appendBin(b, v []byte) []byte {
	return append(append(b, 0xc4, byte(len(v))), v...)
}

// appendBin32 writes a byte string that may be long.
func appendBin32(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(len(v))), v...)
}

func appendArray(b []byte, n int) []byte {
	if n < 16 {
		return append(b, 0x90|byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
}

// appendRoot writes a root as an array of kind, id and name.
func appendRoot(b []byte, r *Root) []byte {
	b = append(b, 0x93, byte(r.Space.Kind))
	b = appendUint(b, uint64(r.Space.ID))
	return appendBin(b, r.Name.Bytes())
}

// appendParty writes a party as two elements of the enclosing array.
func appendParty(b []byte, p Party) []byte { return appendUint(append(b, byte(p.Kind)), p.ID) }

// appendBlock writes a block as three elements of the enclosing array.
func appendBlock(b []byte, k *Block) []byte {
	return appendStamp(appendBin(b, k.Value[:]), k)
}

func appendStamp(b []byte, k *Block) []byte {
	b = append(b, 0x93)
	b = appendUint(b, k.Stamp.Assign)
	b = appendUint(b, k.Stamp.Seq)
	return appendBool(b, k.Valid)
}

// appendLean is appendBlock with as little as possible: the blocks of most trees that are
// put together were never written.
func appendLean(b []byte, k *Block) []byte {
	return appendStamp(appendValue(b, &k.Value), k)
}

// appendValue writes a value, nothing for zeros.
func appendValue(b []byte, v *Value) []byte {
	if *v == (Value{}) {
		return appendBin(b, nil)
	}
	return appendBin(b, v[:])
}

// decoder reads msgpack elements, from b[at] on. After the first error all further reads
// give zero.
type decoder struct {
	b   []byte
	at  int
	err error
}

// left is how many bytes have not been read.
func (d *decoder) left() int { return len(d.b) - d.at }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.at = len(d.b)
}

// take reads n bytes.
func (d *decoder) take(n int) []byte {
	if n > len(d.b)-d.at {
		d.fail(errShort)
		return nil
	}
	v := d.b[d.at : d.at+n : d.at+n]
	d.at += n
	return v
}

// be reads n bytes as a big-endian number.
func (d *decoder) be(n int) (v uint64) {
	for _, x := range d.take(n) {
		v = v<<8 | uint64(x)
	}
	return v
}

// u64 reads a number; most are short ones.
func (d *decoder) u64() uint64 {
	if at := d.at; at < len(d.b) {
		if c := d.b[at]; c < 0x80 {
			d.at++
			return uint64(c)
		}
	}
	return d.long()
}

func (d *decoder) long() uint64 {
	if d.at >= len(d.b) {
		d.fail(errShort)
		return 0
	}
	b := d.b[d.at:]
	switch {
	case b[0] < 0xcc || b[0] > 0xcf:
		d.fail(errType)
		return 0
	case b[0] == 0xcf && len(b) >= 9:
		d.at += 9
		return binary.BigEndian.Uint64(b[1:])
	case b[0] == 0xce && len(b) >= 5:
		d.at += 5
		return uint64(binary.BigEndian.Uint32(b[1:]))
	}
	d.at++
	return d.be(1 << (b[0] - 0xcc))
}

func (d *decoder) uint(most uint64) uint64 {
	v := d.u64()
	if v > most {
		return d.tooMuch()
	}
	return v
}

func (d *decoder) tooMuch() uint64 {
	d.fail(errRange)
	return 0
}

func (d *decoder) u32() uint32 { return uint32(d.uint(0xffffffff)) }

func (d *decoder) mode() mode.Mode { return mode.Mode(d.uint(uint64(mode.EX))) }

func (d *decoder) bool() bool {
	switch c := d.take(1); {
	case c == nil:
	case c[0] == 0xc3:
		return true
	case c[0] != 0xc2:
		d.fail(errType)
	}
	return false
}

func (d *decoder) array() int {
	if d.at < len(d.b) && d.b[d.at]>>4 == 0x9 { // a short one
		d.at++
		return int(d.b[d.at-1] & 0xf)
	}
	return d.longArray()
}

func (d *decoder) longArray() int {
	c := d.take(1)
	switch {
	case c == nil:
	case c[0] == 0xdc:
		return int(d.be(2))
	case c[0] == 0xdd:
		return int(d.be(4))
	default:
		d.fail(errType)
	}
	return 0
}

// list reads an array's length, refusing one that cannot fit into what is left.
func (d *decoder) list(least int) int {
	n := d.array()
	if n > d.left()/least {
		d.fail(errShort)
		return 0
	}
	return n
}

// tuple reads the head of an array of exactly n elements.
func (d *decoder) tuple(n int) {
	if d.array() != n {
		d.fail(errLength)
	}
}

// bin reads a byte string.
func (d *decoder) bin() []byte {
	if left := d.left(); left > 1 && d.b[d.at] == 0xc4 {
		if end := d.at + 2 + int(d.b[d.at+1]); end <= len(d.b) {
			v := d.b[d.at+2 : end : end]
			d.at = end
			return v
		}
	}
	return d.longBin()
}

func (d *decoder) longBin() []byte {
	c := d.take(1)
	switch {
	case c == nil:
	case c[0] == 0xc4:
		return d.take(int(d.be(1)))
	case c[0] == 0xc5:
		return d.take(int(d.be(2)))
	default:
		d.fail(errType)
	}
	return nil
}

// bin32 reads what appendBin32 has written: a part of the frame.
func (d *decoder) bin32() []byte {
	if c := d.take(1); c != nil && c[0] != 0xc6 {
		d.fail(errType)
	}
	n := d.be(4)
	if n > uint64(d.left()) {
		d.fail(errShort)
		return nil
	}
	return d.take(int(n))
}

// fixed fills v with a byte string of just its length.
func (d *decoder) fixed(v []byte) {
	if b := d.bin(); len(b) == len(v) {
		copy(v, b)
	} else {
		d.fail(errLength)
	}
}

func (d *decoder) name(n *Name, mayBeEmpty bool) {
	b := d.bin()
	if len(b) > MaxName || len(b) == 0 && !mayBeEmpty {
		d.fail(errLength)
		return
	}
	*n = MakeName(b)
}

func (d *decoder) root(r *Root) {
	d.tuple(3)
	r.Space.Kind = NamespaceKind(d.uint(uint64(PerGroup)))
	r.Space.ID = d.u32()
	d.name(&r.Name, false)
}

// appendDomain writes a recovery domain, nothing for none.
func appendDomain(b []byte, d Digest) []byte {
	if d == (Digest{}) {
		return appendBin(b, nil)
	}
	return appendBin(b, d[:])
}

func (d *decoder) domain() (v Digest) {
	b := d.bin()
	if len(b) != 0 && len(b) != len(v) {
		d.fail(errLength)
	}
	copy(v[:], b)
	return v
}

func (d *decoder) party() (p Party) {
	p.Kind = PartyKind(d.uint(uint64(PartyGlobalTx)))
	p.ID = d.u64()
	return p
}

func (d *decoder) block(k *Block) {
	d.fixed(k.Value[:])
	d.stamp(k)
}

// lean reads what appendLean has written.
func (d *decoder) lean(k *Block) {
	d.value(&k.Value)
	d.stamp(k)
}

// value reads what appendValue has written.
func (d *decoder) value(v *Value) {
	b := d.bin()
	if len(b) != 0 && len(b) != len(v) {
		d.fail(errLength)
	}
	clear(v[copy(v[:], b):])
}

func (d *decoder) stamp(k *Block) {
	d.tuple(3)
	k.Stamp.Assign = d.u64()
	k.Stamp.Seq = d.u64()
	k.Valid = d.bool()
}
