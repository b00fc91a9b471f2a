// Package stdlog keeps secrets of other HTTP servers out of the standard log.
//
// If an HTTP server sends data on an idle connection, package net/http prints the
// beginning of that data in the standard log. The data can be a second response to
// an earlier request, with a session or tokens in it. Guard removes it from such
// lines and lets all other lines pass.
package stdlog

import (
	"bytes"
	"io"
	"log"
	"sync"
	"time"
)

// Guard filters the standard log from now on. Call it before the first HTTP request
// is sent.
func Guard() { log.SetOutput(&filter{out: log.Writer()}) }

var (
	unsolicited = []byte("Unsolicited response received on idle HTTP channel") // as in net/http, transport.go
	explanation = []byte(": an HTTP server sent data that does not belong to a response; the connection is closed\n")
)

// pause is the shortest time between two lines about unsolicited data. A faulty
// server can cause one for each request.
const pause = 10 * time.Second

// filter writes lines to out. Package log writes each line with one call.
type filter struct {
	out io.Writer

	mu   sync.Mutex
	last time.Time // when a line about unsolicited data was written
}

// Write implements io.Writer.
func (f *filter) Write(line []byte) (int, error) {
	begin, _, found := bytes.Cut(line, unsolicited)
	if !found {
		return f.out.Write(line)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.last) >= pause {
		f.last = now
		if _, err := f.out.Write(bytes.Join([][]byte{begin, unsolicited, explanation}, nil)); err != nil {
			return 0, err
		}
	}
	return len(line), nil
}
