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

// viewsLog is the log of views as core/host sees it: why a voter has stopped is told by
// whatever it is asked to do.
type viewsLog struct{ *views.Group }

// Tick implements host.Log.
func (l viewsLog) Tick() error {
	l.Group.Tick()
	return l.Err()
}

// Campaign implements host.Log.
func (l viewsLog) Campaign() error {
	l.Group.Campaign()
	return l.Err()
}

var _ host.Log = viewsLog{}
