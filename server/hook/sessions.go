package hook

import (
	"iter"
	"maps"
	"sync"
	"time"

	"stamp/internal/callout/forwarded"
)

// sessions knows which connections of a server belong to which session, so that they can be renewed
// and closed with it.
//
// The server does not report to it that a connection was closed. Instead, each add checks a few
// connections, in turn, and drops those that are closed. So an add takes the same time however many
// connections there are, and closed connections do not outnumber the others for long.
type sessions struct {
	isOpen func(cid uint64) bool
	// isPending reports whether a requested renewal of a connection is not done yet. It is called
	// with the lock held.
	isPending func(cid uint64) bool

	mu       sync.Mutex
	conns    map[string]*sessionConns      // by the session's folded name; none is empty
	members  map[uint64]member             // by connection id
	joined   uint64                        // how often a connection joined a session
	checked  []checkedConn                 // all conns, and some that have left; the first was checked the longest ago
	requests map[requestKey]sessionRequest // of the last keepFor: a callout that is answered now may have been asked before
	recent   []recentRequest               // the requests in the order in which they came
	keepFor  time.Duration                 // how long requests are kept
}

// requestKey is what a request is about: a session in one account, or in all if account is empty.
type requestKey struct{ session, account string }

// sessionConn is a connection of a session.
type sessionConn struct {
	account  string
	asked    time.Time          // when its auth callout was asked
	revision forwarded.Revision // of the session's entry that the answer was made from; zero if not known
}

// sessionConns are the connections of one session. Most sessions have one connection, which is kept
// without a map: that takes a fifth of the memory.
type sessionConns struct {
	cid  uint64 // of the only connection, if many is nil
	only sessionConn
	many map[uint64]sessionConn // by connection id
}

// set adds a connection, or replaces it.
func (c *sessionConns) set(cid uint64, conn sessionConn) {
	switch {
	case c.many != nil:
		c.many[cid] = conn
	case c.cid == cid:
		c.only = conn
	default:
		c.many = map[uint64]sessionConn{c.cid: c.only, cid: conn}
		c.cid, c.only = 0, sessionConn{}
	}
}

// member is in which session a connection is.
type member struct {
	session string // its folded name
	joined  uint64 // a number that it got when it joined the session
}

// checkedConn is when a connection was last seen to be open, since it joined its session.
type checkedConn struct {
	cid    uint64
	joined uint64
	at     time.Time
}

// sessionRequest is a request to renew the connections of a session, or to close them.
type sessionRequest struct {
	changedAt time.Time // when the session changed or ended
	heardAt   time.Time // when this server got the request
	kick      bool      // the session has ended
	revision  forwarded.Revision
}

// recentRequest is when this server got a request.
type recentRequest struct {
	key     requestKey
	heardAt time.Time
}

const (
	// forgetAfter is how much longer requests are kept than the server waits for the answer to a
	// callout. It is also the least time for which a connection is kept: a leafnode connection is
	// added before the server lists it as open.
	forgetAfter = time.Minute
	// checksPerCall is how many connections, or requests, each call checks.
	checksPerCall = 2
)

func newSessions(isOpen func(cid uint64) bool) *sessions {
	return &sessions{isOpen: isOpen, isPending: func(uint64) bool { return false }, conns: map[string]*sessionConns{}, members: map[uint64]member{}, requests: map[requestKey]sessionRequest{}, keepFor: forgetAfter}
}

// outlive makes sessions keep requests for longer than a callout that begins now, which may take the
// given time. It never keeps them for a shorter time than before: after a reload with a shorter
// time, callouts that were asked before it are still answered.
func (t *sessions) outlive(callout time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keepFor = max(t.keepFor, callout+forgetAfter)
}

// add adds a connection. ok is set if the answer of its auth callout may be stale: a request about
// the session, which add returns as missed, came after the callout was asked, and the answer was not
// made from the entry that the request is about, or a later one. The request's kick is set if the
// session ended after the callout was asked, so that the connection must be closed. Otherwise the
// connection must be renewed. That includes a callout that was asked after the session ended but
// before this server got the request: the handler may not have known of the end either.
func (t *sessions) add(session string, cid uint64, conn sessionConn) (missed sessionRequest, ok bool) {
	session = forwarded.FoldSession(session)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.dropClosed(now)
	for _, in := range []string{"", conn.account} {
		if r := t.requests[requestKey{session, in}]; r.heardAt.After(conn.asked) && !conn.revision.Covers(r.revision) {
			ended := r.kick && r.changedAt.After(conn.asked)
			if !ok || ended || r.changedAt.After(missed.changedAt) && !missed.kick {
				missed = r
				missed.kick = ended
			}
			ok = true
		}
	}
	t.set(session, cid, conn, now)
	return missed, ok
}

