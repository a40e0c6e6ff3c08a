package link

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// A connection to another host outlives its sockets. A network breaks connections
// between two that live on, and neither knows what the other has got; so each side
// keeps what it has sent until the other has it, and with a new socket both say how far
// they have come. Nothing is lost, doubled or out of order. It ends when a view removes
// the peer, or with the peer's process, like one within the host.
//
// What travels on a socket, after the opener's preamble in clear, is what a Cover makes
// of it: frames as on Unix sockets, and between them control frames, which have the top
// bit of the length set and are not counted.

// Cover authenticates and encrypts one socket.
type Cover interface {
	// Feed takes bytes off the wire and appends what they say to dst, which becomes plain. out
	// must be sent to the peer, also with an error.
	Feed(dst, b []byte) (plain, out []byte, err error)
	// Ready reports whether the peer has proven itself; Seal must wait for that.
	Ready() bool
	// Seal appends plain in its cover to dst.
	Seal(dst, plain []byte) ([]byte, error)
}

// StreamID names a connection, whatever its sockets.
type StreamID [16]byte

// RemoteHandler handles a connection to another host.
type RemoteHandler interface {
	Handler
	// Broken says that the socket is gone; Redial gives the connection a new one. It
	// is called like Message.
	Broken(c *Conn, err error)
}

const (
	controlBit = 1 << 31
	// metBit in the number of a resume: the sender has heard of the other side before.
	metBit = 1 << 63
	// The control frames: resume opens each socket's conversation, ack lets the peer
	// forget, unknown says that the stream has ended here.
	ctlResume  = 1 // StreamID, bytes got
	ctlAck     = 2 // bytes got
	ctlUnknown = 3
	resumeSize = headerSize + 1 + 16 + 8
	ackSize    = headerSize + 1 + 8
	// ackEvery is how many bytes are handled between two acknowledgements.
	ackEvery = 64 << 10
	// keepPlain is the largest buffer for what has come that is kept for the next time.
	keepPlain = 128 << 10
	// sealAtOnce is how many bytes are covered before some are written.
	sealAtOnce = 256 << 10
)

// maxKept bounds what an accepted stream has sent and its peer has not acknowledged, in
// bytes, which tests lower. Who reads acknowledges what it has handled, so only one that
// breaks the rules comes there.
var maxKept = 64 << 20

// ErrDeaf: the peer does not take, or does not say that it has taken, what it is sent.
var ErrDeaf = errors.New("the other side does not read what it is sent")

// ErrUnknown: the peer does not know the stream any more.
var ErrUnknown = errors.New("the other side has ended this stream")

// remote is what a connection to another host has beyond one within it. Its fields are
// guarded by Conn.mu, but for got, told, fault and plain (Conn.reading) and the cover.
type remote struct {
	id      StreamID
	opener  bool
	handler RemoteHandler

	coverMu sync.Mutex // after Conn.mu
	cover   Cover

	met    bool   // the peer has answered once: it knows the stream, or it is over
	up     bool   // both have said how far they are
	resume bool   // our word is still to be sent
	raw    []byte // to be sent as it is
	ctl    []byte // control frames to be sent
	kept   kept   // sent and not acknowledged
	sent   uint64 // bytes of frames sent, up to the end of kept
	got    uint64 // bytes of frames handled
	told   uint64 // acknowledged
	fault  error  // of this socket
	plain  []byte // scratch of takeRemote
	doomed []int  // sockets to close when flush is out
}

// NewRemote makes the opener's side of a stream, which Redial connects.
func (l *Loop) NewRemote(h RemoteHandler) *Conn {
	c := l.NewConn(h)
	c.rem = &remote{id: newStreamID(), opener: true, handler: h}
	return c
}

// Redial gives the stream a socket that is connected or connecting. first is sent
// before everything else, as it is.
func (c *Conn) Redial(fd int, cover Cover, first []byte) error {
	return c.adopt(fd, cover, first, nil, 0)
}

// adopt gives the stream a new socket. With an accepted one, plain is what it has
// brought behind the peer's word that it has got that many bytes.
func (c *Conn) adopt(fd int, cover Cover, first, plain []byte, got uint64) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.finishRemote() // of the former socket
	c.mu.Lock()
	r := c.rem
	c.detach()
	if c.closed.Load() {
		c.mu.Unlock()
		c.loop.opened(fd)
		c.loop.closeFD(fd)
		return io.ErrClosedPipe
	}
	r.coverMu.Lock()
	r.cover = cover
	r.coverMu.Unlock()
	r.raw = append(r.raw[:0], first...)
	r.ctl, r.up, r.resume, r.fault = nil, false, true, nil
	c.hup.Store(false)
	c.mu.Unlock()
	c.inAt = c.inEnd // an incomplete frame comes anew
	if !r.opener {
		if err := c.resumed(got); err != nil {
			c.loop.opened(fd)
			c.loop.closeFD(fd)
			return err
		}
		c.hold(plain)
	}
	err := c.Attach(fd)
	if err == nil {
		c.touch()
	}
	return err
}

