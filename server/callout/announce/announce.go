// Package announce tells all servers of sessions that have changed or ended. A message reaches the servers that are
// there when it is sent. A cluster may be cut off then, so each change is said again: a few times soon after, and
// once more to every server that comes back later.
//
// Saying it again does no harm. A request says how long ago the change was, and is for the connections alone that
// were authenticated before: a session that was begun anew under the same name is not
// closed.
package announce

import (
	"slices"
	"sync"
	"time"

	"stamp/server/callout/forwarded"
)

const (
	// keepFor is how long a change is kept for servers that come back. A connection that was cut off for longer
	// has been renewed, or has ended, by the expiry of its user JWT.
	keepFor = time.Hour
	// maxKept is how many changes are kept, the newest.
	maxKept = 65536
	// batch is how many changes go into one message, of some 100 bytes each.
	batch = 256
	// atLeast is the pause between two messages of repetitions, so that changes share one.
	atLeast = 250 * time.Millisecond
	// maxServers is how many servers are remembered.
	maxServers = 4096
	// away is how long a server must not have been heard of to have been away. Servers report every 10 seconds.
	away = 25 * time.Second
)

// again is when a change is said again, for messages that were lost on a connection that just broke.
var again = [...]time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, 90 * time.Second}

// afterReturn is when all changes are said again after a server came back. It may take a moment until what is sent
// reaches it, and others may come back with it.
var afterReturn = [...]time.Duration{time.Second, 10 * time.Second}

// Announcer tells servers. Its methods may be called at the same time.
type Announcer struct {
	send func(forwarded.Renew) error

	mu sync.Mutex
	// Apart, so that a session that is written again and again does not crowd out the ends of others.
	ended, changed changes
	timer          *time.Timer
	closed         bool

	returned []time.Time          // when all is to be said again
	servers  map[string]time.Time // when they were heard of last, by id
}

// changes are those of one kind.
type changes struct {
	kick  bool
	kept  []change        // in the order in which they were told
	first int             // number of kept[0]: changes are numbered
	last  map[string]int  // number of the newest change of each session: an older one need not be said again
	next  [len(again)]int // number of the change that is said again next, for each time
}

type change struct {
	session string
	told    time.Time
	at      time.Time // when it was
}

// New returns an Announcer. send sends one request to all servers that can be reached, and does not wait.
func New(send func(forwarded.Renew) error) *Announcer {
	return &Announcer{
		send: send, servers: map[string]time.Time{},
		ended: changes{kick: true, last: map[string]int{}}, changed: changes{last: map[string]int{}},
	}
}

// Tell tells of a session that has changed, or has ended, and how long ago where that is known. After an error it is said again nevertheless.
func (a *Announcer) Tell(q forwarded.Renew) error {
	if q.Session != "" {
		now := time.Now()
		a.keep(q.Session, q.Kick, now, now.Add(-q.Ago))
	}
	return a.send(q)
}

func (a *Announcer) keep(session string, ended bool, now, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	to := &a.changed
	if ended {
		to = &a.ended
	}
	to.forget(now)
	to.last[session] = to.first + len(to.kept)
	to.kept = append(to.kept, change{session, now, at})
	a.wake(now)
}

// forget drops what is too old, and the oldest where there are too many.
func (c *changes) forget(now time.Time) {
	n := 0
	for n < len(c.kept) && (len(c.kept)-n >= maxKept || now.Sub(c.kept[n].told) > keepFor) {
		if session := c.kept[n].session; c.last[session] == c.first+n {
			delete(c.last, session)
		}
		n++
	}
	if n == 0 {
		return
	}
	clear(c.kept[:n])
	c.kept = c.kept[n:]
	c.first += n
	for i := range c.next {
		c.next[i] = max(c.next[i], c.first)
	}
}

// due is when one of them is to be said again.
func (c *changes) due() (first time.Time, ok bool) {
	for i, number := range c.next {
		if at := number - c.first; at < len(c.kept) {
			if t := c.kept[at].told.Add(again[i]); !ok || t.Before(first) {
				first, ok = t, true
			}
		}
	}
	return first, ok
}

// take returns what is to be said again now; all is for servers that have come back.
func (c *changes) take(now time.Time, all bool) (said []forwarded.Renew) {
	c.forget(now)
	say := func(number int) {
		if one := c.kept[number-c.first]; c.last[one.session] == number {
			said = append(said, forwarded.Renew{Session: one.session, Kick: c.kick, Ago: now.Sub(one.at)})
		}
	}
	end := c.first + len(c.kept)
	for i := range c.next {
		for ; c.next[i] < end && now.Sub(c.kept[c.next[i]-c.first].told) >= again[i]; c.next[i]++ {
			if !all {
				say(c.next[i])
			}
		}
	}
	for number := c.first; all && number < end; number++ {
		say(number)
	}
	return said
}

// Heard notes that there is a server of that id. One that is new, or was away, is told what it may have missed.
func (a *Announcer) Heard(id string) {
	a.mu.Lock()
	last, known := a.servers[id]
	now := time.Now()
	if !known && len(a.servers) >= maxServers {
		clear(a.servers) // ids of servers that were started again pile up
	}
	a.servers[id] = now
	a.mu.Unlock()
	if !known || now.Sub(last) > away {
		a.Returned()
	}
}

// Returned says all changes again, soon: a server has come back, or we have.
func (a *Announcer) Returned() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.closed || len(a.ended.kept)+len(a.changed.kept) == 0 {
		return
	}
	for _, after := range afterReturn {
		at := now.Add(after)
		// Those that come back together are told together.
		if slices.ContainsFunc(a.returned, func(other time.Time) bool { return other.Sub(at).Abs() < time.Second }) {
			continue
		}
		a.returned = append(a.returned, at)
	}
	slices.SortFunc(a.returned, time.Time.Compare)
	a.wake(now)
}

// wake sets the timer for what is due first. The lock is held.
func (a *Announcer) wake(now time.Time) {
	at, ok := a.due()
	if !ok || a.closed {
		return
	}
	wait := max(at.Sub(now), atLeast)
	if a.timer == nil {
		a.timer = time.AfterFunc(wait, a.repeat)
		return
	}
	a.timer.Reset(wait)
}

// due is when something is to be said again. The lock is held.
func (a *Announcer) due() (first time.Time, ok bool) {
	first, ok = a.ended.due()
	if at, changed := a.changed.due(); changed && (!ok || at.Before(first)) {
		first, ok = at, true
	}
	if len(a.returned) > 0 && (!ok || a.returned[0].Before(first)) {
		first, ok = a.returned[0], true
	}
	return first, ok
}

// repeat says what is due.
func (a *Announcer) repeat() {
	a.mu.Lock()
	now := time.Now()
	all := false
	for len(a.returned) > 0 && !a.returned[0].After(now) {
		a.returned, all = a.returned[1:], true
	}
	said := append(a.ended.take(now, all), a.changed.take(now, all)...)
	a.wake(now)
	a.mu.Unlock()
	for len(said) > 0 {
		n := min(batch, len(said))
		_ = a.send(forwarded.Renew{Again: said[:n]}) // it is said again, and a connection that is away is logged
		said = said[n:]
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
