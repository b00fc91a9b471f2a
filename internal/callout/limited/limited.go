// Package limited is a log for events that anyone can cause as often as they like,
// such as refused connections. It writes a few lines of each kind in a period and
// counts the rest, so that nobody can fill the log.
package limited

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// At most burst lines of a kind are written in each period.
const (
	burst  = 5
	period = 10 * time.Second
)

// Log limits how many lines of each kind are written. The next line that is written
// says in left_out how many of its kind were left out before it.
//
// A kind is a constant in the code, never text from outside: a Log keeps a count for
// each kind.
type Log struct {
	log *slog.Logger

	mu     sync.Mutex
	counts map[string]*count // by kind
}

// New returns a Log that writes to log.
func New(log *slog.Logger) *Log { return &Log{log: log} }

// count is how many lines of one kind were written, and left out, in a period.
type count struct {
	since            time.Time // the beginning of the period
	written, leftOut int
}

// Warn logs a line of this kind as a warning.
func (l *Log) Warn(kind, text string, attributes ...any) {
	l.write(slog.LevelWarn, kind, text, attributes)
}

// Error logs a line of this kind as an error.
func (l *Log) Error(kind, text string, attributes ...any) {
	l.write(slog.LevelError, kind, text, attributes)
}

// Debug logs a line of this kind for debugging.
func (l *Log) Debug(kind, text string, attributes ...any) {
	l.write(slog.LevelDebug, kind, text, attributes)
}

// Info logs a line of this kind as information.
func (l *Log) Info(kind, text string, attributes ...any) {
	l.write(slog.LevelInfo, kind, text, attributes)
}

// Lines returns a logger for packages that log plain text, such as net/http. Each
// line is logged for debugging, in the attribute line.
func (l *Log) Lines(kind, text string) *log.Logger {
	return log.New(writerFunc(func(line string) { l.Debug(kind, text, "line", line) }), "", 0)
}

// writerFunc is an io.Writer that calls the function with each line.
type writerFunc func(line string)

func (f writerFunc) Write(b []byte) (int, error) {
	f(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

func (l *Log) write(level slog.Level, kind, text string, attributes []any) {
	leftOut, ok := l.admit(kind, time.Now())
	if !ok {
		return
	}
	if leftOut > 0 {
		attributes = append(attributes, "left_out", leftOut)
	}
	l.log.Log(context.Background(), level, text, attributes...)
}

// admit counts a line, and reports whether it may be written. If so, leftOut is the
// number of lines of its kind that were left out before it.
func (l *Log) admit(kind string, now time.Time) (leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[string]*count{}
	}
	c := l.counts[kind]
	if c == nil {
		c = &count{since: now}
		l.counts[kind] = c
	}
	if now.Sub(c.since) >= period {
		c.since, c.written = now, 0
	}
	if c.written == burst {
		c.leftOut++
		return 0, false
	}
	c.written++
	leftOut, c.leftOut = c.leftOut, 0
	return leftOut, true
}
