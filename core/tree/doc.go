// Package tree is the lock engine: the queues, value blocks and grant rules of
// one root resource and everything below it (spec §5–§8, design §4).
//
// A tree is plain data. Methods take a request and decide it at once; what
// happens to others (grants of queued requests, blocking notifications) goes to
// the Sink, in the order in which the owners must learn it. The caller
// serialises: one mutex per shard of trees, held by package process.
//
//	       Request                      Convert
//	          │                            │
//	granted? ─┼─ no ─► waiting   granted? ─┼─ no ─► converting
//	          ▼            │               ▼            │
//	       granted ◄── scan: converting first, then waiting
//
// It does not know how locks are addressed by programs, where their owners run
// or what happens when a master dies; packages process and rebuild do.
package tree