// touch has what is there written by the next Flush.
func (c *Conn) touch() {
	c.mu.Lock()
	dirty := !c.dirty && c.fd >= 0
	c.dirty = c.dirty || dirty
	c.mu.Unlock()
	if dirty {
		c.loop.markDirty(c)
	}
}

// resumed takes the peer's word how much it has got: the rest is sent once more.
// reading is held.
func (c *Conn) resumed(got uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rem
	if err := r.forget(got); err != nil {
		return err
	}
	r.sent -= uint64(r.kept.len())
	c.out = append(r.kept.bytes(), c.out...)
	r.kept = kept{}
	r.up, r.met = true, true
	c.count()
	return nil
}

// forget drops what the peer has got. mu is held.
func (r *remote) forget(got uint64) error {
	first := r.sent - uint64(r.kept.len())
	if got < first || got > r.sent {
		return fmt.Errorf("the peer says it has got %d bytes, of %d to %d", got, first, r.sent)
	}
	r.kept.drop(int(got - first))
	return nil
}

// kept is bytes that come at the end and go at the front.
type kept struct {
	buf []byte
	at  int // of the first
}

func (k *kept) len() int      { return len(k.buf) - k.at }
func (k *kept) bytes() []byte { return k.buf[k.at:] }

func (k *kept) add(b []byte) {
	if k.at >= k.len() && len(k.buf)+len(b) > cap(k.buf) { // else it would be copied again and again
		k.buf, k.at = k.buf[:copy(k.buf, k.buf[k.at:])], 0
	}
	k.buf = append(k.buf, b...)
}

func (k *kept) drop(n int) {
	k.at += n
	switch {
	case cap(k.buf) > keepOut && k.len() < cap(k.buf)/4: // what a burst has left behind
		k.buf, k.at = bytes.Clone(k.bytes()), 0
	case k.len() == 0:
		k.buf, k.at = k.buf[:0], 0
	}
}

// count sets the size that back-pressure goes by. What is sent and not acknowledged is no
// part of it: who does not read does not hear of acknowledgements either. mu is held.
func (c *Conn) count() {
	c.size = len(c.out) + len(c.now) - c.nowAt
}

// Unacknowledged is how many bytes of messages wait to be sent or acknowledged.
func (c *Conn) Unacknowledged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.out)
	if c.rem != nil {
		n += c.rem.kept.len()
	}
	return n
}

// Stream names the stream that c is.
func (c *Conn) Stream() StreamID { return c.rem.id }

// deaf reports whether the peer asks on and on and says of nothing that it has it.
func (c *Conn) deaf() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rem.kept.len() > maxKept
}

// detach lets go of the socket. mu and reading are held.
func (c *Conn) detach() {
	if c.fd < 0 {
		return
	}
	fd, key := c.fd, c.key
	c.fd, c.key = -1, unix.EpollEvent{}
	c.full, c.now, c.nowAt = false, nil, 0
	c.rem.up = false
	c.count()
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // a thread may be writing to it
	c.loop.release(key)
	if c.writing {
		c.rem.doomed = append(c.rem.doomed, fd)
		return
	}
	c.loop.closeFD(fd)
}

// takeRemote reads once and takes the cover off. reading is held.
func (c *Conn) takeRemote(fd int) {
	r := c.rem
	b := wireBuffers.Get().(*[]byte)
	defer wireBuffers.Put(b)
	n, errno := recv(fd, *b)
	switch {
	case errno == unix.EINTR:
		c.more = true
		return
	case errno == unix.EAGAIN:
		return
	case errno != 0:
		r.fault = fmt.Errorf("read: %w", errno)
		return
	case n == 0:
		r.fault = io.EOF
		return
	}
	c.more = n == len(*b) || c.hup.Load()
	plain, out, err := c.uncover(r.plain[:0], (*b)[:n])
	c.hold(plain)
	if r.plain = plain; cap(plain) > keepPlain {
		r.plain = nil
	}
	if err != nil {
		r.fault = err
	}
	if len(out) > 0 || c.hasResume() {
		c.touch()
	}
}

// uncover takes the cover off. What the cover has to say goes out before anything that
// another thread covers as soon as that is possible. reading is held.
func (c *Conn) uncover(dst, b []byte) (plain, out []byte, err error) {
	r := c.rem
	r.coverMu.Lock()
	proven := r.cover.Ready() // only here it becomes so
	if proven {
		defer r.coverMu.Unlock()
		return r.cover.Feed(dst, b)
	}
	r.coverMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	r.coverMu.Lock()
	defer r.coverMu.Unlock()
	plain, out, err = r.cover.Feed(dst, b)
	r.raw = append(r.raw, out...)
	return plain, out, err
}

func (c *Conn) hasResume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rem.resume
}

