package callout

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Lines about what somebody else can cause, as often as they like: of each kind logBurst in logEvery.
const (
	logBurst = 5
	logEvery = 10 * time.Second
)

// limitedLog writes such lines. The number of those that were left out is in the next one.
type limitedLog struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*logged // of the code, and so bounded
}

// logged is what was written of one kind.
type logged struct {
	since          time.Time
	lines, leftOut int
}

func (l *limitedLog) warn(kind, text string, attributes ...any) {
	l.write(slog.LevelWarn, kind, text, attributes)
}

func (l *limitedLog) error(kind, text string, attributes ...any) {
	l.write(slog.LevelError, kind, text, attributes)
}

func (l *limitedLog) write(level slog.Level, kind, text string, attributes []any) {
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
func (l *limitedLog) allow(kind string, now time.Time) (leftOut int, ok bool) {
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
	if now.Sub(k.since) >= logEvery {
		k.since, k.lines = now, 0
	}
	if k.lines == logBurst {
		k.leftOut++
		return 0, false
	}
	k.lines++
	leftOut, k.leftOut = k.leftOut, 0
	return leftOut, true
}
