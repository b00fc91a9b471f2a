// Package stdlog keeps what other servers send out of the standard log. Package net/http writes to that what comes behind an
// answer on an idle connection, as it is: that may be a session, or tokens.
package stdlog

import (
	"bytes"
	"io"
	"log"
	"sync"
	"time"
)

// Guard is to be called before anything is asked over HTTP.
func Guard() { log.SetOutput(&writer{to: log.Writer()}) }

var (
	unsolicited = []byte("Unsolicited response received on idle HTTP channel")
	explained   = []byte(": an HTTP server that is asked sends more than its answer; the connection is closed\n")
)

// pause is how long after such a line others are left out: there may be one for each request.
const pause = 10 * time.Second

// writer passes lines on; the log writes each by one call.
type writer struct {
	to io.Writer

	mu   sync.Mutex
	last time.Time
}

// Write implements io.Writer.
func (w *writer) Write(line []byte) (int, error) {
	begin, _, found := bytes.Cut(line, unsolicited)
	if !found {
		return w.to.Write(line)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.last) >= pause {
		w.last = now
		if _, err := w.to.Write(bytes.Join([][]byte{begin, unsolicited, explained}, nil)); err != nil {
			return 0, err
		}
	}
	return len(line), nil
}
