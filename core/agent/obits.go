package agent

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// maxObits is how many of the dead are remembered, for people.
const maxObits = 256

// obits are who has died lately.
type obits struct {
	list []obit                  // in order
	told map[proto.ProcID]uint64 // the view with which a process was told last
}

type obit struct {
	view uint64
	proto.Obituary
}

func (o *obits) add(view uint64, x proto.Obituary) {
	if len(o.list) >= maxObits {
		o.list = slices.Delete(o.list, 0, maxObits/4)
	}
	o.list = append(o.list, obit{view, x})
}

// since are those of which p has not been told.
func (o *obits) since(p proto.ProcID, view uint64) (out []proto.Obituary) {
	for i := range o.list {
		if x := &o.list[i]; x.view > o.told[p] {
			out = append(out, x.Obituary)
		}
	}
	if o.told == nil {
		o.told = map[proto.ProcID]uint64{}
	}
	o.told[p] = view
	return out
}

// forget says that p may not have heard what it was told.
func (o *obits) forget(p proto.ProcID) {
	delete(o.told, p)
}

// of is what is known of a dead process.
func (o *obits) of(p proto.ProcID) proto.Obituary {
	for i := len(o.list) - 1; i >= 0; i-- {
		if o.list[i].Proc == p {
			return o.list[i].Obituary
		}
	}
	return proto.Obituary{Proc: p}
}
