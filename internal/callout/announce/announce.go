// Package announce tells all servers that a session has changed or ended. A message
// reaches only the servers that are connected when it is sent. A part of a cluster may be
// cut off at that time, so an Announcer repeats each change: a few times in the first two
// minutes, and again whenever a server returns within the next hour.
//
// Repeating a change does no harm. The message says how long ago the change was, and
// servers do not close connections that were authenticated after it. So a new session with
// the same name stays connected.
package announce

import (
	"slices"
	"sync"
	"time"

	"stamp/internal/callout/forwarded"
)

const (
	// keepFor is how long a change is kept for servers that return. A connection of a
	// server that was cut off for longer was renewed meanwhile, or closed, because its user
	// JWT expired.
	keepFor = time.Hour
	// maxKept is how many changes of each kind are kept, the newest ones.
	maxKept = 65536
	// batchSize is how many changes are repeated in one message. Each takes about 100 bytes.
	batchSize = 256
	// minWait is the shortest time until changes are repeated. Changes in this time share a
	// message.
	minWait = 250 * time.Millisecond
	// maxServers is how many servers are remembered.
	maxServers = 4096
	// awayAfter is when a server is taken to have been away: it was not heard of for this
	// long. Servers send a heartbeat every 10 seconds.
	awayAfter = 25 * time.Second
)

// repeatAfter lists how long after a change it is repeated, in case a message was lost
// because a connection had just broken.
var repeatAfter = [...]time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, 90 * time.Second}

// repeatAllAfter lists how long after the return of a server all changes are repeated. At
// once is too early: messages may not reach the server yet, and other servers may return at
// the same time.
var repeatAllAfter = [...]time.Duration{time.Second, 10 * time.Second}

// Announcer announces changes of sessions, and repeats them. Its methods may be called
// concurrently.
type Announcer struct {
	send      func(forwarded.Renew) error
	followers *Followers // nil: all servers are told of all changes

	mu sync.Mutex
	// Ends and other changes are kept apart, so that a session that changes often does not
	// displace the ends of others.
	ended, changed history
	timer          *time.Timer
	timerAt        time.Time // when the timer ends; zero if it does not run
	closed         bool

	repeatAllAt []time.Time          // ascending
	hurry       bool                 // the recent changes are to be repeated with the next repetition
	heardAt     map[string]time.Time // when each server was last heard of, by server id
}

// history holds the changes of one kind. Each change has a number, one more than the change
// before it.
type history struct {
	kick        bool                  // the kind: sessions have ended
	changes     []change              // in the order in which they were announced
	firstNumber int                   // of changes[0]
	newest      map[string]int        // number of the newest change of each session; older ones are not repeated
	next        [len(repeatAfter)]int // for each entry of repeatAfter: number of the change to be repeated next
	// early has, for each entry of repeatAfter, the number of the newest change of a session that was
	// repeated before its time, because one before it was due.
	early [len(repeatAfter)]map[string]int
}

// change is a change of one session.
type change struct {
	session   string
	announced time.Time
	at        time.Time // when the session changed
	revision  *forwarded.Revision
}

// New returns an Announcer. send sends a request to all servers that can be reached. It must
// not block.
func New(send func(forwarded.Renew) error) *Announcer {
	return &Announcer{
		send: send, heardAt: map[string]time.Time{},
		ended: history{kick: true, newest: map[string]int{}}, changed: history{newest: map[string]int{}},
	}
}

// NewAmong returns an Announcer of a server or process that follows buckets, as others do. It sends only
// what servers need, and what no other follower sends.
func NewAmong(followers *Followers, send func(forwarded.Renew) error) *Announcer {
	a := New(send)
	a.followers = followers
	return a
}

// Tell sends q to all servers. If q is about a session, which has changed or (with q.Kick)
// has ended, Tell also keeps it to be repeated, even if it returns an error.
func (a *Announcer) Tell(q forwarded.Renew) error {
	if q.Session != "" {
		now := time.Now()
		a.keep(change{q.Session, now, now.Add(-q.Ago), q.Revision}, q.Kick)
	}
	if a.followers != nil && !a.followers.tells(q, 0) {
		return nil
	}
	return a.send(q)
}

