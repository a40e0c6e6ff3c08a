package netns

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/godlm/godlm/tests/lab"
)

var (
	rounds = flag.Int("netns.rounds", 1, "how many times each game is played, every time with another seed")
	seed   = flag.Uint64("netns.seed", 1, "seed of the first game: who is struck when, and what the wire loses")
)

// missing is why this machine cannot have a lab.
var missing error

func TestMain(m *testing.M) {
	flag.Parse()
	lab.Main(func(err error) int {
		missing = err
		return m.Run()
	})
}

const (
	lease   = time.Second
	suspect = 600 * time.Millisecond
)

// newLab makes hosts whose agents are members.
func newLab(t *testing.T, hosts int, opt ...func(*lab.Options)) *lab.Lab {
	t.Helper()
	if missing != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("hosts on this machine: %v", missing)
		}
		t.Skipf("hosts on this machine: %v", missing)
	}
	o := lab.Options{Hosts: hosts, Lease: lease, Suspect: suspect, Seed: *seed}
	for _, f := range opt {
		f(&o)
	}
	l := lab.New(t, o)
	l.Start()
	return l
}
