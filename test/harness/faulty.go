package harness

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Faulty stands between a client of ours and a real server, at the level of TCP, and can make that
// server misbehave: see Fault. Until Be is called it passes everything on. A fault also affects
// connections that are open already, because clients keep them in pools.
type Faulty struct {
	t        testing.TB
	backend  string
	listener net.Listener

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when fault changes
	open    map[net.Conn]struct{}
	most    int // connections that were open at once
	asked   int // chunks that clients sent, which is requests where each fits in one segment
	stopped bool
	work    sync.WaitGroup
}

// Fault is what a Faulty does with an answer of the server. The zero Fault passes it on.
type Fault struct {
	Name string
	// answer gets what the server has sent, and writes to the client what the fault makes of that. It
	// returns false if the connection must be closed. ended is closed when the fault is over, or when the
	// client has closed the connection.
	answer func(client net.Conn, sent []byte, ended <-chan struct{}) bool
	// accept is for connections that are made during the fault; nil: they are passed on.
	accept func(client net.Conn)
}

// Well is no fault: everything is passed on.
var Well = Fault{Name: "well"}

// Silent accepts connections and requests, and sends nothing. When the fault is over, it passes on what
// it has held back, as a process does that was stopped and continues.
var Silent = Fault{Name: "silent", answer: func(client net.Conn, sent []byte, ended <-chan struct{}) bool {
	<-ended
	return writes(client, sent)
}}

// Down closes connections when they are made, and open ones at the next answer.
var Down = Fault{
	Name:   "down",
	accept: func(client net.Conn) { _ = client.Close() },
	answer: func(net.Conn, []byte, <-chan struct{}) bool { return false },
}

// HalfWay closes the connection after half of the answer.
var HalfWay = Fault{Name: "closes half-way", answer: func(client net.Conn, sent []byte, _ <-chan struct{}) bool {
	writes(client, sent[:len(sent)/2])
	return false
}}

// Drip sends the answer byte by byte, with a pause after each.
func Drip(pause time.Duration) Fault {
	return Fault{Name: "drips", answer: func(client net.Conn, sent []byte, ended <-chan struct{}) bool {
		for i := range sent {
			if !writes(client, sent[i:i+1]) {
				return false
			}
			if !waits(pause, ended) {
				return writes(client, sent[i+1:])
			}
		}
		return true
	}}
}

// Slow sends the answer after a delay.
func Slow(by time.Duration) Fault {
	return Fault{Name: "slow", answer: func(client net.Conn, sent []byte, ended <-chan struct{}) bool {
		waits(by, ended)
		return writes(client, sent)
	}}
}

// Answers sends this text in place of the answer, and closes the connection.
func Answers(name, text string) Fault {
	return Fault{Name: name, answer: func(client net.Conn, _ []byte, _ <-chan struct{}) bool {
		_, _ = io.WriteString(client, text)
		return false
	}}
}

// Huge sends the beginning of an answer in place of the answer, and then filler until the client closes
// the connection or the fault is over.
func Huge(beginning, filler string) Fault {
	chunk := bytes.Repeat([]byte(filler), 1+(64<<10)/max(1, len(filler)))
	return Fault{Name: "huge", answer: func(client net.Conn, _ []byte, ended <-chan struct{}) bool {
		if !writes(client, []byte(beginning)) {
			return false
		}
		for writes(client, chunk) {
			select {
			case <-ended:
				return false
			default:
			}
		}
		return false
	}}
}

