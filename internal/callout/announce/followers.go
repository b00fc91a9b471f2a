package announce

import (
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"stamp/internal/callout/forwarded"
)

// Who tells whom
//
// A server whose own handler follows a bucket hears of each change by itself. If all servers do so,
// which is the usual deployment of handlers inside servers, nobody needs to be told. So each such
// server says regularly, to all servers, which buckets it follows. That is said only while the watch
// works and has seen what the bucket had a second ago. A server that says nothing is told of every
// change: one without a handler, one with another bucket, one whose watch is behind, one that has just
// started, and one without Stamp, which takes no notice.
//
// If somebody is to be told, one of the followers does it, with one message that reaches all servers.
// All followers order themselves by the same hash of the session and their ids, and the first one
// tells. A follower waits only for another one that it has heard of, and that one knows at least itself.
// So at least one tells, even if they do not know of the same others. If the first one dies and the
// others have not noticed, the next one tells with the first repetition, after two seconds.
//
// Nobody relies on this while something changes: until nothing has changed for steadyAfter, every
// follower tells of every change, and so do handlers that are no part of a server. That does no harm,
// because a server renews a connection once for each change.
//
// The servers are counted and not compared by their ids, because the server has their number only. In
// a steady state followers and servers are the same if there are as many.
//
// Handlers in processes of their own choose who tells in the same way. No server hears of a change by
// itself because of them, so one of them always tells. They say what they follow to each other, in the
// system account: handlers that hear each other there reach the same servers.

const (
	// SayEvery is how often a server says what it follows.
	SayEvery = 5 * time.Second
	// lapsesAfter is when a server that has not said so no longer counts as a follower.
	lapsesAfter = 12 * time.Second
	// steadyAfter is for how long the servers and what they follow must not have changed. It is not
	// shorter than lapsesAfter, so that no follower counts that has gone before.
	steadyAfter = lapsesAfter
	// recently is how far back changes are repeated when a server no longer follows a bucket. It has
	// seen all of those before, because it followed until lapsesAfter ago at most.
	recently = lapsesAfter + 5*time.Second
)

// Followers are the servers that follow buckets, or the handlers in processes of their own that do. Its
// methods may be called concurrently.
type Followers struct {
	self   string
	others func() int

	mu        sync.Mutex
	byServer  map[string]follower // by the id of the server or process
	servers   int                 // others() when it was last checked
	changedAt time.Time
}

type follower struct {
	buckets []forwarded.Followed
	heardAt time.Time
}

// NewFollowers returns the followers beside the server with the id self. others returns the number of
// other servers, or -1 if it is not known.
func NewFollowers(self string, others func() int) *Followers {
	return &Followers{self: self, others: others, byServer: map[string]follower{}, changedAt: time.Now()}
}

// NewHandlers returns the handlers that run in processes of their own, beside the one with the id self. To
// them, there are always more servers than followers.
func NewHandlers(self string) *Followers {
	return NewFollowers(self, func() int { return math.MaxInt })
}

// Heard notes what a server follows. It reports whether that is less than before, so that the server
// must be told of changes now.
func (f *Followers) Heard(m forwarded.Follows) (less bool) {
	if m.Server == f.self {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	before, isKnown := f.byServer[m.Server]
	if !isKnown && len(f.byServer) >= maxServers {
		return false
	}
	if !isKnown || !slices.Equal(before.buckets, m.Buckets) {
		f.changedAt = now
	}
	f.byServer[m.Server] = follower{m.Buckets, now}
	return slices.ContainsFunc(before.buckets, func(b forwarded.Followed) bool { return !slices.Contains(m.Buckets, b) })
}

// Check looks for followers that were not heard of for too long, and for servers that have come or
// gone. It reports whether there are fewer followers, or more servers. It is called once a second.
func (f *Followers) Check() (less bool) {
	servers := f.others() // takes a lock of the server
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	less = servers > f.servers
	if servers != f.servers {
		f.servers, f.changedAt = servers, now
	}
	for id, other := range f.byServer {
		if now.Sub(other.heardAt) >= lapsesAfter {
			delete(f.byServer, id)
			f.changedAt, less = now, true
		}
	}
	return less
}

// Changed notes that a server has connected.
func (f *Followers) Changed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changedAt = time.Now()
}

// tells reports whether this server tells of a change: at once if round is 0, or as the repetition of
// that number.
func (f *Followers) tells(q forwarded.Renew, round int) bool {
	servers := f.others()
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.Revision == nil || servers < 0 || servers != f.servers || time.Since(f.changedAt) < steadyAfter {
		return true
	}
	followers, before := 0, 0
	own := order(f.self, q.Session)
	for id, other := range f.byServer {
		if !slices.ContainsFunc(other.buckets, func(b forwarded.Followed) bool { return b.Reports(q) }) {
			continue
		}
		followers++
		if other := order(id, q.Session); other < own || other == own && id < f.self {
			before++
		}
	}
	return followers < servers && before == round%(followers+1)
}

// order is what servers are ordered by, for each session.
func order(server, session string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join([]string{session, server}, "\n")))
	return h.Sum64()
}