func (a *Announcer) keep(c change, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	h := &a.changed
	if ended {
		h = &a.ended
	}
	h.forget(c.announced)
	h.newest[c.session] = h.firstNumber + len(h.changes)
	h.changes = append(h.changes, c)
	a.setTimer(c.announced)
}

// forget drops changes that are older than keepFor, and the oldest ones if there are too
// many for one more.
func (h *history) forget(now time.Time) {
	n := 0
	for n < len(h.changes) && (len(h.changes)-n >= maxKept || now.Sub(h.changes[n].announced) > keepFor) {
		if session := h.changes[n].session; h.newest[session] == h.firstNumber+n {
			delete(h.newest, session)
			for i := range h.early {
				delete(h.early[i], session)
			}
		}
		n++
	}
	if n == 0 {
		return
	}
	clear(h.changes[:n])
	h.changes = h.changes[n:]
	h.firstNumber += n
	for i := range h.next {
		h.next[i] = max(h.next[i], h.firstNumber)
	}
}

// repeatAt returns when the next change is to be repeated. ok is false if there is none.
func (h *history) repeatAt() (earliest time.Time, ok bool) {
	for i, number := range h.next {
		if index := number - h.firstNumber; index < len(h.changes) {
			if at := h.changes[index].announced.Add(repeatAfter[i]); !ok || at.Before(earliest) {
				earliest, ok = at, true
			}
		}
	}
	return earliest, ok
}

// repetition is a change that is to be repeated.
type repetition struct {
	request forwarded.Renew
	round   int // 1 for the first repetition; 0: to all servers, whatever they follow
}

// takeDue returns the changes that are to be repeated now, and counts them as repeated. These are all
// changes if a server has returned, and otherwise also those since the given time, if it is not zero.
func (h *history) takeDue(now time.Time, all bool, since time.Time) (due []repetition) {
	h.forget(now)
	add := func(number, round int) {
		if c := h.changes[number-h.firstNumber]; h.newest[c.session] == number {
			due = append(due, repetition{forwarded.Renew{Session: c.session, Kick: h.kick, Ago: now.Sub(c.at), Revision: c.revision}, round})
		}
	}
	end := h.firstNumber + len(h.changes)
	for i := range h.next {
		for ; h.next[i] < end && h.isDue(h.next[i], i, now); h.next[i]++ {
			if all {
				continue
			}
			add(h.next[i], i+1)
			if newest, ok := h.takeEarly(h.next[i], i, now); ok {
				add(newest, i+1)
			}
		}
	}
	if all {
		for number := h.firstNumber; number < end; number++ {
			add(number, 0)
		}
		return due
	}
	if !since.IsZero() {
		for number := end - 1; number >= h.firstNumber && h.changes[number-h.firstNumber].announced.After(since); number-- {
			add(number, 1)
		}
	}
	return due
}

// isDue reports whether a change is old enough for a repetition.
func (h *history) isDue(number, repetition int, now time.Time) bool {
	return now.Sub(h.changes[number-h.firstNumber].announced) >= repeatAfter[repetition]
}

// takeEarly returns the newest change of the session of a change that is due, if that is another one,
// which is not due itself. Otherwise a session that changes often would never be repeated. It returns
// it once for all changes before it; at its own time it is repeated again.
func (h *history) takeEarly(number, repetition int, now time.Time) (newest int, ok bool) {
	session := h.changes[number-h.firstNumber].session
	newest = h.newest[session]
	if newest == number || h.isDue(newest, repetition, now) {
		return 0, false
	}
	if covered, ok := h.early[repetition][session]; ok && number <= covered {
		return 0, false
	}
	if h.early[repetition] == nil {
		h.early[repetition] = map[string]int{}
	}
	h.early[repetition][session] = newest
	return newest, true
}

