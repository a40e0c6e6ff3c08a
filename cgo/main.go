// Command cgo is libgodlm.so: the boundary between C programs and the lock
// manager. C files hold the public functions, the waiting and the delivery of
// notifications; this file translates between C structures and core. It knows
// no queue and no mode.
//
// Functions named godlmgo_* are called by the C files only and never wait. A
// panic in one becomes DLM_UNEXPERR.
package main

/*
#cgo CFLAGS: -I${SRCDIR}/../include -D_GNU_SOURCE -std=gnu11 -Wall -Wextra -Wno-unused-parameter
#include <stdlib.h>

#include "internal.h"
#include "lent.h"

extern struct godlm_lent godlm_lent;
*/
import "C"

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/attach"
	"github.com/godlm/godlm/net/node"
)

func main() {}

// current is the process's node, set once by godlmgo_open.
var current atomic.Pointer[node.Node]

// live is current for a call of the program, which finds its locks lost if the lease of
// this host has ended while nobody looked.
func live() *node.Node {
	n := current.Load()
	n.Expired()
	return n
}

// guard turns a panic into a status: the host program must survive our defects.
func guard(st *C.int32_t) {
	if e := recover(); e != nil {
		logger().Error("defect in libgodlm", "panic", fmt.Sprint(e), "stack", string(debug.Stack()))
		if st != nil {
			*st = C.int32_t(dlm.UnexpErr)
		}
	}
}

// getenv reads the environment as the C program has made it. Go's own copy is from
// before main().
func getenv(name string) string {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	return C.GoString(C.getenv(c))
}

// settings are those of the environment and the configuration file, once that is read.
var settings atomic.Pointer[attach.Settings]

// joinPersistent is $GODLM_JOIN_PERSISTENT at the first join.
var joinPersistent atomic.Bool

// logger writes to standard error, quiet by default (GODLM_LOG=debug|info|warn|error).
func logger() *slog.Logger {
	env := getenv
	if s := settings.Load(); s != nil {
		env = s.Get
	}
	return attach.Logger(env, os.Stderr, slog.LevelWarn)
}

//export godlmgo_ping
func godlmgo_ping() {
	// The host's GOGC, GOMEMLIMIT and GOMAXPROCS are not meant for us. Go counts
	// threads that wait in system calls or run C as busy processors, and its
	// watchdog wakes up at short intervals while none is idle.
	// A large lock table hardly has pointers, so that it costs the collector little to
	// come more often, and what it leaves lying about is memory of the program.
	debug.SetGCPercent(60)
	debug.SetMemoryLimit(1<<63 - 1)
	runtime.GOMAXPROCS(max(8, runtime.NumCPU()))
}

//export godlmgo_started
func godlmgo_started() C.int32_t {
	if current.Load() == nil {
		return 0
	}
	return 1
}

// godlmgo_open joins the runtime directory, once. C serialises the calls.
//
//export godlmgo_open
func godlmgo_open() (st C.int32_t) {
	defer guard(&st)
	if current.Load() != nil {
		return 0
	}
	s, err := attach.Read(getenv)
	if err != nil {
		logger().Error("cannot join", "error", err)
		return C.int32_t(attach.Status(err))
	}
	settings.Store(s)
	if s.AbortOnLost() {
		C.godlm_abort_on_lost()
	}
	table := (*lent.Table)(unsafe.Pointer(&C.godlm_lent))
	if s.JoinPersistent() {
		table.Always(uint32(dlm.JoinPR))
	}
	n, err := s.Open(node.Config{
		Sink:      sink{},
		OpenFD:    func(fd int) { C.godlm_fd_opened(C.int(fd)) },
		CloseFD:   func(fd int) { C.godlm_fd_closed(C.int(fd)) },
		HoldForks: holdForks,
		Yield:     func() { C.godlm_yield() },
		Callers:   callers{},
		Lent:      table,
		Boottime:  func() int64 { return int64(C.godlm_boottime()) },
		Leave:     leaveTime * 4 / 5,
		Log:       logger(),
	})
	if err != nil {
		logger().Error("cannot join", "error", err)
		return C.int32_t(attach.Status(err))
	}
	joinPersistent.Store(s.JoinPersistent())
	C.godlm_set_epoll(C.int(n.EpollFD()), C.int(n.AsideFD()))
	current.Store(n)
	return 0
}

