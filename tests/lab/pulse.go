package lab

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// beat is how long a Pulse sleeps, and syncEvery after how many beats it has a file
	// synced: about as often as a host does when others come and go.
	beat      = 10 * time.Millisecond
	syncEvery = 10
)

// Pulse measures how slow the machine is: how much longer a short sleep takes than was
// asked for, and how long a disk. What a test expects of time is relative to that.
type Pulse struct {
	mu    sync.Mutex
	beats []struct{ from, to, late int64 } // in the order of time
	stop  chan struct{}
	done  chan struct{}
}

// NewPulse begins to measure, with a file of its own in dir.
func NewPulse(dir string) (*Pulse, error) {
	f, err := os.Create(filepath.Join(dir, "pulse"))
	if err != nil {
		return nil, err
	}
	p := &Pulse{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer func() { _ = f.Close() }() // nothing in it is of use
		for n := 0; ; n++ {
			from := Now()
			select {
			case <-p.stop:
				return
			case <-time.After(beat):
			}
			late := Now() - from - int64(beat)
			if n%syncEvery == 0 {
				begin := Now()
				_, err := f.WriteAt([]byte("pulse"), int64(n))
				if err == nil {
					err = unix.Fdatasync(int(f.Fd()))
				}
				if err != nil {
					return // a full disk says nothing of time
				}
				late += Now() - begin
			}
			p.mu.Lock()
			p.beats = append(p.beats, struct{ from, to, late int64 }{from, Now(), late})
			p.mu.Unlock()
		}
	}()
	return p, nil
}

// Close ends it.
func (p *Pulse) Close() {
	close(p.stop)
	<-p.done
}

// Late is by how much things were late between two times by Now: all beats together, and
// the worst of them.
func (p *Pulse) Late(from, to int64) (sum, worst time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.beats) - 1; i >= 0; i-- {
		b := p.beats[i]
		if b.to < from {
			break
		}
		if b.from <= to {
			sum, worst = sum+time.Duration(b.late), max(worst, time.Duration(b.late))
		}
	}
	return sum, worst
}
