package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// network is where a host's processes are: a thread that is in the host's network
// namespace and starts them. It never does anything else, and ends with the lab.
type network struct {
	do   chan func()
	link netlink.Link // the lab's side, if there is one
}

// links counts those of all labs, whose names are different.
var links atomic.Int64

// addrOf is a host's address.
func addrOf(host int) net.IP { return net.IPv4(10, 77, 0, byte(host+1)) }

// newThread makes a network namespace and a thread in it.
func newThread() (n *network, tid int, err error) {
	n = &network{do: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with this function
		tid = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET)
		made <- err
		if err != nil {
			return
		}
		for f := range n.do {
			f()
		}
	}()
	if err := <-made; err != nil {
		return nil, 0, fmt.Errorf("a network namespace: %w", err)
	}
	return n, tid, nil
}

// newPair makes the networks of two hosts with a link between them.
func newPair() (a, b *network, err error) {
	a, here, err := newThread()
	if err != nil {
		return nil, nil, err
	}
	b, there, err := newThread()
	if err != nil {
		close(a.do)
		return nil, nil, err
	}
	err = netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth0", TxQLen: 1000, HardwareAddr: macOf(0), Namespace: netlink.NsPid(here)},
		PeerName:  "eth0", PeerHardwareAddr: macOf(1), PeerNamespace: netlink.NsPid(there),
	})
	if err == nil {
		err = errors.Join(a.in(func() error { return configure(0) }), b.in(func() error { return configure(1) }))
	}
	if err != nil {
		close(a.do)
		close(b.do)
		return nil, nil, fmt.Errorf("a link between two network namespaces: %w", err)
	}
	return a, b, nil
}

// newNet makes a host's network, with a port of the wire.
func newNet(w *Wire, host int) (*network, error) {
	n, thread, err := newThread()
	if err != nil {
		return nil, err
	}
	here := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("p", links.Add(1)), TxQLen: 1000},
		PeerName:  "eth0", PeerHardwareAddr: macOf(host), PeerNamespace: netlink.NsPid(thread),
	}
	n.link = here
	err = netlink.LinkAdd(here)
	if err == nil {
		err = netlink.LinkSetUp(here)
	}
	if err == nil {
		err = n.in(func() error { return configure(host) })
	}
	if err == nil {
		var port *os.File
		if port, err = openPort(here); err == nil {
			w.plug(host, port)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("a link between network namespaces: %w", errors.Join(err, n.close()))
	}
	return n, nil
}

// in does something in the host's namespace.
func (n *network) in(f func() error) error {
	done := make(chan error)
	n.do <- func() { done <- f() }
	return <-done
}

// configure brings up the links of the namespace that the thread is in.
func configure(host int) error {
	for _, name := range [...]string{"lo", "eth0"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if name == "eth0" {
			a := &netlink.Addr{IPNet: &net.IPNet{IP: addrOf(host), Mask: net.CIDRMask(24, 32)}}
			if err := netlink.AddrAdd(l, a); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
	}
	return nil
}

// openPort opens a link for whole frames.
func openPort(l netlink.Link) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a packet socket: %w", err)
	}
	all := uint16(unix.ETH_P_ALL)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20),
	)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: l.Attrs().Index})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a packet socket: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), l.Attrs().Name), nil
}

// close removes the link, and lets the namespace go, which ends with its processes.
func (n *network) close() error {
	close(n.do)
	if n.link == nil {
		return nil
	}
	return netlink.LinkDel(n.link)
}
