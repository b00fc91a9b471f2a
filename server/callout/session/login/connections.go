package login

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections bounds how many a server of pages has. One that is too many takes the place of the one that has waited
// longest for its client: a client that connects and says nothing, that sends half of a request, or that does not read
// its answer, gives way to those that come after it. One whose request is being worked on stays.
type connections struct {
	most int

	mu      sync.Mutex
	known   map[net.Conn]*connection
	waiting list.List // of *connection, those that wait for their client, the longest first
}

// connection is one of them.
type connection struct {
	net.Conn
	of    *connections
	place *list.Element // of waiting; nil: its request is being worked on
	fresh bool          // it has not asked anything yet
	asked bool          // a request of it is read or answered
}

func newConnections(most int) *connections {
	return &connections{most: most, known: map[net.Conn]*connection{}}
}

type connectionKey struct{}

// add is for http.Server's ConnContext.
func (c *connections) add(ctx context.Context, conn net.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= c.most && !c.evict() {
		closeNow(conn) // the server sees that when it reads
		return ctx
	}
	added := &connection{Conn: conn, of: c, fresh: true}
	added.place = c.waiting.PushBack(added)
	c.known[conn] = added
	return context.WithValue(ctx, connectionKey{}, added)
}

// evict closes the connection that has waited longest, if one waits. The lock is held.
func (c *connections) evict() bool {
	longest := c.waiting.Front()
	if longest == nil {
		return false
	}
	c.end(longest.Value.(*connection))
	return true
}

// end closes a connection that waits. The lock is held.
func (c *connections) end(conn *connection) {
	c.forget(conn)
	closeNow(conn.Conn)
}

// forget is for a connection that has ended. The lock is held.
func (c *connections) forget(conn *connection) {
	if conn.place != nil {
		c.waiting.Remove(conn.place)
		conn.place = nil
	}
	delete(c.known, conn.Conn)
}

// wait notes that a connection waits for its client from now on. The lock is held.
func (c *connections) wait(conn *connection) {
	switch {
	case c.known[conn.Conn] != conn:
	case conn.place != nil:
		c.waiting.MoveToBack(conn.place)
	default:
		conn.place = c.waiting.PushBack(conn)
	}
}

// closeNow closes a connection without a word of TLS, which could take long.
func closeNow(conn net.Conn) {
	if encrypted, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close()
}

// changed is for http.Server's ConnState.
func (c *connections) changed(of net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.known[of]
	switch {
	case conn == nil:
	case state == http.StateIdle: // its answers are sent
		conn.asked = false
		c.wait(conn)
	case state == http.StateClosed, state == http.StateHijacked:
		c.forget(conn)
	}
}

// counted notes that a connection has asked something, and that it waits for its client from where the answer begins:
// from there on, pages do nothing but write.
func (c *connections) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, ok := r.Context().Value(connectionKey{}).(*connection)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		conn.asks()
		defer conn.answers()
		next.ServeHTTP(&answerWriter{ResponseWriter: w, conn: conn}, r)
	})
}

// working notes that a request is there as a whole, and is worked on: its connection stays meanwhile.
func working(r *http.Request) {
	conn, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return
	}
	conn.of.mu.Lock()
	defer conn.of.mu.Unlock()
	if conn.place != nil {
		conn.of.waiting.Remove(conn.place)
		conn.place = nil
	}
}

func (conn *connection) asks() {
	conn.of.mu.Lock()
	defer conn.of.mu.Unlock()
	conn.fresh, conn.asked = false, true
}

func (conn *connection) answers() {
	conn.of.mu.Lock()
	defer conn.of.mu.Unlock()
	if conn.place == nil {
		conn.of.wait(conn)
	}
}

// answerWriter notes when an answer begins.
type answerWriter struct {
	http.ResponseWriter
	conn  *connection
	begun bool
}

func (w *answerWriter) begin() {
	if !w.begun {
		w.begun = true
		w.conn.answers()
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

// closeIdle closes the connections that have no request, at the end: http.Server would wait longer for those that were
// opened and never asked anything.
func (c *connections) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.known {
		if !conn.asked {
			c.end(conn)
		}
	}
}

// waitForFresh waits until no connection is left that has not asked anything yet, or ctx ends.
func (c *connections) waitForFresh(ctx context.Context) {
	const pause = 5 * time.Millisecond
	for c.freshOnes() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (c *connections) freshOnes() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.known {
		if conn.fresh {
			n++
		}
	}
	return n
}
