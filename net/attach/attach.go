// Package attach takes a program into the lock manager in the way that its environment
// and the configuration file ask for: it reads the settings, opens the node, goes on
// while this host is just being removed, and says in a status what went wrong. C
// programs, Go programs and the agent join through it, so that a setting means the same
// to all of them. What the settings of hosts mean is package node's business, what may
// stand in the file package config's.
package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/net/config"
	"github.com/godlm/godlm/net/node"
)

// removedTime is how long a join goes on while this host is being removed from the cluster,
// removedPause the time between two attempts.
const (
	removedTime  = 10 * time.Second
	removedPause = 200 * time.Millisecond
)

// Settings are what the environment and the configuration file say.
type Settings struct {
	getenv func(string) string // the environment alone
	env    func(string) string // with the file
}

// Read reads the configuration file that the environment asks for.
func Read(getenv func(string) string) (*Settings, error) {
	env, err := config.Environment(getenv)
	if err != nil {
		return nil, err
	}
	return &Settings{getenv, env}, nil
}

// Get is a variable of the environment, or what the file says instead.
func (s *Settings) Get(name string) string { return s.env(name) }

// AbortOnLost: the program wants to end when its locks are lost.
func (s *Settings) AbortOnLost() bool { return s.env("GODLM_ON_LOST") == "abort" }

// JoinPersistent: whoever locks a persistent resource need not say that it is one.
func (s *Settings) JoinPersistent() bool { return s.env("GODLM_JOIN_PERSISTENT") == "1" }

// Configure puts the settings into cfg, which has its log already.
func (s *Settings) Configure(cfg *node.Config) (err error) {
	cfg.Getenv = s.env
	if cfg.DeadlockWait, err = s.deadlockWait(); err != nil {
		return config.Blame(s.getenv, err)
	}
	cfg.Central, cfg.Stay = s.masters(cfg.Log)
	if cfg.Cluster, err = node.ClusterFrom(s.env); err != nil {
		return config.Blame(s.getenv, err)
	}
	if cfg.Cluster != nil {
		cfg.Cluster.Boottime = cfg.Boottime
	}
	return nil
}

// Open opens a node with these settings. cfg brings what is the program's own, among it a
// log. A context in it bounds all attempts together.
func (s *Settings) Open(cfg node.Config) (*node.Node, error) {
	if err := s.Configure(&cfg); err != nil {
		return nil, err
	}
	ctx := cfg.Context
	if ctx == nil {
		ctx = context.Background()
	}
	for limit := time.Now().Add(removedTime); ; {
		n, err := node.Open(cfg)
		if !errors.Is(err, node.ErrRemoved) || time.Now().After(limit) {
			return n, err
		}
		select { // it comes back as a new member
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-time.After(removedPause):
		}
	}
}

// deadlockWait is $GODLM_DEADLOCK_WAIT_MS; 0 if that is not set.
func (s *Settings) deadlockWait() (time.Duration, error) {
	const name = "GODLM_DEADLOCK_WAIT_MS"
	v := s.env(name)
	if v == "" {
		return 0, nil
	}
	ms, err := strconv.ParseUint(v, 10, 31)
	if err != nil || ms == 0 {
		return 0, &config.SettingError{Name: name, Err: fmt.Errorf("%q is not a number of milliseconds from 1 on", v)}
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// masters is what $GODLM_MASTER says: the agent masters what needs a master, or trees
// that are in use stay with who asked first.
func (s *Settings) masters(log *slog.Logger) (central, stay bool) {
	switch v := s.env("GODLM_MASTER"); v {
	case "", "use":
		return false, false
	case "first":
		return false, true
	case "agent":
		return true, false
	default:
		log.Warn("GODLM_MASTER is none of use, first and agent; the default is used", "value", v)
		return false, false
	}
}

// Logger writes to w what is at least as grave as usual, or as $GODLM_LOG says
// (debug|info|warn|error). With GODLM_LOG_FORMAT=json each line is an object.
func Logger(env func(string) string, w io.Writer, usual slog.Level) *slog.Logger {
	level := usual
	if v := env("GODLM_LOG"); v != "" {
		_ = level.UnmarshalText([]byte(v)) // an unknown word leaves the default
	}
	opt := &slog.HandlerOptions{Level: level}
	if env("GODLM_LOG_FORMAT") == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// Status is what a program is answered when Read or Open fails.
func Status(err error) dlm.Status {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return dlm.InsfMem
	}
	return dlm.ENoSys
}
