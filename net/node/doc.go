// Package node joins the pure lock manager of core to one host: it gives a
// process its journal, its connections and its agent, and plays the agent when
// the role falls to this process (design §5).
//
//	program ─► process.Process ─► node (World) ─► peers' sockets, agent's socket
//	                   ▲                                     │
//	                   └────────── link.Loop ◄───────────────┘
//	agent.Agent, if this process has the role, talks to its own process through
//	two byte queues (local.go) and to the others through agent.sock (role.go).
//
// The package decides nothing about locks. Only the C boundary and the tools use
// it. One process can have one node in a runtime directory, since the kernel
// gives record locks to processes.
package node
