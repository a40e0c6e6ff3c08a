package main

/*
#include "internal.h"
*/
import "C"

import (
	"sync"
	"unsafe"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
)

// Group lock containers: requests about them and questions about their locks.

//export godlmgo_group
func godlmgo_group(c *C.struct_godlm_group_call) {
	defer guard(&c.status)
	n := live()
	q := process.GroupRequest{
		Verb: proto.GroupVerb(c.verb), Container: uint32(c.container), Flags: uint32(c.flags), Root: c.root != 0, Token: uint64(c.token),
	}
	for i, v := range unsafe.Slice(c.spaces, 2*int(c.count)) {
		if i%2 == 0 {
			q.Spaces = append(q.Spaces, proto.Namespace{Kind: proto.NamespaceKind(v)})
		} else {
			q.Spaces[i/2].ID = uint32(v)
		}
	}
	var r process.Result
	n.Process().Group(&q, &r)
	n.Flush()
	c.status = C.int32_t(r.Status)
}

// inSpace is the namespace that C means, nil for any.
func inSpace(given C.int, kind, id C.uint32_t) *proto.Namespace {
	if given == 0 {
		return nil
	}
	return &proto.Namespace{Kind: proto.NamespaceKind(kind), ID: uint32(id)}
}

// godlmgo_in_group is the number of the container that the process is in, 0 for
// none; with a namespace, only if the container is for that.
//
//export godlmgo_in_group
func godlmgo_in_group(given C.int, kind, id C.uint32_t) C.uint32_t {
	defer guard(nil)
	return C.uint32_t(live().Process().InGroup(inSpace(given, kind, id)))
}

//export godlmgo_private
func godlmgo_private(given C.int, kind, id C.uint32_t) C.int {
	defer guard(nil)
	return C.int(live().Process().PrivateLocks(inSpace(given, kind, id)))
}

func askAbout(c *C.struct_godlm_call, verb proto.GroupVerb) {
	n := live()
	var r process.Result
	n.Process().Group(&process.GroupRequest{Verb: verb, Lock: proto.LockID(c.lock), Token: uint64(c.token)}, &r)
	n.Flush()
	c.status = C.int32_t(r.Status)
}

//export godlmgo_group_lock_info
func godlmgo_group_lock_info(c *C.struct_godlm_call) {
	defer guard(&c.status)
	askAbout(c, proto.GroupLockInfo)
}

//export godlmgo_group_token
func godlmgo_group_token(c *C.struct_godlm_call) {
	defer guard(&c.status)
	askAbout(c, proto.GroupToken)
}

//export godlmgo_group_locks
func godlmgo_group_locks(c *C.struct_godlm_call) {
	defer guard(&c.status)
	askAbout(c, proto.GroupLocks)
}

// listed keeps the answers to godlmgo_group_locks until they are fetched.
var listed sync.Map // token -> []proto.LockID

// godlmgo_fetch_locks stores up to room of the locks and returns how many.
//
//export godlmgo_fetch_locks
func godlmgo_fetch_locks(token C.uint64_t, out *C.uint64_t, room C.int) C.int {
	defer guard(nil)
	v, ok := listed.LoadAndDelete(uint64(token))
	if !ok || room == 0 {
		return 0
	}
	ids := v.([]proto.LockID)
	dst := unsafe.Slice(out, min(len(ids), int(room)))
	for i := range dst {
		dst[i] = C.uint64_t(ids[i])
	}
	return C.int(len(dst))
}

// completeGroup hands answers that only questions about group locks have to C. It
// reports false for others.
func completeGroup(c *process.Completion) bool {
	g := c.Group
	switch {
	case g.LockInfo != nil:
		n := lockInfo(g.LockInfo)
		if g.LockInfo.User != (process.User{}) {
			n.mine = 1
		}
		C.godlm_complete_lock_info(C.uint64_t(c.Token), C.int32_t(c.Status), &n)
	case g.Stamp != proto.Stamp{}:
		C.godlm_complete_token(C.uint64_t(c.Token), C.int32_t(c.Status), C.uint64_t(g.Stamp.Assign), C.uint64_t(g.Stamp.Seq))
	case g.Locks != nil:
		listed.Store(c.Token, g.Locks)
		C.godlm_complete(C.uint64_t(c.Token), C.int32_t(c.Status), 0, nil, nil, C.uint64_t(len(g.Locks)), 0)
	default:
		return false
	}
	return true
}
