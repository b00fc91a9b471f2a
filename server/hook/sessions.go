package hook

import (
	"sync"
	"time"

	"stamp/server/callout/forwarded"
)

// sessions knows which connections of a server belong to which session, so that they can be renewed
// and closed with it.
//
// The server does not report to it that a connection was closed. Instead, each add checks a few
// connections, in turn, and drops those that are closed. So an add takes the same time however many
// connections there are, and closed connections do not outnumber the others for long.
type sessions struct {
	isOpen func(cid uint64) bool

	mu       sync.Mutex
	conns    map[string]map[uint64]sessionConn // by the session's folded name, and connection id
	checked  []checkedConn                     // all conns; the first was checked the longest ago
	requests map[requestKey]sessionRequest     // of the last forgetAfter: a callout that is answered now may have been asked before
	recent   []recentRequest                   // the requests in the order in which they came
}

// requestKey is what a request is about: a session in one account, or in all if account is empty.
type requestKey struct{ session, account string }

// sessionConn is a connection of a session.
type sessionConn struct {
	account string
	asked   time.Time // when its auth callout was asked
}

// checkedConn is when a connection was last seen to be open.
type checkedConn struct {
	session string
	cid     uint64
	at      time.Time
}

// sessionRequest is a request to renew the connections of a session, or to close them.
type sessionRequest struct {
	changedAt time.Time // when the session changed or ended
	heardAt   time.Time // when this server got the request
	kick      bool      // the session has ended
}

// recentRequest is when this server got a request.
type recentRequest struct {
	key     requestKey
	heardAt time.Time
}

const (
	// forgetAfter is how long requests are kept, which is longer than a callout can take. It is
	// also the least time for which a connection is kept: a leafnode connection is added before
	// the server lists it as open.
	forgetAfter = time.Minute
	// checksPerCall is how many connections, or requests, each call checks.
	checksPerCall = 2
)

func newSessions(isOpen func(cid uint64) bool) *sessions {
	return &sessions{isOpen: isOpen, conns: map[string]map[uint64]sessionConn{}, requests: map[requestKey]sessionRequest{}}
}

// add adds a connection whose auth callout was asked at the time asked. ok is set if the answer may
// be stale: a request about the session, which add returns as missed, came after that time. Its kick
// is set if the session ended after that time, so that the connection must be closed. Otherwise the
// connection must be renewed. That includes a callout that was asked after the session ended but
// before this server got the request: the handler may not have known of the end either.
func (t *sessions) add(session, account string, cid uint64, asked time.Time) (missed sessionRequest, ok bool) {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.dropClosed(now)
	for _, in := range []string{"", account} {
		if r := t.requests[requestKey{session, in}]; r.heardAt.After(asked) {
			ended := r.kick && r.changedAt.After(asked)
			if !ok || ended || r.changedAt.After(missed.changedAt) && !missed.kick {
				missed = r
				missed.kick = ended
			}
			ok = true
		}
	}
	conns := t.conns[session]
	if conns == nil {
		conns = map[uint64]sessionConn{}
		t.conns[session] = conns
	}
	if _, exists := conns[cid]; !exists {
		t.checked = append(t.checked, checkedConn{session, cid, now})
	}
	conns[cid] = sessionConn{account, asked}
	return missed, ok
}

// request stores a request about a session in an account (empty: in all), which changed, or ended if
// kick is set, the time ago before now. It returns the connections to which the request applies:
// those whose callout was asked before the change.
//
// If the session has ended, unsure are the connections whose callout was asked after that, which must
// be renewed: either they belong to a new session with the same name, or they were granted by a
// handler that did not know of the end.
func (t *sessions) request(session, account string, kick bool, ago time.Duration) (cids, unsure []uint64) {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	changedAt := now.Add(-ago)
	t.forgetRequests(now)
	key := requestKey{session, account}
	if ago < forgetAfter && !t.requests[key].changedAt.After(changedAt) {
		t.requests[key] = sessionRequest{changedAt, now, kick}
		t.recent = append(t.recent, recentRequest{key, now})
	}
	for cid, conn := range t.conns[session] {
		askedBefore := ago == 0 || conn.asked.Before(changedAt)
		switch {
		case account != "" && conn.account != account, !askedBefore && !kick, !t.isOpen(cid):
		case askedBefore:
			cids = append(cids, cid)
		default:
			unsure = append(unsure, cid)
		}
	}
	return cids, unsure
}

// dropClosed checks the connections whose last check is the longest ago, and drops those that are
// closed. The lock is held.
func (t *sessions) dropClosed(now time.Time) {
	for range min(checksPerCall, len(t.checked)) {
		c := t.checked[0]
		if now.Sub(c.at) < forgetAfter {
			return
		}
		t.checked = t.checked[1:]
		if t.isOpen(c.cid) {
			c.at = now
			t.checked = append(t.checked, c)
			continue
		}
		delete(t.conns[c.session], c.cid)
		if len(t.conns[c.session]) == 0 {
			delete(t.conns, c.session)
		}
	}
}

// forgetRequests drops a few of the oldest requests, if they are old enough. The lock is held.
func (t *sessions) forgetRequests(now time.Time) {
	for range min(checksPerCall, len(t.recent)) {
		oldest := t.recent[0]
		if now.Sub(oldest.heardAt) < forgetAfter {
			return
		}
		t.recent = t.recent[1:]
		if t.requests[oldest.key].heardAt.Equal(oldest.heardAt) { // otherwise a newer request has replaced it
			delete(t.requests, oldest.key)
		}
	}
}
