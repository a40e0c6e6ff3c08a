package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/godlm/godlm/core/proto"
)

// maxRecent is how many lines are remembered.
const maxRecent = 128

// recent remembers what was worth a line in the log lately, whether or not the log is
// that talkative, for who looks (see.go).
type recent struct {
	mu    sync.Mutex
	lines []proto.SeenEvent
}

func (r *recent) add(e proto.SeenEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) == maxRecent {
		r.lines = slices.Delete(r.lines, 0, 1)
	}
	r.lines = append(r.lines, e)
}

func (r *recent) all() []proto.SeenEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// tee is a log's handler that has lines remembered.
type tee struct {
	slog.Handler
	to    *recent
	attrs []slog.Attr
}

// remembered is log, with its lines remembered by r.
func remembered(log *slog.Logger, r *recent) *slog.Logger {
	return slog.New(&tee{Handler: log.Handler(), to: r})
}

// Enabled implements slog.Handler.
func (t *tee) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || t.Handler.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		var b strings.Builder
		b.WriteString(r.Message)
		add := func(a slog.Attr) bool {
			fmt.Fprintf(&b, " %s=%s", a.Key, a.Value)
			return true
		}
		for _, a := range t.attrs {
			add(a)
		}
		r.Attrs(add)
		t.to.add(proto.SeenEvent{At: r.Time.UnixNano(), Level: int32(r.Level), Text: b.String()})
	}
	if !t.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{t.Handler.WithAttrs(attrs), t.to, append(slices.Clip(t.attrs), attrs...)}
}

// WithGroup implements slog.Handler.
func (t *tee) WithGroup(name string) slog.Handler {
	return &tee{t.Handler.WithGroup(name), t.to, t.attrs}
}
