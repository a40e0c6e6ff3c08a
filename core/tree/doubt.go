package tree

import "github.com/godlm/godlm/core/proto"

// doubt is why a block is not valid, and where the value journal keeps that.
type doubt struct {
	proto.Cause
	slot      uint32
	journaled bool
}

// Cause is why r's block is not valid; its kind is CauseNone if it is.
func (r *Resource) Cause() proto.Cause {
	if r.doubt == nil {
		return proto.Cause{}
	}
	return r.doubt.Cause
}

// blame notes why the block is not valid.
func (r *Resource) blame(c proto.Cause) {
	if r.doubt == nil {
		r.doubt = &doubt{}
	}
	r.doubt.Cause = c
	r.doubt.note(r)
}

// note writes the cause's line, if the resource has one. Without room there is none:
// after a rebuild nobody knows why, then.
func (d *doubt) note(r *Resource) {
	if d == nil || !r.journaled {
		return
	}
	t := r.tree
	if !d.journaled {
		slot, err := t.journal.Open()
		if err != nil {
			return
		}
		d.slot, d.journaled = slot, true
	}
	line := d.Record(t.Digest(), r.Digest(), r.Block.Stamp)
	t.journal.Write(d.slot, &line)
}

// believe forgets the cause: the block is valid.
func (r *Resource) believe() {
	if r.doubt != nil {
		r.doubt.close(r)
		r.doubt = nil
	}
}

func (d *doubt) close(r *Resource) {
	if d != nil && d.journaled {
		r.tree.journal.Close(d.slot)
		d.journaled = false
	}
}

// unjournal takes r out of the value journal.
func (r *Resource) unjournal() {
	r.doubt.close(r)
	r.tree.journal.Close(r.slot)
	r.journaled = false
}
