package login

import (
	"context"
	"sync"
	"time"
)

// Limits of what logins ask the provider. Whoever opens pages must not take all connections to the
// provider, which refreshes need, nor all turns, which other visitors need, nor all connections to
// the pages by waiting.
const (
	exchanges    = 24              // concurrent requests
	inLine       = 128             // logins that wait for their turn
	ofOneBrowser = 4               // requests and waiting logins of one browser
	turnTime     = 5 * time.Second // how long a login waits
)

// loginTurns lets a few logins at a time ask the provider, in the order in which they came.
type loginTurns struct {
	places chan struct{} // has one element for each request under way

	mu      sync.Mutex
	waiting int
	of      map[string]int // number of requests and waiting logins, by browser
}

func newLoginTurns() *loginTurns {
	return &loginTurns{places: make(chan struct{}, exchanges), of: map[string]int{}}
}

// take waits for a turn. The caller calls release when it is over. browser is the hash of the
// browser's secret.
func (t *loginTurns) take(ctx context.Context, browser string) (release func(), err error) {
	if !t.enter(browser) {
		return nil, errBusy
	}
	timer := time.NewTimer(turnTime)
	defer timer.Stop()
	select {
	case t.places <- struct{}{}: // Go serves waiting senders in their order
		t.leaveLine()
		return func() {
			<-t.places
			t.leave(browser)
		}, nil
	case <-timer.C:
		err = errBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.leaveLine()
	t.leave(browser)
	return nil, err
}

// takeNow is like take, for requests that are not worth waiting for and that do not count for a
// browser.
func (t *loginTurns) takeNow() (release func(), ok bool) {
	select {
	case t.places <- struct{}{}:
		return func() { <-t.places }, true
	default:
		return nil, false
	}
}

// enter lets a browser wait if the limits permit.
func (t *loginTurns) enter(browser string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting >= inLine || t.of[browser] >= ofOneBrowser {
		return false
	}
	t.waiting++
	t.of[browser]++
	return true
}

func (t *loginTurns) leaveLine() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
}

func (t *loginTurns) leave(browser string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[browser]--; t.of[browser] == 0 {
		delete(t.of, browser)
	}
}

// length returns the number of waiting logins.
func (t *loginTurns) length() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}