// Heard notes a sign of life of the server with this id. If the server is new or was away,
// it may have missed changes, so all are repeated.
func (a *Announcer) Heard(id string) {
	a.mu.Lock()
	last, known := a.heardAt[id]
	now := time.Now()
	if !known && len(a.heardAt) >= maxServers {
		clear(a.heardAt) // a server gets a new id at each start, and old ids are never removed
	}
	a.heardAt[id] = now
	a.mu.Unlock()
	if !known || now.Sub(last) > awayAfter {
		a.RepeatAll()
	}
}

// RepeatAll schedules the repetition of all changes, because a server has returned, or
// because this process was cut off.
func (a *Announcer) RepeatAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.closed || len(a.ended.changes)+len(a.changed.changes) == 0 {
		return
	}
	for _, after := range repeatAllAfter {
		at := now.Add(after)
		// One repetition is enough for servers that return within a second.
		if slices.ContainsFunc(a.repeatAllAt, func(other time.Time) bool { return other.Sub(at).Abs() < time.Second }) {
			continue
		}
		a.repeatAllAt = append(a.repeatAllAt, at)
	}
	slices.SortFunc(a.repeatAllAt, time.Time.Compare)
	a.setTimer(now)
}

// RepeatRecent repeats the changes of the last seconds soon, because a server no longer hears of
// changes by itself.
func (a *Announcer) RepeatRecent() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.ended.changes)+len(a.changed.changes) == 0 {
		return
	}
	a.hurry = true
	a.setTimer(time.Now())
}

// setTimer sets the timer for the next repetition. It does not put off one that is set: changes that
// come all the time would put it off for ever. The lock is held.
func (a *Announcer) setTimer(now time.Time) {
	at, ok := a.repeatAt()
	if !ok || a.closed {
		return
	}
	wait := max(at.Sub(now), minWait)
	if !a.timerAt.IsZero() && !now.Add(wait).Before(a.timerAt) {
		return
	}
	a.timerAt = now.Add(wait)
	if a.timer == nil {
		a.timer = time.AfterFunc(wait, a.repeat)
		return
	}
	a.timer.Reset(wait)
}

// repeatAt returns when the next repetition is due. ok is false if there is none. The lock
// is held.
func (a *Announcer) repeatAt() (earliest time.Time, ok bool) {
	earliest, ok = a.ended.repeatAt()
	if at, changed := a.changed.repeatAt(); changed && (!ok || at.Before(earliest)) {
		earliest, ok = at, true
	}
	if len(a.repeatAllAt) > 0 && (!ok || a.repeatAllAt[0].Before(earliest)) {
		earliest, ok = a.repeatAllAt[0], true
	}
	if a.hurry {
		return time.Time{}, true
	}
	return earliest, ok
}

// repeat sends the changes whose repetition is due.
func (a *Announcer) repeat() {
	a.mu.Lock()
	now := time.Now()
	a.timerAt = time.Time{}
	all := false
	for len(a.repeatAllAt) > 0 && !a.repeatAllAt[0].After(now) {
		a.repeatAllAt, all = a.repeatAllAt[1:], true
	}
	var since time.Time
	if a.hurry {
		a.hurry, since = false, now.Add(-recently)
	}
	due := append(a.ended.takeDue(now, all, since), a.changed.takeDue(now, all, since)...)
	a.setTimer(now)
	a.mu.Unlock()
	var requests []forwarded.Renew
	for _, one := range due {
		if a.followers == nil || one.round == 0 || a.followers.tells(one.request, one.round) {
			requests = append(requests, one.request)
		}
	}
	for batch := range slices.Chunk(requests, batchSize) {
		// An error needs no handling: the changes are repeated again, and whoever owns the
		// connection logs that it is broken.
		_ = a.send(forwarded.Renew{Again: batch})
	}
}

// Close ends the repetitions.
func (a *Announcer) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
