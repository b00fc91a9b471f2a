// Package announce tells all servers of sessions that have changed or ended. A message reaches the servers that are
// there when it is sent. A cluster may be cut off then, so each change is said again: a few times soon after, and
// once more to every server that comes back later.
//
// Saying it again does no harm. A request says how long ago the change was, and is for the connections alone that
// were authenticated before: a session that was begun anew under the same name is not touched.
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

	mu    sync.Mutex
	kept  []change // in the order of their times
	first int      // number of kept[0]: changes are numbered
	// newest is the number of the newest change of each session and kind: an older one need not be said again.
	newest map[key]int
	next   [len(again)]int // number of the change that is said again next, for each time
	timer  *time.Timer
	closed bool

	returned []time.Time          // when all is to be said again
	servers  map[string]time.Time // when they were heard of last, by id
}

type key struct {
	session string
	kick    bool
}

type change struct {
	key
	at time.Time
}

// New returns an Announcer. send sends one request to all servers that can be reached, and does not wait.
func New(send func(forwarded.Renew) error) *Announcer {
	return &Announcer{send: send, newest: map[key]int{}, servers: map[string]time.Time{}}
}

// Tell tells of a session that has changed, or has ended. After an error it is said again nevertheless.
func (a *Announcer) Tell(q forwarded.Renew) error {
	if q.Session != "" {
		a.keep(change{key{q.Session, q.Kick}, time.Now()})
	}
	return a.send(q)
}

func (a *Announcer) keep(c change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.forget(c.at)
	a.newest[c.key] = a.first + len(a.kept)
	a.kept = append(a.kept, c)
	a.wake(c.at)
}

// forget drops what is too old, and the oldest where there are too many. The lock is held.
func (a *Announcer) forget(now time.Time) {
	n := 0
	for n < len(a.kept) && (len(a.kept)-n >= maxKept || now.Sub(a.kept[n].at) > keepFor) {
		if c := a.kept[n]; a.newest[c.key] == a.first+n {
			delete(a.newest, c.key)
		}
		n++
	}
	if n == 0 {
		return
	}
	clear(a.kept[:n])
	a.kept = a.kept[n:]
	a.first += n
	for i := range a.next {
		a.next[i] = max(a.next[i], a.first)
	}
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
	if a.closed || len(a.kept) == 0 {
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
	earlier := func(at time.Time) {
		if !ok || at.Before(first) {
			first, ok = at, true
		}
	}
	if len(a.returned) > 0 {
		earlier(a.returned[0])
	}
	for i, number := range a.next {
		if at := max(number, a.first) - a.first; at < len(a.kept) {
			earlier(a.kept[at].at.Add(again[i]))
		}
	}
	return first, ok
}

// repeat says what is due.
func (a *Announcer) repeat() {
	a.mu.Lock()
	now := time.Now()
	a.forget(now)
	all := false
	for len(a.returned) > 0 && !a.returned[0].After(now) {
		a.returned, all = a.returned[1:], true
	}
	var said []forwarded.Renew
	say := func(number int) {
		if c := a.kept[number-a.first]; a.newest[c.key] == number {
			said = append(said, forwarded.Renew{Session: c.session, Kick: c.kick, Ago: now.Sub(c.at)})
		}
	}
	end := a.first + len(a.kept)
	for i := range a.next {
		for a.next[i] = max(a.next[i], a.first); a.next[i] < end && now.Sub(a.kept[a.next[i]-a.first].at) >= again[i]; a.next[i]++ {
			if !all {
				say(a.next[i])
			}
		}
	}
	if all {
		for number := a.first; number < end; number++ {
			say(number)
		}
	}
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