func holdForks() (done func()) {
	C.godlm_forks_held()
	return func() { C.godlm_forks_go() }
}

// leaveTime is how long exit() waits for the node to leave. Death does the same
// for the others, less politely.
const leaveTime = 500 * time.Millisecond

//export godlmgo_close
func godlmgo_close() {
	n := current.Load()
	if n == nil {
		return
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		defer guard(nil)
		n.Close()
	}()
	limit := time.NewTimer(leaveTime)
	defer limit.Stop()
	select {
	case <-left:
	case <-limit.C:
	}
}

//export godlmgo_handle
func godlmgo_handle(events *C.struct_epoll_event, count C.int) {
	defer guard(nil)
	current.Load().Handle(unsafe.Slice((*unix.EpollEvent)(unsafe.Pointer(events)), int(count)))
}

func user(c *C.struct_godlm_call) process.User {
	return process.User{
		NotPrm: uint64(c.notprm), Hint: uint64(c.hint), BlkRtn: uint64(c.blkrtn), CplRtn: uint64(c.cplrtn),
		ValB: uint64(c.valb), Timeout: uint32(c.timeout),
	}
}

func value(c *C.struct_godlm_call) *proto.Value { return (*proto.Value)(unsafe.Pointer(&c.value)) }

func name(c *C.struct_godlm_call) proto.Name {
	return proto.MakeName(unsafe.Slice((*byte)(unsafe.Pointer(&c.name)), int(c.name_len)))
}

func space(c *C.struct_godlm_call) proto.Namespace {
	return proto.Namespace{Kind: proto.NamespaceKind(c.space_kind), ID: uint32(c.space_id)}
}

// answer moves an immediate answer to C.
func answer(c *C.struct_godlm_call, r *process.Result) {
	c.status = C.int32_t(r.Status)
	c.read, c.stalled = 0, 0
	if r.Stalled {
		c.stalled = 1
	}
	if r.Read {
		c.read = 1
		*value(c) = r.Value
	}
}

// unanswered counts asynchronous requests.
var unanswered atomic.Int64

// submit sends a request. Unless it is apart, which means asynchronous or to a container,
// the caller is about to wait for its answer and nothing else. Who does not wait may act
// on something else next, which must not overtake it.
func submit(n *node.Node, st dlm.Status, token C.uint64_t, apart, async bool) {
	switch {
	case async && st == dlm.Pending && unanswered.Add(1) > 1:
		n.FlushNear()
	case apart:
		n.FlushAll()
	default:
		if st == dlm.Pending {
			C.godlm_expect(token)
		}
		n.Flush()
	}
}

// callers implements link.Callers in wait.c.
type callers struct{}

func (callers) Waits() uint64 { return atomic.LoadUint64((*uint64)(&C.godlm_waits)) }

func (callers) Reads(yes bool) {
	if yes {
		C.godlm_reads(1)
	} else {
		C.godlm_reads(0)
	}
}

func (callers) Aside(yes bool) {
	if yes {
		C.godlm_aside(1)
	} else {
		C.godlm_aside(0)
	}
}

//export godlmgo_lock
func godlmgo_lock(c *C.struct_godlm_call) {
	defer guard(&c.status)
	n := live()
	q := process.LockRequest{
		Space: space(c), Name: name(c), Parent: proto.LockID(c.parent), Mode: mode.Mode(c.mode), Plain: c.plain != 0,
		Flags: dlm.Flags(c.flags), Tx: uint64(c.tid), Domain: *(*proto.Digest)(unsafe.Pointer(&c.domain)), User: user(c), Token: uint64(c.token), Async: c.async != 0,
		Accept: uint64(c.accept),
	}
	if joinPersistent.Load() {
		q.Flags |= dlm.JoinPR
	}
	if q.Async {
		q.Token = timers.token(&q.User, q.Flags)
	}
	var r process.Result
	n.Process().Lock(&q, &r)
	submit(n, r.Status, c.token, q.Async || q.Flags&dlm.GroupLock != 0 || q.Parent&proto.GroupBit != 0, q.Async)
	c.lock = C.uint64_t(r.Lock)
	answer(c, &r)
	if q.Async {
		l := r.Lock
		if q.Flags&dlm.GroupLock != 0 {
			l = proto.GroupBit // the token is enough
		}
		timers.started(n, l, q.Token, r.Status)
	}
}

