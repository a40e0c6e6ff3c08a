// Package oracle replays what was recorded from another lock manager, the Linux
// kernel's, against core. Both follow the OpenVMS rules for grants, conversions,
// value blocks, blocking notices and cancels, so they must agree; where Tru64
// differs, deviations.txt says in which scenario, how and why. testdata holds
// the recordings, one scenario per line.
package oracle
