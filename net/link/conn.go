package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

const (
	headerSize = 4
	// firstBuffer is the size of a new read buffer and what it shrinks to.
	firstBuffer = 16 << 10
	// keepOut is the largest write buffer that is kept for the next use.
	keepOut = 256 << 10
)

// Limits, which tests lower.
var (
	// maxFrame bounds a payload, in bytes. The largest is what a process reports
	// of one tree, about 100 bytes a lock.
	maxFrame = 256 << 20
	// maxOut is how much an accepted connection may have to write before nothing
	// more is read from it, in bytes. Only who accepted stops to read: if both
	// sides did they could wait for each other for ever.
	maxOut = 8 << 20
)

// Handler takes what a connection brings. Its methods are called by one thread
// at a time for one connection and must not wait.
type Handler interface {
	// Message takes a message; m and what it points to are valid until Message
	// returns. An error closes the connection.
	Message(c *Conn, m *proto.Msg) error
	// Closed says that nothing more will come: the peer has closed or died
	// (err is nil), or the connection was closed for the reason err. It is not
	// called after Close, nor during Loop.Close.
	Closed(c *Conn, err error)
}

// Batcher is a Handler that wants to know which messages come together. Begin is called
// before the first of several that are here, End after the last.
type Batcher interface {
	Handler
	Begin()
	End()
}

// Conn is a connection, or the outbox of one that has yet to be made.
type Conn struct {
	loop     *Loop
	handler  Handler
	throttle bool // accepted: the peer asks, and must read the answers

	reading sync.Mutex  // held while reading and in the handler
	noted   bool        // in the batch; belongs to the turn, like again
	again   bool        // something came after it was read
	more    bool        // there may be more to read
	failed  error       // why nothing more is to come
	parsed  bool        // msg is the next message
	hup     atomic.Bool // the peer has closed: read to the end
	stalled atomic.Bool // not reading until the peer does
	closed  atomic.Bool // set under mu: nothing is handled or written any more
	ended   bool        // under reading: nothing is read any more
	in      []byte      // in[inAt:inEnd] is not handled yet
	inAt    int
	inEnd   int
	msg     proto.Msg

	mu      sync.Mutex
	ordered bool // see KeepOrder
	fd      int  // -1: none yet, or none any more
	key     unix.EpollEvent
	users   int       // threads that use fd, and 1 while not closed
	broken  bool      // nothing is written any more
	writing bool      // a thread is in flush
	behind  int       // others there, who wait until it is out,
	written sync.Cond // for this
	full    bool      // waits for EPOLLOUT
	dirty   bool      // in the loop's list
	out     []byte
	now     []byte // being written
	nowAt   int
	size    int // bytes in out and in now from nowAt

	rem *remote // to another host; else nil
}

// NewConn makes an outbox; Attach gives it a socket.
func (l *Loop) NewConn(h Handler) *Conn {
	c := &Conn{loop: l, handler: h, fd: -1, users: 1}
	c.written.L = &c.mu
	return c
}

// Attach gives c its socket, which is c's from now on.
func (c *Conn) Attach(fd int) error {
	c.loop.opened(fd)
	c.mu.Lock()
	if c.closed.Load() {
		c.mu.Unlock()
		c.loop.closeFD(fd)
		return io.ErrClosedPipe
	}
	// From here on events may come; their threads wait for the mutex.
	key, err := c.loop.add(fd, c, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET)
	if err != nil {
		c.mu.Unlock()
		c.loop.closeFD(fd)
		return err
	}
	c.fd, c.key = fd, key
	dirty := c.size > 0 && !c.dirty
	c.dirty = c.dirty || dirty
	c.mu.Unlock()
	if dirty {
		c.loop.markDirty(c)
	}
	return nil
}

// Send appends m to the outbox. It never waits.
func (c *Conn) Send(m *proto.Msg) {
	c.mu.Lock()
	if c.closed.Load() || c.broken {
		c.mu.Unlock()
		return
	}
	at := len(c.out)
	var err error
	if c.out, err = AppendFrame(c.out, m); err != nil {
		c.mu.Unlock()
		c.loop.cfg.Log.Error("message not sent", "kind", m.Kind, "error", err)
		return
	}
	c.size += len(c.out) - at
	dirty := !c.dirty && c.fd >= 0
	c.dirty = c.dirty || dirty
	c.mu.Unlock()
	if dirty {
		c.loop.markDirty(c)
	}
}