// set adds a connection to its session, or replaces it. A connection is in one session only: a second CONNECT or a renewal
// may take it out of another one. The lock is held.
func (t *sessions) set(session string, cid uint64, conn sessionConn, now time.Time) {
	if former, ok := t.members[cid]; !ok || former.session != session {
		t.drop(cid)
		t.joined++
		t.members[cid] = member{session, t.joined}
		t.checked = append(t.checked, checkedConn{cid, t.joined, now})
	}
	conns := t.conns[session]
	if conns == nil {
		t.conns[session] = &sessionConns{cid: cid, only: conn}
		return
	}
	conns.set(cid, conn)
}

// of returns the connections of a session, by their ids. The lock is held.
func (t *sessions) of(session string) iter.Seq2[uint64, sessionConn] {
	conns := t.conns[session]
	switch {
	case conns == nil:
		return func(func(uint64, sessionConn) bool) {}
	case conns.many == nil:
		return func(yield func(uint64, sessionConn) bool) { yield(conns.cid, conns.only) }
	}
	return maps.All(conns.many)
}

// has reports whether a connection is in a session.
func (t *sessions) has(session string, cid uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.members[cid]
	return ok && m.session == forwarded.FoldSession(session)
}

// remove removes a connection that no longer belongs to a session, if it belonged to one.
func (t *sessions) remove(cid uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(cid)
}

// drop removes a connection from its session, if it belongs to one. The lock is held.
func (t *sessions) drop(cid uint64) {
	m, ok := t.members[cid]
	if !ok {
		return
	}
	delete(t.members, cid)
	conns := t.conns[m.session]
	delete(conns.many, cid)
	if len(conns.many) == 0 {
		delete(t.conns, m.session)
	}
}

// selected are the connections that a request selects.
type selected struct {
	// cids are those to which the request applies: their callout was asked before the change. They
	// are renewed, or closed if the session has ended.
	cids []uint64
	// unsure are those whose callout was asked after the change, but which may have been granted by
	// a handler that did not know of it. They are renewed. If the session has ended, they may also
	// belong to a new session with the same name.
	unsure []uint64
}

// request stores a request about a session, which changed, or ended if q.Kick is set, the time q.Ago
// before now. It returns the connections that the request selects. A connection that was granted by
// the entry that q.Revision names, or by a later one, is not selected. Nor is one whose renewal was
// requested before because of that change, or a later one, and is not done yet: add will compare the
// answer with the change.
func (t *sessions) request(q forwarded.Renew) (s selected) {
	session := forwarded.FoldSession(q.Session)
	var revision forwarded.Revision
	if q.Revision != nil {
		revision = *q.Revision
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	changedAt := now.Add(-q.Ago)
	t.forgetRequests(now)
	key := requestKey{session, q.Account}
	stored := t.requests[key]
	heard := stored.revision.Covers(revision)
	switch {
	case heard:
		// The handler that reports it now may have answered callouts until now without knowing of it.
		stored.heardAt = now
		t.store(key, stored)
	case q.Ago < t.keepFor && (revision.Covers(stored.revision) || !stored.changedAt.After(changedAt)):
		t.store(key, sessionRequest{changedAt, now, q.Kick, revision})
	}
	for cid, conn := range t.of(session) {
		askedBefore := q.Ago == 0 || conn.asked.Before(changedAt)
		outdated := revision.Covers(conn.revision) // although its callout may have been asked later
		switch {
		case q.Account != "" && conn.account != q.Account, conn.revision.Covers(revision):
		case !askedBefore && !outdated && !q.Kick, !t.isOpen(cid):
		case heard && !(q.Kick && askedBefore) && t.isPending(cid):
		case askedBefore:
			s.cids = append(s.cids, cid)
		default:
			s.unsure = append(s.unsure, cid)
		}
	}
	return s
}

// store stores a request until keepFor is over. The lock is held.
func (t *sessions) store(key requestKey, r sessionRequest) {
	t.requests[key] = r
	t.recent = append(t.recent, recentRequest{key, r.heardAt})
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
		switch {
		case t.members[c.cid].joined != c.joined: // it has left the session
		case t.isOpen(c.cid):
			c.at = now
			t.checked = append(t.checked, c)
		default:
			t.drop(c.cid)
		}
	}
}

// forgetRequests drops a few of the oldest requests, if they are old enough. The lock is held.
func (t *sessions) forgetRequests(now time.Time) {
	for range min(checksPerCall, len(t.recent)) {
		oldest := t.recent[0]
		if now.Sub(oldest.heardAt) < t.keepFor {
			return
		}
		t.recent = t.recent[1:]
		if t.requests[oldest.key].heardAt.Equal(oldest.heardAt) { // otherwise a newer request has replaced it
			delete(t.requests, oldest.key)
		}
	}
}
