package rebuild

import (
	"testing"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
)

const assign = 9 // of the new master

// block is a copy made by the lost master, under assignment 1.
func block(v byte, seq uint64, valid bool) proto.Block {
	return proto.Block{Value: proto.Value{v}, Stamp: proto.Stamp{Assign: 1, Seq: seq}, Valid: valid}
}

// holder is a lock that was granted with that copy.
func holder(m mode.Mode, b proto.Block) proto.LockReport {
	return proto.LockReport{Granted: m, Requested: m, Block: b}
}

// asks is the same with an unanswered request.
func asks(m mode.Mode, b proto.Block, kind proto.PendingKind, to mode.Mode, flags dlm.Flags, v byte) proto.LockReport {
	return proto.LockReport{Granted: m, Requested: to, Block: b, Pending: kind, Flags: uint32(flags), Write: proto.Value{v}}
}

// TestLostHost: rule 3 of design §8, when the master's journal is gone with its host.
func TestLostHost(t *testing.T) {
	domain := proto.DomainDigest("d")
	for _, x := range []struct {
		name    string
		locks   []proto.LockReport // one for each survivor
		domain  bool               // the resource is persistent
		doubted bool               // and its domain invalid
		value   byte
		valid   bool
	}{
		{name: "readers without protection", locks: []proto.LockReport{holder(mode.CR, block(1, 5, true)), holder(mode.NL, block(2, 6, true))}, value: 2},
		{name: "PR protects", locks: []proto.LockReport{holder(mode.PR, block(1, 5, true)), holder(mode.NL, block(2, 4, true))}, value: 1, valid: true},
		{name: "CW protects", locks: []proto.LockReport{holder(mode.CW, block(1, 5, true))}, value: 1, valid: true},
		{name: "what was not valid stays so", locks: []proto.LockReport{holder(mode.EX, block(1, 5, false))}, value: 1},
		{name: "the newest copy counts, of whomever", locks: []proto.LockReport{holder(mode.CW, block(1, 4, true)), holder(mode.NL, block(2, 6, false))}, value: 2},
		{name: "nobody has a copy", locks: []proto.LockReport{asks(mode.None, proto.Block{}, proto.PendingLock, mode.EX, 0, 0)}},
		{
			name:  "a writer's conversion down, and nobody protects",
			locks: []proto.LockReport{asks(mode.EX, block(1, 5, true), proto.PendingConvert, mode.NL, dlm.ValB, 7)}, value: 7,
		},
		{
			name: "a writer's unlock, and nobody protects",
			locks: []proto.LockReport{
				asks(mode.EX, block(1, 5, true), proto.PendingUnlock, mode.None, dlm.ValB, 7), holder(mode.NL, block(1, 5, true)),
			}, value: 7,
		},
		{
			name: "a writer's unlock that somebody has read",
			locks: []proto.LockReport{
				asks(mode.EX, block(1, 5, true), proto.PendingUnlock, mode.None, dlm.ValB, 7), holder(mode.PR, block(7, 6, true)),
			}, value: 7, valid: true,
		},
		{
			name:  "a writer that goes on",
			locks: []proto.LockReport{asks(mode.EX, block(1, 5, true), proto.PendingConvert, mode.PW, dlm.ValB, 7)}, value: 7, valid: true,
		},
		{name: "a domain in order", domain: true, locks: []proto.LockReport{holder(mode.PR, block(1, 5, true))}, value: 1, valid: true},
		{name: "no lock keeps a domain from becoming invalid", domain: true, doubted: true, locks: []proto.LockReport{holder(mode.PR, block(1, 5, true))}, value: 1},
		{
			name: "a write in an invalid domain", domain: true, doubted: true,
			locks: []proto.LockReport{asks(mode.EX, block(1, 5, true), proto.PendingConvert, mode.PW, dlm.ValB, 7)}, value: 7, valid: true,
		},
	} {
		root := proto.Root{Name: proto.MakeName([]byte("r"))}
		in := &Input{
			Root: root, Tree: root.Digest(), Assign: assign, HostLost: true,
			Alive:   func(proto.ProcID) bool { return true },
			Doubted: func(proto.Digest) bool { return x.doubted },
		}
		if x.domain {
			in.Kept = []proto.Kept{{Root: in.Root, Domain: domain}}
		}
		for i, l := range x.locks {
			l.Lock = proto.LockID(i + 1)
			if x.domain {
				l.Domain = domain
			}
			in.Reports = append(in.Reports, Report{Proc: proto.ProcID(100 + i), Locks: []proto.LockReport{l}})
		}
		got := Assemble(in).Resources[0].Block
		if got.Value[0] != x.value || got.Valid != x.valid {
			t.Errorf("%s: value %d, valid %v; want %d, %v", x.name, got.Value[0], got.Valid, x.value, x.valid)
		}
		for _, l := range x.locks {
			if got.Stamp.Less(l.Block.Stamp) || got.Stamp == l.Block.Stamp && got != l.Block {
				t.Errorf("%s: changed, and has stamp %v of a copy", x.name, got.Stamp)
			}
		}
	}
}
