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
// longest without a request that is being answered: a client that connects and says nothing, or half of a request,
// gives way to those that come after it.
type connections struct {
	most int

	mu      sync.Mutex
	known   map[net.Conn]*list.Element // of waiting; nil: a request is being answered
	waiting list.List                  // of net.Conn, the longest first
	fresh   map[net.Conn]bool          // those that have not asked anything yet
}

func newConnections(most int) *connections {
	return &connections{most: most, known: map[net.Conn]*list.Element{}, fresh: map[net.Conn]bool{}}
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
	c.known[conn] = c.waiting.PushBack(conn)
	c.fresh[conn] = true
	return context.WithValue(ctx, connectionKey{}, conn)
}

// evict closes the connection that has waited longest, if one waits. The lock is held.
func (c *connections) evict() bool {
	longest := c.waiting.Front()
	if longest == nil {
		return false
	}
	conn := c.waiting.Remove(longest).(net.Conn)
	delete(c.known, conn)
	delete(c.fresh, conn)
	closeNow(conn)
	return true
}

// closeNow closes a connection without a word of TLS, which could take long.
func closeNow(conn net.Conn) {
	if encrypted, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = encrypted.NetConn()
	}
	_ = conn.Close()
}

// changed is for http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	place, known := c.known[conn]
	switch {
	case !known:
	case state == http.StateIdle: // its answers are sent
		if place != nil {
			c.waiting.MoveToBack(place)
			return
		}
		c.known[conn] = c.waiting.PushBack(conn)
	case state == http.StateClosed, state == http.StateHijacked:
		if place != nil {
			c.waiting.Remove(place)
		}
		delete(c.known, conn)
		delete(c.fresh, conn)
	}
}

// counted notes that a request of a connection is being answered.
func (c *connections) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connectionKey{}).(net.Conn); ok {
			c.busy(conn)
		}
		next.ServeHTTP(w, r)
	})
}

func (c *connections) busy(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fresh, conn)
	if place := c.known[conn]; place != nil {
		c.waiting.Remove(place)
		c.known[conn] = nil
	}
}

// closeIdle closes the connections that wait, at the end: http.Server would wait longer for those that were opened and
// never asked anything.
func (c *connections) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.evict() {
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

func (c *connections) freshOnes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.fresh)
}
