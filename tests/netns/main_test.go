package netns

import (
	"flag"
	"fmt"
	"os"
	"testing"

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
		if missing = err; err != nil {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "pulse")
		if err == nil {
			pulse, err = lab.NewPulse(dir)
		}
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "pulse:", err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }() // by then nothing else matters
		defer pulse.Close()
		return m.Run()
	})
}