//export godlmgo_convert
func godlmgo_convert(c *C.struct_godlm_call) {
	defer guard(&c.status)
	n := live()
	q := process.ConvertRequest{
		Lock: proto.LockID(c.lock), Mode: mode.Mode(c.mode), Flags: dlm.Flags(c.flags), Value: *value(c),
		User: user(c), Token: uint64(c.token), Async: c.async != 0, Accept: uint64(c.accept),
	}
	if q.Async {
		q.Token = timers.token(&q.User, q.Flags)
	}
	var r process.Result
	n.Process().Convert(&q, &r)
	submit(n, r.Status, c.token, q.Async || q.Lock&proto.GroupBit != 0, q.Async)
	answer(c, &r)
	if q.Async {
		timers.started(n, q.Lock, q.Token, r.Status)
	}
}

//export godlmgo_await_master
func godlmgo_await_master(c *C.struct_godlm_call) {
	defer guard(&c.status)
	n := live()
	var r process.Result
	n.Process().AwaitMaster(proto.LockID(c.lock), uint64(c.token), &r)
	n.Flush()
	answer(c, &r)
}

//export godlmgo_flush_all
func godlmgo_flush_all() {
	defer guard(nil)
	current.Load().FlushAll()
}

//export godlmgo_domain
func godlmgo_domain(c *C.struct_godlm_domain_call) {
	defer guard(&c.status)
	n := live()
	q := process.DomainRequest{
		What: uint32(c.what), Name: C.GoString(&c.name[0]), Number: uint64(c.number), Token: uint64(c.token),
	}
	*(*proto.Digest)(unsafe.Pointer(&c.digest)) = proto.DomainDigest(q.Name)
	var r process.Result
	n.Process().Domain(&q, &r)
	n.Flush()
	c.status = C.int32_t(r.Status)
}

//export godlmgo_unlock
func godlmgo_unlock(c *C.struct_godlm_call) {
	defer guard(&c.status)
	n := live()
	q := process.UnlockRequest{
		Lock: proto.LockID(c.lock), Flags: dlm.Flags(c.flags), Value: *value(c), Token: uint64(c.token),
	}
	var r process.Result
	n.Process().Unlock(&q, &r)
	submit(n, r.Status, c.token, false, false)
	answer(c, &r)
}

//export godlmgo_cancel
func godlmgo_cancel(c *C.struct_godlm_call) {
	defer guard(&c.status)
	n := live()
	var r process.Result
	n.Process().Cancel(proto.LockID(c.lock), dlm.Flags(c.flags), uint64(c.token), &r)
	n.Flush()
	answer(c, &r)
}

//export godlmgo_expire
func godlmgo_expire(lock, token C.uint64_t) {
	defer guard(nil)
	n := current.Load()
	n.Process().Expire(proto.LockID(lock), uint64(token))
	n.Flush()
}

//export godlmgo_detach
func godlmgo_detach(lock, token C.uint64_t) {
	defer guard(nil)
	n := current.Load()
	n.Process().Detach(proto.LockID(lock), uint64(token))
	n.Flush()
}

//export godlmgo_delivered
func godlmgo_delivered(lock C.uint64_t) {
	defer guard(nil)
	current.Load().Process().Delivered(proto.LockID(lock))
}

// godlmgo_locks lists own locks, sub-locks first: of one namespace, or below a
// lock, or all. It stores up to room of them and returns how many there are, or a
// negative status.
//
//export godlmgo_locks
func godlmgo_locks(given C.int, kind, id C.uint32_t, below C.uint64_t, out *C.uint64_t, room C.int) C.int {
	defer guard(nil)
	p := live().Process()
	sp := inSpace(given, kind, id)
	if _, st := p.LockInfo(proto.LockID(below)); st == dlm.Lost || below != 0 && st != dlm.Success {
		return -C.int(st)
	}
	ids := p.Locks(sp, proto.LockID(below), nil)
	if out == nil {
		return C.int(len(ids))
	}
	n := min(len(ids), int(room))
	dst := unsafe.Slice(out, n)
	for i := range dst {
		dst[i] = C.uint64_t(ids[i])
	}
	return C.int(n)
}

