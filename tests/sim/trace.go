package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/godlm/godlm/core/proto"
)

// What a schedule reached.
const (
	joins = iota
	kills
	cuts
	agentKills
	masterKills
	stops
	takeovers
	removals
	lastWords
	rebuilds
	images
	repeats
	invalidations
	rebuiltInvalid
	deadWriters
	readInvalid
	grantAfterUnlock
	cancels
	expiries
	detaches
	deadlocks
	cyclesFound
	cycleSteps
	tokens
	notices
	journalFull
	directoryFull
	rests
	collections
	validations
	doubts
	leasesEnded
	noticedLate
	overs
	hostCrashes
	storesLost
	retired
	reconfigured
	suspensions
	longStops
	cutsOff
	cutsApart
	cutsPair
	cutsOneWay
	flaps
	leaves
	left
	evictionsWait
	evictionsEnded
	snapshots
	dooms
	streamsEnded
	jumps
	longest
	imagesWithout
	keptValid
	moves
	movesDone
	movesBack
	directs
	countEnd
)

var countNames = [countEnd]string{
	joins:            "processes started",
	kills:            "processes killed",
	cuts:             "  of these, in the middle of a step",
	agentKills:       "  of these, the agent",
	masterKills:      "  roots whose master was killed",
	stops:            "processes stopped for a while",
	takeovers:        "agents succeeded",
	removals:         "removals seen by processes",
	lastWords:        "messages of the dead that still arrived",
	images:           "trees put together again",
	rebuilds:         "trees activated on a new master",
	repeats:          "requests that a master heard twice",
	invalidations:    "blocks invalidated by a live master",
	rebuiltInvalid:   "blocks rebuilt as invalid",
	deadWriters:      "dead writers removed",
	readInvalid:      "grants told that the block is not valid",
	grantAfterUnlock: "grants that met an unlock",
	cancels:          "requests cancelled",
	expiries:         "requests timed out",
	detaches:         "requests abandoned by their thread",
	deadlocks:        "requests refused to end a deadlock",
	cyclesFound:      "cycles found by search",
	cycleSteps:       "  requests in these",
	tokens:           "fencing tokens",
	notices:          "blocking notifications",
	journalFull:      "journals found full",
	directoryFull:    "directories found full",
	rests:            "times at rest",
	collections:      "collections of a recovery domain",
	validations:      "validations of one",
	doubts:           "domains invalidated",
	leasesEnded:      "processes whose host's lease ended",
	noticedLate:      "  of these, not at once",
	overs:            "memberships of hosts that have ended",
	hostCrashes:      "hosts crashed",
	storesLost:       "  of these, with their disk",
	retired:          "  of these, for good",
	reconfigured:     "other hosts named as voters",
	suspensions:      "hosts suspended",
	longStops:        "  of these, for longer than a lease",
	cutsOff:          "hosts cut off from all others",
	cutsApart:        "hosts cut in two parts",
	cutsPair:         "pairs of hosts cut off from each other",
	cutsOneWay:       "hosts that nothing gets through from",
	flaps:            "cuts that come and go",
	leaves:           "last processes of a host that ended cleanly",
	left:             "  of these, whose host has left",
	evictionsWait:    "hosts removed by hand, whose lease is waited for",
	evictionsEnded:   "hosts removed by hand whose programs have ended",
	snapshots:        "snapshots of what hosts agree on taken",
	dooms:            "agents that went on for a while when their host was out",
	streamsEnded:     "streams between agents begun anew",
	jumps:            "ticks awaited in a calm",
	longest:          "  the longest calm, in milliseconds",
	imagesWithout:    "resources put together without a journal",
	keptValid:        "  of these, proven to be unchanged",
	moves:            "trees sent to who uses them",
	movesDone:        "  masters told that theirs has gone",
	movesBack:        "  and that theirs stays",
	directs:          "requests decided by the callers' side on trees lent to it",
}

// add adds what a schedule has reached.
func (o *Outcome) add(counts *[countEnd]int) {
	for i, c := range o.Counts {
		if i == longest {
			counts[i] = max(counts[i], c)
		} else {
			counts[i] += c
		}
	}
}

// Report prints counts, one a line, but for some that mean nothing.
func Report(counts *[countEnd]int, but ...int) string {
	var b strings.Builder
	for i, n := range counts {
		if slices.Contains(but, i) {
			continue
		}
		fmt.Fprintf(&b, "%9d %s\n", n, countNames[i])
	}
	return b.String()
}

