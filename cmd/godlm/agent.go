package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/godlm/godlm/core/process"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/net/attach"
	"github.com/godlm/godlm/net/node"
)

func newAgent(o *options) *cobra.Command {
	var m served
	c := &cobra.Command{
		Use:   "agent",
		Short: "Be there for the agent role, until SIGTERM or SIGINT",
		Long: "A program that has no locks and does nothing but hold the agent role, so that the role does not move\n" +
			"with every program that ends. If another program has the role it waits for that to end, like all others.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := attach.Read(o.getenv)
			if err != nil {
				return &exit{exitError, err}
			}
			cfg := node.Config{Log: attach.Logger(s.Get, c.ErrOrStderr(), slog.LevelInfo)}
			if err := s.Configure(&cfg); err != nil {
				return &exit{exitError, err}
			}
			if m.addr == "" {
				m.addr = s.Get("GODLM_METRICS")
			}
			return serve(cfg, &m)
		},
	}
	c.Flags().StringVar(&m.addr, "metrics", "", "serve metrics by HTTP at this address and port of the loopback network (default $GODLM_METRICS)")
	c.Flags().BoolVar(&m.anywhere, "metrics-anywhere", false, "the address may be one that other machines reach")
	return c
}

// served is what an agent serves by HTTP.
type served struct {
	addr     string
	anywhere bool
	node     atomic.Pointer[node.Node] // nil: not a member
}

func (m *served) start(ctx context.Context, log *slog.Logger) error {
	if m.addr == "" {
		return nil
	}
	l, err := listenLocal(m.addr, m.anywhere)
	if err != nil {
		return &exit{exitError, fmt.Errorf("metrics: %w", err)}
	}
	log.Info("metrics are served", "url", "http://"+l.Addr().String()+"/metrics")
	go serveHTTP(ctx, l, metricsHandler(m.node.Load, m.anywhere, log), log)
	return nil
}

// again is the longest pause before an agent whose host was removed comes back as a new
// one. Its vote is missing meanwhile.
const again = time.Second

// leaveTime is how long the other hosts have to take over what this one has.
const leaveTime = 5 * time.Second

// serve is an agent until a signal comes. When its host is removed from the cluster it
// comes back as a new member.
func serve(cfg node.Config, m *served) error {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer cancel()
	if err := m.start(ctx, cfg.Log); err != nil {
		return err
	}
	cfg.Leave = leaveTime
	cfg.Context = ctx // it waits for a majority of hosts as long as it takes
	// It is ready when others can reach it: one of them that waited for that would make the
	// majority which this one waits for.
	var manager manager
	if cfg.Cluster != nil {
		cfg.Told = manager.told
	}
	for {
		lost := make(chan struct{})
		cfg.Sink = idle{lost}
		n, err := node.Open(cfg)
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil && !errors.Is(err, node.ErrRefused) && !errors.Is(err, node.ErrRemoved):
			return &exit{exitError, err}
		case err == nil:
			m.node.Store(n)
			manager.ready("")
			select {
			case <-ctx.Done():
				notify("STOPPING=1")
				m.node.Store(nil)
				n.Close()
				return nil
			case <-lost:
				m.node.Store(nil)
				n.Close()
			}
		}
		if cfg.Cluster == nil {
			return &exit{status: exitError} // the reason is in the log
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(again, cfg.Cluster.Lease/4)):
		}
	}
}

// idle is the sink of a process that asks for nothing.
type idle struct{ lost chan struct{} }

func (idle) Complete(*process.Completion) {}
func (idle) Blocking(*process.Notice)     {}
func (idle) Discard(proto.LockID) bool    { return false }
func (i idle) Lost()                      { close(i.lost) }

// manager is the service manager.
type manager struct {
	mu    sync.Mutex
	knows bool // that this agent is ready
}

// ready says so, once.
func (m *manager) ready(and string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.knows:
		notify("READY=1" + and)
	case and != "":
		notify(and[1:])
	}
	m.knows = true
}

// told says what keeps programs of this host waiting.
func (m *manager) told(stalls string) {
	if stalls == "" {
		stalls = "this host is a member"
	}
	m.ready("\nSTATUS=" + stalls)
}

// notify tells the service manager, if one has asked (sd_notify(3)).
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		slog.Warn("tell the service manager", "error", err)
		return
	}
	if _, err := c.Write([]byte(state)); err != nil {
		slog.Warn("tell the service manager", "error", err)
	}
	_ = c.Close() // nothing was read
}