//export godlmgo_lock_info
func godlmgo_lock_info(id C.uint64_t, out *C.struct_godlm_lock_info) (st C.int32_t) {
	defer guard(&st)
	l, status := live().Process().LockInfo(proto.LockID(id))
	*out = lockInfo(&l)
	return C.int32_t(status)
}

func lockInfo(l *process.LockInfo) (out C.struct_godlm_lock_info) {
	out = C.struct_godlm_lock_info{
		parent: C.uint64_t(l.Parent), notprm: C.uint64_t(l.User.NotPrm), hint: C.uint64_t(l.User.Hint),
		blkrtn: C.uint64_t(l.User.BlkRtn), cplrtn: C.uint64_t(l.User.CplRtn), valb: C.uint64_t(l.User.ValB),
		name_len: C.uint32_t(l.Name.Len), requested: C.uint32_t(l.Requested), granted: C.uint32_t(l.Granted),
		state: C.uint32_t(l.State), flags: C.uint32_t(l.Flags), timeout: C.uint32_t(l.User.Timeout),
	}
	*(*[proto.MaxName]byte)(unsafe.Pointer(&out.name)) = l.Name.Buf
	return out
}

//export godlmgo_token
func godlmgo_token(id C.uint64_t, epoch, number *C.uint64_t) (st C.int32_t) {
	defer guard(&st)
	t, status := live().Process().Token(proto.LockID(id))
	*epoch, *number = C.uint64_t(t.Assign), C.uint64_t(t.Seq)
	return C.int32_t(status)
}

// blamed keeps the answers to godlmgo_blockers until godlmgo_describe fetches them.
var blamed sync.Map // token -> []proto.Obstacle

//export godlmgo_blockers
func godlmgo_blockers(c *C.struct_godlm_call) {
	defer guard(&c.status)
	n := live()
	var r process.Result
	n.Process().Blockers(proto.LockID(c.lock), uint64(c.token), &r)
	n.Flush()
	answer(c, &r)
	if r.Status == dlm.Success {
		blamed.Store(uint64(c.token), r.Obstacles)
	}
}

// godlmgo_describe writes the text about blockers, with a final 0, and returns how
// long it is without that.
//
//export godlmgo_describe
func godlmgo_describe(token C.uint64_t, out *C.char, room C.size_t) (length C.size_t) {
	defer guard(nil)
	v, ok := blamed.LoadAndDelete(uint64(token))
	text := ""
	if ok {
		text = current.Load().Describe(v.([]proto.Obstacle))
	}
	if room > 0 {
		dst := unsafe.Slice((*byte)(unsafe.Pointer(out)), int(room))
		dst[copy(dst[:room-1], text)] = 0
	}
	return C.size_t(len(text))
}

//export godlmgo_resource_info
func godlmgo_resource_info(c *C.struct_godlm_call, out *C.struct_godlm_info) {
	defer guard(&c.status)
	n := live()
	var r process.Result
	n.Process().ResourceInfo(space(c), name(c), proto.LockID(c.parent), uint64(c.token), &r)
	n.Flush()
	answer(c, &r)
	if r.Status == dlm.Success {
		*out = info(&r.Info)
	}
}

func info(n *proto.Info) (out C.struct_godlm_info) {
	if !n.Block.Valid {
		out.invalid = 1
	}
	out.writes, out.sub_resources, out.locks = C.uint32_t(n.Writes), C.uint32_t(n.SubResources), C.uint32_t(n.Locks)
	out.blocking, out.at_group_mode = C.uint32_t(n.Blocking), C.uint32_t(n.AtGroupMode)
	out.group_mode, out.convert_mode = C.uint32_t(n.GroupMode), C.uint32_t(n.ConvertMode)
	out.wait_mode = C.uint32_t(n.WaitMode)
	*(*proto.Value)(unsafe.Pointer(&out.value)) = n.Block.Value
	return out
}
