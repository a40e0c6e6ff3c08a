// Package link carries messages over Unix stream sockets: one epoll descriptor
// for all of them, frames, outboxes. It knows no process and no meaning of a
// message. Only net/node and the C boundary use it.
//
//	frame = length of the payload, 4 bytes big endian | payload (proto.Append)
//
// All sockets are non-blocking and edge-triggered in one epoll set. Any thread
// may wait on it and hand what it got to Handle: a background goroutine, or a
// caller that waits for its own answer. One thread at a time has the turn to read
// and to call handlers (turn.go). Nobody ever waits for a socket.
//
// Sending appends to memory; Flush writes, in the thread that calls it. What a
// full socket does not take is written when epoll says so.
package link
