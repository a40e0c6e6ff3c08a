// Package netns tests several hosts as real processes in network namespaces: agents and
// C programs, whose links are cut, split, made one-way or lossy, and which are killed,
// stopped and started again. What is expected does not depend on how fast things go: who
// was told what, in which order by the one clock that all hosts of a machine share. How
// long things take is compared with how late they are on this machine just then
// (lab.Pulse); a lease that a slow machine could not hold is a reason to try again with a
// longer one (trial_test.go). Whatever programs of a host did with locks goes through the
// checker of histories, in every test and every trial (recorded_test.go).
//
// Package lab makes the hosts. Where the machine does not allow that the tests skip, and
// in CI (the environment variable CI) they fail.
package netns
