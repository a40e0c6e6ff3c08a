// Package godlm is the lock manager for Go programs: what libgodlm.so is for C, without
// cgo. Programs in Go, C and Python that use the same runtime directory share locks.
//
// # The model
//
// Programs agree on names and lock them in one of six modes. Each name carries a value
// block of 32 bytes that travels with the lock. When a program dies that may have been
// writing, the others get the lock and are told that the block is not valid.
//
//	Join ─► Namespace ─ Lock ─► Lock ─┬─ Convert   another mode, the same lock
//	            │                     ├─ Lock      a sub-lock, of a name below this one
//	            │                     └─ Unlock
//	            ├─ Done, Err   the locks are lost (or Close was called)
//	            └─ Info, Attach, Close
//
// [Join] makes this program a member of a cluster on this machine, as the first call of a
// C program does: through a runtime directory that the environment ([Getenv]) and the
// configuration file name. No daemon is needed. [Namespace.Lock] returns when the lock is
// granted; what is granted beside what is told by [Mode].
//
// # Value blocks
//
// The grant of a new lock, and of a conversion upward or to the same mode below PW, reads the
// block: [Lock.Block]. It is written by [Write] with a conversion down from PW or EX (or to the
// same mode), or with the unlock from them. [Block.Valid] is part of the result and
// never an error: the lock is granted, and the newest contents that survived are there.
// They are as the last writer left them, but whoever had PW or EX then may have been about to
// change them, and what they stand for. A write makes the block valid again. A name that
// nobody has a lock on any more is forgotten, with its value; the next lock finds zeros, valid.
//
// # Waiting, and giving up
//
// A request waits until it is granted, refused, or given up: because its context is done,
// because its [Timeout] is over, or because its wait is part of a deadlock
// ([ErrDeadlock]). Whoever gives up has either the lock or the error. A request for a lock in a
// namespace returns at once when its context is done, and is withdrawn: should the grant be
// under way, the lock is given back. A conversion or a request for a sub-lock, whose outcome the
// program must know, returns when the tree's master has answered; that is one message and its
// answer, except when the master's program is stopped. [WhileWaiting] tells who is in the way.
//
// # Losing the locks
//
// A program that the others must take for dead, because its host has no contact with them
// for longer than its lease (godlm-cluster(7)), loses all its locks: [Namespace.Done] is
// closed, [Namespace.Err] is [ErrLost], and so is every call's error. Others may have the
// locks then: stop what needs them. With GODLM_ON_LOST=abort in the environment, or on_lost
// in the configuration file, the program is ended instead. What must not be changed by a
// program that has lost its lock and does not know it yet should ask for fencing tokens:
// [Lock.Token].
//
// # One process, one member
//
// All goroutines together are one owner of locks: two locks of one program on one name
// exclude each other like those of two programs, but goroutines that wait for each other are
// no deadlock that can be told from others, unless each uses a transaction id of its own
// ([Transaction]) or [NoDeadlockWait]. Several Joins to one runtime directory share one
// membership, which ends with the last Close; the settings of the first count. Different
// directories and clusters are different memberships.
//
// libgodlm.so has a Go runtime of its own. The two must not be in one process: each would
// take the other's record locks away, which are what proves that the process lives. [Join]
// refuses when the library is loaded. Programs that use C anyway should use the library
// through cgo.
//
// A fork without exec is not possible in Go; children that are started with os/exec
// inherit nothing.
//
// # What it does not have
//
// Group lock containers (dlm_glc_create(3)) are for C programs only. Notification by signal,
// dlm_notify and event descriptors have goroutines in their place; asynchronous
// requests have goroutines that wait.
package godlm
