package lab

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Wire carries frames between hosts. Its faults are directed: from one host to another.
type Wire struct {
	mu     sync.Mutex
	ports  map[int]*os.File
	faults map[[2]int]Fault
	luck   *rand.Rand
	closed bool

	readers sync.WaitGroup
	// Carried and Lost count frames.
	Carried, Lost atomic.Int64
}

// Fault is what happens to frames in one direction between two hosts.
type Fault struct {
	Cut bool
	// Loss is the part of the frames that is lost, from 0 to 1.
	Loss float64
	// Delay is how long a frame is kept, and up to Jitter longer: so they overtake each
	// other.
	Delay, Jitter time.Duration
}

func newWire(seed uint64) *Wire {
	return &Wire{ports: map[int]*os.File{}, faults: map[[2]int]Fault{}, luck: rand.New(rand.NewPCG(seed, 1))}
}

// headerLen is what the kernel says of a frame before it (struct virtio_net_hdr):
// whether its sums are yet to be made, and whether it is to be cut into smaller ones.
// It goes with the frame, and the receiving host's kernel does the rest.
const headerLen = 10

// macOf is a host's hardware address; the last byte tells hosts apart.
func macOf(host int) []byte { return []byte{2, 0, 0, 0x6c, 0xab, byte(host)} }

// plug gives a host a port.
func (w *Wire) plug(host int, port *os.File) {
	w.mu.Lock()
	w.ports[host] = port
	w.mu.Unlock()
	w.readers.Add(1)
	go func() {
		defer w.readers.Done()
		b := make([]byte, 1<<17)
		for {
			n, err := port.Read(b)
			switch {
			case errors.Is(err, os.ErrClosed):
				return
			case err == nil && n > headerLen+12:
				w.carry(host, b[:n])
			}
		}
	}()
}

// carry takes a frame from a host to those that it is for.
func (w *Wire) carry(from int, frame []byte) {
	to := frame[headerLen : headerLen+6]
	w.mu.Lock()
	defer w.mu.Unlock()
	for host := range w.ports {
		if host != from && (to[0]&1 != 0 || string(to) == string(macOf(host))) {
			w.pass(from, host, frame)
		}
	}
}

func (w *Wire) pass(from, to int, frame []byte) {
	f := w.faults[[2]int{from, to}]
	if f.Cut || f.Loss > 0 && w.luck.Float64() < f.Loss {
		w.Lost.Add(1)
		return
	}
	if f.Delay == 0 && f.Jitter == 0 {
		w.put(to, frame)
		return
	}
	kept, wait := append([]byte(nil), frame...), f.Delay
	if f.Jitter > 0 {
		wait += time.Duration(w.luck.Int64N(int64(f.Jitter)))
	}
	time.AfterFunc(wait, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.put(to, kept)
	})
}

// put gives a frame to a host. One that its kernel has no room for is lost, as frames
// are.
func (w *Wire) put(to int, frame []byte) {
	if w.closed {
		return
	}
	if _, err := w.ports[to].Write(frame); err != nil {
		w.Lost.Add(1)
		return
	}
	w.Carried.Add(1)
}

// OneWay sets what happens to frames from one host to another.
func (w *Wire) OneWay(from, to int, f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[[2]int{from, to}] = f
}

// Between sets it for both directions.
func (w *Wire) Between(a, b int, f Fault) {
	w.OneWay(a, b, f)
	w.OneWay(b, a, f)
}

// Split cuts some hosts off from all others.
func (w *Wire) Split(some ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := map[int]bool{}
	for _, h := range some {
		in[h] = true
	}
	for a := range w.ports {
		for b := range w.ports {
			if in[a] != in[b] {
				w.faults[[2]int{a, b}] = Fault{Cut: true}
			}
		}
	}
}

// Heal takes all faults back.
func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.faults)
}

func (w *Wire) close() error {
	var errs []error
	w.mu.Lock()
	w.closed = true
	for _, p := range w.ports {
		errs = append(errs, p.Close())
	}
	w.mu.Unlock()
	w.readers.Wait()
	return errors.Join(errs...)
}
