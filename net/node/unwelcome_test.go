package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godlm/godlm/net/link"
	"github.com/godlm/godlm/net/secure"
)

// Each peer is logged once in a while for one reason, and all together not more often
// than a disk stands; everything is counted.
func TestUnwelcome(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	var u unwelcome
	u.init(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	tell := func(peer string, err error, told bool) (lines []string) {
		t.Helper()
		out.Reset()
		if u.tell(peer, err) != told {
			t.Errorf("%v: it says %v", err, !told)
		}
		return slices.Collect(strings.Lines(out.String()))
	}
	if l := tell("10.0.0.1:4440", errors.New("connection reset"), false); len(l) != 0 {
		t.Errorf("the network's troubles are logged: %q", l)
	}
	wrapped := fmt.Errorf("%w: %q", secure.ErrCluster, "other")
	l := tell("10.0.0.1:4440", wrapped, true)
	if len(l) != 1 || !strings.Contains(l[0], "peer=10.0.0.1:4440") || !strings.Contains(l[0], "of another cluster") {
		t.Errorf("%q", l)
	}
	if l := tell("10.0.0.1:4440", wrapped, true); len(l) != 0 {
		t.Errorf("logged again at once: %q", l)
	}
	if l := tell("10.0.0.1:4440", secure.ErrKey, true); len(l) != 1 {
		t.Errorf("another reason: %q", l)
	}
	lines := 2
	for i := range 1000 {
		lines += len(tell(fmt.Sprint("10.1.0.", i), link.ErrStranger, true))
	}
	if lines != unwelcomeLines {
		t.Errorf("%d lines in a minute", lines)
	}
	now = now.Add(unwelcomeAgain)
	if l := tell("10.0.0.1:4440", wrapped, true); len(l) != 1 || !strings.Contains(l[0], fmt.Sprint("unlogged=", 1000-(unwelcomeLines-2))) {
		t.Errorf("after a minute: %q", l)
	}
	for reason, want := range map[error]int{secure.ErrCluster: 3, secure.ErrKey: 1, link.ErrStranger: 1000} {
		if n := u.snapshot()[reason.Error()]; n != want {
			t.Errorf("%v: counted %d, want %d", reason, n, want)
		}
	}
}
