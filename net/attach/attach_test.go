package attach

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/node"
)

type silent struct{}

func (silent) Complete(*process.Completion) {}
func (silent) Blocking(*process.Notice)     {}
func (silent) Discard(proto.LockID) bool    { return false }
func (silent) Lost()                        {}

// from is an environment of a few variables, and a file if there is text for one.
func from(t *testing.T, file string, pairs ...string) func(string) string {
	t.Helper()
	env := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	if file != "" {
		env["GODLM_CONFIG"] = filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(env["GODLM_CONFIG"], []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return env[name] }
}

func TestConfigure(t *testing.T) {
	var log bytes.Buffer
	for _, c := range []struct {
		name, file string
		env        []string
		wait       time.Duration
		central    bool
		stay       bool
		lost, pr   bool
		says       string
	}{
		{name: "nothing"},
		{name: "environment", env: []string{"GODLM_DEADLOCK_WAIT_MS", "250", "GODLM_MASTER", "agent", "GODLM_ON_LOST", "abort", "GODLM_JOIN_PERSISTENT", "1"},
			wait: 250 * time.Millisecond, central: true, lost: true, pr: true},
		{name: "file", file: "deadlock_wait = \"2s\"\nmaster = \"agent\"\non_lost = \"abort\"\njoin_persistent = true\n",
			wait: 2 * time.Second, central: true, lost: true, pr: true},
		{name: "environment before file", file: "deadlock_wait = \"2s\"\non_lost = \"abort\"\n", env: []string{"GODLM_DEADLOCK_WAIT_MS", "3", "GODLM_ON_LOST", "tell"},
			wait: 3 * time.Millisecond},
		{name: "first", env: []string{"GODLM_MASTER", "first"}, stay: true},
		{name: "no master", env: []string{"GODLM_MASTER", "me"}, says: "GODLM_MASTER is none of"},
	} {
		log.Reset()
		s, err := Read(from(t, c.file, c.env...))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		cfg := node.Config{Log: Logger(s.Get, &log, slog.LevelWarn)}
		if err := s.Configure(&cfg); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if cfg.DeadlockWait != c.wait || cfg.Central != c.central || cfg.Stay != c.stay || s.AbortOnLost() != c.lost || s.JoinPersistent() != c.pr || cfg.Cluster != nil {
			t.Errorf("%s: %+v, abort %v, persistent %v", c.name, cfg, s.AbortOnLost(), s.JoinPersistent())
		}
		if !strings.Contains(log.String(), c.says) || c.says == "" && log.Len() > 0 {
			t.Errorf("%s: it says %q, not %q", c.name, log.String(), c.says)
		}
	}
}

// Who has a clock that costs less has the lease looked at by it.
func TestClock(t *testing.T) {
	s, err := Read(from(t, "", "GODLM_VOTERS", "a=127.0.0.1", "GODLM_HOST", "a", "GODLM_BIND", "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := node.Config{Boottime: func() int64 { return 7 }}
	if err := s.Configure(&cfg); err != nil || cfg.Cluster == nil {
		t.Fatalf("%+v, %v", cfg.Cluster, err)
	}
	if cfg.Cluster.Boottime == nil || cfg.Cluster.Boottime() != 7 {
		t.Error("it reads another clock")
	}
}

// A wrong setting is told with its place: the file's line, or the variable.
func TestBlame(t *testing.T) {
	for _, c := range []struct{ file, name, value, says string }{
		{file: "[voters]\na = \"127.0.0.1\"\nb = \"127.0.0.1\"\n", name: "GODLM_HOST", value: "a", says: ":3: b: voters a and b have the same address"},
		{file: "host = \"a\"\n[voters]\na = \"127.0.0.1\"\nhost = \"127.0.0.1\"\n", name: "GODLM_LOG", value: "warn", says: ":4: host: voters a and host have the same address"},
		{file: "[voters]\na = \"127.0.0.1\"\nbind = \"127.0.0.2\"\n", name: "GODLM_BIND", value: "x", says: "GODLM_BIND"},
		{name: "GODLM_DEADLOCK_WAIT_MS", value: "soon", says: `GODLM_DEADLOCK_WAIT_MS: "soon" is not a number of milliseconds`},
		{name: "GODLM_DEADLOCK_WAIT_MS", value: "0", says: "GODLM_DEADLOCK_WAIT_MS: "},
		{name: "GODLM_VOTERS", value: "a=", says: "GODLM_VOTERS: voter a: "},
		{file: "mastr = \"agent\"\n", says: ":1:1: unknown key mastr"},
	} {
		s, err := Read(from(t, c.file, c.name, c.value, "GODLM_DIR", t.TempDir()))
		if err == nil {
			_, err = s.Open(node.Config{Sink: silent{}, Log: slog.New(slog.DiscardHandler)})
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q %s=%s: error %v, not %q", c.file, c.name, c.value, err, c.says)
		}
	}
}

func TestOpen(t *testing.T) {
	dir, err := os.MkdirTemp("", "g") // short: sockets live there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := Read(from(t, "", "GODLM_DIR", dir))
	if err != nil {
		t.Fatal(err)
	}
	cfg := node.Config{Sink: silent{}, Log: slog.New(slog.DiscardHandler)}
	n, err := s.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := s.Open(cfg); !errors.Is(err, node.ErrOpen) || Status(err) != dlm.ENoSys {
		t.Errorf("open it again: %v, status %d", err, Status(err))
	}
}

func TestStatus(t *testing.T) {
	if st := Status(fmt.Errorf("write: %w", unix.ENOSPC)); st != dlm.InsfMem {
		t.Errorf("no space: %d", st)
	}
}
