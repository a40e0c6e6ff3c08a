// Package sim drives the lock manager's core with simulated processes in virtual
// time: requests, deliveries, deaths, stops and changes of the agent happen in an
// order that one seed decides (design §13.2).
//
//	program ──► core/process ──► queues per pair and role ──► core/process
//	                   │  ▲
//	                   ▼  │
//	               core/agent ──► directory, journals (outlive their processes)
//
// What runs is the real core. The simulator is its world (wire.go, node.go,
// role.go), its user (program.go), the trouble it meets (faults.go), and an
// observer with a model of its own:
//
//   - register.go: what each value block may contain, given the calls made and
//     the deaths that happened (design §8, rules 2, 4, 6 and 7);
//   - watch.go: exclusion, queue order and the masters' state after every step;
//   - rest.go: what must be true when everything has been delivered.
//
// With several hosts (host.go, hostfaults.go) each has its clock, its store and its agent. In
// schedules with containers (containers.go, guest.go) these agents play group lock
// containers; user and observer are package programs then, whose programs share what one
// host has.
//
// A kill can come in the middle of a step: then only the first part of what the
// step wrote to shared memory happened, and of what it sent.
package sim
