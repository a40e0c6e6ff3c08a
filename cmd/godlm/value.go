package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/godlm/godlm"
)

// format is how a value block is read and written as text.
type format string

// The formats. The numbers are the block's first word, as programs on this machine have it:
// valblk[0] of a dlm_valb_t for u32.
const (
	asText format = "text"
	asHex  format = "hex"
	asU32  format = "u32"
	asU64  format = "u64"
	asRaw  format = "raw"
)

var formats = []string{string(asText), string(asHex), string(asU32), string(asU64), string(asRaw)}

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(formats, ", "))
	}
	*f = format(s)
	return nil
}

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

func completeFormats(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return formats, cobra.ShellCompDirectiveNoFileComp
}

// print is the value as it is written to standard output.
func (f format) print(v godlm.Value) string {
	switch f {
	case asHex:
		return hex.EncodeToString(v[:]) + "\n"
	case asU32, asU64:
		return f.number(v).String() + "\n"
	case asRaw:
		return string(v[:])
	}
	return v.Text() + "\n"
}

// parse makes a value of a text; a number leaves the rest of old as it is.
func (f format) parse(s string, old godlm.Value) (v godlm.Value, err error) {
	switch f {
	case asHex:
		b, err := hex.DecodeString(s)
		if err != nil {
			return v, fmt.Errorf("%q: %w", s, err)
		}
		return godlm.TextValue(string(b))
	case asU32, asU64:
		n, ok := new(big.Int).SetString(s, 0)
		if !ok {
			return v, fmt.Errorf("%q is no number", s)
		}
		return f.withNumber(n, old)
	}
	return godlm.TextValue(s)
}

// number reads a value as one; no text is 0.
func (f format) number(v godlm.Value) *big.Int {
	switch f {
	case asU32:
		return big.NewInt(int64(binary.NativeEndian.Uint32(v[:])))
	case asU64:
		return new(big.Int).SetUint64(binary.NativeEndian.Uint64(v[:]))
	}
	n, ok := new(big.Int).SetString(v.Text(), 10)
	if !ok && v.Text() == "" {
		return new(big.Int)
	}
	return n
}

// withNumber makes a value of a number.
func (f format) withNumber(n *big.Int, old godlm.Value) (v godlm.Value, err error) {
	bits := map[format]int{asU32: 32, asU64: 64}[f]
	if bits == 0 {
		return godlm.TextValue(n.String())
	}
	if n.Sign() < 0 || n.BitLen() > bits {
		return v, fmt.Errorf("%v is no number of %d bits", n, bits)
	}
	v = old
	if f == asU32 {
		binary.NativeEndian.PutUint32(v[:], uint32(n.Uint64()))
	} else {
		binary.NativeEndian.PutUint64(v[:], n.Uint64())
	}
	return v, nil
}

// equal compares what the format shows.
func (f format) equal(v, w godlm.Value) bool {
	if f == asU32 || f == asU64 {
		return f.number(v).Cmp(f.number(w)) == 0
	}
	return v == w
}

// shown is a value block in JSON.
type shown struct {
	Valid bool    `json:"valid"`
	Text  *string `json:"text"` // null if it is none
	Hex   string  `json:"hex"`
}

func show(b godlm.Block) shown {
	s := shown{Valid: b.Valid, Hex: hex.EncodeToString(b.Value[:])}
	if t := b.Value.Text(); utf8.ValidString(t) && !strings.Contains(t, "\x00") {
		s.Text = &t
	}
	return s
}
