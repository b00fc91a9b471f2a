package callout

import (
	"sync"
	"time"

	"stamp/server/callout/session"
)

// tracker knows which connections of this server belong to a session, so that
// they can be closed when it ends.
type tracker struct {
	server Connections

	mu       sync.Mutex
	sessions map[sessionID]map[uint64]struct{}
	// ended are sessions that ended a moment ago: a callout may be under way that has
	// looked one up before.
	ended map[sessionID]time.Time
	swept time.Time
}

type sessionID struct{ source, key string }

// sweepEvery is how often connections that are gone are dropped, at most; they
// are also when their session gets another one.
const sweepEvery = time.Minute

func newTracker(server Connections) *tracker {
	return &tracker{
		server: server, sessions: map[sessionID]map[uint64]struct{}{}, ended: map[sessionID]time.Time{}, swept: time.Now(),
	}
}

// add notes a connection that is about to be granted a session, which was
// looked up after since. It returns false when the session has ended after that.
func (t *tracker) add(s *session.Session, server string, cid uint64, since time.Time) bool {
	if s.Key == "" || server != t.server.ServerID() {
		return true
	}
	id := sessionID{s.Source, s.Key}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.swept) > sweepEvery {
		t.sweep()
	}
	if at, ok := t.ended[id]; ok && !at.Before(since) {
		return false
	}
	if t.sessions[id] == nil {
		t.sessions[id] = map[uint64]struct{}{}
	}
	t.sessions[id][cid] = struct{}{}
	t.prune(id, cid)
	return true
}

// sweep drops connections that are gone. The lock is held.
func (t *tracker) sweep() {
	t.swept = time.Now()
	for id := range t.sessions {
		t.prune(id, 0)
	}
	for id, at := range t.ended {
		if t.swept.Sub(at) > sweepEvery {
			delete(t.ended, id)
		}
	}
}

// prune drops the connections of a session that are gone, but for one that is
// just coming. The lock is held.
func (t *tracker) prune(id sessionID, but uint64) {
	for cid := range t.sessions[id] {
		if cid != but && !t.server.Alive(cid) {
			delete(t.sessions[id], cid)
		}
	}
	if len(t.sessions[id]) == 0 {
		delete(t.sessions, id)
	}
}

// end closes the connections of a session, and returns how many there were.
func (t *tracker) end(source, key string) int {
	id := sessionID{source, key}
	t.mu.Lock()
	cids := t.sessions[id]
	delete(t.sessions, id)
	t.ended[id] = time.Now()
	if time.Since(t.swept) > sweepEvery {
		t.sweep()
	}
	t.mu.Unlock()
	n := 0
	for cid := range cids {
		if t.server.Close(cid) == nil {
			n++
		}
	}
	return n
}
