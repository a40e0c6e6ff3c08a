// Package groups runs group lock containers under random schedules: members, processes
// outside, and agents are killed between steps, in the middle of one, and while the
// notes of the containers are written; messages of different senders overtake each
// other. What programs are told is compared with what they may be told:
//
//   - no two locks that are certainly held exclude each other, whoever has them;
//   - a value block read says what was written last; it is told to be not valid if a
//     writer has died since, and only if one may have, which the death of a member of
//     a container is not;
//   - every call is answered once, also if the agent that took it died;
//   - when all locks are given up nothing is left, at masters or in notes.
//
// The programs and what they know are package programs'. Package sim runs them on several
// hosts, and does the same for all that single processes do, with more insight into the
// masters.
package groups
