// Package rundir is the runtime directory: the place on one host where its
// processes find each other (design §5).
//
//	<base>/<cluster>/          0700, ours, on a local file system
//	    agent.lock             record lock = the agent role; contents = its generation
//	    agent.sock             the agent listens here
//	    directory              mapped by the agent: who masters which root
//	    proc/<random>          record lock = the process lives; its mapped journal
//	    sock/<ProcID>          the process listens here
//
// A record lock falls when its process closes any descriptor of the file. So each
// process opens its own file and agent.lock once, here, and never again.
//
// It knows files, not messages. Only net/node imports it.
package rundir