// hold puts plain bytes behind those that are not handled yet.
func (c *Conn) hold(plain []byte) {
	for len(plain) > 0 {
		c.room()
		n := copy(c.in[c.inEnd:], plain)
		c.inEnd += n
		plain = plain[n:]
	}
}

var wireBuffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// control takes control frames off the front of the buffer. reading is held.
func (c *Conn) control() error {
	for c.inEnd-c.inAt >= headerSize {
		n := binary.BigEndian.Uint32(c.in[c.inAt:])
		if n&controlBit == 0 {
			return nil
		}
		n &^= controlBit
		if n < 1 || n > resumeSize {
			return fmt.Errorf("control frame of %d bytes", n)
		}
		if c.inEnd-c.inAt < headerSize+int(n) {
			return nil
		}
		b := c.in[c.inAt+headerSize : c.inAt+headerSize+int(n)]
		c.inAt += headerSize + int(n)
		switch {
		case b[0] == ctlResume && len(b) == resumeSize-headerSize && c.rem.opener:
			if err := c.resumed(binary.BigEndian.Uint64(b[17:]) &^ metBit); err != nil {
				return err
			}
			c.touch()
		case b[0] == ctlAck && len(b) == ackSize-headerSize:
			c.mu.Lock()
			err := c.rem.forget(binary.BigEndian.Uint64(b[1:]))
			c.mu.Unlock()
			if err != nil {
				return err
			}
		case b[0] == ctlUnknown:
			return ErrUnknown
		default:
			return fmt.Errorf("control frame %d of %d bytes", b[0], len(b))
		}
	}
	return nil
}

// handled counts a frame that was taken. reading is held.
func (c *Conn) handled(n int) {
	r := c.rem
	r.got += uint64(n)
	if r.got-r.told < ackEvery {
		return
	}
	r.told = r.got
	c.mu.Lock()
	r.ctl = appendControl(r.ctl, ctlAck, nil, r.got)
	c.mu.Unlock()
	c.touch()
}

func appendControl(b []byte, kind byte, id []byte, got uint64) []byte {
	b = binary.BigEndian.AppendUint32(b, controlBit|uint32(1+len(id)+8))
	b = append(b, kind)
	b = append(b, id...)
	return binary.BigEndian.AppendUint64(b, got)
}

// finishRemote handles what is there, and the end of the socket. reading is held.
func (c *Conn) finishRemote() {
	for c.parse() {
		c.handleOne()
	}
	r := c.rem
	if c.ended || c.closed.Load() {
		return
	}
	if c.failed != nil { // the peer says what makes no sense, or has ended the stream
		c.end(c.failed)
		return
	}
	if r.fault == nil {
		return
	}
	err := r.fault
	r.fault = nil
	c.inAt = c.inEnd // the peer sends an incomplete frame anew
	c.more = false
	c.mu.Lock()
	c.detach()
	c.mu.Unlock()
	r.handler.Broken(c, err)
}

// load fills the buffer to be written. mu is held, and now is empty. It reports false
// when there is nothing.
func (c *Conn) load() (bool, error) {
	r := c.rem
	if len(r.raw) > 0 {
		c.now, r.raw, c.nowAt = append(c.now[:0], r.raw...), nil, 0
		return true, nil
	}
	r.coverMu.Lock()
	defer r.coverMu.Unlock()
	if r.cover == nil || !r.cover.Ready() {
		return false, nil
	}
	var err error
	c.now, c.nowAt = c.now[:0], 0
	if r.resume {
		r.resume = false
		r.told = r.got
		got := r.got
		if r.met {
			got |= metBit
		}
		if c.now, err = r.cover.Seal(c.now, appendControl(nil, ctlResume, r.id[:], got)); err != nil {
			return false, err
		}
	}
	if len(r.ctl) > 0 {
		if c.now, err = r.cover.Seal(c.now, r.ctl); err != nil {
			return false, err
		}
		r.ctl = r.ctl[:0]
	}
	if r.up && len(c.out) > 0 {
		some := c.out[:min(len(c.out), sealAtOnce)]
		if c.now, err = r.cover.Seal(c.now, some); err != nil {
			return false, err
		}
		r.kept.add(some)
		r.sent += uint64(len(some))
		switch {
		case len(some) < len(c.out):
			c.out = c.out[len(some):]
		case cap(c.out) > keepOut:
			c.out = nil
		default:
			c.out = c.out[:0]
		}
	}
	c.count()
	return len(c.now) > 0, nil
}

// MakeRemote says that an outbox that has no socket yet is the opener's side of a
// stream.
func (c *Conn) MakeRemote(h RemoteHandler) {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rem == nil && c.fd < 0 {
		c.rem = &remote{id: newStreamID(), opener: true, handler: h}
		if c.ordered { // only messages of one host have an order beyond a connection
			c.ordered = false
			c.loop.unordered(c)
		}
	}
}

func newStreamID() (id StreamID) {
	if _, err := rand.Read(id[:]); err != nil {
		panic(err) // the kernel always has some
	}
	return id
}
