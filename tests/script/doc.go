// Package script runs the scripts in testdata: what programs ask of the lock
// manager and what they are told, line by line, with the queues in between. Each
// script runs with all its processes in one, with each in its own process where
// the first locker is master, and with a further process as master, and must
// read the same.
//
// A script's lines, where h is a lock's name and P a process:
//
//	lock P h MODE on=NAME [under=h] [hint=N] [flags]
//	convert h MODE [value=TEXT] [hint=N] [flags]
//	unlock h [value=TEXT] [flags]
//	cancel h [waitok]
//	expire h             the timeout of h's request is over
//	detach h             nobody waits for h's request any more
//	state NAME[/NAME...] the queues of a resource
//	info h               what P knows of its lock
//	resource P NAME[/NAME...]  what P is told of a resource
//	locks P [below=h]    the locks of P, or those below one
//	hold P, deliver P    P leaves blocking notifications alone, P takes them
//	kill P               the process dies
//	agent                the agent is replaced
//	fresh                another story begins
//
// Flags are those of the interface, without DLM_ and in small letters, further
// async (dlm_quelock, dlm_quecvt) and noblk (no blocking routine). Requests are
// otherwise synchronous. A line "# layouts: ..." restricts the layouts.
//
// go test ./tests/script -rewrite writes what happens into the scripts; look at
// the difference.
package script
