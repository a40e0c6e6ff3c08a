package process

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// maxFew is how many locks are looked through one by one.
const maxFew = 8

// foreign is the locks of other processes in a tree mastered here, by their names.
// Most trees have few.
type foreign struct {
	few  []*tree.Lock
	many map[owned]*tree.Lock // instead of few, once there were more
}

// owned names another process's lock.
type owned struct {
	proc proto.ProcID
	lock proto.LockID
}

// any reports whether there are any.
func (f *foreign) any() bool { return len(f.few) > 0 || f.many != nil }

// of finds a lock; nil if there is none.
func (f *foreign) of(proc proto.ProcID, lock proto.LockID) *tree.Lock {
	if f.many != nil {
		return f.many[owned{proc, lock}]
	}
	for _, t := range f.few {
		if t.ID == lock && t.Owner == proc {
			return t
		}
	}
	return nil
}

// expect makes room for n locks, if there are none yet.
func (f *foreign) expect(n int) {
	if n > maxFew && !f.any() {
		f.many = make(map[owned]*tree.Lock, n)
	}
}

// add notes a lock that is not there yet.
func (f *foreign) add(t *tree.Lock) {
	if f.many == nil && len(f.few) < maxFew {
		f.few = append(f.few, t)
		return
	}
	if f.many == nil {
		f.many = make(map[owned]*tree.Lock, 2*maxFew)
		for _, x := range f.few {
			f.many[owned{x.Owner, x.ID}] = x
		}
		f.few = nil
	}
	f.many[owned{t.Owner, t.ID}] = t
}

// remove forgets t, if it is there.
func (f *foreign) remove(t *tree.Lock) {
	if f.many != nil {
		if delete(f.many, owned{t.Owner, t.ID}); len(f.many) == 0 {
			f.many = nil
		}
		return
	}
	if i := slices.Index(f.few, t); i >= 0 {
		last := len(f.few) - 1
		f.few[i], f.few[last] = f.few[last], nil
		f.few = f.few[:last]
	}
}
