package openid

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"stamp/internal/callout/session/internal/web"
)

// manyGrants is for how many grants in a row requests must fail until the gate closes.
// The failures of fewer grants may concern only these.
const manyGrants = 3

// maxSharedWait is the longest time for which the gate holds requests back. The answers
// that close it are about single grants, which wait themselves as long as the provider
// says.
const maxSharedWait = 30 * time.Second

// Gate limits the requests to a token endpoint. It is open while the provider works. If
// the provider cannot be reached or fails for all grants, the gate closes: it then lets
// one request at a time through, until one succeeds.
type Gate struct {
	mu       sync.Mutex
	failures int       // in a row, since the gate closed; 0: it is open
	next     time.Time // earliest time of the next request while the gate is closed
	trying   bool      // a request is under way although the gate is closed
	failed   []string  // grants whose requests failed since the last success
}

// Request is a request that a gate has let through. Finish, Fail or GiveUp ends it. Later
// calls have no effect.
type Request struct {
	gate   *Gate
	probes bool // the gate was closed and has set trying
	ended  bool // the request has ended
}

// Enter returns a request that may be sent, which the caller must end. If none may be
// sent, it returns nil and how long to wait. The wait has a random part, so that callers
// do not return all at once.
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

// end ends a request, and returns whether it had ended before. The caller holds the lock
// of the gate.
func (r *Request) end() (before bool) {
	before = r.ended
	r.ended = true
	if r.probes && !before {
		r.gate.trying = false
	}
	return before
}

// Finish ends a request with its result. grant is the name of the grant; it is "" if anybody
// can invent such requests, so that an answer to one says nothing about others. Finish
// returns whether it has closed or opened the gate.
func (r *Request) Finish(grant string, err error) (closed, opened bool) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.end() {
		return false, false
	}
	unreached := web.Unreached(err)
	if err == nil || concernsRequest(err) || !unreached && grant == "" {
		opened, g.failures, g.failed = g.failures > 0, 0, nil
		return false, opened
	}
	if time.Now().Before(g.next) {
		return false, false // the request was under way when the gate closed
	}
	if !unreached && g.failures == 0 && !g.countFailedGrant(grant) {
		return false, false
	}
	return g.recordFailure(err), false
}

// Fail is Finish for a failure that concerns all grants.
func (r *Request) Fail(err error) (closed bool) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return !r.end() && !time.Now().Before(g.next) && g.recordFailure(err)
}

// Open opens the gate, because it is known without a request of its own that requests succeed again.
// It returns whether the gate was closed.
func (g *Gate) Open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	closed := g.failures > 0
	g.failures, g.failed, g.next = 0, nil, time.Time{}
	return closed
}

// Closed reports whether the gate is closed, also if one request may be sent now.
func (g *Gate) Closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failures > 0
}

// recordFailure counts a failure, after which the next request has to wait. It returns
// whether this has closed the gate. The caller holds the lock.
func (g *Gate) recordFailure(err error) (closed bool) {
	g.failures++
	g.next = time.Now().Add(min(backoff(g.failures, err), maxSharedWait))
	return g.failures == 1
}

// countFailedGrant adds a grant to those that have failed, and returns whether these are
// manyGrants.
func (g *Gate) countFailedGrant(grant string) bool {
	if !slices.Contains(g.failed, grant) && len(g.failed) < manyGrants {
		g.failed = append(g.failed, grant)
	}
	return len(g.failed) == manyGrants
}

// RetryAfter returns how long the provider asks to wait before the request with this error
// is sent again; 0 if it does not say.
func RetryAfter(err error) time.Duration {
	var u *Unavailable
	if errors.As(err, &u) {
		return u.RetryAfter
	}
	return 0
}

// Unreached reports whether the error is that no connection to the provider could be made.
func Unreached(err error) bool { return web.Unreached(err) }

// GiveUp ends a request without a result, so that another one may be sent. It has no
// effect after Finish.
func (r *Request) GiveUp() {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	r.end()
}

// Wait returns how long to wait until a request may be sent; 0: one may be sent now.
func (g *Gate) Wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.next)
	if g.failures == 0 || left <= 0 {
		return 0
	}
	return left + rand.N(firstRetry)
}

// Held is like Wait, and also holds back while the gate is closed and the one request that it lets
// through is under way. It is for a caller with many requests, so that not all of them call Enter in
// vain.
func (g *Gate) Held() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.next)
	if g.failures == 0 || left <= 0 && !g.trying {
		return 0
	}
	return max(left, firstRetry/2)
}
