package openid

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"stamp/server/callout/session/internal/web"
)

// several is how many grants in a row the provider has to answer badly before that counts as the same for
// all: what it has against one must not keep the others from it.
const several = 3

// maxShared bounds for how long all wait because of answers, which are about one grant each. Who got
// one waits as long as it says.
const maxShared = 30 * time.Second

// Gate is in front of requests to a token endpoint, of which there may be many: while the provider cannot be
// reached, or answers nobody well, one request at a time goes to see whether it does again.
type Gate struct {
	mu       sync.Mutex
	failures int // in a row, since it is closed
	next     time.Time
	trying   bool     // a request is under way that began after a failure
	failed   []string // grants that were answered badly since one was answered well
}

// Request is one that a gate has let through. Leave or GiveUp ends it; what is called after that does nothing.
type Request struct {
	gate   *Gate
	probes bool // it is the one that goes to see; its gate has trying
	left   bool
}

// Enter returns a request that may be made, which has to be left. If none may be made it returns nil, and how long to
// wait: those that wait do not all come back at once.
func (g *Gate) Enter() (r *Request, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures == 0 {
		return &Request{gate: g}, 0
	}
	if left := time.Until(g.next); left > 0 || g.trying {
		wait = max(left, firstRetry)
		return nil, wait + rand.N(wait/2)
	}
	g.trying = true
	return &Request{gate: g, probes: true}, 0
}

// leave ends a request, and tells whether that was done before. The lock of the gate is held.
func (r *Request) leave() (before bool) {
	before = r.left
	r.left = true
	if r.probes && !before {
		r.gate.trying = false
	}
	return before
}

// Leave tells what came of a request for a grant, which has a name; empty: it is one of which there may be
// many made up, and what is answered to it says nothing of others. It returns whether the gate has just
// closed or opened.
func (r *Request) Leave(grant string, err error) (closed, opened bool) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.leave() {
		return false, false
	}
	unreached := web.Unreached(err)
	if err == nil || judges(err) || !unreached && grant == "" {
		opened, g.failures, g.failed = g.failures > 0, 0, nil
		return false, opened
	}
	if time.Now().Before(g.next) {
		return false, false // one of those that were under way when the first one failed
	}
	if !unreached && g.failures == 0 && !g.severalFail(grant) {
		return false, false
	}
	return g.fail(err), false
}

// Fail is Leave for a failure that is not about a grant, but the same for all.
func (r *Request) Fail(err error) (closed bool) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return !r.leave() && !time.Now().Before(g.next) && g.fail(err)
}

// fail notes that the next request has to wait, and returns whether the gate has just closed. The lock is held.
func (g *Gate) fail(err error) (closed bool) {
	g.failures++
	g.next = time.Now().Add(min(backoff(g.failures, err), maxShared))
	return g.failures == 1
}

// severalFail counts a grant among those that are answered badly, and tells whether they are many.
func (g *Gate) severalFail(grant string) bool {
	if !slices.Contains(g.failed, grant) && len(g.failed) < several {
		g.failed = append(g.failed, grant)
	}
	return len(g.failed) == several
}

// RetryAfter is how long the provider wishes that a request is not made again, of whose error this is.
func RetryAfter(err error) time.Duration {
	var u *Unavailable
	if errors.As(err, &u) {
		return u.RetryAfter
	}
	return 0
}

// Unreached tells whether the error is that there was no connection to the provider.
func Unreached(err error) bool { return web.Unreached(err) }

// GiveUp ends a request of which nothing is known, unless it was left: another one may try.
func (r *Request) GiveUp() {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	r.leave()
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
