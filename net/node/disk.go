package node

import "sync"

// disk has what the log of views must keep written by a thread that does not hold the
// agent mutex: who is confirmed, and who is heard, does not wait for it.
type disk struct {
	r *role

	mu      sync.Mutex
	jobs    []diskJob
	busy    bool // somebody is at work, or will be
	closed  bool
	writing sync.WaitGroup // what runs now
}

type diskJob struct {
	do   func() error
	done func(error)
}

// keep implements views.Keep.
func (d *disk) keep(do func() error, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jobs = append(d.jobs, diskJob{do, done})
	if !d.busy {
		d.busy = true
		d.r.n.clock.after(0, d.work)
	}
}

// work does all jobs, one after the other.
func (d *disk) work() {
	for {
		d.mu.Lock()
		if d.busy = len(d.jobs) > 0 && !d.closed; !d.busy {
			d.mu.Unlock()
			return
		}
		j := d.jobs[0]
		d.jobs = d.jobs[1:]
		d.writing.Add(1)
		d.mu.Unlock()
		err := j.do()
		d.writing.Done()
		r := d.r
		r.mu.Lock()
		if !r.closed {
			j.done(err)
			r.host.Kept()
		}
		r.mu.Unlock()
		r.n.Flush()
	}
}

// close waits for what is being written. The rest was promised to nobody.
func (d *disk) close() {
	d.mu.Lock()
	d.closed, d.jobs = true, nil
	d.mu.Unlock()
	d.writing.Wait()
}
