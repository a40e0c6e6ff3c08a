package link

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/proto"
)

// glass is a cover that hides nothing: behind it somebody who has the key can say anything.
type glass struct{}

func (glass) Feed(dst, b []byte) (plain, out []byte, err error) { return append(dst, b...), nil, nil }
func (glass) Ready() bool                                       { return true }
func (glass) Seal(dst, plain []byte) ([]byte, error)            { return append(dst, plain...), nil }

// parrot answers each message with itself.
type parrot struct{ n int }

func (p *parrot) Message(c *Conn, m *proto.Msg) error {
	p.n++
	c.Send(m)
	return nil
}
func (p *parrot) Closed(*Conn, error) {}
func (p *parrot) Broken(*Conn, error) {}

// Whatever comes on a socket of the network, before the proof and behind it, to who has
// opened it and to who has accepted it, and with the next socket of the same stream:
// nothing panics, and no memory is taken for what was only announced.
func FuzzSocket(f *testing.F) {
	ask := frame(f, &proto.Msg{Kind: proto.KReached, Proc: 1})
	id := StreamID{1}
	resume := appendControl(nil, ctlResume, id[:], 0)
	again := appendControl(nil, ctlResume, id[:], metBit)
	ack := appendControl(nil, ctlAck, nil, uint64(len(ask)))
	unknown := []byte{0x80, 0, 0, 1, ctlUnknown}
	long := []byte{0x0f, 0xff, 0xff, 0xff, 1, 2, 3}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	f.Add(Preamble(7), resume)
	f.Add(join(resume, ask, ask), join(again, ask))
	f.Add(join(resume, ask, ack), join(again, ask, ack, ack))
	f.Add(join(resume, ask), join(again, ask, long))
	f.Add(join(resume, long), join(again, unknown))
	f.Add(join(resume, resume), join(appendControl(nil, ctlResume, id[:], metBit|1), ask))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		first, second = first[:min(len(first), 8<<10)], second[:min(len(second), 8<<10)]
		l := newLoop(t)
		fail := func(netip.AddrPort, error) {}
		say := func(b []byte, take func(fd int)) {
			raw, mine := pair(t)
			if _, err := unix.Write(raw, b); err != nil {
				t.Fatal(err)
			}
			take(mine)
			for range 4 { // what is answered is written, and read to the end
				l.Poll()
				l.Flush()
			}
			if err := unix.Close(raw); err != nil {
				t.Fatal(err)
			}
			l.Poll()
			l.Flush()
		}

		n := &Listener{loop: l, entrance: &Entrance{Failed: fail, Route: func(fd int, _ uint64) { l.Discard(fd) }}}
		say(first, func(fd int) {
			l.Opened(fd)
			n.readPreamble(fd, netip.AddrPort{})
		})

		var accepted *Conn
		at := &parrot{}
		for _, b := range [][]byte{first, second} {
			say(b, func(fd int) {
				l.Opened(fd)
				l.Admit(fd, Admission{Cover: glass{}, Failed: fail, Made: func(c *Conn) { accepted = c },
					Find: func(StreamID, bool) (RemoteHandler, *Conn, error) {
						if accepted != nil && accepted.closed.Load() {
							return nil, nil, errors.New("it is over")
						}
						return at, accepted, nil
					}})
			})
		}

		opened := l.NewRemote(&parrot{})
		opened.Send(&proto.Msg{Kind: proto.KReached, Proc: 9})
		for _, b := range [][]byte{first, second} {
			say(b, func(fd int) {
				if err := opened.Redial(fd, glass{}, Preamble(7)); err != nil && !opened.closed.Load() {
					t.Fatal(err)
				}
			})
		}
		for _, c := range []*Conn{accepted, opened} {
			if c != nil && cap(c.in) > 4*firstBuffer {
				t.Errorf("%d bytes were taken for %d", cap(c.in), len(first)+len(second))
			}
		}
		if len(l.crowd.all) != 0 {
			t.Errorf("%d strangers are left", len(l.crowd.all))
		}
	})
}
