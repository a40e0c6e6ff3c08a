package rundir

import (
	"github.com/godlm/godlm/core/agent"
	"github.com/godlm/godlm/core/proto"
)

// RecoveryFile is where the agents keep which persistent resources there are and
// which recovery domains are invalid: a log of KKeep, KUnkeep and KRound.
type RecoveryFile struct {
	log log
	now agent.Remembered
}

// OpenRecovery reads the file; the caller has the agent role. The functions are told
// of its descriptors, for a forked child to close.
func (d *Dir) OpenRecovery(opened, closed func(fd int)) (*RecoveryFile, error) {
	f := &RecoveryFile{}
	f.log = log{dir: d, name: "recovery", apply: f.apply, all: f.all, opened: opened, closed: closed}
	if err := f.log.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *RecoveryFile) apply(m *proto.Msg) {
	k := proto.Kept{Root: m.Root, Path: m.Path, Domain: m.Domain}
	switch m.Kind {
	case proto.KKeep:
		f.now.Keep(&k)
	case proto.KUnkeep:
		f.now.Unkeep(&k)
	case proto.KRound:
		f.now.Doubt(m.Domain, m.Flags == proto.DomainInvalidate)
	}
}

func keepMsg(k *proto.Kept) *proto.Msg {
	return &proto.Msg{Kind: proto.KKeep, Root: k.Root, Path: k.Path, Domain: k.Domain}
}

func doubtMsg(domain proto.Digest, invalid bool) *proto.Msg {
	m := &proto.Msg{Kind: proto.KRound, Domain: domain, Flags: proto.DomainRecovered}
	if invalid {
		m.Flags = proto.DomainInvalidate
	}
	return m
}

func (f *RecoveryFile) all() (out []*proto.Msg) {
	var all agent.Lasting
	f.now.Fill(&all)
	for i := range all.Kept {
		out = append(out, keepMsg(&all.Kept[i]))
	}
	for _, d := range all.Doubted {
		out = append(out, doubtMsg(d, true))
	}
	return out
}

// Keep notes a persistent resource.
func (f *RecoveryFile) Keep(k *proto.Kept) error { return f.log.add(keepMsg(k)) }

// Unkeep forgets one.
func (f *RecoveryFile) Unkeep(k *proto.Kept) error {
	return f.log.add(&proto.Msg{Kind: proto.KUnkeep, Root: k.Root, Path: k.Path})
}

// Doubt notes whether a domain is invalid.
func (f *RecoveryFile) Doubt(domain proto.Digest, invalid bool) error {
	return f.log.add(doubtMsg(domain, invalid))
}

// Fill puts what the file says into l.
func (f *RecoveryFile) Fill(l *agent.Lasting) { f.now.Fill(l) }

// Close lets go of the file.
func (f *RecoveryFile) Close() error { return f.log.close() }
