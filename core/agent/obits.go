package agent

import (
	"slices"

	"github.com/godlm/godlm/core/proto"
)

// maxObits is how many of the dead are remembered, for people.
const maxObits = 256

// obits are who has died lately.
type obits struct {
	list []obit // in order
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

// since are those of later views.
func (o *obits) since(view uint64) (out []proto.Obituary) {
	for i := range o.list {
		if x := &o.list[i]; x.view > view {
			out = append(out, x.Obituary)
		}
	}
	return out
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
