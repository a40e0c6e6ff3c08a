package secure

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/flynn/noise"
)

// Why a session ends; errors.Is finds them. Each side is told of its own kind.
var (
	ErrVersion = errors.New("the other host speaks another version")
	ErrCluster = errors.New("the other host is of another cluster")
	// ErrKey: the handshake or a record does not come from who has the key, in
	// this session and in this order.
	ErrKey = errors.New("the other host has another key, or somebody has changed what it said")
	// ErrProtocol: what came is not this protocol at all.
	ErrProtocol = errors.New("not a godlm host")
)

const (
	magic     = "godlm"
	tagSize   = 16
	maxRecord = 65535
	// maxPlain is the most that one record carries.
	maxPlain = maxRecord - tagSize
	maxName  = 64
	// handshakeSize is that of a record of the handshake: a public key and a tag.
	handshakeSize = 32 + tagSize
)

// Reasons in an answer.
const (
	reasonVersion = 1
	reasonCluster = 2
	reasonKey     = 3
)

// Config is what both sides must agree on.
type Config struct {
	Key     Key
	Cluster string // 1 to 64 bytes
	Version uint8
	Random  io.Reader // nil: crypto/rand
}

// Session is one side of a connection. It is not safe for use by several threads.
type Session struct {
	cfg   Config
	opens bool
	stage stage
	hs    *noise.HandshakeState
	send  *noise.CipherState
	recv  *noise.CipherState
	in    []byte // not consumed yet, during Feed
	kept  []byte // the same between two
	err   error
}

type stage uint8

// Stages, in the order in which a session goes through those of its side.
const (
	wantHello   stage = iota // accepter
	wantConfirm              // accepter
	wantAnswer               // opener
	ready
)

var suite = noise.NewCipherSuite(noise.DH25519, chaChaPoly{}, noise.HashBLAKE2s)

// Open is the side that has made the connection; first is what it sends at once.
func Open(cfg Config) (s *Session, first []byte, err error) {
	s = &Session{cfg: cfg, opens: true, stage: wantAnswer}
	hello, err := cfg.hello()
	if err != nil {
		return nil, nil, err
	}
	if err := s.handshake(hello); err != nil {
		return nil, nil, err
	}
	record, _, _, err := s.hs.WriteMessage(nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("begin a handshake: %w", err)
	}
	return s, appendRecord(hello, record), nil
}

// Accept is the side that was connected to.
func Accept(cfg Config) (*Session, error) {
	if _, err := cfg.hello(); err != nil {
		return nil, err
	}
	return &Session{cfg: cfg, stage: wantHello}, nil
}

func (c *Config) hello() ([]byte, error) {
	if len(c.Cluster) < 1 || len(c.Cluster) > maxName {
		return nil, fmt.Errorf("cluster name of %d bytes", len(c.Cluster))
	}
	b := append([]byte(magic), c.Version, byte(len(c.Cluster)))
	return append(b, c.Cluster...), nil
}

func (s *Session) handshake(hello []byte) (err error) {
	random := s.cfg.Random
	if random == nil {
		random = rand.Reader
	}
	s.hs, err = noise.NewHandshakeState(noise.Config{
		CipherSuite: suite, Random: random, Pattern: noise.HandshakeNN, Initiator: s.opens, Prologue: hello,
		PresharedKey: s.cfg.Key[:], PresharedKeyPlacement: 0,
	})
	if err != nil {
		return fmt.Errorf("begin a handshake: %w", err)
	}
	return nil
}

// Ready reports whether the other side has proven itself, so that Seal may be used.
func (s *Session) Ready() bool { return s.stage == ready && s.err == nil }

// Feed takes bytes from the wire. What the other side has sent is appended to dst, which
// becomes plain; out is what must be sent to it, also with an error: it tells the other side
// why. After an error the session is over. What is returned is the caller's.
func (s *Session) Feed(dst, b []byte) (plain, out []byte, err error) {
	plain = dst
	if s.err != nil {
		return plain, nil, s.err
	}
	s.in = b
	if len(s.kept) > 0 {
		s.kept = append(s.kept, b...)
		s.in = s.kept
	}
	for {
		var more bool
		switch s.stage {
		case wantHello:
			out, more, err = s.takeHello(out)
		case wantAnswer:
			out, more, err = s.takeAnswer(out)
		default:
			plain, more, err = s.takeRecord(plain)
		}
		if err != nil {
			s.err, s.in, s.kept = err, nil, nil
			return plain, out, err
		}
		if !more {
			s.kept, s.in = append(s.kept[:0], s.in...), nil
			if len(s.kept) == 0 && cap(s.kept) > maxRecord {
				s.kept = nil
			}
			return plain, out, nil
		}
	}
}

