// Package journal is the layout of the two kinds of files that must outlive
// their writers: a process's file with its value journal, and the directory of
// who masters which root (design §5). It works on bytes that somebody else has
// put into memory; it opens no file and knows no rule of locking. net/rundir maps
// files for it, tests use NewMemory.
//
// Both files are arrays of cells behind a head. A cell holds one record twice:
//
//	cell = [ slot 0 ][ slot 1 ]     slot = [ body ][ commit: sequence<<32 | checksum ]
//
// A write makes the older slot void, fills in its body and then its commit word,
// with the next sequence number. Whoever reads takes the slot with a right
// checksum and the higher number. So a writer that is killed between any two
// stores leaves the record before or the new one, never a mixture. Both commit
// words 0 is a free cell.
//
// Numbers are in the byte order of the machine for words that are stored in one
// piece, and little endian elsewhere: the files never leave the host.
package journal
