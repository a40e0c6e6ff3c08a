// Package mode holds the six lock modes and every table that follows from
// them: compatibility, strength, legal DLM_QUECVT pairs and what a value block
// does on each conversion. It is data with names; it decides nothing and keeps
// no state. Everybody in core may import it.
package mode

// Mode is a lock mode with the numbers of the Tru64 header. OpenVMS and Linux
// number the same modes one lower, having no None.
type Mode uint8

// The modes, weakest first. CW and PR are not comparable in strength.
const (
	None Mode = iota // no mode: nothing granted, or an empty queue
	NL
	CR
	CW
	PR
	PW
	EX
	Count // number of values, None included
)

var names = [Count]string{"-", "NL", "CR", "CW", "PR", "PW", "EX"}

func (m Mode) String() string {
	if m < Count {
		return names[m]
	}
	return "?"
}

// Valid reports whether m may be requested.
func (m Mode) Valid() bool { return m >= NL && m <= EX }

// Set is a set of modes, bit 1<<m for mode m.
type Set uint8

// Bit is the set that holds only m.
func Bit(m Mode) Set { return 1 << m }

// Has reports whether m is in s.
func (s Set) Has(m Mode) bool { return s&Bit(m) != 0 }

// incompatible[m] are the modes that cannot be granted beside m (spec §5).
var incompatible = [Count]Set{
	CR: Bit(EX),
	CW: Bit(PR) | Bit(PW) | Bit(EX),
	PR: Bit(CW) | Bit(PW) | Bit(EX),
	PW: Bit(CW) | Bit(PR) | Bit(PW) | Bit(EX),
	EX: Bit(CR) | Bit(CW) | Bit(PR) | Bit(PW) | Bit(EX),
}

// Incompatible is the set of modes that exclude m.
func Incompatible(m Mode) Set { return incompatible[m] }

// Compatible reports whether a and b may be granted together.
func Compatible(a, b Mode) bool { return incompatible[a]&Bit(b) == 0 }

// NotHigher reports whether a conversion from one mode to the other can never
// be refused: what excludes `to` already excluded `from` (spec §6.3).
func NotHigher(from, to Mode) bool { return incompatible[to]&^incompatible[from] == 0 }

// Writer reports whether a holder of m may change the value block.
func Writer(m Mode) bool { return m == PW || m == EX }

// ProtectsValue reports whether a lock granted in m keeps everybody else from
// writing the value block (design §8 rule 3).
func ProtectsValue(m Mode) bool { return m >= CW }

// queueable[from] are the targets for which DLM_QUECVT is legal (D-16).
var queueable = [Count]Set{
	NL: Bit(CR) | Bit(CW) | Bit(PR) | Bit(PW) | Bit(EX),
	CR: Bit(CW) | Bit(PR) | Bit(PW) | Bit(EX),
	CW: Bit(PR) | Bit(PW) | Bit(EX),
	PR: Bit(CW) | Bit(PW) | Bit(EX),
	PW: Bit(EX),
}

// QueueableConversion reports whether DLM_QUECVT may be given for the pair.
func QueueableConversion(from, to Mode) bool { return queueable[from].Has(to) }

// ValueMove says what DLM_VALB does on a grant.
type ValueMove uint8

// The three entries of the value-block table.
const (
	Leave ValueMove = iota // neither read nor written
	Read                   // the resource's value goes to the caller
	Write                  // the caller's value goes to the resource
)

// valueMoves is the table of spec §7.2; row None is a new lock.
var valueMoves = [Count][Count]ValueMove{
	None: {NL: Read, CR: Read, CW: Read, PR: Read, PW: Read, EX: Read},
	NL:   {NL: Read, CR: Read, CW: Read, PR: Read, PW: Read, EX: Read},
	CR:   {NL: Leave, CR: Read, CW: Read, PR: Read, PW: Read, EX: Read},
	CW:   {NL: Leave, CR: Leave, CW: Read, PR: Read, PW: Read, EX: Read},
	PR:   {NL: Leave, CR: Leave, CW: Leave, PR: Read, PW: Read, EX: Read},
	PW:   {NL: Write, CR: Write, CW: Write, PR: Write, PW: Write, EX: Read},
	EX:   {NL: Write, CR: Write, CW: Write, PR: Write, PW: Write, EX: Write},
}

// OnConvert is the value block's move for a conversion between the modes.
func OnConvert(held, requested Mode) ValueMove { return valueMoves[held][requested] }
