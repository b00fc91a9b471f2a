// Package limited writes log lines about what somebody else can cause, as often as they like.
package limited

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Of each kind of lines, burst are written in a period.
const (
	burst  = 5
	period = 10 * time.Second
)

// Log writes such lines. The number of those that were left out is in the next one.
type Log struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*logged // of the code, and so bounded
}

// New returns one that writes to a log.
func New(log *slog.Logger) *Log { return &Log{log: log} }

// logged is what was written of one kind.
type logged struct {
	since          time.Time
	lines, leftOut int
}

// Warn writes a warning of a kind.
func (l *Log) Warn(kind, text string, attributes ...any) {
	l.write(slog.LevelWarn, kind, text, attributes)
}

// Error writes an error of a kind.
func (l *Log) Error(kind, text string, attributes ...any) {
	l.write(slog.LevelError, kind, text, attributes)
}

// Debug writes what is of use to find a fault, of a kind.
func (l *Log) Debug(kind, text string, attributes ...any) {
	l.write(slog.LevelDebug, kind, text, attributes)
}

// Lines is for packages that log lines of text: each is one of a kind, at the level of debugging.
func (l *Log) Lines(kind, text string) *log.Logger {
	return log.New(lines(func(line string) { l.Debug(kind, text, "line", line) }), "", 0)
}

type lines func(string)

func (f lines) Write(b []byte) (int, error) {
	f(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// Info writes information of a kind.
func (l *Log) Info(kind, text string, attributes ...any) {
	l.write(slog.LevelInfo, kind, text, attributes)
}

func (l *Log) write(level slog.Level, kind, text string, attributes []any) {
	leftOut, ok := l.allow(kind, time.Now())
	if !ok {
		return
	}
	if leftOut > 0 {
		attributes = append(attributes, "left_out", leftOut)
	}
	l.log.Log(context.Background(), level, text, attributes...)
}

// allow tells whether a line may be written now, and how many were left out before it.
func (l *Log) allow(kind string, now time.Time) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil {
		l.kinds = map[string]*logged{}
	}
	k := l.kinds[kind]
	if k == nil {
		k = &logged{since: now}
		l.kinds[kind] = k
	}
	if now.Sub(k.since) >= period {
		k.since, k.lines = now, 0
	}
	if k.lines == burst {
		k.leftOut++
		return 0, false
	}
	k.lines++
	leftOut, k.leftOut = k.leftOut, 0
	return leftOut, true
}
