package hook

import (
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"stamp/server/callout/forwarded"
)

// sessions knows which connections of a server belong to a session, so that they can be renewed
// and closed with it.
//
// Connections that are gone are not reported to it. Each add looks at a few of all connections in
// turn and drops those that are gone, so that an add takes the same time however many
// connections there are, and the connections that are gone never outnumber the others for long.
type sessions struct {
	alive func(cid uint64) bool

	mu   sync.Mutex
	cids map[string]map[uint64]member // by the session's name, folded
	all  []looked                     // of cids; the first was not looked at for longest
	// asked is what was asked for lately: a callout may be under way whose answer was given
	// before.
	asked  map[sessionIn]request
	recent []recentRequest // in their order
}

// sessionIn is a session in one account, or in all when that is empty.
type sessionIn struct{ session, account string }

// member is a connection of a session.
type member struct {
	account string
	asked   time.Time // when its callout was
}

// looked is one that was looked at.
type looked struct {
	session string
	cid     uint64
	at      time.Time // when we saw whether it is still there
}

// request is one to renew a session, or to close its connections.
type request struct {
	at   time.Time
	kick bool
}

// recentRequest is when a session was asked about.
type recentRequest struct {
	about sessionIn
	at    time.Time
}

const (
	// forgetAfter is how long requests are kept. It is longer than a callout can take. A connection
	// is dropped no sooner after it was added: a leafnode is added before the server lists it.
	forgetAfter = time.Minute
	// looks is how many connections or requests are looked at each time.
	looks = 2
)

func newSessions(s *natsserver.Server) *sessions { return newSessionsOf(s.HasConnection) }

func newSessionsOf(alive func(cid uint64) bool) *sessions {
	return &sessions{alive: alive, cids: map[string]map[uint64]member{}, asked: map[sessionIn]request{}}
}

// add notes a connection whose callout was asked at that time, and returns what was asked for
// its session since.
func (t *sessions) add(session, account string, cid uint64, at time.Time) (since request, ok bool) {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.dropGone(now)
	since = t.asked[sessionIn{session, ""}]
	if r := t.asked[sessionIn{session, account}]; r.at.After(since.at) {
		since = r
	}
	of := t.cids[session]
	if of == nil {
		of = map[uint64]member{}
		t.cids[session] = of
	}
	if _, known := of[cid]; !known {
		t.all = append(t.all, looked{session, cid, now})
	}
	of[cid] = member{account, at}
	return since, since.at.After(at)
}

// of notes the request, and returns the connections that it is for: those in an account, or all when that is empty. ago is
// how long ago the session changed, for a request that is said again: connections whose callout was asked since know of it.
func (t *sessions) of(session, account string, kick bool, ago time.Duration) []uint64 {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	changed := now.Add(-ago)
	t.forgetRequests(now)
	about := sessionIn{session, account}
	if ago < forgetAfter && !t.asked[about].at.After(changed) {
		t.asked[about] = request{changed, kick}
		t.recent = append(t.recent, recentRequest{about, changed})
	}
	var cids []uint64
	for cid, m := range t.cids[session] {
		if (account == "" || m.account == account) && (ago == 0 || m.asked.Before(changed)) && t.alive(cid) {
			cids = append(cids, cid)
		}
	}
	return cids
}

// dropGone looks at those connections that were not looked at for longest, and drops those that are
// gone. The lock is held.
func (t *sessions) dropGone(now time.Time) {
	for range min(looks, len(t.all)) {
		m := t.all[0]
		if now.Sub(m.at) < forgetAfter {
			return
		}
		t.all = t.all[1:]
		if t.alive(m.cid) {
			m.at = now
			t.all = append(t.all, m)
			continue
		}
		delete(t.cids[m.session], m.cid)
		if len(t.cids[m.session]) == 0 {
			delete(t.cids, m.session)
		}
	}
}

// forgetRequests drops a few of the oldest requests, if they are old enough. The lock is held.
func (t *sessions) forgetRequests(now time.Time) {
	for range min(looks, len(t.recent)) {
		oldest := t.recent[0]
		if now.Sub(oldest.at) < forgetAfter {
			return
		}
		t.recent = t.recent[1:]
		if t.asked[oldest.about].at.Equal(oldest.at) { // else there was one since
			delete(t.asked, oldest.about)
		}
	}
}