var kinds = map[proto.Kind]string{
	proto.KRequest: "Request", proto.KConvert: "Convert", proto.KUnlock: "Unlock", proto.KCancel: "Cancel", proto.KQuery: "Query",
	proto.KGranted: "Granted", proto.KQueued: "Queued", proto.KRefused: "Refused", proto.KUnlocked: "Unlocked",
	proto.KCancelled: "Cancelled", proto.KBlocking: "Blocking", proto.KNotMaster: "NotMaster", proto.KInfo: "Info",
	proto.KHello: "Hello", proto.KLookup: "Lookup", proto.KDrop: "Drop", proto.KReport: "Report", proto.KReportEnd: "ReportEnd",
	proto.KInstalled: "Installed", proto.KWelcome: "Welcome", proto.KView: "View", proto.KMaster: "Master",
	proto.KInstall: "Install", proto.KActivate: "Activate", proto.KReject: "Reject", proto.KConnect: "Connect",
	proto.KBlame: "Blame", proto.KWaits: "Waits", proto.KVictim: "Victim", proto.KBlamed: "Blamed", proto.KWaiting: "Waiting",
	proto.KDiscard: "Discard", proto.KKeep: "Keep", proto.KUnkeep: "Unkeep", proto.KKept: "Kept", proto.KDomain: "Domain",
	proto.KDomainDone: "DomainDone", proto.KRound: "Round", proto.KRoundDone: "RoundDone",
	proto.KMove: "Move", proto.KStay: "Stay", proto.KMoved: "Moved", proto.KHeir: "Heir", proto.KHeirKnown: "HeirKnown",
	proto.KMastered: "Mastered",
}

func rootName(r *proto.Root) string {
	if r.Name.Len == 0 {
		return "-"
	}
	return fmt.Sprintf("%s/%d", r.Name.Bytes(), r.Space.Kind)
}

func shortID(id proto.LockID) string { return fmt.Sprintf("%d.%d", uint64(id)>>32, uint32(id)>>6) }

func blockText(b *proto.Block) string {
	w, _ := writeOf(&b.Value)
	return fmt.Sprintf("%s stamp %x.%d", state{w, b.Valid}, b.Stamp.Assign, b.Stamp.Seq)
}

// describe prints a message for the trace.
func describe(m *proto.Msg) string {
	k := kinds[m.Kind]
	switch m.Kind {
	case proto.KRequest, proto.KConvert, proto.KUnlock, proto.KCancel:
		w, _ := writeOf(&m.Value)
		return fmt.Sprintf("%s %s lock %s op %d mode %s flags %x write %d (%x)", k, rootName(&m.Root), shortID(m.Lock), m.Op, m.Mode, m.Flags, w, m.Assign)
	case proto.KGranted:
		return fmt.Sprintf("%s lock %s op %d %s %s (%x)", k, shortID(m.Lock), m.Op, m.Mode, blockText(&m.Block), m.Assign)
	case proto.KQueued, proto.KUnlocked, proto.KBlocking, proto.KRefused, proto.KCancelled:
		return fmt.Sprintf("%s lock %s op %d mode %s status %d (%x)", k, shortID(m.Lock), m.Op, m.Mode, m.Status, m.Assign)
	case proto.KView, proto.KReportEnd:
		t := ""
		for _, p := range m.Procs {
			t += fmt.Sprintf(" %x", uint64(p))
		}
		for _, p := range m.Dead {
			t += fmt.Sprintf(" -%x", uint64(p))
		}
		return fmt.Sprintf("%s %x since %x:%s", k, m.View, m.Assign, t)
	case proto.KReport:
		t := ""
		for i := range m.Locks {
			l := &m.Locks[i]
			t += fmt.Sprintf("\n          %s below %s: %s pending %d %s flags %x op %d arrival %d %s", shortID(l.Lock), shortID(l.Parent),
				l.Granted, l.Pending, l.Requested, l.Flags, l.Op, l.Arrival, blockText(&l.Block))
		}
		return fmt.Sprintf("%s %s view %x%s", k, rootName(&m.Root), m.View, t)
	case proto.KInstall:
		t := ""
		for i := range m.Image.Resources {
			t += fmt.Sprintf("\n          resource %d below %d %s: %s", i, m.Image.Resources[i].Parent, m.Image.Resources[i].Name.Bytes(), blockText(&m.Image.Resources[i].Block))
		}
		for i := range m.Image.Locks {
			l := &m.Image.Locks[i]
			t += fmt.Sprintf("\n          on %d: %x/%s %s wants %s op %d arrival %d", l.Resource, uint64(l.Owner), shortID(l.Lock), l.Granted, l.Requested, l.Op, l.Arrival)
		}
		return fmt.Sprintf("%s %s (%x)%s", k, rootName(&m.Image.Root), m.Image.Assign, t)
	}
	return fmt.Sprintf("%s %s proc %x (%x)", k, rootName(&m.Root), uint64(m.Proc), m.Assign)
}