// HTTPAnswer is an answer of an HTTP server, for Answers.
func HTTPAnswer(status, contentType, body string, headers ...string) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 " + status + "\r\nConnection: close\r\n")
	if contentType != "" {
		b.WriteString("Content-Type: " + contentType + "\r\n")
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

// HTTPFaults are the faults of a server that is asked over HTTP and answers in JSON.
func HTTPFaults() []Fault {
	return []Fault{
		Silent, Down, HalfWay, Drip(200 * time.Millisecond), Slow(4 * time.Second),
		Answers("503", HTTPAnswer("503 Service Unavailable", "text/plain", "later\n")),
		Answers("429 with Retry-After", HTTPAnswer("429 Too Many Requests", "text/plain", "slower\n", "Retry-After: 2")),
		Answers("wrong type", HTTPAnswer("200 OK", "text/html", "<html>welcome</html>")),
		Answers("not HTTP", "220 mail.example ESMTP\r\n"),
		Huge("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\":\"", "x"),
	}
}

// writes writes b, and reports whether all of it was written.
func writes(client net.Conn, what []byte) bool {
	_, err := client.Write(what)
	return err == nil
}

// waits waits for a time, and reports whether it passed before the fault was over.
func waits(d time.Duration, ended <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ended:
		return false
	}
}

// StartFaulty listens on a port of loopback until the test ends, and passes connections on to the
// server at that address, host:port. The server may come later.
func StartFaulty(t testing.TB, backend string) *Faulty {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Faulty{t: t, backend: backend, listener: l, fault: Well, changed: make(chan struct{}), open: map[net.Conn]struct{}{}}
	f.work.Go(f.serve)
	t.Cleanup(f.stop)
	return f
}

// Addr is where it listens, host:port.
func (f *Faulty) Addr() string { return f.listener.Addr().String() }

// Be makes the server misbehave in this way. Be(Well) ends that.
func (f *Faulty) Be(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
	close(f.changed)
	f.changed = make(chan struct{})
}

// Most returns the largest number of connections that were open at the same time.
func (f *Faulty) Most() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

// Open is how many connections are open.
func (f *Faulty) Open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

// Asked counts what clients have sent: one for a request that fits in a segment.
func (f *Faulty) Asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// Cut closes all connections that are open.
func (f *Faulty) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for client := range f.open {
		_ = client.Close()
	}
}

func (f *Faulty) stop() {
	_ = f.listener.Close()
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.Be(Well)
	f.Cut()
	f.work.Wait()
}

func (f *Faulty) now() (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fault, f.changed
}

func (f *Faulty) serve() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		if fault, _ := f.now(); fault.accept != nil {
			fault.accept(client)
			continue
		}
		if !f.add(client) {
			return
		}
		f.work.Go(func() {
			defer f.remove(client)
			f.pass(client)
		})
	}
}

// add notes an open connection. It returns false if the test is over, and no further connection may be opened.
func (f *Faulty) add(client net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		_ = client.Close()
		return false
	}
	f.open[client] = struct{}{}
	f.most = max(f.most, len(f.open))
	return true
}

func (f *Faulty) remove(client net.Conn) {
	_ = client.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, client)
}

// pass connects a client with the server until one of them, or a fault, closes the connection.
func (f *Faulty) pass(client net.Conn) {
	server, err := net.DialTimeout("tcp", f.backend, Timeout)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	gone := make(chan struct{})
	f.work.Go(func() {
		// When the client has closed its side, close the server's too, and drop what waits to be passed on.
		defer close(gone)
		defer func() { _ = server.Close() }()
		f.requests(client, server)
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if n > 0 && !f.answer(client, buffer[:n], gone) || err != nil {
			return
		}
	}
}

func (f *Faulty) requests(client, server net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			f.mu.Lock()
			f.asked++
			f.mu.Unlock()
			if !writes(server, buffer[:n]) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// answer passes on what the server has sent, changed by the present fault.
func (f *Faulty) answer(client net.Conn, sent []byte, gone <-chan struct{}) bool {
	fault, changed := f.now()
	if fault.answer == nil {
		return writes(client, sent)
	}
	ended := make(chan struct{})
	f.work.Go(func() {
		defer close(ended)
		select {
		case <-changed:
		case <-gone:
		}
	})
	return fault.answer(client, sent, ended)
}
