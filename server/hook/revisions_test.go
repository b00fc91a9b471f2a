package hook

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"stamp/internal/callout/forwarded"
)

// entry returns the revision of the n-th entry of a bucket.
func entry(n int64) forwarded.Revision {
	return forwarded.Revision{Bucket: 1, Sequence: uint64(n), Written: 1000 + n}
}

// changed requests a renewal or, with kick, a close of the connections of kv/a, because of the n-th entry.
func changed(s *sessions, n int64, kick bool, ago time.Duration) selected {
	revision := entry(n)
	return s.request(forwarded.Renew{Session: "kv/a", Kick: kick, Ago: ago, Revision: &revision})
}

func granted(s *sessions, cid uint64, n int64, asked time.Time) (missed sessionRequest, ok bool) {
	return s.add("kv/a", cid, sessionConn{asked: asked, revision: entry(n)})
}

// However many handlers report a change, at whatever time, it applies to a connection until an answer was made from the
// entry that the change has written.
func TestSessionsRevisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true})
		expect := func(what string, got selected, cids, unsure []uint64) {
			t.Helper()
			if !slices.Equal(got.cids, cids) || !slices.Equal(got.unsure, unsure) {
				t.Errorf("%s: selected %+v, want connections %v and unsure %v", what, got, cids, unsure)
			}
		}
		one := []uint64{1}
		later := func() time.Time { time.Sleep(time.Second); return time.Now() }

		granted(s, 1, 5, later())
		expect("the entry that the connection was granted by", changed(s, 5, false, 0), nil, nil)
		expect("a newer entry", changed(s, 6, false, 0), one, nil)
		expect("again, before the answer", changed(s, 6, false, 0), one, nil)
		granted(s, 1, 6, later())
		later()
		expect("again, after the answer", changed(s, 6, false, 0), nil, nil)
		expect("the change before, of a handler that is behind", changed(s, 5, false, 0), nil, nil)

		granted(s, 1, 5, later()) // by a handler that is behind, and that hears of the change now
		later()
		expect("after an answer from an older entry", changed(s, 6, false, 0), one, nil)
		granted(s, 1, 5, later())
		expect("repeated, after an answer from an older entry", changed(s, 6, false, time.Hour), nil, one)

		asked := later()
		later()
		changed(s, 6, false, 0)
		if missed, ok := granted(s, 1, 5, asked); !ok || missed.kick {
			t.Error("a callout that was running when a handler heard of the change: the answer from an older entry counts")
		}
		if _, ok := granted(s, 1, 6, asked); ok {
			t.Error("a callout that was running when a handler heard of the change: the answer from its entry does not count")
		}

		asked = later()
		later()
		expect("the end", changed(s, 7, true, 1), one, nil)
		expect("a change before the end", changed(s, 6, false, 0), nil, nil)
		if missed, ok := granted(s, 1, 6, asked); !ok || !missed.kick {
			t.Error("a change before the end has replaced the end")
		}
		granted(s, 1, 8, asked)
		expect("the end, after the session was begun anew", changed(s, 7, true, 1), nil, nil)
		granted(s, 1, 6, later())
		later()
		expect("the end, of an answer from an older entry", changed(s, 7, true, 1), one, nil)

		// The bucket was made anew, or was lost with its memory.
		for what, revision := range map[string]forwarded.Revision{
			"another bucket":   {Bucket: 2, Sequence: 1, Written: 9000},
			"the same, anew":   {Bucket: 1, Sequence: 1, Written: 9000},
			"without revision": {},
		} {
			granted(s, 1, 8, later())
			q := forwarded.Renew{Session: "kv/a", Revision: &revision}
			expect(what, s.request(q), one, nil)
		}
	})
}

// The end of a session is stored, although the change before it was heard of after the end was written.
func TestSessionsEndHeardWithAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSessions(map[uint64]bool{1: true})
		time.Sleep(time.Second)
		ended := time.Now()
		time.Sleep(time.Second)
		changed(s, 5, false, 0)
		asked := time.Now()
		time.Sleep(time.Second)
		changed(s, 6, true, time.Since(ended))
		if _, ok := granted(s, 1, 4, asked); !ok {
			t.Error("a callout that was running when the end was heard of is not asked again")
		}
	})
}

// A connection is renewed once if two requests about one change come at the same time.
func TestRequestsAtTheSameTime(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			answer := make(chan struct{})
			r := testRenewer(func(*recordedRenewer, uint64) error { <-answer; return nil })
			r.sessions = newTestSessions(map[uint64]bool{1: true})
			r.sessions.isPending = r.isPending
			granted(r.sessions, 1, 5, time.Now())
			time.Sleep(time.Second)
			revision := entry(6)
			for range 4 {
				go func() { _, _ = r.begin(nil, forwarded.Renew{Session: "kv/a", Revision: &revision}) }()
			}
			synctest.Wait()
			close(answer)
			synctest.Wait()
			if n := r.callouts(); n != 1 {
				t.Fatalf("the callout was asked %d times about one change, want 1", n)
			}
		})
	}
}
