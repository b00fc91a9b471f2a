package webserver

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections limits the number of connections of a server.
//
// If there are too many, a new connection takes the place of the one that has waited for its client
// the longest. A connection waits for its client while the client has sent no request, has sent half
// of one, or does not read the answer. A connection whose request is being worked on keeps its place.
type connections struct {
	max int

	mu      sync.Mutex
	open    map[net.Conn]*connection
	waiting list.List // of *connection: those that wait for their client, the longest first
}

// connection is an open connection.
type connection struct {
	net.Conn
	all       *connections
	place     *list.Element // in waiting; nil: its request is being worked on
	unused    bool          // it has had no request yet
	inRequest bool          // a request is being read or answered
}

func newConnections(max int) *connections {
	return &connections{max: max, open: map[net.Conn]*connection{}}
}

type connectionKey struct{}

// add is a http.Server's ConnContext.
func (c *connections) add(ctx context.Context, conn net.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.max && !c.evict() {
		closeNow(conn) // the server notices when it reads
		return ctx
	}
	added := &connection{Conn: conn, all: c, unused: true}
	added.place = c.waiting.PushBack(added)
	c.open[conn] = added
	return context.WithValue(ctx, connectionKey{}, added)
}

// evict closes the connection that has waited for its client the longest. It reports whether there
// was one. The lock is held.
func (c *connections) evict() bool {
	longest := c.waiting.Front()
	if longest == nil {
		return false
	}
	c.closeWaiting(longest.Value.(*connection))
	return true
}

// closeWaiting closes a connection that waits for its client. The lock is held.
func (c *connections) closeWaiting(conn *connection) {
	c.remove(conn)
	closeNow(conn.Conn)
}

// remove removes a connection that was closed. The lock is held.
func (c *connections) remove(conn *connection) {
	if conn.place != nil {
		c.waiting.Remove(conn.place)
		conn.place = nil
	}
	delete(c.open, conn.Conn)
}

// setWaiting marks that a connection waits for its client from now on. The lock is held.
func (c *connections) setWaiting(conn *connection) {
	switch {
	case c.open[conn.Conn] != conn:
	case conn.place != nil:
		c.waiting.MoveToBack(conn.place)
	default:
		conn.place = c.waiting.PushBack(conn)
	}
}

// closeNow closes a connection without the last message of TLS, which can take long to send.
func closeNow(conn net.Conn) {
	if encrypted, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close()
}

// stateChanged is a http.Server's ConnState.
func (c *connections) stateChanged(netConn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.open[netConn]
	switch {
	case conn == nil:
	case state == http.StateIdle: // its answers are sent
		conn.inRequest = false
		c.setWaiting(conn)
	case state == http.StateClosed, state == http.StateHijacked:
		c.remove(conn)
	}
}

// tracked returns next as a handler that follows the state of its connections. From the first byte of
// an answer on, a connection waits for its client, because pages do nothing but write then.
func (c *connections) tracked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, ok := r.Context().Value(connectionKey{}).(*connection)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		conn.beginRequest()
		defer conn.beginAnswer()
		next.ServeHTTP(&answerWriter{ResponseWriter: w, conn: conn}, r)
	})
}

// Working marks that a request has been read as a whole and is being worked on. Its connection keeps
// its place until the answer begins.
func Working(r *http.Request) {
	conn, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return
	}
	conn.all.mu.Lock()
	defer conn.all.mu.Unlock()
	if conn.place != nil {
		conn.all.waiting.Remove(conn.place)
		conn.place = nil
	}
}

func (conn *connection) beginRequest() {
	conn.all.mu.Lock()
	defer conn.all.mu.Unlock()
	conn.unused, conn.inRequest = false, true
}

func (conn *connection) beginAnswer() {
	conn.all.mu.Lock()
	defer conn.all.mu.Unlock()
	if conn.place == nil {
		conn.all.setWaiting(conn)
	}
}

// answerWriter marks when an answer begins.
type answerWriter struct {
	http.ResponseWriter
	conn  *connection
	begun bool
}

func (w *answerWriter) begin() {
	if !w.begun {
		w.begun = true
		w.conn.beginAnswer()
	}
}

func (w *answerWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// closeIdle closes the connections that have no request. It is called at the end of the server,
// because http.Server's Shutdown waits longer for connections that never had one.
func (c *connections) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		if !conn.inRequest {
			c.closeWaiting(conn)
		}
	}
}

// waitForFirstRequests waits until each open connection has had a request, or ctx ends.
func (c *connections) waitForFirstRequests(ctx context.Context) {
	const pause = 5 * time.Millisecond
	for c.countUnused() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// countUnused returns the number of connections that have had no request yet.
func (c *connections) countUnused() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		if conn.unused {
			n++
		}
	}
	return n
}
