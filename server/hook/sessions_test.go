package hook

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func newTestSessions(open map[uint64]bool) *sessions {
	return &sessions{
		alive: func(cid uint64) bool { return open[cid] }, cids: map[string]map[uint64]struct{}{},
		asked: map[string]request{}, swept: time.Now(),
	}
}

func TestSessions(t *testing.T) {
	open := map[uint64]bool{1: true, 2: true, 3: true, 4: true}
	s := newTestSessions(open)
	began := time.Now()
	for cid, name := range map[uint64]string{1: "kv/a", 2: "kv/a", 3: "kv/b"} {
		if _, ok := s.add(name, cid, began); ok {
			t.Errorf("%s: something was asked for", name)
		}
	}
	delete(open, 2)
	if got := s.of("other/a", true); len(got) != 0 {
		t.Errorf("of another source: %v", got)
	}
	if got := s.of("kv/a", true); !slices.Equal(got, []uint64{1}) {
		t.Errorf("connections %v, want 1: 2 is gone, 3 is another session's", got)
	}
	// A callout that was asked before the end, and one that was after.
	if since, ok := s.add("kv/a", 4, began); !ok || !since.kick {
		t.Error("the session has ended since, and nobody says so")
	}
	if _, ok := s.add("kv/a", 4, time.Now()); ok {
		t.Error("a session that is there again has ended")
	}
	delete(open, 3)
	s.swept = time.Now().Add(-2 * sweepEvery)
	s.add("kv/a", 4, time.Now())
	if len(s.cids) != 1 {
		t.Errorf("%d sessions are known, 1 has a connection", len(s.cids))
	}
	for name := range s.asked {
		s.asked[name] = request{at: time.Now().Add(-2 * sweepEvery)}
	}
	s.swept = time.Now().Add(-2 * sweepEvery)
	s.of("kv/b", false)
	if fmt.Sprint(len(s.asked)) != "1" {
		t.Errorf("%d requests are kept, 1 is new", len(s.asked))
	}
}
