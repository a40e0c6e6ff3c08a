package node

import (
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/secure"
)

const (
	// unwelcomeAgain is how often at most a peer is logged for one reason.
	unwelcomeAgain = time.Minute
	// unwelcomeLines bounds the lines in that time, however many peers there are: who
	// wants to fill the disk has many addresses.
	unwelcomeLines = 100
)

// unwelcomeReasons are those that are counted, and told to people; others are the
// network's own troubles.
var unwelcomeReasons = [...]error{
	secure.ErrKey, secure.ErrCluster, secure.ErrVersion, secure.ErrProtocol, errLease, errHosts,
	link.ErrStranger, link.ErrSlow, link.ErrCrowd, link.ErrDeaf,
}

// unwelcome counts connections between hosts that were refused, here or by the other
// side, and logs them, not too often.
type unwelcome struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	counts map[string]int
	begun  time.Time // since when logged and silent count
	logged map[string]bool
	silent int // lines that were not logged
}

func (u *unwelcome) init(log *slog.Logger, now func() time.Time) {
	u.log, u.now = log, now
	u.counts, u.logged = map[string]int{}, map[string]bool{}
}

// tell takes why there is no connection with a peer. It reports false if that is nothing
// that people should know.
func (u *unwelcome) tell(peer string, err error) bool {
	for _, known := range unwelcomeReasons {
		if errors.Is(err, known) {
			due, silent := u.count(peer, known.Error())
			if due {
				log := u.log
				if silent > 0 {
					log = log.With("unlogged", silent)
				}
				log.Warn("no connection between hosts", "peer", peer, "reason", err)
			}
			return true
		}
	}
	return false
}

// count reports whether it is to be logged, and how many others were not.
func (u *unwelcome) count(peer, reason string) (due bool, silent int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counts[reason]++
	if now := u.now(); now.Sub(u.begun) >= unwelcomeAgain {
		u.begun = now
		clear(u.logged)
	}
	k := peer + " " + reason
	if u.logged[k] || len(u.logged) >= unwelcomeLines {
		u.silent++
		return false, 0
	}
	u.logged[k] = true
	silent, u.silent = u.silent, 0
	return true, silent
}

// snapshot is how often that was so, by reason.
func (u *unwelcome) snapshot() map[string]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.counts)
}
