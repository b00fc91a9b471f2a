package session

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// errAbandoned: nobody waits for the look-up any more, so it was not made.
var errAbandoned = errors.New("the look-up was not made, because nobody waited for it any more")

// lane bounds how many look-ups run at once, and how many wait. Renewals have a lane
// of their own. Otherwise a flood of connections with invented credentials could
// delay them, and the server closes a connection that is not renewed in time.
//
// Turns are given in the order in which look-ups came, while the source keeps up. If
// the one that came first has waited for half of the time that its callers have, there
// is too much work for all. Then the newest comes first: the oldest would be answered
// when their servers have given up, and all that is done would be done in vain.
type lane struct {
	queue int // how many look-ups may wait

	mu      sync.Mutex
	free    int       // turns
	waiting list.List // of *waiter, in the order in which they came
}

// waiter is a look-up that waits for a turn.
type waiter struct {
	came    time.Time
	flight  *flight
	decided chan struct{} // closed when it has its turn, or is abandoned
	dropped bool          // it is abandoned; set before decided is closed
}

func newLane(turns, queue int) *lane { return &lane{queue: queue, free: turns} }

// enter waits for a turn for a look-up of f. It returns ErrBusy if too many look-ups wait
// already, or if ctx ends first, and errAbandoned if all callers of f have gone. After a
// turn the caller calls leave.
func (l *lane) enter(ctx context.Context, f *flight) error {
	w, err := l.wait(f)
	if err != nil {
		return err
	}
	if w != nil {
		select {
		case <-w.decided:
		case <-ctx.Done():
			if l.withdraw(w) {
				return ErrBusy
			}
		}
		if w.dropped {
			return errAbandoned
		}
	}
	// The turn may have come after the deadline. A look-up without time left would only load the store.
	if end, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(end) {
		l.leave()
		return ErrBusy
	}
	if f.abandoned() {
		l.leave()
		return errAbandoned
	}
	return nil
}

// wait returns nil if there is a turn now. It returns ErrBusy if too many look-ups wait already.
func (l *lane) wait(f *flight) (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.free > 0:
		l.free--
		return nil, nil
	case l.waiting.Len() >= l.queue:
		return nil, ErrBusy
	}
	w := &waiter{came: time.Now(), flight: f, decided: make(chan struct{})}
	w.flight.at = l.waiting.PushBack(w)
	return w, nil
}

// withdraw removes a waiter. It returns false if that has its turn, or is abandoned.
func (l *lane) withdraw(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.decided:
		return false
	default:
		l.waiting.Remove(w.flight.at)
		return true
	}
}

// leave gives the turn to the next look-up.
func (l *lane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for first := l.waiting.Front(); first != nil; first = l.waiting.Front() {
		next := first
		oldest, _ := first.Value.(*waiter)
		oldest.dropped = oldest.flight.abandoned()
		if !oldest.dropped && oldest.isLate(time.Now()) {
			next = l.waiting.Back()
		}
		w, _ := l.waiting.Remove(next).(*waiter)
		close(w.decided)
		if !w.dropped {
			return
		}
	}
	l.free++
}

// isLate reports whether a look-up has waited for half of the time that its callers have.
func (w *waiter) isLate(now time.Time) bool {
	until := w.flight.lastUntil()
	return !until.IsZero() && now.Sub(w.came) >= until.Sub(w.came)/2
}

// flight is a look-up for one or several callers.
type flight struct {
	at       *list.Element // in the lane, under its lock
	underway bool          // under the lock of Lookup

	mu      sync.Mutex
	callers int
	until   time.Time // when the last caller goes
	forever bool      // a caller waits for as long as it takes
}

// join adds a caller that waits until ctx ends.
func (f *flight) join(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callers++
	if until, ok := ctx.Deadline(); !ok {
		f.forever = true
	} else if until.After(f.until) {
		f.until = until
	}
}

// part removes a caller, and reports whether it was the last one.
func (f *flight) part() (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callers--
	return f.callers == 0
}

func (f *flight) abandoned() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.callers == 0
}

// lastUntil returns when the last caller goes. It is zero if one waits for as long as it takes.
func (f *flight) lastUntil() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forever {
		return time.Time{}
	}
	return f.until
}
