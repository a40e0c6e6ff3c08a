package godlm

import (
	"log/slog"
	"time"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/proto"
)

// JoinOption says what to join, and how.
type JoinOption func(*joining)

type joining struct {
	space   proto.Namespace
	getenv  func(string) string
	cluster string
	dir     string
	log     *slog.Logger
}

// Group joins the namespace of a group, of which this process must be a member. Without Group
// and Public the namespace is that of the effective user, as C programs join it with
// dlm_nsjoin(geteuid(), &nsp, DLM_USER); root's is the public one.
func Group(gid int) JoinOption {
	return func(j *joining) { j.space = proto.Namespace{Kind: proto.PerGroup, ID: uint32(gid)} }
}

// Public joins the namespace of the whole system, which is for root.
func Public() JoinOption {
	return func(j *joining) { j.space = proto.Namespace{Kind: proto.Systemwide} }
}

// Cluster names the cluster, instead of $GODLM_CLUSTER.
func Cluster(name string) JoinOption { return func(j *joining) { j.cluster = name } }

// Dir is the runtime directory in which those of the clusters are, instead of $GODLM_DIR.
func Dir(path string) JoinOption { return func(j *joining) { j.dir = path } }

// Getenv reads the environment, instead of os.Getenv: the variables that dlm_nsjoin(3) and
// godlm.toml(5) name.
func Getenv(f func(name string) string) JoinOption { return func(j *joining) { j.getenv = f } }

// Log takes what the lock manager has to tell, instead of standard error from the level
// $GODLM_LOG on.
func Log(l *slog.Logger) JoinOption { return func(j *joining) { j.log = l } }

// LockOption goes with a request for a new lock, ConvertOption with one for another mode,
// UnlockOption with an unlock.
type (
	LockOption    interface{ lock(*request) }
	ConvertOption interface{ convert(*request) }
	UnlockOption  interface{ unlock(*request) }
)

// request is what the options of a call add up to.
type request struct {
	flags      dlm.Flags
	timeout    time.Duration
	hint       uint64
	blocking   func(Blocking)
	tx         uint64
	domain     *Domain
	persistent bool
	write      *Value
	invalidate bool
	every      time.Duration
	waiting    func([]Blocker)
}

type (
	lockOption    func(*request)
	waitOption    func(*request) // of a request that may wait
	convertOption func(*request)
	writeOption   func(*request)
)

func (o lockOption) lock(r *request)       { o(r) }
func (o waitOption) lock(r *request)       { o(r) }
func (o waitOption) convert(r *request)    { o(r) }
func (o convertOption) convert(r *request) { o(r) }
func (o writeOption) convert(r *request)   { o(r) }
func (o writeOption) unlock(r *request)    { o(r) }

// WaitOption goes with requests that may wait.
type WaitOption interface {
	LockOption
	ConvertOption
}

// WriteOption goes with what gives PW or EX up.
type WriteOption interface {
	ConvertOption
	UnlockOption
}

// NoQueue has the request fail with ErrNotQueued where it would wait.
func NoQueue() WaitOption { return waitOption(func(r *request) { r.flags |= dlm.NoQueue }) }

// Timeout has the request fail with ErrTimeout when it has waited for so long. As with C
// programs, the master of the tree has the last word: what it granted just before counts.
func Timeout(d time.Duration) WaitOption { return waitOption(func(r *request) { r.timeout = d }) }

// NoDeadlockWait keeps the request from being taken for a part of a deadlock: something else
// than a lock will end its wait.
func NoDeadlockWait() WaitOption { return waitOption(func(r *request) { r.flags |= dlm.NoDlckWt }) }

// NoDeadlockBlock keeps the lock from being taken for a part of a deadlock: its owner gives it up
// when it is told that it blocks somebody.
func NoDeadlockBlock() WaitOption { return waitOption(func(r *request) { r.flags |= dlm.NoDlckBlk }) }

// Hint is shown to the holders of locks in the way of the request, see Blocking.
func Hint(h uint64) WaitOption { return waitOption(func(r *request) { r.hint = h }) }

// WhileWaiting has f called each time the request has waited for another d, with who is in the
// way. It runs in the goroutine that waits, which looks at nothing else meanwhile.
func WhileWaiting(d time.Duration, f func([]Blocker)) WaitOption {
	return waitOption(func(r *request) { r.every, r.waiting = d, f })
}

// OnBlocking has f called when the lock is in the way of somebody's request, and again after
// f was called and something new is. All such functions of a session run in one goroutine,
// in order, with no mutex held; they may call everything, but while one waits no other runs.
// It stays with the lock through conversions. A notification whose reason is gone before f could
// be called is dropped. For a channel: func(b Blocking) { select { case ch <- b: default: } }.
func OnBlocking(f func(Blocking)) LockOption { return lockOption(func(r *request) { r.blocking = f }) }

// Transaction makes the lock that of a transaction, wherever that has other locks: who waits
// for each other is then told by transactions, not by processes. LocalTransaction is
// one of this host.
func Transaction(id uint64) LockOption {
	return lockOption(func(r *request) { r.flags, r.tx = r.flags&^dlm.TxidLocal|dlm.TxidGlobal, id })
}

// LocalTransaction is Transaction for an id that only this host knows.
func LocalTransaction(id uint64) LockOption {
	return lockOption(func(r *request) { r.flags, r.tx = r.flags&^dlm.TxidGlobal|dlm.TxidLocal, id })
}

// Expedite has a lock in NL granted before all who wait.
func Expedite() LockOption { return lockOption(func(r *request) { r.flags |= dlm.Expedite }) }

// Persistent makes the resource a persistent one of a recovery domain, or says that it is one.
func Persistent(d *Domain) LockOption {
	return lockOption(func(r *request) { r.persistent, r.domain = true, d })
}

// AtEnd queues the conversion behind those that wait already, though it could be granted
// before them (DLM_QUECVT). Not for every pair of modes: see dlm_cvt(3).
func AtEnd() ConvertOption { return convertOption(func(r *request) { r.flags |= dlm.QueCvt }) }

// Write writes the value block. The lock must be held in PW or EX, and not be converted from PW
// to EX.
func Write(v Value) WriteOption { return writeOption(func(r *request) { r.write = &v }) }

// Invalidate marks the value block as not valid; its contents stay. The same locks may as
// with Write.
func Invalidate() WriteOption { return writeOption(func(r *request) { r.invalidate = true }) }
