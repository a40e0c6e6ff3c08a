// Package process is one process's part of the lock manager: its own locks, the
// trees that it masters, and what it knows of the masters of others. It turns
// requests of the program and messages of other processes into decisions of
// package tree, answers and messages.
//
//	program ──► Lock/Convert/Unlock/Cancel ─┬─ tree here ──► decided inline
//	                                        └─ elsewhere ──► message to the master
//	peers ────► FromPeer ──┬─ requests for trees mastered here
//	                       └─ answers to own requests
//	agent ────► FromAgent ──► who masters what, views, trees to install
//
// Own requests on own trees take the same path as everybody's; only the way of
// the answer differs. Everything about a root resource, the process's own locks
// and the tree alike, is guarded by the mutex of one shard, chosen by hash. A
// lock's handle names its shard, so finding a lock needs no other mutex.
//
// What is not used for long and by nobody else sleeps in a small record (asleep.go); only
// what goes through all roots or locks has to know that. What is used often and by nobody else is
// lent to the callers' side (lend.go).
//
// The package starts no goroutine and knows no clock, file or socket: World and
// Journal hand these in.
package process
