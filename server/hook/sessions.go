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
	at   time.Time // of the change
	told time.Time // when we heard of it
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
// its session since: to close it, if the session ended since, and else to renew it. A callout between the end of a
// session and when we heard of it may have been answered by who had not heard of it either.
func (t *sessions) add(session, account string, cid uint64, at time.Time) (since request, ok bool) {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.dropGone(now)
	for _, in := range []string{"", account} {
		if r := t.asked[sessionIn{session, in}]; r.told.After(at) {
			ended := r.kick && r.at.After(at)
			if !ok || ended || r.at.After(since.at) && !since.kick {
				since = r
				since.kick = ended
			}
			ok = true
		}
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
	return since, ok
}

// of notes the request, and returns the connections that it is for: those in an account, or all when that is empty. ago is
// how long ago the session changed: connections whose callout was asked since know of it. Where it ended they may not,
// and are returned apart: they are of one that was begun anew, or of who asked a handler that had not heard of the end.
func (t *sessions) of(session, account string, kick bool, ago time.Duration) (cids, since []uint64) {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	changed := now.Add(-ago)
	t.forgetRequests(now)
	about := sessionIn{session, account}
	if ago < forgetAfter && !t.asked[about].at.After(changed) {
		t.asked[about] = request{changed, now, kick}
		t.recent = append(t.recent, recentRequest{about, now})
	}
	for cid, m := range t.cids[session] {
		before := ago == 0 || m.asked.Before(changed)
		switch {
		case account != "" && m.account != account, !before && !kick, !t.alive(cid):
		case before:
			cids = append(cids, cid)
		default:
			since = append(since, cid)
		}
	}
	return cids, since
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
		if t.asked[oldest.about].told.Equal(oldest.at) { // else there was one since
			delete(t.asked, oldest.about)
		}
	}
}
