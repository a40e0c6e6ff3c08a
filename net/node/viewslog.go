package node

import (
	"github.com/godlm/godlm/core/host"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/views"
)

// logHost is the role as the log of views sees it.
type logHost role

var _ views.Host = (*logHost)(nil)

// Send implements views.Host.
func (w *logHost) Send(to uint64, data []byte) {
	w.hosts.send(proto.HostID(to), &proto.Msg{Kind: proto.KRaft, Data: data})
}

// Apply implements views.Host.
func (w *logHost) Apply(index uint64, data []byte) { w.host.Apply(index, data) }

// Restore implements views.Host.
func (w *logHost) Restore(index uint64, data []byte) { w.host.Restore(index, data) }

// Snapshot implements views.Host.
func (w *logHost) Snapshot() []byte { return w.host.Snapshot() }

// Confirmed implements views.Host.
func (w *logHost) Confirmed(token uint64) { w.host.Confirmed(token) }

// viewsLog is the log of views, whose files must not be opened and closed while the
// program forks.
type viewsLog struct {
	*views.Group
	n *Node
}

// Tick implements host.Log.
func (l *viewsLog) Tick() error {
	defer l.n.holdForks()()
	l.Group.Tick()
	return l.Err()
}

// Campaign implements host.Log.
func (l *viewsLog) Campaign() error {
	defer l.n.holdForks()()
	l.Group.Campaign()
	return l.Err()
}

// Propose implements host.Log.
func (l *viewsLog) Propose(entry []byte) error {
	defer l.n.holdForks()()
	return l.Group.Propose(entry)
}

// Confirm implements host.Log.
func (l *viewsLog) Confirm(token uint64) error {
	defer l.n.holdForks()()
	return l.Group.Confirm(token)
}

// Change implements host.Log.
func (l *viewsLog) Change(add, promote, remove []uint64) error {
	defer l.n.holdForks()()
	return l.Group.Change(add, promote, remove)
}

// Transfer implements host.Log.
func (l *viewsLog) Transfer(to uint64) error {
	defer l.n.holdForks()()
	return l.Group.Transfer(to)
}

// Receive implements host.Log.
func (l *viewsLog) Receive(from uint64, data []byte) error {
	defer l.n.holdForks()()
	return l.Group.Receive(from, data)
}

var _ host.Log = (*viewsLog)(nil)
