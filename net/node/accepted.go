package node

import (
	"slices"
	"sync"

	"github.com/godlm/godlm/net/link"
)

// mostSilent is how many streams are kept of which nobody has said who it is, and how many
// processes that no view has. That is said first on a stream, and views come soon, so that
// hundreds are under way only when somebody who has the key makes them up. Tests lower it.
var mostSilent = 1000

// accepted are the streams that others have opened to this agent or process. A socket
// breaks and the stream is still there, for the next one.
type accepted struct {
	sync.Mutex // after no other but Loop's
	byID       map[link.StreamID]*link.Conn
	silent     []*link.Conn // in the order in which they came
}

// find is the stream of that name; nil if there is none.
func (a *accepted) find(id link.StreamID) *link.Conn {
	a.Lock()
	defer a.Unlock()
	return a.byID[id]
}

// add takes a new one, and closes the oldest silent one if there are too many.
func (a *accepted) add(id link.StreamID, c *link.Conn) {
	a.Lock()
	if a.byID == nil {
		a.byID = map[link.StreamID]*link.Conn{}
	}
	a.byID[id] = c
	a.silent = append(a.silent, c)
	var old *link.Conn
	if len(a.silent) > mostSilent {
		old = a.silent[0]
	}
	a.Unlock()
	if old != nil {
		old.Close()
		a.drop(old)
	}
}

// introduced: it has said whose it is.
func (a *accepted) introduced(c *link.Conn) {
	a.Lock()
	defer a.Unlock()
	a.hears(c)
}

// hears is that with the mutex held.
func (a *accepted) hears(c *link.Conn) {
	if i := slices.Index(a.silent, c); i >= 0 {
		a.silent = slices.Delete(a.silent, i, i+1)
	}
}

// drop lets go of one that has ended.
func (a *accepted) drop(c *link.Conn) {
	a.Lock()
	defer a.Unlock()
	a.hears(c)
	for id, x := range a.byID {
		if x == c {
			delete(a.byID, id)
		}
	}
}

// close ends all.
func (a *accepted) close() {
	a.Lock()
	defer a.Unlock()
	for _, c := range a.byID {
		c.Close()
	}
}