// Seal appends plain as records to dst.
func (s *Session) Seal(dst, plain []byte) ([]byte, error) {
	if !s.Ready() {
		return dst, errors.New("the session is not ready")
	}
	for len(plain) > 0 {
		n := min(len(plain), maxPlain)
		var err error
		if dst, err = s.seal(dst, plain[:n]); err != nil {
			return dst, err
		}
		plain = plain[n:]
	}
	return dst, nil
}

func (s *Session) seal(dst, plain []byte) ([]byte, error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(plain)+tagSize))
	dst, err := s.send.Encrypt(dst, nil, plain)
	if err != nil {
		return dst, fmt.Errorf("encrypt: %w", err)
	}
	return dst, nil
}

func appendRecord(b, record []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(record))), record...)
}

// record takes a whole record off the front of in; nil if there is none yet. size, if
// not 0, is the only one that is allowed: who has proven nothing gets no memory.
func (s *Session) record(from, size int) (record []byte, next int, err error) {
	if len(s.in) < from+2 {
		return nil, 0, nil
	}
	n := int(binary.BigEndian.Uint16(s.in[from:]))
	if size != 0 && n != size {
		return nil, 0, ErrProtocol
	}
	if len(s.in) < from+2+n {
		return nil, 0, nil
	}
	return s.in[from+2 : from+2+n], from + 2 + n, nil
}

func (s *Session) drop(n int) { s.in = s.in[n:] }

// takeHello answers the opener's first bytes.
func (s *Session) takeHello(out []byte) ([]byte, bool, error) {
	const head = len(magic) + 2
	n := min(len(s.in), len(magic))
	if string(s.in[:n]) != magic[:n] {
		return out, false, ErrProtocol
	}
	if len(s.in) < head {
		return out, false, nil
	}
	version, size := s.in[len(magic)], int(s.in[len(magic)+1])
	if version != s.cfg.Version {
		return append(out, 1, reasonVersion), false, fmt.Errorf("%w: %d, not %d", ErrVersion, version, s.cfg.Version)
	}
	if size < 1 || size > maxName {
		return out, false, ErrProtocol
	}
	if len(s.in) < head+size {
		return out, false, nil
	}
	if name := s.in[head : head+size]; string(name) != s.cfg.Cluster {
		return append(out, 1, reasonCluster), false, fmt.Errorf("%w: %q, not %q", ErrCluster, name, s.cfg.Cluster)
	}
	record, next, err := s.record(head+size, handshakeSize)
	if record == nil {
		return out, false, err
	}
	if err := s.handshake(s.in[:head+size]); err != nil {
		return out, false, err
	}
	if _, _, _, err := s.hs.ReadMessage(nil, record); err != nil {
		return append(out, 1, reasonKey), false, ErrKey
	}
	answer, recv, send, err := s.hs.WriteMessage(nil, nil)
	if err != nil {
		return out, false, fmt.Errorf("answer a handshake: %w", err)
	}
	s.hs, s.send, s.recv, s.stage = nil, send, recv, wantConfirm
	s.drop(next)
	return appendRecord(append(out, 0), answer), true, nil
}

// takeAnswer takes the accepter's word and confirms.
func (s *Session) takeAnswer(out []byte) ([]byte, bool, error) {
	if len(s.in) == 0 {
		return out, false, nil
	}
	switch s.in[0] {
	case 0:
	case 1:
		if len(s.in) < 2 {
			return out, false, nil
		}
		return out, false, refusal(s.in[1])
	default:
		return out, false, ErrProtocol
	}
	record, next, err := s.record(1, handshakeSize)
	if record == nil {
		return out, false, err
	}
	_, send, recv, err := s.hs.ReadMessage(nil, record)
	if err != nil || send == nil {
		return out, false, ErrKey
	}
	s.hs, s.send, s.recv, s.stage = nil, send, recv, ready
	s.drop(next)
	out, err = s.seal(out, nil)
	return out, true, err
}

// refusal is the reason that the accepter gives. It comes in clear, so it may be a lie,
// which does no more than a cut cable.
func refusal(reason byte) error {
	switch reason {
	case reasonVersion:
		return ErrVersion
	case reasonCluster:
		return ErrCluster
	case reasonKey:
		return ErrKey
	}
	return ErrProtocol
}

// takeRecord takes data, or the empty record that confirms. Later ones are not empty:
// each brings who reads it on.
func (s *Session) takeRecord(plain []byte) ([]byte, bool, error) {
	size := 0
	if s.stage == wantConfirm {
		size = tagSize
	}
	record, next, err := s.record(0, size)
	if record == nil {
		return plain, false, err
	}
	all, err := s.recv.Decrypt(plain, nil, record)
	switch {
	case err != nil:
		return plain, false, ErrKey
	case s.stage != wantConfirm && len(all) == len(plain):
		return plain, false, ErrProtocol
	}
	s.stage = ready
	s.drop(next)
	return all, true, nil
}
