// Package programs has simulated programs that use group lock containers, and what they
// may be told. Simulators run them: package groups on one host, package sim on several.
//
// The programs take locks, of their own and of a container, make containers, attach to
// them, detach and destroy them. Of each lock and container they know what they were told;
// where a death or an unanswered call leaves that open they say so and claim nothing. From
// this follows what must not happen:
//
//   - two locks that are certainly held exclude each other;
//   - a value block that is told to be valid contains an older write than one that was
//     done before the request, or a writer has died since;
//   - it is told to be not valid though no writer can have died since the last write, and
//     nothing was put together without its master's journal;
//   - a fencing token is not higher than all before;
//   - a call is answered twice, or not at all.
//
// How processes, agents and hosts come and go is the simulators' matter.
package programs