// SendFrames appends frames that are complete already.
func (c *Conn) SendFrames(b []byte) {
	c.mu.Lock()
	if c.closed.Load() || c.broken || len(b) == 0 {
		c.mu.Unlock()
		return
	}
	c.out = append(c.out, b...)
	c.size += len(b)
	dirty := !c.dirty && c.fd >= 0
	c.dirty = c.dirty || dirty
	c.mu.Unlock()
	if dirty {
		c.loop.markDirty(c)
	}
}

// AppendFrame appends m as a frame.
func AppendFrame(b []byte, m *proto.Msg) ([]byte, error) {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = proto.Append(b, m)
	n := len(b) - at - headerSize
	if n > maxFrame {
		return b[:at], fmt.Errorf("frame of %d bytes, at most %d are allowed", n, maxFrame)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(n))
	return b, nil
}

// ReadFrame reads one message, for who has no Loop.
func ReadFrame(r io.Reader) (*proto.Msg, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, maxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	m := &proto.Msg{}
	return m, proto.Parse(b, m)
}

// EachFrame parses complete frames into m, one after the other.
func EachFrame(b []byte, m *proto.Msg, f func(*proto.Msg)) error {
	for len(b) > 0 {
		n := headerSize + int(binary.BigEndian.Uint32(b))
		if err := proto.Parse(b[headerSize:n], m); err != nil {
			return err
		}
		f(m)
		b = b[n:]
	}
	return nil
}

// Flush writes what c was sent so far. A handler may call it, but not of a connection that was
// accepted: that one's peer may be read again then, for which the handler has the turn.
func (c *Conn) Flush() { c.flush() }

// Backlog is how many bytes wait to be written.
func (c *Conn) Backlog() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// acquire gives the descriptor to read from until release. It does not if there is none,
// or if the peer does not read what it has asked for.
func (c *Conn) acquire() (fd int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.throttle && !c.hup.Load() {
		stalled := c.size > maxOut && !c.broken
		if stalled != c.stalled.Load() {
			c.stalled.Store(stalled)
			c.listen(!stalled)
		}
		if stalled {
			return -1, false
		}
	}
	if c.closed.Load() || c.fd < 0 {
		return -1, false
	}
	c.users++
	return c.fd, true
}

// listen says whether there are to be events when something has come. mu is held.
func (c *Conn) listen(yes bool) {
	if c.rem != nil || c.fd < 0 {
		return
	}
	c.key.Events |= unix.EPOLLIN
	if !yes {
		c.key.Events &^= unix.EPOLLIN
	}
	more := uint32(0)
	if c.full {
		more = unix.EPOLLOUT
	}
	c.watch(more)
}

func (c *Conn) release() {
	c.mu.Lock()
	fd := c.drop()
	c.mu.Unlock()
	if fd >= 0 {
		c.loop.closeFD(fd)
	}
}

// drop counts one user less and gives the descriptor to close when none is left.
func (c *Conn) drop() (fd int) {
	if c.users--; c.users > 0 {
		return -1
	}
	fd, c.fd = c.fd, -1
	return fd
}

