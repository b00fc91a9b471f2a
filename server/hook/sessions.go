package hook

import (
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// sessions knows which connections of a server belong to a session, so that they can be renewed
// and closed with it.
type sessions struct {
	alive func(cid uint64) bool

	mu   sync.Mutex
	cids map[string]map[uint64]struct{} // by the session's name
	// asked is what was asked for lately: a callout may be under way whose answer was given
	// before.
	asked map[string]request
	swept time.Time
}

// request is one to renew a session, or to close its connections.
type request struct {
	at   time.Time
	kick bool
}

// sweepEvery is how often connections that are gone are dropped, at most; they are also when
// their session gets another one. It is longer than a callout can take.
const sweepEvery = time.Minute

func newSessions(s *natsserver.Server) *sessions {
	return &sessions{
		alive: s.HasConnection, cids: map[string]map[uint64]struct{}{}, asked: map[string]request{}, swept: time.Now(),
	}
}

// add notes a connection whose callout was asked at that time, and returns what was asked for
// its session since.
func (t *sessions) add(session string, cid uint64, at time.Time) (since request, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(time.Now())
	if since = t.asked[session]; since.at.After(at) {
		ok = true
	}
	if t.cids[session] == nil {
		t.cids[session] = map[uint64]struct{}{}
	}
	t.cids[session][cid] = struct{}{}
	t.prune(session, cid)
	return since, ok
}

// of notes the request, and returns the connections that it is for.
func (t *sessions) of(session string, kick bool) []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.sweep(now)
	t.prune(session, 0)
	t.asked[session] = request{now, kick}
	var cids []uint64
	for cid := range t.cids[session] {
		cids = append(cids, cid)
	}
	return cids
}

// sweep drops what is gone, now and then. The lock is held.
func (t *sessions) sweep(now time.Time) {
	if now.Sub(t.swept) <= sweepEvery {
		return
	}
	t.swept = now
	for session := range t.cids {
		t.prune(session, 0)
	}
	for session, r := range t.asked {
		if now.Sub(r.at) > sweepEvery {
			delete(t.asked, session)
		}
	}
}

// prune drops the connections of a session that are gone, but for one that is just coming.
// The lock is held.
func (t *sessions) prune(session string, but uint64) {
	for cid := range t.cids[session] {
		if cid != but && !t.alive(cid) {
			delete(t.cids[session], cid)
		}
	}
	if len(t.cids[session]) == 0 {
		delete(t.cids, session)
	}
}
