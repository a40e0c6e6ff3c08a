// Package group is the agent's part in group lock containers (spec §13): which there
// are, who is a member, who manipulates which lock, and how a container ends. It is
// for the host of the agent what a program is for a process: it makes requests of
// the container's Process on behalf of members and hands the answers on.
//
//	member ──KGroup──► Groups ──► Process of the container ──► masters
//	member ◄─KGroupReply── Groups ◄── Process ◄── answers
//
// A container costs nobody's death anything, the agent's included: whatever changes
// is noted before a message that tells of it leaves, and the next agent goes on from
// the notes. Members put calls that were not answered to it once more; a call that
// was carried out is known by its number.
//
// To all other processes a container is one that never masters a tree. It lives as
// long as the host keeps it; then the agent declares it dead, so that its locks end
// like those of anybody who dies.
//
// The package has no goroutine, clock, file or socket. All its functions are called
// with the agent mutex held. What locks mean is package tree's; what a request is
// until it is answered, package process's.
package group
