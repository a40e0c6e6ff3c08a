package godlm

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"

	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

// Mode is a lock mode. Two locks on one name are granted together if their modes are
// compatible (+):
//
//	     NL CR CW PR PW EX
//	NL   +  +  +  +  +  +    null: says that the name is of interest, keeps the value block
//	CR   +  +  +  +  +  -    concurrent read
//	CW   +  +  +  -  -  -    concurrent write
//	PR   +  +  -  +  -  -    protected read, "shared"
//	PW   +  +  -  -  -  -    protected write, one writer beside unprotected readers
//	EX   +  -  -  -  -  -    exclusive
type Mode uint8

// The modes, weakest first, with the numbers of <sys/dlm.h>.
const (
	NL = Mode(mode.NL)
	CR = Mode(mode.CR)
	CW = Mode(mode.CW)
	PR = Mode(mode.PR)
	PW = Mode(mode.PW)
	EX = Mode(mode.EX)
)

// String is the mode's two letters; "-" for no mode.
func (m Mode) String() string { return mode.Mode(m).String() }

// ParseMode reads two letters.
func ParseMode(s string) (Mode, error) {
	for m := NL; m <= EX; m++ {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q is no lock mode: NL, CR, CW, PR, PW or EX", s)
}

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// ValueSize is the size of a value block in bytes; MaxName the longest name.
const (
	ValueSize = len(Value{})
	MaxName   = proto.MaxName
)

// Value is the contents of a value block. The lock manager does not look at it.
type Value [32]byte

// TextValue is a value that holds a short text, followed by zeros.
func TextValue(s string) (v Value, err error) {
	if len(s) > len(v) {
		return v, fmt.Errorf("%d bytes do not fit into a value block of %d", len(s), len(v))
	}
	copy(v[:], s)
	return v, nil
}

// Text is the value without the zeros at its end.
func (v Value) Text() string { return string(bytes.TrimRight(v[:], "\x00")) }

// Block is a value block as a grant has read it.
type Block struct {
	Value Value
	// Valid: nobody died, or gave up, while it may have been about to write it. If not,
	// Value is the newest that survived.
	Valid bool
}

// Token is a fencing token. It grows with every grant of PW or EX on one name, for
// ever, whoever was granted and whatever died in between. What the lock protects
// refuses requests with a smaller one than it has seen.
type Token struct{ Epoch, Number uint64 }

// Compare is -1, 0 or 1, as t was given out before, is, or was given out after u.
func (t Token) Compare(u Token) int {
	return cmp.Or(cmp.Compare(t.Epoch, u.Epoch), cmp.Compare(t.Number, u.Number))
}

// String is 32 hexadecimal digits. Such texts compare as their tokens do.
func (t Token) String() string { return fmt.Sprintf("%016x%016x", t.Epoch, t.Number) }

// ParseToken reads what String has made.
func ParseToken(s string) (t Token, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return t, fmt.Errorf("%q is no fencing token: 32 hexadecimal digits", s)
	}
	for i := range 8 {
		t.Epoch, t.Number = t.Epoch<<8|uint64(b[i]), t.Number<<8|uint64(b[8+i])
	}
	return t, nil
}

// Info tells of a resource.
type Info struct {
	Block        Block
	Locks        int // held and waited for, by everybody
	SubResources int
	GroupMode    Mode // strongest mode that is granted
	AtGroupMode  int  // how many locks have it
	ConvertMode  Mode // asked for by the conversion that is next
	WaitMode     Mode // asked for by the new lock that is next
	Writes       uint32
}
