// Package lab makes hosts on one machine: each has its agent and its programs, real
// processes, with a runtime directory, a state directory, a key, a configuration file
// and a network of its own. It is for tests and benchmarks of several hosts; what they
// try and what they expect is theirs.
//
//	network namespace of host a          namespace of the lab        of host b
//	 godlm agent, players ── eth0 ─veth─ p0 ──┐               ┌── p1 ─veth─ eth0 ──
//	                                          └──── Wire ─────┘
//
// The Wire is the switch between the hosts: it carries their frames, or loses them, or
// keeps them for a while, in each direction between each two hosts as it is told. The
// kernel's own means for that (netem, filters) are not in every kernel.
//
// All of it lives in namespaces that Main makes and that end with the process, however
// it ends: processes, links and mounts leave nothing behind.
//
//   - main.go: the namespaces
//   - wire.go: the switch
//   - net.go: a host's network
//   - lab.go: hosts, agents and what they say
//   - player.go: programs that do as they are told (player/player.c)
package lab