// Close closes the connection at once. Nothing of it is handled any more, except
// what a thread is handling just now.
func (c *Conn) Close() {
	c.mu.Lock()
	if c.closed.Load() {
		c.mu.Unlock()
		return
	}
	c.closed.Store(true)
	c.out, c.now, c.nowAt, c.size = nil, nil, 0, 0
	if c.rem != nil {
		c.rem.kept, c.rem.ctl, c.rem.raw = kept{}, nil, nil
	}
	if c.ordered {
		c.loop.unordered(c)
	}
	key, had := c.key, c.key.Events != 0
	if c.fd >= 0 && c.users > 1 {
		// The peer learns of it now, the descriptor goes with its last user. It
		// fails when the peer is gone, which is as good.
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
	fd := c.drop()
	c.mu.Unlock()
	if had {
		c.loop.release(key)
	}
	if fd >= 0 {
		c.loop.closeFD(fd)
	}
}

// Drain handles what the peer has sent so far and then closes the connection,
// without calling Closed. The caller must not be in this connection's handler.
func (c *Conn) Drain() {
	c.reading.Lock()
	c.hup.Store(true)
	c.stalled.Store(false)
	for c.more = true; c.more; {
		c.take()
		for c.parse() {
			c.handleOne()
		}
	}
	c.ended = true
	if err := c.failed; err != nil && !errors.Is(err, io.EOF) {
		c.loop.cfg.Log.Warn("connection of a dead process", "error", err)
	}
	c.reading.Unlock()
	c.Close()
}

// end closes the connection after an error in reading.
func (c *Conn) end(err error) {
	c.ended = true
	if c.closed.Load() {
		return
	}
	switch {
	case errors.Is(err, io.EOF):
		err = nil
	case errors.Is(err, ErrUnknown): // as when the other process has ended
		c.loop.cfg.Log.Debug("connection closed", "error", err)
	default:
		c.loop.cfg.Log.Warn("connection closed", "error", err)
	}
	c.Close()
	c.handler.Closed(c, err)
}

// take reads once into the buffer and handles nothing. c.more: there may be more
// to read. c.failed: that was the end.
func (c *Conn) take() {
	c.more = false
	if c.ended || c.failed != nil {
		return
	}
	fd, ok := c.acquire()
	if !ok {
		return
	}
	if c.rem != nil {
		c.takeRemote(fd)
	} else {
		c.receive(fd)
	}
	c.release()
}

// receive reads once into the buffer. reading is held.
func (c *Conn) receive(fd int) {
	c.room()
	hup := c.hup.Load()
	want := len(c.in) - c.inEnd
	n, errno := recv(fd, c.in[c.inEnd:])
	switch {
	case errno == unix.EINTR:
		c.more = true
	case errno == unix.EAGAIN:
	case errno == unix.ECONNRESET: // closed with our bytes unread
		c.failed = io.EOF
	case errno != 0:
		c.failed = fmt.Errorf("read: %w", errno)
	case n == 0:
		c.failed = io.EOF
	default:
		c.inEnd += n
		c.more = n == want || hup // else an edge tells when there is more
	}
}

// room makes the buffer have some. It grows as bytes arrive, by doubling,
// whatever length the peer has announced.
func (c *Conn) room() {
	switch {
	case c.inAt == c.inEnd:
		c.inAt, c.inEnd = 0, 0
		if len(c.in) == 0 || len(c.in) > 4*firstBuffer {
			c.in = make([]byte, firstBuffer)
		}
	case c.inEnd < len(c.in):
	case c.inAt > 0:
		c.inEnd = copy(c.in, c.in[c.inAt:c.inEnd])
		c.inAt = 0
	default:
		b := make([]byte, 2*len(c.in))
		copy(b, c.in)
		c.in = b
	}
}

// frame is the next complete frame in the buffer, nil when there is none.
func (c *Conn) frame() ([]byte, error) {
	if c.rem != nil {
		if err := c.control(); err != nil {
			return nil, err
		}
	}
	if c.inEnd-c.inAt < headerSize {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint32(c.in[c.inAt:]))
	if n > maxFrame {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, maxFrame)
	}
	if c.inEnd-c.inAt < headerSize+n {
		return nil, nil
	}
	return c.in[c.inAt+headerSize : c.inAt+headerSize+n], nil
}

// parse makes the next message ready in c.msg. It reports false when there is none.
func (c *Conn) parse() bool {
	if c.parsed {
		return true
	}
	if c.ended || c.closed.Load() {
		return false
	}
	b, err := c.frame()
	if err == nil && b != nil && c.rem != nil && c.throttle && c.deaf() {
		err = ErrDeaf
	}
	if err == nil && b != nil {
		c.msg.Made = 0
		if err = proto.Parse(b, &c.msg); err != nil {
			err = fmt.Errorf("frame: %w", err)
		}
	}
	if err != nil {
		c.failed = err
		c.inAt = c.inEnd
	}
	if err != nil || b == nil {
		return false
	}
	c.inAt += headerSize + len(b)
	if c.rem != nil {
		c.handled(headerSize + len(b))
	}
	c.parsed = true
	return true
}

// handleOne hands the message that parse has made ready to the handler.
func (c *Conn) handleOne() {
	c.parsed = false
	if c.closed.Load() {
		return
	}
	if err := c.handler.Message(c, &c.msg); err != nil {
		c.failed = err
		c.inAt = c.inEnd
	}
}

// handleAll handles the messages in the buffer.
func (c *Conn) handleAll() {
	if !c.parse() {
		return
	}
	if b, ok := c.handler.(Batcher); ok {
		b.Begin()
		defer b.End()
	}
	for c.parse() {
		c.handleOne()
	}
}

