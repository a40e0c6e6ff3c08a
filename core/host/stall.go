package host

import "fmt"

// Stall is one reason for which programs of a host may wait, in words and for programs.
type Stall struct {
	Kind  string `json:"kind"`
	Text  string `json:"text"`     // with since when
	Since int64  `json:"since_ns"` // how long it has been so
	Bound Bound  `json:"bound"`
}

// Bound is how well it is known since when something is so.
type Bound string

// Bounds.
const (
	Exact   Bound = "exact"    // who tells has seen it begin
	AtLeast Bound = "at least" // it was so already when somebody looked first
	AtMost  Bound = "at most"  // it was not so then, or could not be
)

// Kinds of Stall that an agent tells of.
const (
	NoCluster  = "no cluster"     // there never was one, and voters are missing
	NoLog      = "no agreement"   // this host's own part in it has stopped
	NoQuorum   = "no quorum"      // nobody leads
	Leaving    = "leaving"        // this host, or its agent, goes in good order
	Former     = "former members" // of this host are still there
	Namesake   = "same name"      // another host has this one's
	Outside    = "not a member"   // this host, and it has asked
	HostOut    = "host removed"   // its lease is waited for
	Unnamed    = "new programs"   // the coordinator has yet to name them
	Untold     = "untold"         // the coordinator has yet to be told of this host's programs
	Gathering  = "gathering"      // this host coordinates, and has yet to be told
	Undecided  = "undecided"      // changes that hosts have to agree on
	Rebuilding = "rebuild"        // of resources
)

// StallKinds are all of them.
var StallKinds = []string{NoCluster, NoLog, NoQuorum, Leaving, Former, Namesake, Outside, HostOut, Unnamed, Untold, Gathering, Undecided, Rebuilding}

// stallList takes what is told.
type stallList struct {
	h    *Host
	now  int64
	list []Stall
}

// say adds a stall that has been so since the time from; the text says that, too.
func (l *stallList) say(kind string, from int64, format string, args ...any) {
	l.add(Stall{kind, fmt.Sprintf(format, args...), l.now - from, Exact})
}

func (l *stallList) add(s Stall) { l.list = append(l.list, s) }

// noted is since when what stalledSince looks at has been so.
func (l *stallList) noted(what string) int64 {
	if from, known := l.h.stalled[what]; known {
		return from
	}
	return l.now
}

// ago is for people how long it is since then.
func (l *stallList) ago(from int64) string { return ago(l.now - from) }
