package gossip

import (
	"bytes"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// wiretap hears every packet and every stream of the members that it is given to.
type wiretap struct {
	mu      sync.Mutex
	packets [][]byte
	streams []*tapped
}

// tapped is a stream, and what was said on it so far, from both sides.
type tapped struct {
	net.Conn
	mu   sync.Mutex
	said [2]bytes.Buffer // written, read
}

func (c *tapped) note(i int, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said[i].Write(b)
}

func (c *tapped) Write(b []byte) (int, error) {
	c.note(0, b)
	return c.Conn.Write(b)
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(1, b[:n])
	return n, err
}

type tappedTransport struct {
	memberlist.NodeAwareTransport
	w *wiretap
}

func (w *wiretap) wrap(tr memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
	return tappedTransport{tr, w}
}

func (t tappedTransport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	t.w.mu.Lock()
	t.w.packets = append(t.w.packets, bytes.Clone(b))
	t.w.mu.Unlock()
	return t.NodeAwareTransport.WriteToAddress(b, to)
}

func (t tappedTransport) DialAddressTimeout(to memberlist.Address, d time.Duration) (net.Conn, error) {
	c, err := t.NodeAwareTransport.DialAddressTimeout(to, d)
	if err != nil {
		return nil, err
	}
	x := &tapped{Conn: c}
	t.w.mu.Lock()
	t.w.streams = append(t.w.streams, x)
	t.w.mu.Unlock()
	return x, nil
}

// heard is in how many packets and streams there are these bytes, of how many.
func (w *wiretap) heard(what []byte) (packets, streams, of int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.packets {
		if bytes.Contains(p, what) {
			packets++
		}
	}
	for _, s := range w.streams {
		s.mu.Lock()
		if bytes.Contains(s.said[0].Bytes(), what) || bytes.Contains(s.said[1].Bytes(), what) {
			streams++
		}
		s.mu.Unlock()
	}
	return packets, streams, len(w.packets) + len(w.streams)
}

// With a key, nothing of what members say of each other is on the wire as it is: who
// listens, and who has another key, sees none of it. Without one all of it is.
func TestNoPlainText(t *testing.T) {
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{7}, KeySize)} {
		w := &wiretap{}
		c := calm()
		c.Key = key
		c.tune.network = w.wrap
		c.tune.settings = func(m *memberlist.Config) {
			m.EnableCompression = false // it hides text, too
			m.GossipInterval = 10 * time.Millisecond
			m.PushPullInterval = 0 // so that c is told of by packets as well
		}
		c.Meta = make([]byte, 64)
		rnd := rand.New(rand.NewPCG(3, 4))
		for i := range c.Meta {
			c.Meta[i] = byte(rnd.Uint32())
		}
		names := []string{"this-is-one", "this-is-two", "this-is-three"}
		a := start(t, names[0], c)
		b := start(t, names[1], c, a)
		d := start(t, names[2], c, a)
		for _, n := range []*node{a, b, d} {
			n.await("this-is-one=alive this-is-three=alive this-is-two=alive")
		}
		for what, text := range map[string][]byte{
			"meta data": c.Meta, "the first name": []byte(names[0]), "the third name": []byte(names[2]),
		} {
			packets, streams, of := w.heard(text)
			switch plain := packets+streams > 0; {
			case of < 4: // two have joined, and each was told of by a packet at least
				t.Errorf("only %d packets and streams were heard", of)
			case plain && key != nil:
				t.Errorf("%s is in %d packets and %d streams", what, packets, streams)
			case key == nil && (packets == 0 || streams == 0):
				t.Errorf("without a key, %s is in %d packets and %d streams: the wiretap hears nothing", what, packets, streams)
			}
		}
	}
}

// A member that comes back at another port is seen by all, and sees them: not as one that
// was not asked and does not answer for its old port.
func TestRestartAtAnotherPort(t *testing.T) {
	a := start(t, "a", nervous())
	b := start(t, "b", nervous(), a)
	old := start(t, "c#1", nervous(), a)
	for _, n := range []*node{a, b} {
		n.await("a=alive b=alive c#1=alive")
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	renewed := start(t, "c#2", nervous(), a) // before anybody suspects the former
	for _, n := range []*node{a, b} {
		n.await("a=alive b=alive c#1=failed c#2=alive")
		if n.member("c#2").Addr != renewed.Addr() {
			t.Errorf("%s: it is at %s", n.member("c#2").Addr, renewed.Addr())
		}
	}
	renewed.until("it sees the others", func() bool {
		s := renewed.says()
		return s == "a=alive b=alive c#1=failed c#2=alive" || s == "a=alive b=alive c#2=alive" || s == "a=alive b=alive c#1=alive c#2=alive"
	})
}