// finish handles what is in the buffer, and the end of the connection.
func (c *Conn) finish() {
	if c.rem != nil {
		c.finishRemote()
		return
	}
	c.handleAll()
	if err := c.failed; err != nil && !c.ended {
		if errors.Is(err, io.EOF) && c.inAt < c.inEnd {
			c.loop.cfg.Log.Debug("connection ends within a frame")
		}
		c.end(err)
	}
}

// writable goes on after a full socket.
func (c *Conn) writable() {
	c.mu.Lock()
	if c.full && c.fd >= 0 {
		c.full = false
		// Else every read of the peer would wake somebody here.
		c.watch(0)
	}
	c.mu.Unlock()
	c.flush()
}

// flush writes until nothing is left or the socket is full. One thread at a time
// does; what others send meanwhile it takes along. The mutex is not held while
// it writes.
func (c *Conn) flush() {
	c.mu.Lock()
	c.dirty = false
	c.stepIn()
	if c.writing || c.full || c.closed.Load() || c.broken || c.fd < 0 {
		c.mu.Unlock()
		return
	}
	c.writing = true
	c.users++
	for rounds := 0; !c.closed.Load() && !c.broken && c.fd >= 0; {
		if c.nowAt == len(c.now) && (c.behind > 0 && rounds > 1 || !c.next()) { // see stepIn
			break
		}
		rounds++
		fd, b := c.fd, c.now[c.nowAt:]
		c.mu.Unlock()
		n, errno := send(fd, b)
		c.mu.Lock()
		if c.closed.Load() {
			break
		}
		if fd != c.fd { // it has got another socket, or has none now
			continue
		}
		if errno == 0 {
			c.nowAt += n
			c.size -= n
			if c.rem != nil {
				c.count()
			}
			if c.nowAt == len(c.now) && cap(c.now) > keepOut {
				c.now, c.nowAt = nil, 0
			}
			continue
		}
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN && c.arm() {
			break
		}
		if c.rem != nil { // the reader learns of it too
			c.full = true
			break
		}
		// The peer is gone; its last words are still read, and then comes the end.
		c.broken = true
		c.out, c.now, c.nowAt, c.size = nil, nil, 0, 0
	}
	c.writing = false
	if c.behind > 0 {
		c.written.Broadcast()
	}
	resume := c.stalled.Load() && c.size <= maxOut/2
	fd := c.drop()
	var doomed []int
	if c.rem != nil {
		doomed, c.rem.doomed = c.rem.doomed, nil
	}
	c.mu.Unlock()
	if fd >= 0 {
		c.loop.closeFD(fd)
	}
	for _, fd := range doomed {
		c.loop.closeFD(fd)
	}
	if resume {
		c.loop.resume(c)
	}
}

// stepIn waits for who writes, to write what has come since. On one CPU each write may
// have the peer run and ask again before it returns; the answer to that is of another
// thread, and who took it along again and again would not get on with its own. (With more
// CPUs it is better that one thread writes for several.) But once it is taken along: the
// goroutine that waits here is woken at the end, and may have to wait until Go takes it away
// from a thread that sleeps in the kernel, perhaps for the peer's next request. A write does
// not wait. mu is held, but not meanwhile.
func (c *Conn) stepIn() {
	for oneCPU && c.writing && len(c.out) > 0 {
		c.behind++
		c.written.Wait()
		c.behind--
	}
}

// next fills the buffer to be written, which is empty. mu is held.
func (c *Conn) next() bool {
	if c.rem == nil {
		if len(c.out) == 0 {
			return false
		}
		c.now, c.out, c.nowAt = c.out, c.now[:0], 0
		return true
	}
	some, err := c.load()
	if err != nil {
		c.loop.cfg.Log.Error("encrypt a message", "error", err)
	}
	return some && err == nil
}

// arm asks for an event when the socket is no longer full. The mutex is held.
func (c *Conn) arm() bool {
	c.full = true
	return c.watch(unix.EPOLLOUT)
}

// watch sets the events of the socket; the mutex is held. An event that is there
// already comes once more.
func (c *Conn) watch(more uint32) bool {
	ev := c.key
	ev.Events |= more
	if err := unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		c.loop.cfg.Log.Error("watch a socket", "error", err)
		return false
	}
	return true
}

// recv and send are system calls that return at once, so the scheduler need not
// be told of them.
func recv(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return int(n), errno
}

func send(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}
