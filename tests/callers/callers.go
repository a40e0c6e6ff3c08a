// Package callers lets tests in Go do what callers in C do with trees that are lent to
// them: the functions of cgo/lent.h themselves, on a table in Go's memory.
package callers

/*
#cgo CFLAGS: -I${SRCDIR}/../../include -I${SRCDIR}/../../cgo -std=gnu11 -Wall -Wextra
#include "lent.h"

typedef struct godlm_lent table;
typedef struct godlm_lent_request request;
typedef struct godlm_lent_answer answer;
typedef struct godlm_cell cell;
static int do_lock(table *t, const request *q, answer *a) { return godlm_lent_lock(t, q, a); }
static int do_convert(table *t, const request *q, answer *a) { return godlm_lent_convert(t, q, a); }
static int do_unlock(table *t, const request *q, answer *a) { return godlm_lent_unlock(t, q, a); }
*/
import "C"

import (
	"runtime"
	"unsafe"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/lent"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

func table(t *lent.Table) *C.table { return (*C.table)(unsafe.Pointer(t)) }

// answered moves the answer, if there is one.
func answered(done C.int, a *C.answer, res *process.Result) bool {
	if done == 0 {
		return false
	}
	*res = process.Result{Status: dlm.Status(a.status), Lock: proto.LockID(a.lock), Read: a.read != 0}
	if res.Read {
		res.Value = *(*proto.Value)(unsafe.Pointer(&a.value))
	}
	return true
}

func setUser(q *C.request, u *process.User) {
	q.timeout = C.uint32_t(u.Timeout)
	q.notprm, q.hint, q.blkrtn, q.valb = C.uint64_t(u.NotPrm), C.uint64_t(u.Hint), C.uint64_t(u.BlkRtn), C.uint64_t(u.ValB)
}

// Lock does that if the tree is lent and the request is one for the callers' side. Else it
// reports false, and nothing has changed.
func Lock(t *lent.Table, r *process.LockRequest, res *process.Result) bool {
	if t == nil || r.Async || r.Parent != 0 || r.Party != (proto.Party{}) || r.User.CplRtn != 0 {
		return false
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&r.Name.Buf)
	q := C.request{
		space_kind: C.uint32_t(r.Space.Kind), space_id: C.uint32_t(r.Space.ID),
		name: (*C.uint8_t)(unsafe.Pointer(&r.Name.Buf)), name_len: C.uint32_t(r.Name.Len),
		mode: C.uint32_t(r.Mode), flags: C.uint32_t(r.Flags),
	}
	if r.Plain {
		q.plain = 1
	}
	setUser(&q, &r.User)
	var a C.answer
	return answered(C.do_lock(table(t), &q, &a), &a, res)
}

// Convert is the same for a conversion.
func Convert(t *lent.Table, r *process.ConvertRequest, res *process.Result) bool {
	if t == nil || r.Async || r.Party != (proto.Party{}) || r.User.CplRtn != 0 {
		return false
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&r.Value)
	q := C.request{
		lock: C.uint64_t(r.Lock), mode: C.uint32_t(r.Mode), flags: C.uint32_t(r.Flags), value: unsafe.Pointer(&r.Value),
	}
	setUser(&q, &r.User)
	a := C.answer{lock: C.uint64_t(r.Lock)}
	return answered(C.do_convert(table(t), &q, &a), &a, res)
}

// Unlock is the same for an unlock.
func Unlock(t *lent.Table, r *process.UnlockRequest, res *process.Result) bool {
	if t == nil {
		return false
	}
	q := C.request{lock: C.uint64_t(r.Lock), flags: C.uint32_t(r.Flags)}
	a := C.answer{lock: C.uint64_t(r.Lock)}
	return answered(C.do_unlock(table(t), &q, &a), &a, res)
}

// Layout is the size of the table and the offsets of the parts that both sides use, in C.
func Layout() []uintptr {
	var c C.cell
	var t C.table
	return []uintptr{
		unsafe.Sizeof(t), unsafe.Offsetof(t.by_number), unsafe.Offsetof(t.cells), unsafe.Sizeof(c),
		unsafe.Offsetof(c.lent), unsafe.Offsetof(c.kind), unsafe.Offsetof(c.space), unsafe.Offsetof(c.lock),
		unsafe.Offsetof(c.number), unsafe.Offsetof(c.seq), unsafe.Offsetof(c.flags), unsafe.Offsetof(c.name),
		unsafe.Offsetof(c.value), unsafe.Offsetof(c.notprm), unsafe.Offsetof(c.writes), unsafe.Offsetof(c.locks),
		unsafe.Offsetof(c.unlocks),
	}
}

// Move is what the callers' side has DLM_VALB do on a conversion, as a mode.ValueMove.
func Move(from, to uint32) int { return int(C.godlm_lent_move(C.uint32_t(from), C.uint32_t(to))) }

// Queueable is what the callers' side thinks of DLM_QUECVT.
func Queueable(from, to uint32) bool {
	return C.godlm_lent_queueable(C.uint32_t(from), C.uint32_t(to)) != 0
}

// Hash is what the callers' side makes of a root.
func Hash(r *proto.Root) uint32 {
	return uint32(C.godlm_lent_hash(C.uint32_t(r.Space.Kind), C.uint32_t(r.Space.ID), (*C.uint8_t)(unsafe.Pointer(&r.Name.Buf)), C.uint32_t(r.Name.Len)))
}
