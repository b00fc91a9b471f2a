package openid

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Gate is in front of requests to a token endpoint, of which there may be many: while the provider does not
// answer, or refuses this client, one request at a time goes to see whether it does again.
type Gate struct {
	mu       sync.Mutex
	failures int // in a row
	next     time.Time
	trying   bool // a request is under way that began after a failure
}

// Enter tells whether a request may be made; Leave must follow then. If not, it tells how long to wait:
// those that wait do not all come back at once.
func (g *Gate) Enter() (ok bool, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures == 0 {
		return true, 0
	}
	if left := time.Until(g.next); left > 0 || g.trying {
		wait = max(left, firstRetry)
		return false, wait + rand.N(wait/2)
	}
	g.trying = true
	return true, 0
}

// Leave tells what came of a request. It returns whether the gate has just closed or opened.
func (g *Gate) Leave(err error) (closed, opened bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trying = false
	var away *Unavailable
	if refused := refusesClient(err); !refused && !errors.As(err, &away) {
		opened, g.failures = g.failures > 0, 0
		return false, opened
	}
	if time.Now().Before(g.next) {
		return false, false // one of those that were under way when the first one failed
	}
	g.failures++
	g.next = time.Now().Add(backoff(g.failures, err))
	return g.failures == 1, false
}

// GiveUp lets another request try, whatever became of one: it may be called after Leave.
func (g *Gate) GiveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trying = false
}

// Wait tells how long it is until a request may be made; 0: one may be made now.
func (g *Gate) Wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.next)
	if g.failures == 0 || left <= 0 {
		return 0
	}
	return left + rand.N(firstRetry)
}
