package host

import "github.com/godlm/godlm/core/proto"

// rebuilds counts how often trees without a master were put together again, and how long
// that took, while this host kept the directory; for people.
type rebuilds struct {
	began   int64 // 0: none is going on
	classes [len(proto.RebuildBounds) + 1]uint64
	nanos   uint64
}

// slowRebuild is how long one takes that people are told of.
const slowRebuild = second / 10

// Rebuilding implements agent.World.
func (w *world) Rebuilding(busy bool) {
	r, now := &w.rebuilds, w.world.Now()
	if busy {
		r.began = max(now, 1)
		return
	}
	if r.began == 0 {
		return
	}
	d := now - r.began
	r.began = 0
	i := 0
	for i < len(proto.RebuildBounds) && d > proto.RebuildBounds[i] {
		i++
	}
	r.classes[i]++
	r.nanos += uint64(max(d, 0))
	level := Debug
	if d > slowRebuild {
		level = Info
	}
	(*Host)(w).note(level, "resources without a master were rebuilt in %.1f ms", float64(d)/1e6)
}

// Count adds what this host has counted.
func (h *Host) Count(c *proto.Counts) {
	c.Rebuilds, c.RebuildNanos, c.Rebuilding = h.rebuilds.classes, h.rebuilds.nanos, h.rebuilds.began != 0
	if h.in && h.leased && !h.cfg.Alone {
		c.Lease = max(0, h.file.Until()-h.world.Now())
	}
}
