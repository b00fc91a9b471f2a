package harness

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log is what a server wrote to its standard output and error. Its zero value is
// ready.
type Log struct {
	mu     sync.Mutex
	text   bytes.Buffer
	ended  bool
	signal chan struct{} // closed and made anew at each change
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.changed()
	return len(p), nil
}

func (l *Log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.changed()
}

func (l *Log) changed() {
	if l.signal != nil {
		close(l.signal)
		l.signal = nil
	}
}

// Text is the log so far.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// WaitLog waits for a line that matches the regular expression, from the start of
// the log, and returns it.
func (l *Log) WaitLog(t testing.TB, expr string) string {
	t.Helper()
	return Mark{log: l}.WaitLog(t, expr)
}

// Mark returns the place that the log has reached.
func (l *Log) Mark() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Mark{l, l.text.Len()}
}

// Mark is a place in a log.
type Mark struct {
	log *Log
	at  int
}

// Text is the log since the mark.
func (m Mark) Text() string { return m.log.Text()[m.at:] }

// WaitLog is as Log.WaitLog, for lines after the mark.
func (m Mark) WaitLog(t testing.TB, expr string) string {
	t.Helper()
	re := regexp.MustCompile(expr)
	timeout := time.After(Timeout)
	for {
		text, ended, changed := m.next()
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && re.MatchString(line) {
				return strings.TrimSpace(line)
			}
		}
		if ended {
			t.Fatalf("the server ended and has not logged %q; its last line: %s", expr, lastLine(text))
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the server has not logged %q in %s; its last line: %s", expr, Timeout, lastLine(text))
		}
	}
}

func (m Mark) next() (text string, ended bool, changed <-chan struct{}) {
	l := m.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signal == nil {
		l.signal = make(chan struct{})
	}
	return l.text.String()[m.at:], l.ended, l.signal
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
