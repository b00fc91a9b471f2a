package login

import (
	"context"
	"sync"
	"time"
)

// Bounds of what logins ask of the provider: whoever opens pages must not take all connections to it, which refreshes
// need, nor all turns, which others need, nor all connections to the pages by waiting for a turn.
const (
	exchanges    = 24              // requests under way at once
	inLine       = 128             // those that wait for their turn
	ofOneBrowser = 4               // of both, for a browser
	turnTime     = 5 * time.Second // how long one waits
)

// loginTurns has logins ask the provider one after the other, the first one first, and a few at once.
type loginTurns struct {
	places chan struct{} // one in it is the right to make a request

	mu      sync.Mutex
	waiting int
	of      map[string]int // how many a browser has, under way or waiting
}

func newLoginTurns() *loginTurns {
	return &loginTurns{places: make(chan struct{}, exchanges), of: map[string]int{}}
}

// take waits for a turn, which is given back by release. A browser is told from others by what its cookie says.
func (t *loginTurns) take(ctx context.Context, browser string) (release func(), err error) {
	if !t.enter(browser) {
		return nil, errBusy
	}
	timer := time.NewTimer(turnTime)
	defer timer.Stop()
	select {
	case t.places <- struct{}{}: // those that wait for it are served in the order in which they came
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

// takeNow is take for what is not worth waiting for, and of no browser.
func (t *loginTurns) takeNow() (release func(), ok bool) {
	select {
	case t.places <- struct{}{}:
		return func() { <-t.places }, true
	default:
		return nil, false
	}
}

// enter has a browser wait, if it may.
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

// length is how many wait.
func (t *loginTurns) length() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}
