package hook

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// serverLog is a slog.Handler that writes each record as a line to the server's log.
type serverLog struct {
	server     *natsserver.Server
	attributes []slog.Attr
}

// Enabled implements slog.Handler. Debug records are logged if the server's debug option is set.
func (l serverLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || l.server.RunningOptions().Debug
}

// Handle implements slog.Handler.
func (l serverLog) Handle(ctx context.Context, r slog.Record) error {
	var line bytes.Buffer
	text := slog.NewTextHandler(&line, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	record := r.Clone()
	record.AddAttrs(l.attributes...)
	if err := text.Handle(ctx, record); err != nil {
		return err
	}
	write := map[slog.Level]func(string, ...any){
		slog.LevelDebug: l.server.Debugf, slog.LevelInfo: l.server.Noticef, slog.LevelWarn: l.server.Warnf,
	}[r.Level]
	if write == nil {
		write = l.server.Errorf
	}
	write("%s", strings.TrimSpace("Callout: "+r.Message+" "+strings.TrimSpace(line.String())))
	return nil
}

// WithAttrs implements slog.Handler.
func (l serverLog) WithAttrs(attributes []slog.Attr) slog.Handler {
	l.attributes = append(slices.Clip(l.attributes), attributes...)
	return l
}

// WithGroup implements slog.Handler. It ignores the group: the callout handler uses none.
func (l serverLog) WithGroup(string) slog.Handler { return l }
